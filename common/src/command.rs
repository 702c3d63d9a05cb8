//! What a running node can be told and asked beside `status`: the words of the command line, the
//! admin socket and the data plane are the same.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Version of commands and replies.
pub const VERSION: u32 = 1;
/// Sessions in one [`SessionList`].
pub const MOST_SESSIONS: usize = 1_000;

/// A command, by its word in `command`; unknown fields are skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Says of a server's state.
    ServerState {
        server: ServerName,
        state: Wish,
        /// Milliseconds until it ends by itself; `None` = it does not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
    },
    /// Gives a server another weight, 0 to 256; `None` = the configured one.
    ServerWeight {
        server: ServerName,
        #[serde(default)]
        weight: Option<u16>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
    },
    /// Adds a server to a backend; what is not said is as for a server of the file.
    ServerAdd {
        server: ServerName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight: Option<u16>,
        #[serde(default)]
        backup: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_sessions: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
    },
    /// Puts a server with another address in the place of one.
    ServerAddress {
        server: ServerName,
        address: SocketAddr,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
    },
    ServerRemove {
        server: ServerName,
        #[serde(default)]
        sessions: Remaining,
    },
    /// The listener accepts no more: connections wait in the kernel's queue.
    ListenerPause {
        listener: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
    },
    ListenerResume {
        listener: String,
    },
    /// Asks for the oldest sessions.
    Sessions {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        listener: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server: Option<SocketAddr>,
    },
    KillSession {
        id: String,
    },
    KillServerSessions {
        server: ServerName,
    },
    KillListenerSessions {
        listener: String,
    },
}

/// What an administrator wants of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// Nothing: it is what the probes say.
    Ready,
    /// No new session; old ones go on, and so do the probes.
    Drain,
    /// The same without probes.
    Maintenance,
}

/// What becomes of the sessions of a server that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remaining {
    /// It must be in maintenance and have none, else it stays.
    #[default]
    Refuse,
    /// They go on, and it has left when the last one has ended.
    Drain,
    /// They are ended by RST to both sides.
    Cut,
}

/// A server as it is named on the command line: `BACKEND/ADDRESS:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerName {
    pub backend: String,
    pub address: SocketAddr,
}

/// What is no [`ServerName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no server: write BACKEND/ADDRESS:PORT, for example k3s-api/10.17.4.21:6443")]
pub struct NoServerName(String);

/// The answer to a [`Command`], an [`crate::order::Order`] or a [`crate::task::Task`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reply {
    pub version: u32,
    /// What was done, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<SessionList>,
    /// How many sessions were killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub killed: Option<u64>,
    /// Why it was not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// It was not done because the configuration file is not valid: `error` is the whole report.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub invalid: bool,
    /// Of a reload: hash of the effective configuration that the file has, see
    /// [`crate::config::Config::effective_hash`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<u64>,
}

/// The oldest sessions of those that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionList {
    /// The oldest first, at most [`MOST_SESSIONS`].
    pub sessions: Vec<SessionStatus>,
    /// How many more there are.
    pub more: u64,
    /// Proxies that have retired and did not say which sessions they have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<String>,
}

/// One session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionStatus {
    pub id: String,
    pub listener: String,
    /// The client: as a PROXY protocol header names it, else as the socket does.
    pub client: String,
    /// Who connected, where a header has named another client.
    pub via: Option<String>,
    /// `None` while the client has no server yet.
    pub backend: Option<String>,
    pub server: Option<String>,
    pub age_ms: u64,
    /// From the client.
    pub bytes_in: u64,
    /// To the client.
    pub bytes_out: u64,
}

impl Command {
    /// The words of all commands.
    pub const WORDS: &[&str] = &[
        "server-state",
        "server-weight",
        "server-add",
        "server-address",
        "server-remove",
        "listener-pause",
        "listener-resume",
        "sessions",
        "kill-session",
        "kill-server-sessions",
        "kill-listener-sessions",
    ];

    /// Whether it is about sessions alone: those of proxies that have retired are meant, too.
    pub const fn is_of_sessions(&self) -> bool {
        match self {
            Self::Sessions { .. }
            | Self::KillSession { .. }
            | Self::KillServerSessions { .. }
            | Self::KillListenerSessions { .. } => true,
            Self::ServerState { .. }
            | Self::ServerWeight { .. }
            | Self::ServerAdd { .. }
            | Self::ServerAddress { .. }
            | Self::ServerRemove { .. }
            | Self::ListenerPause { .. }
            | Self::ListenerResume { .. } => false,
        }
    }

