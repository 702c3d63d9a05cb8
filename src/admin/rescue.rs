//! What the nodes know of each other's sessions, in the status. Pure.

use std::time::Duration;

use common::status::{DrainStatus, LinkStatus, RemainingStatus, RescueStatus, StoppedStatus};
use common::time::Moment;

use super::view::{View, millis};

/// After the start of admin the connections have so long to come about.
const PATIENCE: Duration = Duration::from_secs(10);

/// `None` = the admins do not speak with each other: without a pair channel.
pub(crate) fn link(view: &View, now: Moment) -> Option<LinkStatus> {
    if !view.config.has_pair_channel(view.node) {
        return None;
    }
    let slot = &view.boards.admin.link;
    let since = |moment: Option<Moment>| moment.map(|at| millis(now, at));
    let left = view.left.peer().clone();
    let stopping = left.stopping.unwrap_or_else(|| RemainingStatus {
        sessions: slot.heard.get(),
        ..RemainingStatus::default()
    });
    Some(LinkStatus {
        telling_ms: since(slot.telling.get()),
        hearing_ms: since(slot.hearing.get()),
        told: slot.told.get(),
        heard: slot.heard.get(),
        connects: slot.connects.get(),
        failures: slot.failures.get(),
        refused: slot.refused.get(),
        untold: slot.untold.get(),
        strangers: slot.strangers.get(),
        problem: slot.problem.get(),
        drain: slot.peer_drain_until.get().map(|until| DrainStatus {
            since_ms_ago: since(slot.peer_stops.get()),
            ms_left: millis(until, now),
            closed: slot.peer_drain_closed.get(),
            reset: slot.peer_drain_reset.get(),
            left: stopping,
        }),
        stopped: slot.peer_stopped.get().map(|at| StoppedStatus {
            ms_ago: millis(now, at),
            closed: slot.peer_drain_closed.get(),
            reset: slot.peer_drain_reset.get(),
        }),
        retired: left.retired,
    })
}

/// `None` as above: nobody is told, since nothing is known.
pub(crate) fn status(view: &View, now: Moment) -> Option<RescueStatus> {
    if !view.config.has_pair_channel(view.node) {
        return None;
    }
    let slot = &view.boards.supervisor.rescue;
    let took = Some(slot.took.get()).filter(|took| *took != 0);
    Some(RescueStatus {
        runs: slot.runs.get(),
        clients: slot.clients_in_all.get(),
        freed: slot.freed_in_all.get(),
        pokes: slot.pokes_in_all.get(),
        refused: slot.refused_in_all.get(),
        cut_short: slot.cut_short.get(),
        problem: slot.problem.get(),
        last_ms_ago: slot.began.get().map(|at| millis(now, at)),
        last_took_ms: took.map(|nanos| nanos / 1_000_000),
        last_clients: slot.clients.get(),
        last_freed: slot.freed.get(),
    })
}

/// While the other node lives, and knows or tells nothing.
pub(crate) fn warning(view: &View, peer: &str, now: Moment) -> Option<String> {
    let link = link(view, now)?;
    let started = view.boards.admin.header.started.get()?;
    if now.since(started) < PATIENCE {
        return None;
    }
    let port = view.config.pair.port;
    match (link.telling_ms, link.hearing_ms) {
        (None, _) => Some(format!(
            "the admin process of {peer} is not told of this node's sessions, whose clients would wait in silence if this \
             machine were lost: {}; is TCP port {port} blocked, its key another, or its version older?",
            link.problem
        )),
        (Some(_), None) => Some(format!(
            "the admin process of {peer} tells nothing of its sessions, whose clients would wait in silence if its \
             machine were lost: is TCP port {port} blocked here?"
        )),
        (Some(_), Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fixture::{self, ago};

    #[test]
    fn a_link_that_is_missing_is_told_once_it_had_its_time() {
        let view = fixture::healthy();
        let now = fixture::CLOCKS.now;
        let slot = &view.boards.admin.link;
        view.boards.admin.header.started.set(ago(20_000));
        assert_eq!(warning(&view, "lb2", now), None);
        slot.hearing.clear();
        let said = warning(&view, "lb2", now).expect("it is not heard");
        assert!(
            said.contains("tells nothing") && said.contains("9601"),
            "{said}"
        );
        slot.telling.clear();
        slot.problem.set("no answer");
        let said = warning(&view, "lb2", now).expect("it is not told");
        assert!(
            said.contains("lb2 is not told") && said.contains(": no answer;"),
            "{said}"
        );
        view.boards.admin.header.started.set(ago(9_000));
        assert_eq!(warning(&view, "lb2", now), None);
    }

    #[test]
    fn what_stands_on_the_boards_is_shown() {
        let view = fixture::healthy();
        let now = fixture::CLOCKS.now;
        view.boards.admin.link.heard.set(214);
        let slot = &view.boards.supervisor.rescue;
        slot.began.set(ago(12_000));
        slot.clients.set(200);
        slot.freed.set(198);
        slot.freed_in_all.set(1_198);
        let shown = link(&view, now).expect("a pair");
        assert_eq!((shown.heard, shown.drain), (214, None));
        let until = now + Duration::from_secs(9);
        view.boards.admin.link.peer_drain_until.set(until);
        let drain = link(&view, now).expect("a pair").drain.expect("it stops");
        assert_eq!((drain.ms_left, drain.left.sessions), (9_000, 214));
        let shown = status(&view, now).expect("a pair");
        assert_eq!(
            (shown.last_ms_ago, shown.last_took_ms),
            (Some(12_000), None)
        );
        slot.took.set(93_000_000);
        let shown = status(&view, now).expect("a pair");
        assert_eq!(shown.last_took_ms, Some(93));
        assert_eq!((shown.last_freed, shown.freed), (198, 1_198));
        let mut config = fixture::config();
        config.pair.key_file = None;
        let alone = View {
            config: std::sync::Arc::new(config),
            ..view
        };
        assert!(status(&alone, now).is_none() && link(&alone, now).is_none());
    }
}
