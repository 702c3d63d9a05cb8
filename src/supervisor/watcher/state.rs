//! When a group of files is to be read, and what a reading means. Pure.

use std::fmt;
use std::time::Duration;

use common::time::Moment;

/// What is refused is read again after so long even if it stays as it is: a certificate may not be
/// valid yet.
const AGAIN: Duration = Duration::from_secs(60);

/// What is seen of a file without reading it (stat(2)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stamp {
    File {
        /// Device and inode.
        file: (u64, u64),
        size: u64,
        /// Seconds and nanoseconds.
        modified: (i64, i64),
        /// Of its inode: also told where the time of modification was set back.
        changed: (i64, i64),
    },
    /// Why nothing is seen.
    Absent(String),
}

/// What stands for a content that is not kept.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
        let mut words = [0; 32];
        words.copy_from_slice(digest.as_ref());
        Self(words)
    }
}

impl fmt::Debug for Digest {
    /// Of a secret not even this is to be in a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Digest")
    }
}

/// What a reading has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// After a refusal: what is on disk is what is in use.
    InUse,
    Refused(String),
    /// New, and good: in use from now on.
    Good,
}

/// What is known of a group.
#[derive(Debug)]
pub(super) struct State {
    in_use: Vec<Digest>,
    /// At the last look.
    last: Option<Vec<Stamp>>,
    /// When it was read the last time.
    read: Option<Vec<Stamp>>,
    refused: Option<String>,
    /// How long what is on disk may be bad before that is told: files of a group are not written in
    /// one moment.
    patience: Duration,
    /// Since when it is.
    bad_since: Option<Moment>,
    /// When it is to be read again though nothing has changed.
    again: Option<Moment>,
}

impl State {
    /// Never looked at, so it will be read: what is in use may be older than what is on disk.
    pub(super) fn new(in_use: Vec<Digest>, patience: Duration) -> Self {
        Self {
            in_use,
            last: None,
            read: None,
            refused: None,
            patience,
            bad_since: None,
            again: None,
        }
    }

    /// Takes what a look has seen; whether the group is to be read now.
    pub(super) fn is_due(&mut self, seen: &[Stamp], now: Moment) -> bool {
        let still = self.last.as_deref() == Some(seen);
        if !still {
            self.last = Some(seen.to_vec());
        }
        let again = self.again.is_some_and(|at| now >= at);
        still && (again || self.read.as_deref() != Some(seen))
    }

    /// Takes what was read, or why it could not be; it did not change meanwhile.
    pub(super) fn handle_read(
        &mut self,
        (seen, now): (Vec<Stamp>, Moment),
        read: Result<Vec<Digest>, String>,
        judge: impl FnOnce() -> Result<(), String>,
    ) -> Option<Found> {
        self.read = Some(seen);
        self.again = None;
        let digests = match read {
            Ok(digests) if digests == self.in_use => {
                self.bad_since = None;
                return self.refused.take().map(|_| Found::InUse);
            }
            Ok(digests) => digests,
            Err(why) => return self.refuse(why, now),
        };
        if let Err(why) = judge() {
            return self.refuse(why, now);
        }
        self.in_use = digests;
        self.refused = None;
        self.bad_since = None;
        Some(Found::Good)
    }

    /// What was found good could not be passed on: it is to be read again.
    pub(super) fn look_again(&mut self) {
        self.read = None;
        self.in_use.clear();
    }

