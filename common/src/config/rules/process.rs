//! What the processes and the service's unit must agree on.

use std::time::Duration;

use crate::config::diagnostic::Findings;
use crate::config::draft::Draft;
use crate::config::kind::show_duration;

/// Longest drain that the unit which is shipped waits for.
const UNIT_DRAIN: Duration = Duration::from_secs(30);
/// What the unit waits beyond the drain, for everything else that belongs to a stop.
const UNIT_MARGIN: Duration = Duration::from_secs(10);

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    let Some(drain) = &draft.drain else {
        return;
    };
    if drain.value > UNIT_DRAIN {
        let unit = show_duration(UNIT_DRAIN + UNIT_MARGIN);
        findings.warn(
            drain.span,
            format!(
                "a drain of {} is longer than systemd waits for a stop: after TimeoutStopSec={unit} of the unit \
                 that is shipped it kills what is left",
                show_duration(drain.value)
            ),
            format!(
                "set TimeoutStopSec= of the unit to at least {} (drain + {})",
                show_duration(drain.value + UNIT_MARGIN),
                show_duration(UNIT_MARGIN)
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_waits_for_the_drain_that_needs_no_warning() {
        let unit = include_str!("../../../../configs/systemd/fmc-lb.service");
        let limit = format!(
            "\nTimeoutStopSec={}\n",
            show_duration(UNIT_DRAIN + UNIT_MARGIN)
        );
        assert!(unit.contains(&limit), "the unit has no {limit:?}");
    }
}
