//! The topology itself: it comes up, is complete, and goes away.

#![expect(
    clippy::disallowed_methods,
    reason = "tests of instruments wait for real and read the real clock"
)]

use std::time::{Duration, Instant};

use lab::apiserver::{ApiServer, Health};
use lab::backend::{Backend, Mode, Service, at};
use lab::client::{self, Speak};
use lab::cluster::Cluster;
use lab::{Lab, Node, namespace, within};

fn root_links() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/class/net").expect("the lab works");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("the lab works")
                .file_name()
                .into_string()
                .expect("the lab works")
        })
        .collect();
    names.sort();
    names
}

/// The part of a namespace's name that all of a lab share.
fn prefix(lab: &Lab) -> String {
    lab.node(Node::Lb1)
        .name()
        .strip_suffix("lb1")
        .expect("the lab works")
        .to_owned()
}

fn left_of(prefix: &str) -> Vec<String> {
    namespace::names()
        .into_iter()
        .filter(|name| name.starts_with(prefix))
        .collect()
}

#[test]
fn it_comes_up_and_leaves_nothing() {
    let before = root_links();
    let lab = Lab::start().unwrap();
    let (prefix, folder) = (prefix(&lab), lab.folder().to_owned());
    assert_eq!(left_of(&prefix).len(), Node::ALL.len());
    assert_eq!(root_links(), before, "a link in the root namespace");
    let address = lab.ip(Node::Router, "-br addr").unwrap();
    assert!(
        address.contains("192.168.0.40/24") && address.contains("10.17.4.1/24"),
        "{address}"
    );
    let link = lab.ip(Node::Lb1, "link show eth0").unwrap();
    assert!(link.contains("02:00:00:00:00:11"), "{link}");
    drop(lab);
    assert_eq!(left_of(&prefix), Vec::<String>::new());
    assert!(!folder.exists());
    assert_eq!(root_links(), before, "a link in the root namespace");
}

#[test]
fn it_goes_away_after_a_panic_too() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let lab = Lab::start().unwrap();
        sender.send(prefix(&lab)).unwrap();
        panic!("on purpose");
    });
    assert!(thread.join().is_err());
    assert_eq!(left_of(&receiver.recv().unwrap()), Vec::<String>::new());
}

#[test]
fn two_labs_run_side_by_side() {
    let (one, two) = (Lab::start().unwrap(), Lab::start().unwrap());
    assert_ne!(prefix(&one), prefix(&two));
    let _first = Backend::start(&one, Node::Worker1, 80, Service::Echo).unwrap();
    let second = Backend::start(&two, Node::Worker1, 80, Service::Echo).unwrap();
    let to = at(Node::Worker1, 80);
    assert_eq!(client::who(&one, Node::Lb1, to, Speak::Echo).unwrap(), "w1");
    assert_eq!(second.accepted(), 0, "the other lab's backend was asked");
    drop(one);
    assert_eq!(client::who(&two, Node::Lb1, to, Speak::Echo).unwrap(), "w1");
}

#[test]
fn a_process_left_in_a_namespace_ends_with_it() {
    let lab = Lab::start().unwrap();
    let process =
        lab::process::Process::start(&lab, Node::Lb1, "sleep", &["sleep", "1000"]).unwrap();
    let pid = process.pid();
    assert!(within(Duration::from_secs(5), || lab
        .node(Node::Lb1)
        .pids()
        == [pid]));
    let mut process = std::mem::ManuallyDrop::new(process);
    drop(lab);
    assert!(within(Duration::from_secs(5), || !process.is_running()));
}

#[test]
fn servers_say_who_they_are_through_the_router() {
    let lab = Lab::start().unwrap();
    let cluster = Cluster::start(&lab, Service::Http).unwrap();
    for (node, backend) in Node::WORKERS.iter().zip(&cluster.web) {
        let name = client::who(&lab, Node::Lb1, backend.address(), Speak::Http).unwrap();
        assert_eq!(name, node.name());
        let tls = client::who(&lab, Node::Lb2, at(*node, 443), Speak::TlsEcho).unwrap();
        assert_eq!(tls, node.name());
    }
    for node in Node::MASTERS {
        let name = client::who(&lab, Node::Lb2, at(node, 6_443), Speak::ApiServer).unwrap();
        assert_eq!(name, node.name());
    }
    // A LAN client without a route has no way into the cluster.
    assert!(client::who(&lab, Node::Client, at(Node::Worker1, 80), Speak::Http).is_err());
}