    /// The same again is no news.
    fn refuse(&mut self, why: String, now: Moment) -> Option<Found> {
        let since = *self.bad_since.get_or_insert(now);
        if self.refused.is_none() && now.since(since) < self.patience {
            self.again = Some(since + self.patience);
            return None;
        }
        self.again = Some(now + AGAIN);
        if self.refused.as_ref() == Some(&why) {
            return None;
        }
        self.refused = Some(why.clone());
        Some(Found::Refused(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64, size: u64) -> Vec<Stamp> {
        vec![Stamp::File {
            file: (1, inode),
            size,
            modified: (0, 0),
            changed: (0, 0),
        }]
    }

    fn state() -> State {
        State::new(vec![Digest::of(b"old")], Duration::ZERO)
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(1) + Duration::from_secs(seconds)
    }

    fn read(state: &mut State, seen: Vec<Stamp>, text: &[u8]) -> Option<Found> {
        read_at(state, (seen, at(0)), text)
    }

    fn read_at(state: &mut State, seen: (Vec<Stamp>, Moment), text: &[u8]) -> Option<Found> {
        let judge = || match text {
            b"bad" => Err("line 1".to_owned()),
            _ => Ok(()),
        };
        state.handle_read(seen, Ok(vec![Digest::of(text)]), judge)
    }

    #[test]
    fn a_file_is_read_once_it_is_at_rest() {
        let mut state = state();
        let looks = [file(1, 3), file(1, 9), file(1, 20), file(1, 20)];
        let due: Vec<bool> = looks.iter().map(|seen| state.is_due(seen, at(0))).collect();
        assert_eq!(due, [false, false, false, true]);
        assert_eq!(read(&mut state, file(1, 20), b"new"), Some(Found::Good));
        assert!(!state.is_due(&file(1, 20), at(0)), "it was read");
        assert!(!state.is_due(&file(2, 20), at(0)), "renamed over");
        assert!(state.is_due(&file(2, 20), at(0)));
    }

    #[test]
    fn what_is_in_use_already_is_no_news() {
        let mut state = state();
        assert_eq!(read(&mut state, file(1, 3), b"old"), None);
        assert_eq!(read(&mut state, file(2, 3), b"old"), None);
    }

    #[test]
    fn a_refusal_is_told_once_and_its_end_too() {
        let mut state = state();
        let bad = Some(Found::Refused("line 1".to_owned()));
        assert_eq!(read(&mut state, file(1, 3), b"bad"), bad);
        assert_eq!(read(&mut state, file(2, 3), b"bad"), None);
        let gone = || Err("not there".to_owned());
        let found = state.handle_read((Vec::new(), at(0)), gone(), || Ok(()));
        assert_eq!(found, Some(Found::Refused("not there".to_owned())));
        assert_eq!(read(&mut state, file(3, 3), b"old"), Some(Found::InUse));
        assert_eq!(read(&mut state, file(4, 3), b"bad"), bad, "it is new again");
        assert_eq!(read(&mut state, file(5, 3), b"new"), Some(Found::Good));
        assert_eq!(read(&mut state, file(6, 3), b"new"), None);
    }

    #[test]
    fn what_could_not_be_passed_on_is_read_again() {
        let mut state = state();
        state.is_due(&file(1, 3), at(0));
        assert!(state.is_due(&file(1, 3), at(0)));
        assert_eq!(read(&mut state, file(1, 3), b"new"), Some(Found::Good));
        state.look_again();
        assert!(state.is_due(&file(1, 3), at(0)));
        assert_eq!(read(&mut state, file(1, 3), b"new"), Some(Found::Good));
    }

    #[test]
    fn files_of_a_group_have_time_to_fit_together() {
        let patience = Duration::from_secs(10);
        let mut state = State::new(vec![Digest::of(b"old")], patience);
        let bad = Some(Found::Refused("line 1".to_owned()));
        state.is_due(&file(1, 3), at(0));
        assert!(state.is_due(&file(1, 3), at(1)));
        assert_eq!(read_at(&mut state, (file(1, 3), at(1)), b"bad"), None);
        assert!(
            !state.is_due(&file(1, 3), at(10)),
            "it may still become good"
        );
        assert!(state.is_due(&file(1, 3), at(11)));
        assert_eq!(read_at(&mut state, (file(1, 3), at(11)), b"bad"), bad);
        // The time is not given twice.
        assert_eq!(
            state.handle_read((file(2, 3), at(12)), Err("gone".to_owned()), || Ok(())),
            Some(Found::Refused("gone".to_owned()))
        );
        assert_eq!(
            read_at(&mut state, (file(3, 3), at(13)), b"new"),
            Some(Found::Good)
        );
        assert_eq!(read_at(&mut state, (file(4, 3), at(14)), b"bad"), None);
        assert_eq!(
            read_at(&mut state, (file(5, 3), at(15)), b"newer"),
            Some(Found::Good)
        );
    }

    #[test]
    fn what_is_refused_is_tried_again_now_and_then() {
        let mut state = state();
        state.is_due(&file(1, 3), at(0));
        assert!(state.is_due(&file(1, 3), at(1)));
        assert!(read_at(&mut state, (file(1, 3), at(1)), b"bad").is_some());
        assert!(!state.is_due(&file(1, 3), at(60)));
        assert!(state.is_due(&file(1, 3), at(61)));
        assert_eq!(read_at(&mut state, (file(1, 3), at(61)), b"bad"), None);
        assert!(!state.is_due(&file(1, 3), at(62)));
    }
}
