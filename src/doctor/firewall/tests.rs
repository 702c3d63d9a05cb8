//! Rulesets as nft(8) 1.0.6 prints them after they were loaded: chains as firewalld 1.3 makes them, with and without rules
//! for the pair; ufw's own after `ufw allow` of 22, 80, 443, 6443 and 9601; and small ones, written by hand.

use std::net::IpAddr;

use super::*;

const FIREWALLD: &str = include_str!("rulesets/firewalld.json");
const FIREWALLD_CLOSED: &str = include_str!("rulesets/firewalld-closed.json");
const UFW: &str = include_str!("rulesets/ufw.json");

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn packet(protocol: u8, destination: &str) -> Packet {
    Packet {
        incoming: true,
        interface: "eth0".to_owned(),
        source: Some(address("192.168.0.12")),
        destination: address(destination),
        protocol,
        port: None,
    }
}

fn advert() -> Packet {
    packet(112, "224.0.0.18")
}

fn advert_out() -> Packet {
    Packet {
        incoming: false,
        ..advert()
    }
}

fn advert_v6() -> Packet {
    Packet {
        source: None,
        ..packet(112, "ff02::12")
    }
}

fn heartbeat() -> Packet {
    Packet {
        port: Some(9601),
        ..packet(17, "192.168.0.11")
    }
}

fn client(port: u16) -> Packet {
    Packet {
        source: None,
        port: Some(port),
        ..packet(6, "192.168.0.14")
    }
}

fn judged(ruleset: &str, packet: Packet) -> Finding {
    let wanted = Wanted {
        what: "it".to_owned(),
        packets: vec![packet],
        condition: "ip protocol vrrp".to_owned(),
        or: String::new(),
    };
    findings(ruleset, &[wanted]).remove(0)
}

fn verdict(ruleset: &str, packet: Packet) -> Verdict {
    judged(ruleset, packet).verdict
}

/// A table "inet filter" with a base chain "input" or "output", these rules, and a chain "other" with those.
fn ruleset((hook, policy): (&str, &str), rules: &[&str], other: &[&str]) -> String {
    let mut objects = vec![
        format!(
            r#"{{"chain": {{"family": "inet", "table": "filter", "name": "{hook}", "handle": 1, "type": "filter", "hook": "{hook}", "prio": 0, "policy": "{policy}"}}}}"#
        ),
        r#"{"chain": {"family": "inet", "table": "filter", "name": "other", "handle": 2}}"#.to_owned(),
        r#"{"set": {"family": "inet", "name": "peers", "table": "filter", "type": "ipv4_addr", "handle": 9, "elem": ["192.168.0.12"]}}"#.to_owned(),
    ];
    for (chain, rules) in [(hook, rules), ("other", other)] {
        for (number, expr) in (10..).zip(rules) {
            objects.push(format!(
                r#"{{"rule": {{"family": "inet", "table": "filter", "chain": "{chain}", "handle": {number}, "expr": [{expr}]}}}}"#
            ));
        }
    }
    format!(
        r#"{{"nftables": [{{"metainfo": {{}}}}, {}]}}"#,
        objects.join(", ")
    )
}

const VRRP: &str = r#"{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "protocol"}}, "right": "vrrp"}}"#;
const NUMBER: &str =
    r#"{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": 112}}"#;
const PORT: &str = r#"{"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": {"range": [9600, 9610]}}}"#;
const FROM_PEERS: &str = r#"{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@peers"}}"#;
const FROM_OTHERS: &str = r#"{"match": {"op": "!=", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": {"prefix": {"addr": "192.168.0.0", "len": 24}}}}"#;
const MODULE: &str = r#"{"xt": {"type": "match", "name": "recent"}}"#;
const ACCEPT: &str = r#"{"counter": {"packets": 0, "bytes": 0}}, {"accept": null}"#;
const DROP: &str = r#"{"drop": null}"#;

fn rule(conditions: &[&str], verdict: &str) -> String {
    let parts: Vec<&str> = conditions.iter().copied().chain([verdict]).collect();
    parts.join(", ")
}

