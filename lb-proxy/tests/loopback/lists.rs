//! Lists of networks in files, replaced while the proxy runs.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use common::config::SourceLimit;
use lb_proxy::{ListError, RunError};

use crate::harness::*;

const LIST: &str = "/lists/one";

/// A proxy with a list in a file, which `name` makes the listener use.
fn proxy_with(list: &str, name: impl FnOnce(&mut Setup, PathBuf)) -> RunningProxy {
    let mut setup = Setup::new(&[echo_server()]);
    setup.files = file(list);
    name(&mut setup, LIST.into());
    setup.start()
}

fn file(content: &str) -> BTreeMap<PathBuf, Vec<u8>> {
    BTreeMap::from([(LIST.into(), content.as_bytes().to_vec())])
}

fn host(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

#[track_caller]
fn serves(proxy: &RunningProxy, last: u8) {
    ping(&mut connect_from(host(last), proxy.address));
}

#[test]
fn a_changed_deny_file_holds_for_new_connections_and_leaves_old_ones_alone() {
    let proxy = proxy_with("127.0.0.5\n", |setup, path| {
        setup.listener().files.deny = Some(path);
        setup.listener().deny = vec![net("127.0.0.9/32")];
    });
    expect_refusal_from(host(5), &proxy);
    expect_refusal_from(host(9), &proxy);
    assert_eq!(proxy.board.list_entries[0].get(), 1);
    let mut old = connect_from(host(6), proxy.address);
    ping(&mut old);

    proxy
        .control
        .replace_files(file("127.0.0.6 # too much of it\n127.0.0.7\n"));
    assert_eq!(proxy.board.list_entries[0].get(), 2);
    serves(&proxy, 5);
    expect_refusal_from(host(6), &proxy);
    expect_refusal_from(host(9), &proxy);
    ping(&mut old);

    // What is no list changes nothing.
    proxy
        .control
        .replace_files(file("127.0.0.5\n127.0.0.256\n"));
    serves(&proxy, 5);
    expect_refusal_from(host(6), &proxy);
    assert_eq!(proxy.board.list_entries[0].get(), 2);
    assert_eq!(proxy.listener().denied.get(), 5);
    ping(&mut old);
}

#[test]
fn an_allow_file_alone_names_all_who_are_served() {
    let proxy = proxy_with("127.0.0.5\n", |setup, path| {
        setup.listener().files.allow = Some(path);
    });
    serves(&proxy, 5);
    expect_refusal_from(host(6), &proxy);
    proxy.control.replace_files(file("127.0.0.0/30\n"));
    expect_refusal_from(host(5), &proxy);
    serves(&proxy, 2);
}

#[test]
fn an_allow_file_adds_to_allow() {
    let proxy = proxy_with("127.0.0.5\n", |setup, path| {
        setup.listener().allow = Some(vec![net("127.0.0.6/32")]);
        setup.listener().files.allow = Some(path);
    });
    serves(&proxy, 5);
    serves(&proxy, 6);
    expect_refusal_from(host(7), &proxy);
}

#[test]
fn a_drop_file_is_looked_at_before_deny() {
    let proxy = proxy_with("127.0.0.5\n", |setup, path| {
        setup.listener().deny = vec![net("127.0.0.0/24")];
        setup.listener().files.drop = Some(path);
    });
    expect_refusal_from(host(5), &proxy);
    expect_refusal_from(host(6), &proxy);
    let slot = proxy.listener();
    assert_eq!((slot.dropped.get(), slot.denied.get()), (1, 1));
}

#[test]
fn clients_of_an_exempt_file_have_no_limit() {
    let proxy = proxy_with("127.0.0.40\n", |setup, path| {
        setup.listener().source_limit = SourceLimit {
            sessions: Some(1),
            exempt_file: Some(path),
            ..SourceLimit::default()
        };
    });
    let from = |last: u8| connect_from(host(last), proxy.address);
    let mut cluster: Vec<_> = (0..3).map(|_| from(40)).collect();
    cluster.iter_mut().for_each(ping);
    let mut one = from(5);
    ping(&mut one);
    expect_refusal_from(host(5), &proxy);
    proxy.control.replace_files(file("127.0.0.5\n"));
    ping(&mut from(5));
    // Who was exempt has as many sessions as it had, and they are not counted.
    let mut counted = from(40);
    ping(&mut counted);
    expect_refusal_from(host(40), &proxy);
    cluster.iter_mut().for_each(ping);
}

#[test]
fn what_has_changed_before_the_start_is_used() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.files = file("127.0.0.5\n");
    setup.listener().files.deny = Some(LIST.into());
    let proxy = setup.start_after(|control| control.replace_files(file("127.0.0.6\n")));
    eventually("it was counted", || proxy.board.list_entries[0].get() == 1);
    serves(&proxy, 5);
    expect_refusal_from(host(6), &proxy);
}

#[test]
fn a_proxy_without_its_list_does_not_start() {
    let mut setup = Setup::new(&[echo_server()]);
    setup.listener().files.deny = Some(LIST.into());
    let error = setup.start().join().expect_err("the list is missing");
    assert!(
        matches!(error, RunError::Lists(ListError::Missing { .. })),
        "{error}"
    );
}
