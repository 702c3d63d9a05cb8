//! What an agent says of its server: HAProxy's `agent-check`. Pure: bytes in, words out.
//!
//! The answer is the first line, words between spaces, tabs or commas; a `#` begins a comment. A word
//! changes what it is about and nothing else, and of two about the same the later counts.

use common::board::{AdminState, AgentWord};

/// Most bytes of an answer that are looked at.
pub(crate) const MAX_ANSWER: usize = 1_024;
/// Greatest percentage: of a weight of 1 it makes the greatest weight.
const MAX_PERCENT: u32 = 25_600;

/// What one answer changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Whether the service runs.
    pub(crate) operating: Option<AgentWord>,
    /// Whether it is to have sessions.
    pub(crate) state: Option<AdminState>,
    /// Of the configured weight.
    pub(crate) percent: Option<u16>,
    /// Sessions at the same time; 0 = no limit.
    pub(crate) max_sessions: Option<u32>,
    /// The line, for people.
    pub(crate) text: String,
    /// The first word that means nothing.
    pub(crate) unknown: Option<String>,
}

/// Whether the answer is whole.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n')) || bytes.len() >= MAX_ANSWER
}

/// Reads a whole answer; `None` = there is no word in it.
pub(crate) fn read(bytes: &[u8]) -> Option<Said> {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next()?;
    let text = String::from_utf8_lossy(line.get(..MAX_ANSWER).unwrap_or(line));
    let text: String = text
        .chars()
        .filter(|c| !c.is_control() || *c == '\t')
        .collect();
    let (words, _) = text.split_once('#').unwrap_or((&text, ""));
    let mut said = Said {
        text: text.trim().to_owned(),
        ..Said::default()
    };
    for word in words
        .split([' ', '\t', ','])
        .filter(|word| !word.is_empty())
    {
        said.take(word);
    }
    let empty = Said {
        text: said.text.clone(),
        ..Said::default()
    };
    (said != empty).then_some(said)
}

impl Said {
    fn take(&mut self, word: &str) {
        match word.to_ascii_lowercase().as_str() {
            "up" => self.operating = Some(AgentWord::Up),
            "down" => self.operating = Some(AgentWord::Down),
            "stopped" => self.operating = Some(AgentWord::Stopped),
            "fail" | "failed" => self.operating = Some(AgentWord::Failed),
            "ready" => self.state = Some(AdminState::None),
            "drain" => self.state = Some(AdminState::Drain),
            "maint" => self.state = Some(AdminState::Maintenance),
            other => match number(other) {
                Some(Number::Percent(percent)) => self.percent = Some(percent),
                Some(Number::Sessions(most)) => self.max_sessions = Some(most),
                None => self.unknown = self.unknown.take().or_else(|| Some(word.to_owned())),
            },
        }
    }
}

enum Number {
    Percent(u16),
    Sessions(u32),
}

fn number(word: &str) -> Option<Number> {
    let digits = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| plain)
    };
    if let Some(number) = word.strip_suffix('%') {
        let percent = digits(number)?.min(MAX_PERCENT);
        return u16::try_from(percent).ok().map(Number::Percent);
    }
    word.strip_prefix("maxconn:")
        .and_then(digits)
        .map(Number::Sessions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Said {
        read(text.as_bytes()).expect("it says something")
    }

    #[test]
    fn each_word_is_about_one_thing() {
        for (word, wanted) in [
            ("up", AgentWord::Up),
            ("DOWN", AgentWord::Down),
            ("stopped", AgentWord::Stopped),
            ("fail", AgentWord::Failed),
            ("failed", AgentWord::Failed),
        ] {
            let only = Said {
                operating: Some(wanted),
                text: word.into(),
                ..Said::default()
            };
            assert_eq!(said(&format!("{word}\n")), only);
        }
        for (word, wanted) in [
            ("ready", AdminState::None),
            ("drain", AdminState::Drain),
            ("maint", AdminState::Maintenance),
        ] {
            let only = Said {
                state: Some(wanted),
                text: word.into(),
                ..Said::default()
            };
            assert_eq!(said(&format!("{word}\r\nrest")), only);
        }
    }

    #[test]
    fn words_combine_and_the_later_counts() {
        let all = said("  up, ready\t75%,maxconn:30 # all is well, down\n");
        assert_eq!(all.operating, Some(AgentWord::Up));
        assert_eq!(all.state, Some(AdminState::None));
        assert_eq!((all.percent, all.max_sessions), (Some(75), Some(30)));
        assert_eq!(
            (all.unknown, all.text.as_str()),
            (None, "up, ready\t75%,maxconn:30 # all is well, down")
        );
        let later = said("up 10% down 0% maxconn:1 maxconn:0");
        assert_eq!(later.operating, Some(AgentWord::Down));
        assert_eq!((later.percent, later.max_sessions), (Some(0), Some(0)));
    }

    #[test]
    fn numbers_are_plain_and_bounded() {
        assert_eq!(said("99999999%").percent, Some(25_600));
        assert_eq!(said("30000%").percent, Some(25_600));
        for wrong in [
            "%",
            "-1%",
            "+1%",
            "1.5%",
            "maxconn:",
            "maxconn:-1",
            "maxconn:99999999999",
            "50",
        ] {
            let said = said(wrong);
            assert_eq!((said.percent, said.max_sessions), (None, None), "{wrong}");
            assert_eq!(said.unknown.as_deref(), Some(wrong));
        }
    }

    #[test]
    fn an_answer_without_a_word_says_nothing() {
        for empty in ["", "\n", " ,\t\r\n", "# only a comment\n", "\nup\n"] {
            assert_eq!(read(empty.as_bytes()), None, "{empty:?}");
        }
        assert_eq!(said("up").operating, Some(AgentWord::Up));
        assert_eq!(
            said("\u{1b}up \u{fffd}").unknown.as_deref(),
            Some("\u{fffd}")
        );
    }

    #[test]
    fn a_line_ends_the_answer() {
        assert!(!is_whole(b"up"));
        assert!(is_whole(b"up\r") && is_whole(b"up\n") && is_whole(&[b'x'; MAX_ANSWER]));
    }
}
