//! How the sessions of a stopping node come to their end, as status shows it. Pure.

use std::time::Duration;

use common::status::DrainStatus;
use common::time::Moment;

use super::remaining;
use super::view::{View, millis};
use crate::status::human;

/// What is told of a stop, beside what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    /// When it was asked for; `None` = the supervisor is of a version that does not say it.
    pub(crate) since: Option<Moment>,
    /// When what is left is reset.
    pub(crate) until: Moment,
    pub(crate) closed: u64,
    pub(crate) reset: u64,
}

impl Stop {
    /// `None` = the node does not stop.
    pub(crate) fn of(view: &View) -> Option<Self> {
        let (stop, proxy) = (&view.boards.supervisor.stop, view.boards.proxy);
        let since = stop.since.get();
        // The drain begins when vrrp has ended.
        let expected = since.map(|since| since + Duration::from_nanos(stop.drain.get()));
        Some(Self {
            since,
            until: proxy.drain.until.get().or(expected)?,
            closed: proxy.drain.closed.get(),
            reset: proxy.drain_reset.get(),
        })
    }
}

/// `None` = the node does not stop.
pub(super) fn status(view: &View, now: Moment) -> Option<DrainStatus> {
    let stop = Stop::of(view)?;
    Some(DrainStatus {
        since_ms_ago: stop.since.map(|at| millis(now, at)),
        ms_left: millis(stop.until, now),
        closed: stop.closed,
        reset: stop.reset,
        left: remaining::status(view, view.boards.proxy, now),
    })
}

/// What a human should know, of this node or the other one.
pub(super) fn warning(drain: &DrainStatus, who: &str) -> String {
    let since = drain.since_ms_ago.map(Duration::from_millis);
    let since = since.map_or_else(String::new, |since| format!(" since {}", human::age(since)));
    let sessions = drain.left.sessions;
    let are = if sessions == 1 {
        "1 session is"
    } else {
        &format!("{sessions} sessions are")
    };
    let (closed, reset) = (drain.closed, drain.reset);
    let left = human::age(Duration::from_millis(drain.ms_left));
    format!(
        "{who} stops{since}, as it was told to: {are} left, {closed} closed at a quiet moment, {reset} reset; what is \
         left in {left} is reset"
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
        view.boards.proxy.drain_reset.set(2);
        view.boards.supervisor.stop.since.set(fixture::ago(2_000));
        let sessions: u64 = status().listeners.iter().map(|one| one.sessions).sum();
        let drain = status().drain.expect("it stops");
        assert_eq!((drain.ms_left, drain.closed), (8_000, 3));
        assert_eq!(drain.left.sessions, sessions);
        let said = status().warnings;
        let words = format!(
            "lb1 stops since 2.0 s, as it was told to: {sessions} sessions are left, 3 closed at a quiet moment, 2 reset; \
             what is left in 8.0 s is reset"
        );
        assert!(said.iter().any(|one| one.contains(&words)), "{said:?}");
        let page = page(&view, &status(), CLOCKS);
        assert!(page.contains("\nfmc_lb_drain_seconds_left 8\n"), "{page}");
        assert!(page.contains("\nfmc_lb_drain_closed_total 3\n"), "{page}");
        assert!(page.contains("\nfmc_lb_drain_reset_total 2\n"), "{page}");
    }
}
