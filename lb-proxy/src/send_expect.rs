//! The steps of a dialogue with a server: what the bytes so far mean, and how a failure is told.
//! Pure.

use common::board::ProbeStatus;
use common::config::{Escaped, Step, StepAction};

use crate::finding::Finding;
use crate::health::Verdict;
use crate::http_answer::Input;

/// Most bytes of a server that are looked at after something was sent.
pub(crate) const MAX_ANSWER: usize = 16 * 1024;
/// Most bytes of a text that a reason quotes: it has 128 bytes on the board.
const QUOTED: usize = 24;

/// A step, and which one it is, from 0 on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) index: usize,
    pub(crate) step: &'a Step,
}

/// Whether a step that expects something is done, by all that the server has said; `None` = more may
/// come. Of a yes and a no the one counts that was said first, however the bytes have come.
pub(crate) fn judge(place: Place<'_>, said: &[u8], input: Input) -> Option<Result<(), Verdict>> {
    let (text, fail) = match &place.step.action {
        StepAction::Expect { text, fail } => (text, fail),
        // It is done when it was sent.
        StepAction::Send(_) => return Some(Ok(())),
    };
    let no = fail.as_ref().and_then(|fail| end_of(said, fail));
    match (end_of(said, text), no) {
        (Some(yes), Some(no)) if yes < no => return Some(Ok(())),
        (Some(_), None) => return Some(Ok(())),
        (_, Some(_)) => return Some(Err(place.failed(ProbeStatus::L7Sts, "no", said))),
        (None, None) => {}
    }
    let (status, words) = match input {
        Input::Open => return None,
        Input::Late if said.is_empty() => (ProbeStatus::L7Tout, "no answer in time"),
        Input::Late => (ProbeStatus::L7Tout, "not in time"),
        Input::Ended if said.len() >= MAX_ANSWER => (ProbeStatus::L7Rsp, "not within 16 KiB"),
        Input::Ended => (ProbeStatus::L7Rsp, "closed"),
    };
    Some(Err(place.failed(status, words, said)))
}

/// Where a text that was said ends. Each byte is looked at once for each byte of the text at most: both
/// are bounded.
fn end_of(said: &[u8], text: &[u8]) -> Option<usize> {
    let start = said.windows(text.len()).position(|window| window == text)?;
    Some(start + text.len())
}

impl Place<'_> {
    /// `not in time at step 2 (expect "+PONG"), got "-LOADING"`
    pub(crate) fn failed(self, status: ProbeStatus, words: &str, said: &[u8]) -> Verdict {
        let got = match said {
            [] => String::new(),
            said => format!(", got {}", quoted(said)),
        };
        Verdict::Failed(Finding::new(
            status,
            format!("{words} at step {}{got}", self.called()),
        ))
    }

    /// What has become of sending, with the step.
    pub(crate) fn of_sending(self, verdict: Verdict) -> Verdict {
        match verdict {
            Verdict::Failed(finding) => self.failed(finding.status, &finding.words, &[]),
            Verdict::Good(_) | Verdict::NotReady(_) | Verdict::NotAsked(_) => verdict,
        }
    }

    /// `2 (expect "+PONG")`, or with its comment
    fn called(self) -> String {
        let number = self.index + 1;
        match (&self.step.comment, &self.step.action) {
            (Some(comment), _) => format!("{number} ({comment})"),
            (None, StepAction::Send(bytes)) => format!("{number} (send {})", quoted(bytes)),
            (None, StepAction::Expect { text, .. }) => {
                format!("{number} (expect {})", quoted(text))
            }
        }
    }
}

fn quoted(bytes: &[u8]) -> String {
    match bytes.get(..QUOTED) {
        Some(first) if bytes.len() > QUOTED => format!("\"{}…\"", Escaped(first)),
        Some(_) | None => format!("\"{}\"", Escaped(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expects(text: &[u8], fail: Option<&[u8]>) -> Step {
        Step {
            action: StepAction::Expect {
                text: text.to_vec(),
                fail: fail.map(<[u8]>::to_vec),
            },
            comment: None,
        }
    }

    fn verdict(step: &Step, said: &[u8], input: Input) -> Option<Result<(), String>> {
        let verdict = judge(Place { index: 1, step }, said, input)?;
        Some(verdict.map_err(|verdict| match verdict {
            Verdict::Failed(finding) => finding.to_string(),
            other @ (Verdict::Good(_) | Verdict::NotReady(_) | Verdict::NotAsked(_)) => {
                panic!("{other:?}")
            }
        }))
    }

    fn failure(step: &Step, said: &[u8], input: Input) -> String {
        verdict(step, said, input)
            .expect("it is decided")
            .expect_err("it has failed")
    }

    #[test]
    fn a_text_may_stand_anywhere_and_come_late() {
        let step = expects(b"+PONG", None);
        for input in [Input::Open, Input::Ended, Input::Late] {
            assert_eq!(verdict(&step, b"a\r\n+PONG\r\n", input), Some(Ok(())));
        }
        assert_eq!(verdict(&step, b"", Input::Open), None);
        assert_eq!(verdict(&step, b"+PON", Input::Open), None);
    }

    #[test]
    fn of_a_yes_and_a_no_the_first_counts() {
        let step = expects(b"OK", Some(b"-"));
        for said in [&b"-LOADING"[..], b"- OK", b"O-K"] {
            let words = failure(&step, said, Input::Open);
            let start = "L7STS: no at step 2 (expect \"OK\"), got \"";
            assert!(words.starts_with(start), "{words}");
        }
        assert_eq!(verdict(&step, b"OK -", Input::Open), Some(Ok(())));
        let within = expects(b"-OK", Some(b"-"));
        assert!(matches!(
            verdict(&within, b"-OK", Input::Open),
            Some(Err(_))
        ));
    }

    #[test]
    fn each_end_has_its_words() {
        let step = expects(b"+PONG\r\n", None);
        let at = "at step 2 (expect \"+PONG\\r\\n\")";
        for (said, input, words) in [
            (
                &b""[..],
                Input::Late,
                format!("L7TOUT: no answer in time {at}"),
            ),
            (
                b"+P",
                Input::Late,
                format!("L7TOUT: not in time {at}, got \"+P\""),
            ),
            (b"", Input::Ended, format!("L7RSP: closed {at}")),
            (
                b"\x00\"",
                Input::Ended,
                format!("L7RSP: closed {at}, got \"\\x00\"\""),
            ),
        ] {
            assert_eq!(failure(&step, said, input), words);
        }
        let long = failure(&step, &[b'x'; MAX_ANSWER], Input::Ended);
        let quote = "x".repeat(QUOTED);
        assert_eq!(
            long,
            format!("L7RSP: not within 16 KiB {at}, got \"{quote}…\"")
        );
    }

    #[test]
    fn a_comment_is_the_name_of_its_step() {
        let step = Step {
            comment: Some("ping".into()),
            ..expects(b"+PONG", None)
        };
        assert_eq!(
            failure(&step, b"", Input::Ended),
            "L7RSP: closed at step 2 (ping)"
        );
    }

    proptest! {
        #[test]
        fn what_a_part_decides_the_whole_says_too(said in "[ab-]{0,12}", at in 0_usize..12) {
            let step = expects(b"ab", Some(b"b-"));
            let said = said.as_bytes();
            let good = |said| verdict(&step, said, Input::Open).map(|verdict| verdict.is_ok());
            if let Some(decided) = good(&said[..at.min(said.len())]) {
                prop_assert_eq!(good(said), Some(decided));
            }
        }
    }
}
