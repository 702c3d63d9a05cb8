//! Rates of the listeners, from samples of their counters over the last seconds. Pure.

use std::collections::VecDeque;

use common::board::ListenerSlot;
use common::time::Moment;

/// Samples that are kept; one is taken each second, so a rate looks back over about five seconds.
const SAMPLES: usize = 5;

/// What was counted of a listener at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub(crate) accepted: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) accept_errors: u64,
}

impl Totals {
    /// What the board says now.
    pub(crate) fn of(slot: &ListenerSlot) -> Self {
        Self {
            accepted: slot.accepted.get(),
            bytes_in: slot.bytes_in.get(),
            bytes_out: slot.bytes_out.get(),
            accept_errors: slot.accept_errors.get(),
        }
    }
}

/// Rates of one listener, per second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct PerSecond {
    pub(crate) accepted: f64,
    pub(crate) bytes_in: f64,
    pub(crate) bytes_out: f64,
    pub(crate) accept_errors: f64,
}

/// The samples of all listeners, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    samples: VecDeque<(Moment, Vec<Totals>)>,
}

impl Rates {
    /// Takes a sample of all listeners, in the order of the configuration.
    pub(crate) fn record(&mut self, now: Moment, totals: Vec<Totals>) {
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((now, totals));
    }

    /// The rates of one listener from the oldest sample until now; zero while there is none.
    pub(crate) fn of(&self, listener: usize, now: Moment, current: Totals) -> PerSecond {
        let Some((at, totals)) = self.samples.front() else {
            return PerSecond::default();
        };
        let seconds = now.since(*at).as_secs_f64();
        let Some(then) = totals.get(listener).filter(|_| seconds > 0.0) else {
            return PerSecond::default();
        };
        let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
        PerSecond {
            accepted: rate(then.accepted, current.accepted),
            bytes_in: rate(then.bytes_in, current.bytes_in),
            bytes_out: rate(then.bytes_out, current.bytes_out),
            accept_errors: rate(then.accept_errors, current.accept_errors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(accepted: u64) -> Totals {
        Totals {
            accepted,
            bytes_in: accepted * 100,
            bytes_out: accepted * 1_000,
            accept_errors: 0,
        }
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn without_a_sample_or_without_time_there_is_no_rate() {
        let mut rates = Rates::default();
        assert_eq!(rates.of(0, at(9), totals(50)), PerSecond::default());
        rates.record(at(9), vec![totals(0)]);
        assert_eq!(rates.of(0, at(9), totals(50)), PerSecond::default());
        assert_eq!(rates.of(1, at(10), totals(50)), PerSecond::default());
    }

    #[test]
    fn a_rate_looks_back_over_the_kept_samples_only() {
        let mut rates = Rates::default();
        // 1,000 a second until second 10, then nothing.
        for second in 0..=10 {
            rates.record(at(second), vec![totals(second * 1_000)]);
        }
        let busy = rates.of(0, at(11), totals(10_000));
        assert!((busy.accepted - 800.0).abs() < 1e-9, "{busy:?}");
        assert!((busy.bytes_in - 80_000.0).abs() < 1e-6, "{busy:?}");
        assert!((busy.bytes_out - 800_000.0).abs() < 1e-6, "{busy:?}");
        for second in 11..=15 {
            rates.record(at(second), vec![totals(10_000)]);
        }
        assert_eq!(rates.of(0, at(16), totals(10_000)), PerSecond::default());
    }

    #[test]
    fn a_counter_that_went_back_is_no_rate() {
        let mut rates = Rates::default();
        rates.record(at(1), vec![totals(500)]);
        assert_eq!(rates.of(0, at(2), totals(3)), PerSecond::default());
    }
}
