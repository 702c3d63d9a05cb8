//! Servers by name: how their names are resolved. Pure.

use common::config::BackendIndex;
use common::roster::Roster;
use common::status::{BackendStatus, NameStatus};
use common::time::Moment;

use super::view::{View, millis};
use crate::status::human;

/// What became of the names of a backend.
pub(super) fn status(
    view: &View,
    backend: BackendIndex,
    roster: &Roster,
    now: Moment,
) -> Vec<NameStatus> {
    let names = view.config.names().enumerate();
    let own = names.filter(|(_, (of, _))| *of == backend);
    own.map(|(index, (_, named))| {
        let slot = &view.boards.proxy.names[index];
        let servers = roster.present(backend);
        let servers = servers.filter(|one| one.name == Some(index)).count() as u64;
        let (answered, failing) = (slot.answered.get(), slot.failing.get());
        let state = match (answered, failing) {
            (None, _) if servers == 0 => "unresolved",
            (_, Some(_)) | (None, None) => "stale",
            (Some(_), None) => "resolved",
        };
        NameStatus {
            name: named.name.to_string(),
            state: state.to_owned(),
            servers,
            answered_ms_ago: answered.map(|at| millis(now, at)),
            failing_ms: failing.map(|since| millis(now, since)),
            reason: match (answered, failing) {
                (None, None) => "no answer yet".to_owned(),
                (_, _) => slot.reason.get(),
            },
            queries: slot.queries.get(),
            failures: slot.failures.get(),
            left_out: slot.left_out.get(),
            left_out_reason: slot.left_out_reason.get(),
        }
    })
    .collect()
}

/// Names that are not resolved as they should be.
pub(super) fn warnings(backend: &BackendStatus) -> Vec<String> {
    let of = &backend.name;
    let mut found = Vec::new();
    for name in &backend.names {
        let (who, why) = (&name.name, &name.reason);
        let age = |millis: u64| human::age(std::time::Duration::from_millis(millis));
        match (name.state.as_str(), name.failing_ms) {
            ("unresolved", _) => found.push(format!("backend {of}: {who} is not resolved: {why}")),
            ("stale", Some(millis)) => found.push(format!(
                "backend {of}: {who} has not been resolved for {}, its servers stay: {why}",
                age(millis)
            )),
            (_, _) => {}
        }
        if name.left_out > 0 {
            found.push(format!(
                "backend {of}: {who} has {} addresses that became no servers, the first: {}",
                name.left_out, name.left_out_reason
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use common::board::Entrant;

    use crate::admin::fixture::{self, CLOCKS};
    use crate::admin::rates::Rates;

    #[test]
    fn a_name_is_unresolved_resolved_or_stale_and_status_says_why() {
        let view = fixture::with_name();
        let slot = &view.boards.proxy.names[0];
        let look = || {
            let status = view.status(&Rates::default(), CLOCKS);
            (status.backends[1].names[0].clone(), status.warnings)
        };
        let (name, warnings) = look();
        assert_eq!((&*name.state, name.servers), ("unresolved", 0));
        let said = "backend traefik-https: web.example.org:443 is not resolved: no answer yet";
        assert_eq!(warnings, [said]);
        slot.answered.set(CLOCKS.now);
        let who = Entrant {
            backend: 1,
            address: "10.17.4.30:443".to_owned(),
            weight: 1,
            backup: false,
            max_sessions: None,
            follows: None,
            replaces: None,
            name: Some(0),
        };
        view.boards.proxy.roster[8].enter(&who, (CLOCKS.now, None));
        let (name, warnings) = look();
        assert_eq!((&*name.state, name.servers), ("resolved", 1));
        assert_eq!(warnings, Vec::<String>::new());
        slot.failing.set(CLOCKS.now);
        slot.reason.set("no answer in time");
        slot.left_out.set(2);
        slot.left_out_reason
            .set("10.17.4.31:443: more than max_addresses");
        let (name, warnings) = look();
        assert_eq!(
            (&*name.state, &*name.reason),
            ("stale", "no answer in time")
        );
        assert_eq!(
            warnings,
            [
                "backend traefik-https: web.example.org:443 has not been resolved for 0 ms, its servers stay: no answer in time",
                "backend traefik-https: web.example.org:443 has 2 addresses that became no servers, the first: \
                 10.17.4.31:443: more than max_addresses",
            ]
        );
    }
}
