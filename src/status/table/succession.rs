//! Proxies that have retired, and an upgrade that is under way.

use common::status::{RemainingOf, RemainingStatus, RetiredStatus, UpgradeStatus};

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

/// What is left, by listener, server and age: "api 7; k3s-api/10.17.4.21:6443 7; below 1m 3, 1m to 10m 4".
pub(super) fn left(left: &RemainingStatus) -> String {
    let named = |all: &[RemainingOf]| {
        let all = all
            .iter()
            .map(|one| format!("{} {}", one.name, one.sessions));
        all.collect::<Vec<_>>().join(", ")
    };
    let ages = left.ages.iter().map(|one| {
        let span = match (&one.from, &one.below) {
            (Some(from), Some(below)) => format!("{from} to {below}"),
            (None, Some(below)) => format!("below {below}"),
            (Some(from), None) => format!("over {from}"),
            (None, None) => String::new(),
        };
        format!("{span} {}", one.sessions)
    });
    let ages = ages.collect::<Vec<_>>().join(", ");
    let all = [named(&left.listeners), named(&left.servers), ages];
    let all = all.into_iter().filter(|one| !one.is_empty());
    all.collect::<Vec<_>>().join("; ")
}

/// Those of the other node, in a sentence each.
pub(super) fn sentences<'a>(
    retired: &'a [RetiredStatus],
    peer: &'a str,
) -> impl Iterator<Item = String> + 'a {
    retired.iter().map(move |proxy| {
        let (count, pid) = (proxy.left.sessions, proxy.pid);
        let words = left(&proxy.left);
        format!("{peer} has {count} sessions in proxy {pid}, which has retired: {words}")
    })
}

/// What they still have; it is counted below, too.
pub(super) fn lines(retired: &[RetiredStatus]) -> Vec<String> {
    if retired.is_empty() {
        return Vec::new();
    }
    let mut grid = Grid::new(&[
        Column::name("RETIRED PROXY"),
        Column::word("VERSION"),
        Column::number("FOR"),
        Column::number("SESSIONS"),
        Column::number("OLDEST"),
    ]);
    for proxy in retired {
        grid.row([
            proxy.pid.to_string(),
            proxy.version.clone(),
            since(proxy.since_ms_ago),
            proxy.left.sessions.to_string(),
            since(proxy.left.oldest_ms),
        ]);
    }
    let mut lines = grid.lines();
    // Too long for a column.
    lines.extend(
        retired
            .iter()
            .map(|one| format!("{}: {}", one.pid, left(&one.left))),
    );
    section(lines)
}

#[cfg(test)]
mod tests {
    use common::status::RemainingOfAge;

    use super::*;

    fn of(name: &str, sessions: u64) -> RemainingOf {
        RemainingOf {
            name: name.to_owned(),
            sessions,
        }
    }

    fn age(from: Option<&str>, below: Option<&str>, sessions: u64) -> RemainingOfAge {
        RemainingOfAge {
            from: from.map(str::to_owned),
            below: below.map(str::to_owned),
            sessions,
        }
    }

    #[test]
    fn a_retired_proxy_has_a_line_with_what_it_still_has() {
        let retired = RetiredStatus {
            pid: 4_711,
            version: "0.1.0".to_owned(),
            since_ms_ago: Some(61_000),
            left: RemainingStatus {
                sessions: 7,
                oldest_ms: Some(7_200_000),
                ages: vec![age(None, Some("1m"), 3), age(Some("1h"), Some("1d"), 4)],
                listeners: vec![of("api", 7)],
                servers: vec![
                    of("k3s-api/10.17.4.21:6443", 5),
                    of("k3s-api/[fd00::1]:6443", 2),
                ],
            },
        };
        let words =
            "api 7; k3s-api/10.17.4.21:6443 5, k3s-api/[fd00::1]:6443 2; below 1m 3, 1h to 1d 4";
        let said: Vec<String> = sentences(std::slice::from_ref(&retired), "lb2").collect();
        assert_eq!(
            said,
            [format!(
                "lb2 has 7 sessions in proxy 4711, which has retired: {words}"
            )]
        );
        let text = lines(&[retired]).join("\n");
        for word in ["4711", "0.1.0", "1m 01s", words] {
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
