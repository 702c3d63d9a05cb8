//! What was said at run time, as a status tells it.

use common::board::{Entrant, Presence};

use super::*;

#[test]
fn what_an_administrator_says_is_shown_over_what_the_probes_say() {
    let view = fixture::healthy();
    let now = fixture::CLOCKS.now;
    let proxy = view.boards.proxy;
    let end = Some(now + Duration::from_secs(725));
    proxy.servers[0].set_admin_state(AdminState::Maintenance, end);
    proxy.servers[1].set_admin_state(AdminState::Drain, None);
    proxy.servers[2].set_admin_weight(Some(0), end);
    proxy.listeners[0].pause.set(1, end);
    let status = view.status(&Rates::default(), fixture::CLOCKS);
    let servers = &status.backends[0].servers;
    assert_eq!(servers[0].state, "maintenance");
    assert_eq!(
        servers[0].reason,
        "by administrator, 12m 05s left; probes: up, L7OK: answers 200"
    );
    assert_eq!(servers[0].administrative_ms_left, Some(725_000));
    assert_eq!(
        (&*servers[1].state, &*servers[1].probe_state),
        ("draining", "up")
    );
    assert_eq!(
        servers[1].reason,
        "by administrator; probes: up, L7OK: answers 200"
    );
    assert_eq!(
        (servers[2].weight, servers[2].configured_weight),
        (0, Some(1))
    );
    assert_eq!(status.listeners[0].hold, "paused");
    assert_eq!(status.listeners[0].pause_ms_left, Some(725_000));
    let none = "backend k3s-api: no server is usable".to_owned();
    assert!(status.warnings.contains(&none), "{:?}", status.warnings);
    // When its time is over it counts no more, whoever clears it.
    let later = Clocks {
        now: now + Duration::from_secs(725),
        ..fixture::CLOCKS
    };
    let status = view.status(&Rates::default(), later);
    let servers = &status.backends[0].servers;
    assert_eq!((&*servers[0].state, servers[2].weight), ("up", 1));
    assert_eq!(status.listeners[0].hold, "none");
}

#[test]
fn servers_that_came_and_went_are_shown_as_such() {
    let view = fixture::healthy();
    let now = fixture::CLOCKS.now;
    let proxy = view.boards.proxy;
    let end = Some(now + Duration::from_secs(60));
    let who = Entrant {
        backend: 0,
        address: "10.17.4.31:6443".to_owned(),
        weight: 3,
        backup: false,
        max_sessions: None,
        follows: None,
        replaces: Some(0),
        name: None,
    };
    proxy.roster[6].enter(&who, (now, end));
    proxy.servers[6].state.set(ServerState::Up.on_board());
    proxy.roster[0].say(Presence::Leaving, (now, end));
    proxy.roster[1].say(Presence::Removed, (now, None));
    let status = view.status(&Rates::default(), fixture::CLOCKS);
    let servers = &status.backends[0].servers;
    assert_eq!(servers.len(), 4);
    let told = |index: usize| {
        let one: &ServerStatus = &servers[index];
        (
            &*one.address,
            &*one.presence,
            &*one.state,
            one.presence_ms_left,
        )
    };
    assert_eq!(
        told(0),
        ("10.17.4.21:6443", "leaving", "draining", Some(60_000))
    );
    assert_eq!(told(1), ("10.17.4.22:6443", "removed", "maintenance", None));
    assert_eq!(told(2), ("10.17.4.23:6443", "configured", "up", None));
    assert_eq!(told(3), ("10.17.4.31:6443", "added", "up", Some(60_000)));
    assert_eq!(
        (&*servers[3].replaces, servers[3].weight),
        ("10.17.4.21:6443", 3)
    );
    assert_eq!(status.backends[1].servers.len(), 3);
    // Without the one that came nobody is left.
    proxy.roster[6].say(Presence::Leaving, (now, None));
    proxy.roster[2].say(Presence::Removed, (now, None));
    let warnings = view.status(&Rates::default(), fixture::CLOCKS).warnings;
    let none = "backend k3s-api: no server is usable".to_owned();
    assert!(warnings.contains(&none), "{warnings:?}");
}
