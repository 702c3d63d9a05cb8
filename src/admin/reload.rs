//! The running configuration and the last reload, as status shows them. Pure.

use std::time::Duration;

use common::board::ReloadEnd;
use common::status::ReloadStatus;
use common::time::Moment;

use super::view::{View, millis};
use crate::status::human;

pub(super) fn status(view: &View, now: Moment) -> ReloadStatus {
    let slot = &view.boards.supervisor.reload;
    let ago = |at: Moment| millis(now, at);
    ReloadStatus {
        since_ms_ago: slot.since.get().map(ago),
        last: ReloadEnd::from_board(slot.end.get()).word().to_owned(),
        last_ms_ago: slot.ended.get().map(ago),
        reason: slot.reason.get(),
        applied: slot.applied.get(),
        failed: slot.failed.get(),
        file_differs: slot.differs.get() != 0,
    }
}

/// What a human should look at.
pub(super) fn warnings(status: &ReloadStatus) -> Vec<String> {
    let mut found = Vec::new();
    if !status.reason.is_empty() {
        let ago = Duration::from_millis(status.last_ms_ago.unwrap_or_default());
        found.push(format!(
            "the last reload, {} ago, changed nothing: {}",
            human::age(ago),
            status.reason
        ));
    }
    if status.file_differs {
        found.push(
            "the configuration file on disk differs from what runs: `fmc-lb reload --dry-run` shows how"
                .to_owned(),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fixture::{self, CLOCKS, ago};
    use crate::admin::rates::Rates;

    #[test]
    fn a_reload_shows_how_it_ended_and_the_file_what_it_is() {
        let view = fixture::healthy();
        let slot = &view.boards.supervisor.reload;
        slot.since.set(ago(9_000));
        let status = view.status(&Rates::default(), CLOCKS);
        assert_eq!(status.reload.since_ms_ago, Some(9_000));
        assert_eq!(status.reload.last, "none");
        assert_eq!(status.warnings, [""; 0]);
        slot.end.set(ReloadEnd::Invalid.on_board());
        slot.ended.set(ago(2_000));
        slot.reason.set("line 3: unknown key");
        slot.failed.set(2);
        slot.applied.set(5);
        slot.differs.set(1);
        let status = view.status(&Rates::default(), CLOCKS);
        let expected = ReloadStatus {
            since_ms_ago: Some(9_000),
            last: "invalid".to_owned(),
            last_ms_ago: Some(2_000),
            reason: "line 3: unknown key".to_owned(),
            applied: 5,
            failed: 2,
            file_differs: true,
        };
        assert_eq!(status.reload, expected);
        assert_eq!(
            status.warnings,
            [
                "the last reload, 2.0 s ago, changed nothing: line 3: unknown key",
                "the configuration file on disk differs from what runs: `fmc-lb reload --dry-run` shows how",
            ]
        );
    }
}