#[test]
fn an_api_server_answers_in_every_state() {
    let lab = Lab::start().unwrap();
    let server = ApiServer::start(&lab, Node::Master1).unwrap();
    let to = server.backend().address();
    let readyz = || client::https(&lab, Node::Lb1, to, "/readyz").unwrap();
    assert_eq!((readyz().status, readyz().body.as_str()), (200, "ok"));

    server.set(Health::EtcdFailed);
    assert_eq!(readyz().status, 500);
    assert!(readyz().body.contains("[-]etcd failed: reason withheld\n"));

    server.set(Health::Unavailable);
    assert_eq!(readyz().status, 503);

    server.set(Health::ShuttingDown);
    server.require_credentials(true);
    assert_eq!(readyz().status, 401);
    let known = client::https_with_credentials(&lab, Node::Lb1, to, "/readyz").unwrap();
    assert_eq!(known.status, 500);
    assert!(known.body.contains("[-]shutdown failed"), "{}", known.body);
    server.require_credentials(false);

    server.start_slowly(Duration::from_millis(300));
    assert!(
        readyz().body.contains("[-]poststarthook/"),
        "{}",
        readyz().body
    );
    assert!(within(Duration::from_secs(5), || readyz().status == 200));

    server.backend().set(Mode::Refuse);
    let asked = Instant::now();
    let refused = client::https(&lab, Node::Lb1, to, "/readyz").unwrap_err();
    assert!(format!("{refused:#}").contains("refused"), "{refused:#}");
    assert!(asked.elapsed() < Duration::from_secs(1));

    server.backend().set(Mode::Hang);
    assert!(within(Duration::from_secs(2), || {
        lab.run_in(Node::Lb1, || client::connect(to).is_ok())
    }));
    let silent = client::https(&lab, Node::Lb1, to, "/readyz").unwrap_err();
    assert!(format!("{silent:#}").contains("handshake"), "{silent:#}");
}

#[test]
fn a_terminated_api_server_lets_streams_live_a_little() {
    use std::io::{Read as _, Write as _};
    let lab = Lab::start().unwrap();
    let server = ApiServer::start(&lab, Node::Master2).unwrap();
    let to = server.backend().address();
    let config = lab.pki().client();
    let mut watch = lab.run_in(Node::Lb1, || client::tls(to, &config)).unwrap();
    watch
        .write_all(b"GET /api/v1/pods?watch=1 HTTP/1.1\r\nHost: lab\r\n\r\n")
        .unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        // The end may come as an error: TLS was not closed in order.
        drop(watch.read_to_string(&mut text));
        (text, Instant::now())
    });
    std::thread::sleep(Duration::from_millis(250));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| server.terminate(Duration::from_millis(600)));
        std::thread::sleep(Duration::from_millis(200));
        let early = client::https(&lab, Node::Lb1, to, "/readyz").unwrap();
        assert_eq!(early.status, 500);
        std::thread::sleep(Duration::from_millis(700));
        assert!(
            client::https(&lab, Node::Lb1, to, "/readyz").is_err(),
            "its port is closed"
        );
    });
    let (text, ended) = reader.join().unwrap();
    assert!(text.matches("BOOKMARK").count() > 10, "{text}");
    assert!(
        ended - begun > Duration::from_secs(2),
        "the watch ended with the port"
    );
}

#[test]
fn transfers_are_checked_byte_by_byte() {
    let lab = Lab::start().unwrap();
    lab.ip(Node::Client, "route add 10.17.4.0/24 via 192.168.0.40")
        .unwrap();
    let backend = Backend::start(&lab, Node::Worker2, 80, Service::Http).unwrap();
    let length = (16 << 20) + 5;
    let down = client::download(&lab, backend.address(), length).unwrap();
    assert!(down.exact, "{down:?}");
    let up = client::upload(&lab, backend.address(), length).unwrap();
    assert!(up.exact, "{up:?}");
    assert!(
        up.verdict.contains(&format!("length {length} ")),
        "{}",
        up.verdict
    );
}
