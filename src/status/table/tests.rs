use std::path::Path;

use super::grid::WIDTH;
use super::*;
use crate::admin::fixture;
use crate::admin::rates::{Rates, Totals};
use common::config::Config;
use common::time::Moment;
use common::tracker::Tally;

fn assert_fits(text: &str) {
    for line in text.lines() {
        assert!(line.chars().count() <= WIDTH, "too wide: {line}");
    }
}

/// Compares with a file of `golden/`; `FMC_LB_BLESS=1` writes it anew.
fn assert_golden(name: &str, text: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/status/table/golden");
    let path = folder.join(name);
    if std::env::var_os("FMC_LB_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, text).expect("the golden file can be written");
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == wanted,
        "{name} is\n{text}\nand not\n{wanted}\nIf that is right: FMC_LB_BLESS=1"
    );
    assert_fits(text);
}

#[test]
fn adverts_that_are_not_signed_are_told() {
    let line = |signing: &str| {
        peer_line(&PeerStatus {
            name: "lb2".to_owned(),
            signing: signing.to_owned(),
            ..PeerStatus::default()
        })
    };
    assert!(!line("enforce").contains("sign"));
    assert!(line("off").ends_with("adverts not signed"));
    assert!(line("permissive").ends_with("signing permissive"));
}

#[test]
fn trackers_that_are_down_are_told_where_they_matter() {
    let view = fixture::with_trackers();
    let uplink = &view.boards.vrrp.trackers[0];
    let silent = Err("192.168.0.1 does not answer on eth0");
    let mut tally = Tally::new((2, 3), uplink.state());
    uplink.take(&mut tally, silent, fixture::ago(62_000));
    uplink.take(&mut tally, silent, fixture::ago(400));
    view.boards.vrrp.vips[0].priority.set(230);
    let maintenance = &view.boards.admin.trackers[1];
    let mut tally = Tally::new((2, 3), maintenance.state());
    maintenance.take(&mut tally, Err("it says 1"), fixture::ago(700));
    let text = render(&view.status(&Rates::default(), fixture::CLOCKS));
    assert_golden("trackers.txt", &text);
}

#[test]
fn a_healthy_node_is_a_short_table() {
    let view = fixture::healthy();
    let mut rates = Rates::default();
    let second = Moment::from_nanos(fixture::CLOCKS.now.as_nanos() - 5_000_000_000);
    rates.record(second, vec![Totals::default(); 2]);
    let slot = &view.boards.proxy.listeners[0];
    slot.sessions.set(12);
    slot.accepted.set(16);
    slot.bytes_in.set(6_200);
    slot.bytes_out.set(1_250_000_000);
    assert_golden(
        "healthy.txt",
        &render(&view.status(&rates, fixture::CLOCKS)),
    );
}

#[test]
fn a_node_in_trouble_says_what_is_wrong() {
    let status = fixture::troubled().status(&Rates::default(), fixture::CLOCKS);
    assert_golden("troubled.txt", &render(&status));
}

#[test]
fn a_node_that_has_just_started_has_nothing_to_say_yet() {
    let mut view = fixture::healthy();
    view.boards = fixture::empty_boards();
    let status = view.status(&Rates::default(), fixture::CLOCKS);
    assert_golden("starting.txt", &render(&status));
}

#[test]
fn a_single_node_has_no_columns_of_a_peer() {
    let mut view = fixture::healthy();
    let mut config = fixture::config();
    config.nodes.truncate(1);
    view.config = config.into();
    let text = render(&view.status(&Rates::default(), fixture::CLOCKS));
    assert!(!text.contains("LB2"), "{text}");
    assert!(!text.contains("pair channel"), "{text}");
}

#[test]
fn the_longest_names_and_largest_numbers_fit() {
    let mut view = fixture::troubled();
    view.config = crowded().into();
    let (supervisor, vrrp, proxy) = (view.boards.supervisor, view.boards.vrrp, view.boards.proxy);
    let long = "a reason without an end ".repeat(6);
    for slot in &supervisor.children {
        slot.pid.set(u64::MAX);
        slot.deaths.set(u64::MAX);
        slot.last_end.set(&long);
    }
    for slot in &vrrp.vips {
        slot.reason.set(&long);
        slot.priority.set(u64::MAX);
    }
    for slot in &proxy.listeners {
        slot.sessions.set(u64::MAX);
        slot.denied.set(u64::MAX);
        slot.failed.set(u64::MAX);
        slot.accept_errors.set(u64::MAX);
    }
    for slot in &proxy.servers {
        slot.state.set(4);
        slot.reason.set(&"ü".repeat(64));
        slot.sessions.set(u64::MAX);
    }
    let status = view.status(&Rates::default(), fixture::CLOCKS);
    assert_fits(&render(&status));
}

fn crowded() -> Config {
    let mut config = fixture::config();
    let name = |kind: &str| format!("{kind}-{}", "x".repeat(70));
    config.nodes[0].name = name("here");
    config.nodes[1].name = name("there");
    for vip in &mut config.vips {
        vip.name = name("vip");
    }
    for listener in &mut config.listeners {
        listener.name = name("listener");
        let bind = listener.binds[0];
        listener.binds = vec![bind; 9];
        listener.binds[0].address = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"
            .parse()
            .expect("an address");
    }
    for backend in &mut config.backends {
        backend.name = name("backend");
        for server in &mut backend.servers {
            server.weight = 256;
            server.address = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535"
                .parse()
                .expect("an address");
        }
    }
    config
}

#[test]
fn servers_that_came_and_went_have_a_note() {
    let view = fixture::healthy();
    let mut status = view.status(&Rates::default(), fixture::CLOCKS);
    let servers = &mut status.backends[0].servers;
    servers[0].presence = "added".to_owned();
    servers[0].presence_ms_left = Some(60_000);
    servers[0].replaces = "10.17.4.1:6443".to_owned();
    servers[1].presence = "leaving".to_owned();
    servers[2].presence = "removed".to_owned();
    let table = render(&status);
    for said in [
        "added by administrator, 1m 00s left, for 10.17.4.1:6443",
        "leaves when its last session has ended",
        "removed by administrator",
    ] {
        assert!(table.contains(said), "{table}");
    }
}
