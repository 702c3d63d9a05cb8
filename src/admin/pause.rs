//! How long an accept loop pauses after an error (descriptors used up, …): it never spins and never ends. Pure.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// 10 ms, doubled with each error in a row, at most a second.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    last: Option<Duration>,
}

impl Pause {
    /// The pause after one more error.
    pub(crate) fn after_error(&mut self) -> Duration {
        let next = self.last.map_or(FIRST, |last| (last * 2).min(LONGEST));
        self.last = Some(next);
        next
    }

    /// It went well: the next pause is the first again.
    pub(crate) fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second_and_start_again() {
        let mut pause = Pause::default();
        let millis: Vec<_> = (0..9).map(|_| pause.after_error().as_millis()).collect();
        assert_eq!(millis, [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000]);
        pause.reset();
        assert_eq!(pause.after_error(), FIRST);
    }
}
