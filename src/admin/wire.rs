//! The language of the admin socket: one JSON request per line, one JSON answer per line. Unknown fields are skipped,
//! so that neighbouring versions understand each other. `status` is answered by an [`Answer`], a
//! [`Command`], an [`Order`] and a [`Task`] by a [`common::command::Reply`].

use common::command::Command;
use common::order::Order;
use common::status::Status;
use common::task::Task;
use serde::{Deserialize, Serialize};

/// Version of requests and answers.
pub(crate) const VERSION: u32 = 1;
/// Longest request, in bytes with the newline.
pub(crate) const LONGEST_REQUEST: usize = 64 * 1024;

/// `{"version":1,"command":"status"}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) version: u32,
    pub(crate) command: String,
}

/// `{"version":1,"ok":…}` or `{"version":1,"error":"…"}`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ok: Option<Status>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

impl Request {
    pub(crate) fn status() -> Self {
        Self {
            version: VERSION,
            command: "status".to_owned(),
        }
    }
}

impl Answer {
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self {
            version: VERSION,
            ok: None,
            error: Some(message.into()),
        }
    }

    pub(crate) fn status(status: Status) -> Self {
        Self {
            version: VERSION,
            ok: Some(status),
            error: None,
        }
    }
}

/// What one line asks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Status,
    /// For the proxy.
    Command(Command),
    /// About the VIPs.
    Order(Order),
    /// For the supervisor.
    Task(Task),
}

impl Question {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it, to be answered.
    pub(crate) fn read(line: &[u8]) -> Result<Self, String> {
        let wrong = |error: serde_json::Error| format!("this is no request: {error}");
        let request = serde_json::from_slice::<Request>(line).map_err(wrong)?;
        if request.version == 0 {
            return Err("version 0 is not spoken here, 1 is".to_owned());
        }
        match request.command.as_str() {
            "status" => Ok(Self::Status),
            word if Command::WORDS.contains(&word) => serde_json::from_slice(line)
                .map(Self::Command)
                .map_err(wrong),
            word if Order::WORDS.contains(&word) => {
                serde_json::from_slice(line).map(Self::Order).map_err(wrong)
            }
            word if Task::WORDS.contains(&word) => {
                serde_json::from_slice(line).map(Self::Task).map_err(wrong)
            }
            unknown => Err(format!(
                "unknown command {unknown:?}, this version knows \"status\", \"{}\", \"{}\", \"{}\"",
                Task::WORDS.join("\", \""),
                Order::WORDS.join("\", \""),
                Command::WORDS.join("\", \"")
            )),
        }
    }
}

/// A request or an answer as it stands on the wire.
pub(crate) fn line<T: Serialize>(message: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("strings, numbers and lists are valid JSON");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fixture;
    use crate::admin::rates::Rates;

    fn answer(line: &str) -> Answer {
        match Question::read(line.as_bytes()) {
            Ok(Question::Status) => {
                Answer::status(fixture::healthy().status(&Rates::default(), fixture::CLOCKS))
            }
            Ok(other @ (Question::Command(_) | Question::Order(_) | Question::Task(_))) => {
                panic!("{other:?}")
            }
            Err(complaint) => Answer::error(complaint),
        }
    }

    #[test]
    fn a_request_of_a_later_version_with_unknown_fields_is_answered() {
        let answer = answer(r#"{"version":2,"command":"status","colour":"blue"}"#);
        assert_eq!(answer.version, 1);
        assert_eq!(answer.error, None);
        assert_eq!(answer.ok.expect("a status").node, "lb1");
    }

    #[test]
    fn what_is_no_request_is_answered_with_the_reason() {
        let error = |line: &str| answer(line).error.expect("an error");
        assert!(error("").contains("this is no request"));
        assert!(error("[1]").contains("this is no request"));
        assert!(error("\u{ff}").contains("this is no request"));
        assert!(error(r#"{"command":"status"}"#).contains("missing field `version`"));
        assert!(error(r#"{"version":0,"command":"status"}"#).contains("version 0"));
        let unknown = error(r#"{"version":1,"command":"dance"}"#);
        assert!(unknown.contains("\"dance\"") && unknown.contains("\"kill-session\""));
        assert!(unknown.contains("\"handover\""));
        assert!(error(r#"{"version":1,"command":"kill-session"}"#).contains("`id`"));
        let nameless = r#"{"version":1,"command":"server-state","server":"x","state":"drain"}"#;
        assert!(error(nameless).contains("BACKEND/ADDRESS:PORT"));
    }

    #[test]
    fn a_command_is_read_from_the_same_line() {
        let line = br#"{"version":1,"command":"kill-session","id":"1f","colour":"blue"}"#;
        let id = "1f".to_owned();
        let command = Question::Command(Command::KillSession { id });
        assert_eq!(Question::read(line), Ok(command));
        let line = br#"{"version":1,"command":"maintenance-off"}"#;
        let order = Question::Order(Order::MaintenanceOff);
        assert_eq!(Question::read(line), Ok(order));
        let line = br#"{"version":1,"command":"reload"}"#;
        let task = Question::Task(Task::Reload {
            dry_run: false,
            only: None,
        });
        assert_eq!(Question::read(line), Ok(task));
    }

    #[test]
    fn an_answer_is_one_line_with_ok_or_error() {
        let text = String::from_utf8(line(&Answer::error("two\nlines"))).expect("JSON is UTF-8");
        assert_eq!(text, "{\"version\":1,\"error\":\"two\\nlines\"}\n");
        let asked = String::from_utf8(line(&Request::status())).expect("JSON is UTF-8");
        assert_eq!(asked, "{\"version\":1,\"command\":\"status\"}\n");
    }
}