    /// Whether it changes something, which only root may.
    pub const fn acts(&self) -> bool {
        match self {
            Self::Sessions { .. } => false,
            Self::ServerState { .. }
            | Self::ServerWeight { .. }
            | Self::ServerAdd { .. }
            | Self::ServerAddress { .. }
            | Self::ServerRemove { .. }
            | Self::ListenerPause { .. }
            | Self::ListenerResume { .. }
            | Self::KillSession { .. }
            | Self::KillServerSessions { .. }
            | Self::KillListenerSessions { .. } => true,
        }
    }
}

impl Reply {
    pub fn done(what: impl Into<String>) -> Self {
        Self {
            version: VERSION,
            done: Some(what.into()),
            ..Self::default()
        }
    }

    /// Of a reload.
    pub fn done_with(what: impl Into<String>, config_hash: u64) -> Self {
        Self {
            config_hash: Some(config_hash),
            ..Self::done(what)
        }
    }

    /// So many sessions.
    pub fn killed(count: u64) -> Self {
        Self {
            killed: Some(count),
            ..Self::done(match count {
                1 => "1 session was killed".to_owned(),
                count => format!("{count} sessions were killed"),
            })
        }
    }

    pub fn sessions(list: SessionList) -> Self {
        Self {
            version: VERSION,
            sessions: Some(list),
            ..Self::default()
        }
    }

    pub fn error(why: impl Into<String>) -> Self {
        Self {
            version: VERSION,
            error: Some(why.into()),
            ..Self::default()
        }
    }

    /// `report` ends with a line of its own.
    pub fn invalid(report: impl Into<String>) -> Self {
        Self {
            invalid: true,
            ..Self::error(report)
        }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.backend, self.address)
    }
}

impl FromStr for ServerName {
    type Err = NoServerName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NoServerName(text.to_owned());
        let (backend, address) = text.split_once('/').ok_or_else(wrong)?;
        let address = address.parse().map_err(|_| wrong())?;
        Ok(Self {
            backend: backend.to_owned(),
            address,
        })
    }
}

impl TryFrom<String> for ServerName {
    type Error = NoServerName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ServerName> for String {
    fn from(name: ServerName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> ServerName {
        "k3s-api/[fd00::1]:6443".parse().expect("a name")
    }

    fn one_of_each() -> Vec<Command> {
        let listener = || "api".to_owned();
        vec![
            Command::ServerState {
                server: server(),
                state: Wish::Drain,
                for_ms: Some(5),
            },
            Command::ServerWeight {
                server: server(),
                weight: Some(0),
                for_ms: None,
            },
            Command::ServerAdd {
                server: server(),
                weight: Some(3),
                backup: true,
                max_sessions: None,
                for_ms: None,
            },
            Command::ServerAddress {
                server: server(),
                address: server().address,
                for_ms: Some(1),
            },
            Command::ServerRemove {
                server: server(),
                sessions: Remaining::Drain,
            },
            Command::ListenerPause {
                listener: listener(),
                for_ms: None,
            },
            Command::ListenerResume {
                listener: listener(),
            },
            Command::Sessions {
                listener: None,
                server: None,
            },
            Command::KillSession {
                id: "1f".to_owned(),
            },
            Command::KillServerSessions { server: server() },
            Command::KillListenerSessions {
                listener: listener(),
            },
        ]
    }

    #[test]
    fn a_command_comes_back_as_it_was_said_under_its_word() {
        for (command, word) in one_of_each().into_iter().zip(Command::WORDS) {
            let text = serde_json::to_string(&command).expect("JSON");
            assert!(text.contains(&format!("\"command\":\"{word}\"")), "{text}");
            assert_eq!(serde_json::from_str::<Command>(&text).ok(), Some(command));
        }
    }

    #[test]
    fn unknown_fields_are_skipped_and_missing_ones_are_none() {
        let text = r#"{"version":2,"command":"server-state","server":"a/10.0.0.1:1","state":"ready","why":"x"}"#;
        let command: Command = serde_json::from_str(text).expect("a command");
        assert!(matches!(command, Command::ServerState { for_ms: None, .. }));
        let reply: Reply = serde_json::from_str(r#"{"version":2,"later":1}"#).expect("a reply");
        assert_eq!(
            (reply.done, reply.sessions, reply.error),
            (None, None, None)
        );
    }

    #[test]
    fn a_server_is_named_by_backend_and_address() {
        assert_eq!(server().to_string(), "k3s-api/[fd00::1]:6443");
        for wrong in ["", "10.0.0.1:1", "a/10.0.0.1", "a/host:1"] {
            let error = wrong.parse::<ServerName>().expect_err("wrong");
            assert!(error.to_string().contains("BACKEND/ADDRESS:PORT"));
        }
    }
}
