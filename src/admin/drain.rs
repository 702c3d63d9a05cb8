//! How the sessions of a stopping node come to their end, as status shows it. Pure.

use std::time::Duration;

use common::status::{DrainStatus, RemainingStatus};
use common::time::Moment;

use super::remaining;
use super::view::{View, millis};
use crate::status::human;

/// `None` = the node does not stop.
pub(super) fn status(view: &View, now: Moment) -> Option<DrainStatus> {
    let slot = &view.boards.proxy.drain;
    let until = slot.until.get()?;
    Some(DrainStatus {
        ms_left: millis(until, now),
        closed: slot.closed.get(),
        left: remaining::status(view, view.boards.proxy, now),
    })
}

/// What a human should know.
pub(super) fn warning(drain: &DrainStatus) -> String {
    let DrainStatus {
        ms_left,
        closed,
        left: RemainingStatus { sessions, .. },
    } = drain;
    let left = human::age(Duration::from_millis(*ms_left));
    let are = if *sessions == 1 {
        "1 session is"
    } else {
        &format!("{sessions} sessions are")
    };
    format!(
        "the node stops: {are} left, {closed} closed at a quiet moment; what is left in {left} is reset"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fixture::{self, CLOCKS};
    use crate::admin::metrics::page;
    use crate::admin::rates::Rates;

    #[test]
    fn what_is_left_is_shown_while_the_node_stops() {
        let view = fixture::healthy();
        let status = || view.status(&Rates::default(), CLOCKS);
        assert_eq!(status().drain, None);
        assert!(page(&view, &status(), CLOCKS).contains("\nfmc_lb_drain_seconds_left 0\n"));
        let slot = &view.boards.proxy.drain;
        slot.until.set(CLOCKS.now + Duration::from_secs(8));
        slot.closed.set(3);
        let sessions: u64 = status().listeners.iter().map(|one| one.sessions).sum();
        let drain = status().drain.expect("it stops");
        assert_eq!((drain.ms_left, drain.closed), (8_000, 3));
        assert_eq!(drain.left.sessions, sessions);
        let said = status().warnings;
        let words = format!(
            "{sessions} sessions are left, 3 closed at a quiet moment; what is left in 8.0 s"
        );
        assert!(said.iter().any(|one| one.contains(&words)), "{said:?}");
        let page = page(&view, &status(), CLOCKS);
        assert!(page.contains("\nfmc_lb_drain_seconds_left 8\n"), "{page}");
        assert!(page.contains("\nfmc_lb_drain_closed_total 3\n"), "{page}");
    }
}
