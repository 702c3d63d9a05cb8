//! Upgrades in place and proxies that have retired, as status shows them. Pure.

use std::time::Duration;

use common::board::UpgradeStage;
use common::status::{RetiredStatus, UpgradeStatus};
use common::time::Moment;

use super::remaining;
use super::view::{View, millis};
use crate::status::human;

/// `None` = there was no upgrade since the node started.
pub(super) fn upgrade(view: &View, now: Moment) -> Option<UpgradeStatus> {
    let slot = &view.boards.supervisor.upgrade;
    let stage = slot.stage();
    (stage != UpgradeStage::None).then(|| UpgradeStatus {
        number: slot.number.get(),
        failures: slot.failures.get(),
        stage: stage.word().to_owned(),
        version: slot.version.get(),
        began_ms_ago: slot.began.get().map(|at| millis(now, at)),
        ended_ms_ago: slot.ended.get().map(|at| millis(now, at)),
        why: slot.why.get(),
    })
}

/// Those that live.
pub(super) fn retired(view: &View, now: Moment) -> Vec<RetiredStatus> {
    let boards = view.boards.retired.iter();
    let living = boards.filter_map(|(place, board)| {
        let slot = &view.boards.supervisor.retired[*place];
        let pid = slot.pid.get();
        (pid != 0).then(|| RetiredStatus {
            pid,
            version: slot.version.get(),
            since_ms_ago: slot.since.get().map(|at| millis(now, at)),
            left: remaining::status(view, board, now),
        })
    });
    living.collect()
}

/// What a human should know: of the last upgrade, if it has failed; and who still drains.
pub(super) fn warnings(upgrade: Option<&UpgradeStatus>) -> Option<String> {
    let upgrade = upgrade?;
    let how = if upgrade.stage == UpgradeStage::Failed.word() {
        ("has failed", "the old version runs")
    } else if upgrade.stage == UpgradeStage::CutShort.word() {
        (
            "was cut short",
            "processes may be of two versions until this node is restarted",
        )
    } else {
        return None;
    };
    let to = match upgrade.version.as_str() {
        "" => String::new(),
        version => format!(" to {version}"),
    };
    let ago = upgrade.ended_ms_ago.map(Duration::from_millis);
    let ago = ago.map_or_else(String::new, |ago| format!(" {} ago", human::age(ago)));
    Some(format!(
        "an upgrade{to} {}{ago}, {}: {}",
        how.0, how.1, upgrade.why
    ))
}

#[cfg(test)]
mod tests {
    use common::board::Ages;
    use common::status::{RemainingOf, RemainingOfAge, RemainingStatus};

    use super::*;
    use crate::admin::fixture::{self, CLOCKS};
    use crate::admin::metrics::page;
    use crate::admin::rates::Rates;

    #[test]
    fn an_upgrade_that_failed_is_shown_and_one_that_is_done_warns_nobody() {
        let view = fixture::healthy();
        let status = || view.status(&Rates::default(), CLOCKS);
        assert_eq!(status().upgrade, None);
        let slot = &view.boards.supervisor.upgrade;
        slot.number.set(3);
        slot.failures.set(1);
        slot.began.set(fixture::ago(5_000));
        slot.ended.set(fixture::ago(2_000));
        slot.version.set("0.2.0");
        slot.stage.set(UpgradeStage::Done.on_board());
        let upgrade = status().upgrade.expect("there was one");
        assert_eq!((upgrade.number, upgrade.stage.as_str()), (3, "done"));
        assert_eq!(status().warnings, Vec::<String>::new());
        slot.stage.set(UpgradeStage::Failed.on_board());
        slot.why.set("the new proxy died");
        assert_eq!(
            status().warnings,
            ["an upgrade to 0.2.0 has failed 2.0 s ago, the old version runs: the new proxy died"]
        );
        slot.stage.set(UpgradeStage::CutShort.on_board());
        slot.why.set("the supervisor died meanwhile");
        assert_eq!(
            status().warnings,
            [
                "an upgrade to 0.2.0 was cut short 2.0 s ago, processes may be of two versions until this node is \
                 restarted: the supervisor died meanwhile"
            ]
        );
        let page = page(&view, &status(), CLOCKS);
        assert!(page.contains("\nfmc_lb_upgrades_total 3\n"), "{page}");
        assert!(
            page.contains("\nfmc_lb_upgrade_failures_total 1\n"),
            "{page}"
        );
    }

    fn age(from: &str, below: &str, sessions: u64) -> RemainingOfAge {
        RemainingOfAge {
            from: Some(from.to_owned()),
            below: Some(below.to_owned()),
            sessions,
        }
    }

    #[test]
    fn a_proxy_that_has_retired_is_shown_with_its_sessions_while_it_lives() {
        let mut view = fixture::healthy();
        let board: &'static common::board::ProxyBoard = Box::leak(Box::default());
        board.listeners[1].sessions.set(7);
        board.servers[4].sessions.set(6);
        let mut ages = Ages::default();
        for old in [100_000, 3_000_000, 3_500_000] {
            ages.count(fixture::ago(old), CLOCKS.now);
        }
        board.ages[1].set(&ages);
        view.boards.retired = Box::leak(Box::new([(2, board)]));
        let status = || view.status(&Rates::default(), CLOCKS);
        assert_eq!(status().retired, []);
        let slot = &view.boards.supervisor.retired[2];
        slot.pid.set(4_711);
        slot.since.set(fixture::ago(1_000));
        slot.version.set("0.1.0");
        let retired = RetiredStatus {
            pid: 4_711,
            version: "0.1.0".to_owned(),
            since_ms_ago: Some(1_000),
            left: RemainingStatus {
                sessions: 7,
                oldest_ms: Some(3_500_000),
                ages: vec![age("1m", "10m", 1), age("10m", "1h", 2)],
                listeners: vec![RemainingOf {
                    name: view.config.listeners[1].name.clone(),
                    sessions: 7,
                }],
                servers: vec![RemainingOf {
                    name: "traefik-https/10.17.4.25:443".to_owned(),
                    sessions: 6,
                }],
            },
        };
        assert_eq!(status().retired, [retired]);
        let page = page(&view, &status(), CLOCKS);
        assert!(page.contains("\nfmc_lb_retired_proxies 1\n"), "{page}");
        assert!(page.contains("\nfmc_lb_retired_sessions 7\n"), "{page}");
    }
}
