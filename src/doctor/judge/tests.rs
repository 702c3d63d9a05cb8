use std::collections::BTreeMap;

use common::config::{Viewpoint, Who};
use common::status::Status;
use ipnet::IpNet;

use super::super::pools::Pool;
use super::*;

const NODE: NodeIndex = NodeIndex(0);

fn config() -> Config {
    let text = include_str!("../../../configs/flatcarmicrocloud.toml");
    let nobody = Viewpoint {
        who: Who::Anybody,
        files: None,
        capacity: None,
    };
    let parsed = Config::parse("shipped", text, nobody);
    parsed.expect("the shipped file is valid").config
}

/// A machine on which everything is as it should be.
fn healthy() -> Facts {
    let interface = Interface {
        exists: true,
        up: true,
        carrier: true,
        multicast: true,
        addresses: vec![[192, 168, 0, 11].into()],
        manager: None,
        leased: false,
    };
    let settings = [
        ("ipv4/tcp_tw_reuse", "1"),
        ("ipv4/ip_local_port_range", "1024\t65535"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/eth0/rp_filter", "2"),
        ("ipv4/conf/eth0/arp_ignore", "1"),
        ("ipv4/conf/eth0/arp_announce", "2"),
        ("netfilter/nf_conntrack_count", "10"),
        ("netfilter/nf_conntrack_max", "65536"),
    ];
    Facts {
        interfaces: BTreeMap::from([("eth0".to_owned(), interface)]),
        up: 1,
        networks: vec![network("eth0", "192.168.0.0/24")],
        to_peer: Some(Ok([192, 168, 0, 11].into())),
        ruleset: Ok("{\"nftables\": []}".to_owned()),
        legacy_tables: Vec::new(),
        settings: settings
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        forwarding: Some(Ok(())),
        pools: vec![pool("10.0.0.1", "10.0.0.254")],
        status: Ok(Status::default()),
    }
}

fn pool(first: &str, last: &str) -> Pool {
    Pool {
        file: "/etc/dnsmasq.conf".into(),
        first: first.parse().expect("an address"),
        last: last.parse().expect("an address"),
    }
}

fn network(interface: &str, network: &str) -> (String, IpNet) {
    (interface.to_owned(), network.parse().expect("a network"))
}

#[test]
fn another_interface_on_the_network_of_a_vip_answers_for_it() {
    let beside = |it: &mut Facts| it.networks.push(network("eth1", "192.168.0.0/24"));
    let set = |it: &mut Facts, setting: &str, value: &str| {
        it.settings
            .insert(format!("ipv4/conf/{setting}"), value.to_owned());
    };
    let what =
        "eth1 is on 192.168.0.0/24, too, the network of VIP api on eth0: it answers for VIPs";
    says(Verdict::Bad, what, beside);
    says(Verdict::Bad, what, |it| {
        beside(it);
        set(it, "eth1/arp_ignore", "1");
    });
    says(Verdict::Warning, "packets may leave by either", |it| {
        beside(it);
        set(it, "eth1/arp_ignore", "1");
        set(it, "eth1/arp_announce", "2");
    });
    let elsewhere = said(|it| it.networks.push(network("eth1", "10.17.4.0/24")));
    assert_eq!(elsewhere, []);
}

#[test]
fn a_kernel_that_refuses_flow_forwarding_is_a_warning() {
    let found = said(|facts| facts.forwarding = Some(Err("no CAP_BPF".to_owned())));
    let [(Verdict::Warning, what)] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert!(what.contains("no CAP_BPF"), "{what}");
    assert_eq!(said(|facts| facts.forwarding = None), []);
}

/// What is not good on a machine that differs so from a healthy one.
fn said(change: impl FnOnce(&mut Facts)) -> Vec<(Verdict, String)> {
    let mut facts = healthy();
    change(&mut facts);
    findings(&config(), NODE, &facts)
        .into_iter()
        .filter(|one| one.verdict != Verdict::Good)
        .inspect(|one| assert!(!one.remedy.is_empty(), "{one:?}"))
        .map(|one| (one.verdict, one.what))
        .collect()
}

#[track_caller]
fn says(verdict: Verdict, part: &str, change: impl FnOnce(&mut Facts)) {
    let said = said(change);
    let [(seen, what)] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!(*seen, verdict, "{what}");
    assert!(what.contains(part), "{what}");
}

fn eth0(facts: &mut Facts) -> &mut Interface {
    facts.interfaces.get_mut("eth0").expect("it is there")
}

#[test]
fn a_healthy_machine_is_good() {
    assert_eq!(said(|_| {}), []);
}

#[test]
fn an_ipv6_vip_needs_a_link_local_address() {
    let mut config = config();
    config.vips[0].address = "fd00::10".parse().expect("an address");
    let said = |config: &Config, addresses: &[&str]| {
        let mut facts = healthy();
        let more = addresses
            .iter()
            .map(|text| text.parse::<IpAddr>().expect("one"));
        eth0(&mut facts).addresses.extend(more);
        let found = findings(config, NODE, &facts).into_iter();
        let bad = found.filter(|one| one.verdict != Verdict::Good);
        bad.map(|one| one.what).collect::<Vec<_>>()
    };
    let missing = "eth0 has no link-local address, which adverts of VIP api come from";
    assert_eq!(said(&config, &["fd00::11"]), [missing]);
    assert_eq!(said(&config, &["fe80::11"]), Vec::<String>::new());
    config.nodes[0].link_local = Some("fe80::12".parse().expect("an address"));
    let other =
        "eth0 has not this node's link-local address fe80::12, which adverts of VIP api come from";
    assert_eq!(said(&config, &["fe80::11"]), [other]);
}

#[test]
fn an_address_of_the_pair_in_a_dhcp_pool_is_bad() {
    let what = "gives out 192.168.0.10 to 192.168.0.10, and with it VIP api, 192.168.0.10";
    says(Verdict::Bad, what, |it| {
        it.pools.push(pool("192.168.0.10", "192.168.0.10"));
    });
    says(Verdict::Bad, "the address of lb2, 192.168.0.12", |it| {
        it.pools.push(pool("192.168.0.12", "192.168.0.13"));
    });
    let elsewhere = said(|it| it.pools.push(pool("192.168.0.15", "192.168.0.250")));
    assert_eq!(elsewhere, []);
}

#[test]
fn each_thing_that_is_wrong_is_said_alone() {
    use Verdict::{Bad, Unknown, Warning};
    says(Bad, "does not exist", |it| eth0(it).exists = false);
    says(Bad, "switched off", |it| eth0(it).up = false);
    says(Bad, "no carrier", |it| eth0(it).carrier = false);
    says(Bad, "multicast", |it| eth0(it).multicast = false);
    says(Bad, "192.168.0.11", |it| eth0(it).addresses.clear());
    says(Warning, "DHCP", |it| eth0(it).leased = true);
    says(Warning, "NetworkManager", |it| {
        eth0(it).manager = Some(Manager::NetworkManager);
    });
    says(Warning, "systemd-networkd", |it| {
        eth0(it).manager = Some(Manager::Networkd {
            file: "/etc/systemd/network/eth0.network".to_owned(),
            keeps: String::new(),
        });
    });
    says(Bad, "leave from 10.0.0.1", |it| {
        it.to_peer = Some(Ok([10, 0, 0, 1].into()));
    });
    says(Bad, "no way leads", |it| {
        it.to_peer = Some(Err("Network is unreachable".to_owned()));
    });
    says(Unknown, "the firewall", |it| {
        it.ruleset = Err("no nft".to_owned())
    });
    says(Unknown, "older iptables", |it| {
        it.legacy_tables.push("filter".to_owned())
    });
    says(Warning, "tcp_tw_reuse", |it| {
        it.settings
            .insert("ipv4/tcp_tw_reuse".to_owned(), "0".to_owned());
    });
    says(Warning, "32768 to 40000", |it| {
        let range = "ipv4/ip_local_port_range".to_owned();
        it.settings.insert(range, "32768\t40000".to_owned());
    });
    says(Bad, "60000 of 65536", |it| {
        let count = "netfilter/nf_conntrack_count".to_owned();
        it.settings.insert(count, "60000".to_owned());
    });
    says(Unknown, "no node runs", |it| {
        it.status = Err("no socket".to_owned())
    });
    says(Warning, "both nodes are active", |it| {
        let status = it.status.as_mut().expect("it runs");
        status
            .warnings
            .push("VIP web: both nodes are active".to_owned());
    });
}

#[test]
fn a_strict_reverse_path_filter_matters_only_beside_other_interfaces() {
    let strict = |it: &mut Facts| {
        let name = "ipv4/conf/eth0/rp_filter".to_owned();
        it.settings.insert(name, "1".to_owned());
    };
    assert_eq!(said(strict), []);
    says(Verdict::Warning, "rp_filter is strict on eth0", |it| {
        strict(it);
        it.up = 2;
    });
}

#[test]
fn what_makes_a_node_silent_for_vips_that_it_does_not_hold_is_looked_at() {
    let set = |name: &'static str, value: &'static str| {
        move |it: &mut Facts| {
            it.settings
                .insert(format!("ipv4/conf/{name}"), value.to_owned());
        }
    };
    let answers = "this node answers for VIPs that it does not hold";
    says(Verdict::Bad, answers, set("eth0/arp_ignore", "0"));
    says(Verdict::Bad, answers, set("eth0/arp_announce", "0"));
    let nobody = "arp_ignore is 2 on eth0: with more than 1 nobody can resolve a VIP there";
    says(Verdict::Bad, nobody, set("all/arp_ignore", "2"));
    // A node that does not run has not set it yet.
    let said = said(|it| {
        it.status = Err("no socket".to_owned());
        set("eth0/arp_ignore", "0")(it);
    });
    assert!(matches!(said[..], [(Verdict::Unknown, _)]), "{said:?}");
}

#[test]
fn networkd_that_keeps_what_it_finds_is_good() {
    let kept = said(|it| {
        eth0(it).manager = Some(Manager::Networkd {
            file: "/etc/systemd/network/eth0.network".to_owned(),
            keeps: "static".to_owned(),
        });
    });
    assert_eq!(kept, []);
}

#[test]
fn a_closed_firewall_needs_adverts_the_pair_channel_and_the_listeners() {
    let closed = r#"{"nftables": [{"chain": {"family": "inet", "table": "filter", "name": "input",
        "hook": "input", "policy": "drop"}}]}"#;
    let said = said(|it| it.ruleset = Ok(closed.to_owned()));
    let all: Vec<&str> = said.iter().map(|(_, what)| what.as_str()).collect();
    for part in ["112", "9601", "6443", "port 80)", "443"] {
        assert!(
            all.iter().any(|what| what.contains(part)),
            "no {part}: {all:?}"
        );
    }
    assert!(said.iter().all(|(verdict, _)| *verdict == Verdict::Bad));
}
