//! What becomes of followers, and of what was said of servers, when servers leave and come.

use std::time::Duration;

use common::board::{Presence, ServerState};
use common::command::{Command, Remaining, ServerName, Wish};

use crate::harness::*;
use crate::runtime::{act, lettered, letters, name, wish};
use crate::servers::{add, add_for, followed, move_to, presence, remove, state};

#[test]
fn a_follower_leaves_with_the_server_that_was_added_for_a_time() {
    let (probed_at, serves_at) = (lettered(b'p'), lettered(b'a'));
    let setup = followed(probed_at, serves_at);
    let proxy = setup.start();
    let at = |port: u16| ([127, 0, 0, 5], port).into();
    act(&proxy, add_for(name(at(1)), Some(300)));
    let server = ServerName {
        backend: "follower".to_owned(),
        address: at(2),
    };
    act(&proxy, add_for(server, None));
    assert_eq!(presence(&proxy, 3), Presence::Added);
    eventually("the followed one leaves", || {
        presence(&proxy, 2) != Presence::Added
    });
    eventually("its follower leaves", || {
        presence(&proxy, 3) != Presence::Added
    });
    // Those of the configuration are as they were.
    assert_eq!(state(&proxy, 1), ServerState::Up);
    assert_eq!(letters(&proxy, 3), "aaa");
}

#[test]
fn one_that_was_added_for_a_time_moves_for_the_rest_of_it() {
    let (first, second, third) = (lettered(b'a'), lettered(b'b'), lettered(b'c'));
    let proxy = Setup::new(&[first]).start();
    act(&proxy, add_for(name(second), Some(600)));
    act(&proxy, move_to(second, third, None));
    assert_eq!(presence(&proxy, 2), Presence::Added);
    eventually("it leaves in its time", || {
        presence(&proxy, 2) != Presence::Added
    });
    assert_eq!(letters(&proxy, 3), "aaa");
}

#[test]
fn what_was_said_of_a_server_goes_with_its_address() {
    let (first, second, third) = (lettered(b'a'), lettered(b'b'), lettered(b'c'));
    let proxy = Setup::new(&[first, second]).start();
    act(&proxy, wish(second, Wish::Drain, None));
    act(&proxy, move_to(second, third, None));
    assert_eq!(letters(&proxy, 4), "aaaa");
    act(&proxy, wish(third, Wish::Ready, None));
    assert_eq!(letters(&proxy, 4), "aacc");
}

#[test]
fn a_server_that_is_there_again_is_as_the_configuration_has_it() {
    let (first, second) = (lettered(b'a'), lettered(b'b'));
    let proxy = Setup::new(&[first, second]).start();
    let weight = Command::ServerWeight {
        server: name(second),
        weight: Some(0),
        for_ms: None,
    };
    act(&proxy, weight);
    act(&proxy, remove(second, Remaining::Drain));
    // Not before its place is free of sessions.
    std::thread::sleep(Duration::from_millis(50));
    act(&proxy, add(second));
    assert_eq!(letters(&proxy, 4), "aabb");
}
