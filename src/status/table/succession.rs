//! Proxies that have retired, and an upgrade that is under way.

use common::status::{RetiredStatus, UpgradeStatus};

use super::grid::{Column, Grid};
use super::{age, section, since};

/// While one is under way.
pub(super) fn line(upgrade: &UpgradeStatus) -> Option<String> {
    let for_ms = upgrade.began_ms_ago?;
    upgrade.ended_ms_ago.is_none().then(|| {
        let version = &upgrade.version;
        let stage = &upgrade.stage;
        format!("upgrade {version}: {stage}, for {}", age(for_ms))
    })
}

/// Which listeners they have sessions of; these are counted below, too.
pub(super) fn lines(retired: &[RetiredStatus]) -> Vec<String> {
    if retired.is_empty() {
        return Vec::new();
    }
    let mut grid = Grid::new(&[
        Column::name("RETIRED PROXY"),
        Column::word("VERSION"),
        Column::number("FOR"),
        Column::number("SESSIONS"),
        Column::text("OF LISTENERS"),
    ]);
    for proxy in retired {
        let listeners = proxy.listeners.iter();
        let listeners: Vec<String> = listeners
            .map(|one| format!("{} {}", one.name, one.sessions))
            .collect();
        grid.row([
            proxy.pid.to_string(),
            proxy.version.clone(),
            since(proxy.since_ms_ago),
            proxy.sessions.to_string(),
            listeners.join(", "),
        ]);
    }
    section(grid.lines())
}

#[cfg(test)]
mod tests {
    use common::status::RetiredListenerStatus;

    use super::*;

    #[test]
    fn a_retired_proxy_has_a_line_with_what_it_still_has() {
        let retired = RetiredStatus {
            pid: 4_711,
            version: "0.1.0".to_owned(),
            since_ms_ago: Some(61_000),
            sessions: 7,
            listeners: vec![RetiredListenerStatus {
                name: "api".to_owned(),
                sessions: 7,
            }],
        };
        let text = lines(&[retired]).join("\n");
        for word in ["4711", "0.1.0", "1m 01s", "api 7"] {
            assert!(text.contains(word), "{word} in\n{text}");
        }
        assert_eq!(lines(&[]), Vec::<String>::new());
    }

    #[test]
    fn an_upgrade_is_shown_while_it_is_under_way() {
        let mut upgrade = UpgradeStatus {
            stage: "proxy".to_owned(),
            version: "0.2.0".to_owned(),
            began_ms_ago: Some(500),
            ..UpgradeStatus::default()
        };
        let line_of = |upgrade| line(upgrade).unwrap_or_default();
        assert!(line_of(&upgrade).starts_with("upgrade 0.2.0: proxy, for "));
        upgrade.ended_ms_ago = Some(1);
        assert_eq!(line(&upgrade), None);
    }
}