#[test]
fn without_chains_nothing_is_dropped() {
    assert_eq!(verdict(r#"{"nftables": []}"#, advert()), Verdict::Good);
    assert_eq!(verdict("Error", advert()), Verdict::Unknown);
}

#[test]
fn a_policy_that_drops_wants_a_rule_that_accepts() {
    let closed = ruleset(("input", "drop"), &[], &[]);
    let said = judged(&closed, advert());
    assert_eq!(
        (said.verdict, said.what.as_str(), said.remedy.as_str()),
        (
            Verdict::Bad,
            "the firewall drops it that come in from 192.168.0.12 on eth0: the policy of chain inet filter input",
            "nft insert rule inet filter input ip protocol vrrp accept"
        )
    );
    for condition in [VRRP, NUMBER, FROM_PEERS] {
        let open = ruleset(("input", "drop"), &[&rule(&[condition], ACCEPT)], &[]);
        assert_eq!(verdict(&open, advert()), Verdict::Good, "{condition}");
    }
    let port = ruleset(("input", "drop"), &[&rule(&[PORT], ACCEPT)], &[]);
    assert_eq!(verdict(&port, heartbeat()), Verdict::Good);
    assert_eq!(verdict(&port, advert()), Verdict::Bad);
    // Nothing of what leaves.
    assert_eq!(verdict(&closed, advert_out()), Verdict::Good);
}

#[test]
fn a_rule_that_drops_is_named_whatever_comes_behind_it() {
    let dropping = rule(&[VRRP], DROP);
    let accepting = rule(&[VRRP], ACCEPT);
    let first = ruleset(("input", "accept"), &[&dropping, &accepting], &[]);
    let said = judged(&first, advert());
    assert_eq!(said.verdict, Verdict::Bad);
    assert!(
        said.what.contains("rule 10 of chain inet filter input"),
        "{said:?}"
    );
    let behind = ruleset(("input", "accept"), &[&accepting, &dropping], &[]);
    assert_eq!(verdict(&behind, advert()), Verdict::Good);
    let out = ruleset(("output", "accept"), &[&dropping], &[]);
    assert_eq!(verdict(&out, advert_out()), Verdict::Bad);
    assert_eq!(verdict(&out, advert()), Verdict::Good);
    let reject = rule(&[FROM_OTHERS], r#"{"reject": {"type": "icmpx"}}"#);
    let others = ruleset(("input", "accept"), &[&reject], &[]);
    assert_eq!(verdict(&others, advert()), Verdict::Good);
}

#[test]
fn one_chain_that_accepts_does_not_speak_for_the_next() {
    let accepting = rule(&[VRRP], ACCEPT);
    let one = ruleset(("input", "drop"), &[&accepting], &[]);
    let two = ruleset(("input", "drop"), &[], &[]).replace("\"filter\"", "\"mine\"");
    let two = two.replace("\"type\": \"mine\"", "\"type\": \"filter\"");
    let both = format!(
        "{}, {}",
        one.trim_end_matches("]}"),
        two.trim_start_matches(r#"{"nftables": ["#)
    );
    let said = judged(&both, advert());
    assert_eq!(said.verdict, Verdict::Bad);
    assert!(said.what.contains("chain inet mine input"), "{said:?}");
}

#[test]
fn a_chain_that_is_jumped_to_returns_and_one_that_is_gone_to_does_not() {
    let jump = r#"{"jump": {"target": "other"}}"#;
    let goto = r#"{"goto": {"target": "other"}}"#;
    let (accepting, dropping) = (rule(&[VRRP], ACCEPT), rule(&[VRRP], DROP));
    let fate = |policy, rules: &[&str], other: &[&str]| {
        verdict(&ruleset(("input", policy), rules, other), advert())
    };
    assert_eq!(fate("drop", &[jump], &[&accepting]), Verdict::Good);
    assert_eq!(
        fate("accept", &[jump, &accepting], &[&dropping]),
        Verdict::Bad
    );
    let back = rule(&[VRRP], r#"{"return": null}"#);
    assert_eq!(
        fate("drop", &[jump, &accepting], &[&back, DROP]),
        Verdict::Good
    );
    assert_eq!(fate("drop", &[goto, &accepting], &[]), Verdict::Bad);
    // A circle, which the kernel would refuse.
    assert_eq!(fate("accept", &[jump], &[jump]), Verdict::Good);
}

#[test]
fn a_map_of_verdicts_is_looked_up() {
    let map = |new: &str| {
        format!(
            r#"{{"vmap": {{"key": {{"ct": {{"key": "state"}}}}, "data": {{"set": [["established", {{"accept": null}}], ["new", {new}]]}}}}}}"#
        )
    };
    let fate = |rule: &str| verdict(&ruleset(("input", "drop"), &[rule], &[]), advert());
    assert_eq!(fate(&map(r#"{"accept": null}"#)), Verdict::Good);
    assert_eq!(fate(&map(r#"{"jump": {"target": "other"}}"#)), Verdict::Bad);
}

#[test]
fn what_cannot_be_told_is_not_called_good() {
    let fate = |policy, rules: &[&str]| verdict(&ruleset(("input", policy), rules, &[]), advert());
    let maybe = rule(&[MODULE], DROP);
    assert_eq!(fate("accept", &[&maybe]), Verdict::Unknown);
    assert_eq!(fate("drop", &[&rule(&[MODULE], ACCEPT)]), Verdict::Unknown);
    // Of no consequence: it is accepted before, dropped either way, or another protocol's.
    assert_eq!(
        fate("accept", &[&rule(&[VRRP], ACCEPT), &maybe]),
        Verdict::Good
    );
    assert_eq!(fate("drop", &[&maybe]), Verdict::Bad);
    assert_eq!(
        fate("accept", &[&rule(&[PORT, MODULE], DROP)]),
        Verdict::Good
    );
    let limit = r#"{"limit": {"rate": 400, "per": "minute"}}"#;
    assert_eq!(fate("drop", &[&rule(&[limit], ACCEPT)]), Verdict::Unknown);
    let each = r#"{"set": {"op": "add", "elem": {"payload": {"protocol": "ip", "field": "saddr"}}, "set": "@peers", "stmt": [{"limit": {"rate": 10, "per": "second"}}]}}"#;
    assert_eq!(fate("drop", &[&rule(&[each], ACCEPT)]), Verdict::Unknown);
    let queue = r#"{"xt": {"type": "target", "name": "NFQUEUE"}}"#;
    assert_eq!(fate("accept", &[queue]), Verdict::Unknown);
    assert_eq!(
        fate("accept", &[r#"{"dnat": {"addr": "10.0.0.1"}}"#]),
        Verdict::Unknown
    );
    let log = r#"{"xt": {"type": "target", "name": "LOG"}}"#;
    assert_eq!(fate("accept", &[log, r#"{"log": null}"#]), Verdict::Good);
    let lost = r#"{"vmap": {"key": {"ct": {"key": "state"}}, "data": "@lost"}}"#;
    assert_eq!(fate("accept", &[lost]), Verdict::Unknown);
    let over = r#"{"limit": {"rate": 400, "per": "second", "inv": true}}"#;
    assert_eq!(fate("accept", &[&rule(&[over], DROP)]), Verdict::Good);
}

#[test]
fn where_a_packet_comes_from_is_looked_at_as_the_kernel_does() {
    let kind = |flag: &str, kind: &str| {
        format!(
            r#"{{"match": {{"op": "==", "left": {{"fib": {{"result": "type", "flags": ["{flag}"]}}}}, "right": "{kind}"}}}}"#
        )
    };
    let fate = |hook, condition: &str, packet| {
        verdict(
            &ruleset((hook, "accept"), &[&rule(&[condition], DROP)], &[]),
            packet,
        )
    };
    assert_eq!(
        fate("input", &kind("saddr", "local"), advert()),
        Verdict::Good
    );
    assert_eq!(
        fate("input", &kind("saddr", "multicast"), advert()),
        Verdict::Good
    );
    assert_eq!(
        fate("input", &kind("daddr", "multicast"), advert()),
        Verdict::Bad
    );
    assert_eq!(
        fate("input", &kind("daddr", "local"), heartbeat()),
        Verdict::Bad
    );
    assert_eq!(
        fate("output", &kind("saddr", "local"), advert_out()),
        Verdict::Bad
    );
    // What leaves has not come in by any interface.
    let not_lo = r#"{"match": {"op": "!=", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}"#;
    assert_eq!(fate("output", not_lo, advert_out()), Verdict::Bad);
    let empty = FROM_PEERS.replace("@peers", "@empty");
    let set = r#"{"nftables": [{"set": {"family": "inet", "name": "empty", "table": "filter"}},"#;
    let blocked = ruleset(("input", "accept"), &[&rule(&[&empty], DROP)], &[]);
    let blocked = blocked.replacen(r#"{"nftables": ["#, set, 1);
    assert_eq!(verdict(&blocked, advert()), Verdict::Good);
}

#[test]
fn a_chain_in_front_of_all_others_is_looked_at_too() {
    let ingress = |device: &str| {
        let chain = format!(r#""hook": "ingress", "dev": "{device}""#);
        ruleset(("input", "accept"), &[&rule(&[VRRP], DROP)], &[])
            .replace(r#""hook": "input""#, &chain)
            .replace("inet", "netdev")
    };
    assert_eq!(verdict(&ingress("eth0"), advert()), Verdict::Bad);
    assert_eq!(verdict(&ingress("eth1"), advert()), Verdict::Good);
}

#[test]
fn firewalld_is_read() {
    for packet in [
        advert(),
        advert_out(),
        advert_v6(),
        heartbeat(),
        client(443),
    ] {
        assert_eq!(
            verdict(FIREWALLD, packet.clone()),
            Verdict::Good,
            "{packet:?}"
        );
    }
    for packet in [advert(), advert_v6(), heartbeat(), client(8443)] {
        let said = judged(FIREWALLD_CLOSED, packet);
        assert_eq!(said.verdict, Verdict::Bad, "{said:?}");
        assert!(
            said.what
                .contains("of chain inet firewalld filter_IN_public"),
            "{said:?}"
        );
        assert!(
            said.remedy
                .contains("insert rule inet firewalld filter_INPUT"),
            "{said:?}"
        );
    }
}

/// nft(8) names most conditions of iptables's modules, and no more.
#[test]
fn ufw_is_read_as_far_as_it_goes() {
    assert_eq!(verdict(UFW, advert_out()), Verdict::Good);
    for packet in [advert(), heartbeat(), client(443)] {
        let said = judged(UFW, packet);
        assert_eq!(said.verdict, Verdict::Unknown, "{said:?}");
    }
}
