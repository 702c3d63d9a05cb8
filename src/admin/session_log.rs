//! What became of the session logs' lines, as status shows it. Pure.

use std::time::Duration;

use common::status::SessionLogStatus;
use common::time::Moment;

use super::view::{View, millis};
use crate::status::human;

/// Lost lines are worth a warning for so long.
const RECENT: Duration = Duration::from_secs(600);

/// `None` = no listener logs its sessions.
pub(super) fn status(view: &View, now: Moment) -> Option<SessionLogStatus> {
    let mut listeners = view.config.listeners.iter();
    listeners.find(|listener| listener.session_log.is_some())?;
    let slot = &view.boards.proxy.session_log;
    Some(SessionLogStatus {
        written: slot.written.get(),
        lost: slot.lost.get(),
        lost_ms_ago: slot.lost_at.get().map(|at| millis(now, at)),
        problem: slot.problem.get(),
    })
}

/// What a human should look at.
pub(super) fn warnings(log: Option<&SessionLogStatus>) -> Vec<String> {
    let Some(log) = log else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if !log.problem.is_empty() {
        found.push(format!("a session log has a problem: {}", log.problem));
    }
    let age = log.lost_ms_ago.map(Duration::from_millis);
    if let Some(age) = age.filter(|age| *age < RECENT) {
        let (lines, were) = match log.lost {
            1 => ("line", "was"),
            _ => ("lines", "were"),
        };
        found.push(format!(
            "{} {lines} of the session log {were} lost, the last {} ago",
            log.lost,
            human::age(age)
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::admin::fixture::{self, CLOCKS};
    use crate::admin::rates::Rates;

    #[test]
    fn lines_and_problems_are_shown_and_lost_ones_warned_of_for_a_while() {
        let view = fixture::healthy();
        let now = || view.status(&Rates::default(), CLOCKS);
        let none = SessionLogStatus::default();
        assert_eq!(now().session_log, Some(none));
        assert_eq!(now().warnings, Vec::<String>::new());
        let slot = &view.boards.proxy.session_log;
        slot.written.set(1_000);
        slot.lost.set(7);
        slot.lost_at.set(CLOCKS.now - Duration::from_secs(599));
        slot.problem.set("/var/log/x.log: No space left on device");
        let status = now();
        let wanted = SessionLogStatus {
            written: 1_000,
            lost: 7,
            lost_ms_ago: Some(599_000),
            problem: "/var/log/x.log: No space left on device".to_owned(),
        };
        assert_eq!(status.session_log, Some(wanted));
        let warnings = [
            "a session log has a problem: /var/log/x.log: No space left on device",
            "7 lines of the session log were lost, the last 9m 59s ago",
        ];
        assert_eq!(status.warnings, warnings);
        slot.problem.set("");
        slot.lost_at.set(CLOCKS.now - RECENT);
        assert_eq!(now().warnings, Vec::<String>::new());
    }

    #[test]
    fn without_a_log_there_is_nothing_to_show() {
        let mut view = fixture::healthy();
        let mut config = fixture::config();
        for listener in &mut config.listeners {
            listener.session_log = None;
        }
        view.config = Arc::new(config);
        view.boards.proxy.session_log.lost_at.set(CLOCKS.now);
        let status = view.status(&Rates::default(), CLOCKS);
        assert_eq!(status.session_log, None);
        assert_eq!(status.warnings, Vec::<String>::new());
    }
}
