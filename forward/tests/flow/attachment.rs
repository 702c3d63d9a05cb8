//! The program at an interface: who attaches, replaces and removes it.

use forward::{Program, attach, attached, detach};
use lab::Node::{Client, Lb1, Lb2};
use lab::{Lab, Node};
use nix::net::if_::if_nametoindex;

use crate::frame::ACK;
use crate::site::Site;

/// Runs `tc` on lb1 and gives what it printed.
fn tc(lab: &Lab, line: &str) -> String {
    let words: Vec<&str> = ["tc"].into_iter().chain(line.split(' ')).collect();
    lab.exec(Lb1, &words).expect(line)
}

fn eth0(lab: &Lab, node: Node) -> u32 {
    lab.run_in(node, || if_nametoindex("eth0").expect("every node has it"))
}

#[test]
fn it_outlives_its_owner_is_replaced_and_leaves_nothing() {
    let mut site = Site::new();
    let lab = site.lab.clone();
    let interface = site.lb1.interface;
    let id = || lab.run_in(Lb1, || attached(interface)).expect("an answer");
    let first = id().expect("it is attached");
    let filters = tc(&lab, "filter show dev eth0 ingress");
    assert!(
        filters.contains("pref 112") && filters.contains("fmc-lb"),
        "{filters}"
    );

    // Its owner is gone: as after a crash.
    let ghost = site.ghost(0);
    let stray = ghost.segment(ACK);
    let abandoned = std::mem::replace(&mut site.lb1.program, Program::load().expect("loaded"));
    drop(abandoned);
    assert_eq!(id(), Some(first));
    site.expect_reset(&ghost, (Lb1, Lb2), &stray);

    // A successor takes its place; nothing is configured yet, so it lets everything through.
    lab.run_in(Lb1, || attach(interface, &site.lb1.program))
        .expect("replaced");
    let second = id().expect("it is attached");
    assert_ne!(second, first);
    assert_eq!(
        tc(&lab, "filter show dev eth0 ingress")
            .matches("fmc-lb")
            .count(),
        1
    );
    site.expect_reset(&ghost, (Lb1, Lb1), &stray);

    lab.run_in(Lb1, || detach(interface)).expect("removed");
    assert_eq!(id(), None);
    assert!(!tc(&lab, "qdisc show dev eth0").contains("clsact"));
    lab.run_in(Lb1, || detach(interface))
        .expect("nothing to remove is fine");
}

#[test]
fn what_others_have_attached_stays() {
    let lab = Lab::start().expect("the lab starts");
    let interface = eth0(&lab, Lb1);
    let object = concat!("obj ", env!("OUT_DIR"), "/program.o sec classifier");
    tc(&lab, "qdisc add dev eth0 clsact");
    tc(
        &lab,
        &format!("filter add dev eth0 egress prio 9 bpf da {object}"),
    );
    tc(
        &lab,
        &format!("filter add dev eth0 ingress prio 9 bpf da {object}"),
    );
    let program = Program::load().expect("loaded");
    lab.run_in(Lb1, || attach(interface, &program))
        .expect("beside it");
    for end in ["egress", "ingress"] {
        lab.run_in(Lb1, || detach(interface)).expect("removed");
        assert_eq!(
            lab.run_in(Lb1, || attached(interface)).expect("an answer"),
            None
        );
        let left = tc(&lab, &format!("filter show dev eth0 {end}"));
        assert!(left.contains("pref 9 "), "{left}");
        tc(&lab, &format!("filter del dev eth0 {end} prio 9"));
        lab.run_in(Lb1, || attach(interface, &program))
            .expect("again");
    }
    lab.run_in(Lb1, || detach(interface)).expect("removed");
    assert!(!tc(&lab, "qdisc show dev eth0").contains("clsact"));
    let refused = lab.run_in(Client, || attach(interface + 100, &program));
    let error = refused.expect_err("there is no such interface").to_string();
    assert!(
        error.starts_with("attach the TC program to interface"),
        "{error}"
    );
}
