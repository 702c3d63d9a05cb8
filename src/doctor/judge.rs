//! What the facts mean. Pure.

use std::net::IpAddr;

use common::addr::Family;
use common::config::{Config, NodeIndex, Transport, Vip};

use super::examine::{Facts, Interface, Manager};
use super::{Finding, Verdict};
use super::{firewall, traffic};
use crate::bpf;

/// Share of a full table of connections that is worth a word, in percent.
const NEARLY_FULL: u64 = 80;
/// Ports for connections to servers, below which a busy node runs out of them.
const FEW_PORTS: u64 = 20_000;

/// Everything that is said, in the order of reading.
pub(super) fn findings(config: &Config, node: NodeIndex, facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, interface) in &facts.interfaces {
        found.extend(of_interface(config, node, (name, interface)));
    }
    found.extend(way(config, node, facts));
    found.extend(firewalls(config, node, facts));
    found.extend(settings(facts));
    found.extend(answering(config, facts));
    found.extend(beside(config, facts));
    found.extend(given_out(config, facts));
    found.extend(forwarding(facts));
    found.extend(running(facts));
    found
}

fn of_interface(
    config: &Config,
    node: NodeIndex,
    (name, interface): (&str, &Interface),
) -> Vec<Finding> {
    let bad = |what: String, remedy: String| vec![Finding::new(Verdict::Bad, what, remedy)];
    if !interface.exists {
        return bad(
            format!("{name} does not exist"),
            "name an interface of `ip link` in [pair] or at the VIP".to_owned(),
        );
    }
    if !interface.up {
        return bad(
            format!("{name} is switched off"),
            format!("ip link set {name} up"),
        );
    }
    if !interface.carrier {
        return bad(
            format!("{name} has no carrier"),
            "look at its cable, or at the switch's port".to_owned(),
        );
    }
    let mut found = Vec::new();
    let own = config.nodes[node.0].address;
    if name == config.pair.interface && !interface.addresses.contains(&own) {
        found.push(Finding::new(
            Verdict::Bad,
            format!("{name} does not have this node's address {own}"),
            format!(
                "ip addr add {own}/{} dev {name}, and in its lasting configuration",
                if own.is_ipv4() { 24 } else { 64 }
            ),
        ));
    }
    let mut vips = config.vips.iter().filter(|vip| vip.interface == name);
    let multicast = vips.any(|vip| vip.transport == Transport::Multicast);
    if multicast && !interface.multicast {
        found.push(Finding::new(
            Verdict::Bad,
            format!("{name} cannot do multicast, and adverts go to 224.0.0.18 or ff02::12"),
            format!("ip link set {name} multicast on, or transport = \"unicast\""),
        ));
    }
    found.extend(link_local(config, node, (name, interface)));
    found.extend(
        interface
            .manager
            .as_ref()
            .and_then(|one| managed(name, one)),
    );
    if interface.leased {
        found.push(Finding::new(
            Verdict::Warning,
            format!("{name} has its address by DHCP: with the lease goes the node's part in the election"),
            "give the node a fixed address, and keep it and the VIPs out of the DHCP server's pool",
        ));
    }
    if found.is_empty() {
        found.push(Finding::good(format!("{name} is up and has what it needs")));
    }
    found
}

/// Adverts of IPv6 VIPs come from the interface's link-local address.
fn link_local(
    config: &Config,
    node: NodeIndex,
    (name, interface): (&str, &Interface),
) -> Option<Finding> {
    let mut vips = config.vips.iter().filter(|vip| vip.interface == name);
    let vip = vips.find(|vip| vip.family() == Family::V6)?;
    let configured = config.nodes[node.0].link_local;
    let configured = configured.filter(|_| name == config.pair.interface);
    let is_it = |address: &IpAddr| match (address, configured) {
        (IpAddr::V6(address), Some(own)) => *address == own,
        (IpAddr::V6(address), None) => address.is_unicast_link_local(),
        (IpAddr::V4(_), _) => false,
    };
    if interface.addresses.iter().any(is_it) {
        return None;
    }
    let which = configured.map_or_else(
        || "no link-local address".to_owned(),
        |own| format!("not this node's link-local address {own}"),
    );
    Some(Finding::new(
        Verdict::Bad,
        format!(
            "{name} has {which}, which adverts of VIP {} come from",
            vip.name
        ),
        format!(
            "sysctl net.ipv6.conf.{name}.disable_ipv6=0; `ip -6 address show dev {name}` shows what it has"
        ),
    ))
}

/// A manager that takes away addresses that it has not set takes VIPs away.
fn managed(name: &str, manager: &Manager) -> Option<Finding> {
    match manager {
        Manager::NetworkManager => Some(Finding::new(
            Verdict::Warning,
            format!(
                "NetworkManager manages {name}: a reapply or a restart of the connection takes VIPs away for a moment"
            ),
            format!(
                "nmcli device set {name} managed no, or leave its connection alone while the node is active"
            ),
        )),
        Manager::Networkd { file, keeps } if keeps.is_empty() || keeps == "no" => {
            Some(Finding::new(
                Verdict::Warning,
                format!(
                    "systemd-networkd manages {name}: its restart takes VIPs away for a moment"
                ),
                format!("KeepConfiguration=static in the section [Network] of {file}"),
            ))
        }
        Manager::Networkd { .. } => None,
    }
}

fn way(config: &Config, node: NodeIndex, facts: &Facts) -> Option<Finding> {
    let own = config.nodes[node.0].address;
    let peer = &config.nodes[config.peer_of(node)?.0];
    Some(match facts.to_peer.as_ref()? {
        Ok(from) if *from == own => {
            Finding::good(format!("packets to {} leave from {own}", peer.name))
        }
        Ok(from) => Finding::new(
            Verdict::Bad,
            format!(
                "packets to {} ({}) leave from {from}, not from {own}: it drops them",
                peer.name, peer.address
            ),
            "look at `ip route get`, and at rules for the nodes' subnet",
        ),
        Err(why) => Finding::new(
            Verdict::Bad,
            format!("no way leads to {} ({}): {why}", peer.name, peer.address),
            "look at `ip route`",
        ),
    })
}

fn firewalls(config: &Config, node: NodeIndex, facts: &Facts) -> Vec<Finding> {
    let mut found = match &facts.ruleset {
        Ok(ruleset) => firewall::findings(ruleset, &traffic::wanted(config, node)),
        Err(why) => vec![Finding::new(
            Verdict::Unknown,
            format!("the firewall: {why}"),
            "run this as root, with nft(8) installed",
        )],
    };
    if !facts.legacy_tables.is_empty() {
        found.push(Finding::new(
            Verdict::Unknown,
            "there are rules of the older iptables, which are not looked at",
            "look at `iptables-legacy -S`",
        ));
    }
    found
}

fn settings(facts: &Facts) -> Vec<Finding> {
    let number = |name: &str| facts.settings.get(name)?.parse::<u64>().ok();
    let mut found = Vec::new();
    let all = number("ipv4/conf/all/rp_filter").unwrap_or(0);
    for name in facts.interfaces.keys() {
        let own = number(&format!("ipv4/conf/{name}/rp_filter")).unwrap_or(0);
        // The larger of the two counts; 1 is strict (kernel, ip-sysctl).
        if own.max(all) == 1 && facts.up > 1 {
            found.push(Finding::new(
                Verdict::Warning,
                format!(
                    "rp_filter is strict on {name} and there are other interfaces: adverts are dropped unseen \
                     where the way back is another one"
                ),
                format!("sysctl net.ipv4.conf.{name}.rp_filter=2"),
            ));
        }
    }
    if number("ipv4/tcp_tw_reuse") == Some(0) {
        found.push(Finding::new(
            Verdict::Warning,
            "tcp_tw_reuse is off: ports of connections to servers rest for a minute after each",
            "sysctl net.ipv4.tcp_tw_reuse=1",
        ));
    }
    let range = facts.settings.get("ipv4/ip_local_port_range");
    let ends: Vec<u64> = range
        .into_iter()
        .flat_map(|range| range.split_whitespace())
        .filter_map(|end| end.parse().ok())
        .collect();
    if let [first, last] = ends[..]
        && last.saturating_sub(first) < FEW_PORTS
    {
        found.push(Finding::new(
            Verdict::Warning,
            format!("only ports {first} to {last} are for connections to servers"),
            "sysctl net.ipv4.ip_local_port_range=\"1024 65535\", or source_ports of the backend",
        ));
    }
    let table = number("netfilter/nf_conntrack_count").zip(number("netfilter/nf_conntrack_max"));
    if let Some((count, most)) = table
        && count * 100 >= most * NEARLY_FULL
    {
        found.push(Finding::new(
            Verdict::Bad,
            format!("{count} of {most} connections are tracked: a full table drops new ones"),
            "sysctl net.netfilter.nf_conntrack_max, or do not track what the listeners take",
        ));
    }
    if found.is_empty() {
        found.push(Finding::good("kernel settings are as they should be"));
    }
    found
}

/// `arp_ignore` and `arp_announce` as they count on an interface: the larger of its own and that of all (kernel, ip-sysctl).
fn arp_settings(facts: &Facts, interface: &str) -> (u8, u8) {
    let of = |setting: &str| {
        let values = ["all", interface].map(|whose| {
            let value = facts.settings.get(&format!("ipv4/conf/{whose}/{setting}"));
            value.and_then(|value| value.parse().ok()).unwrap_or(0)
        });
        values.into_iter().max().unwrap_or(0)
    };
    (of("arp_ignore"), of("arp_announce"))
}

/// What keeps a node from answering ARP for VIPs that it does not hold. A running node has set it.
fn answering(config: &Config, facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for name in facts.interfaces.keys() {
        let mut vips = config.vips.iter().filter(|vip| vip.interface == *name);
        if !vips.any(|vip| vip.family() == Family::V4) {
            continue;
        }
        let (ignore, announce) = arp_settings(facts, name);
        if ignore > 1 {
            found.push(Finding::new(
                Verdict::Bad,
                format!("arp_ignore is {ignore} on {name}: with more than 1 nobody can resolve a VIP there"),
                format!("sysctl net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.{name}.arp_ignore=1"),
            ));
        } else if facts.status.is_ok() && (ignore, announce) != (1, 2) {
            found.push(Finding::new(
                Verdict::Bad,
                format!(
                    "arp_ignore is {ignore} and arp_announce {announce} on {name}: this node answers for VIPs that it \
                     does not hold"
                ),
                "a running node sets them to 1 and 2 within a second: find out who sets them back",
            ));
        } else if facts.status.is_ok() {
            found.push(Finding::good(format!(
                "arp_ignore is 1 and arp_announce 2 on {name}: only its holder answers for a VIP"
            )));
        }
    }
    found
}

/// Another interface on a VIP's network answers ARP for every address of the machine, also for the VIPs on `lo`: unless it is
/// told not to, a backup takes the holder's clients there.
fn beside(config: &Config, facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for (name, network) in &facts.networks {
        let holds = |vip: &Vip| vip.interface != *name && network.contains(&vip.address);
        let Some(vip) = config.vips.iter().find(|vip| holds(vip)) else {
            continue;
        };
        let (of, its) = (&vip.name, &vip.interface);
        let (ignore, announce) = arp_settings(facts, name);
        let silent = ignore > 0 && announce > 1;
        found.push(if silent {
            Finding::new(
                Verdict::Warning,
                format!("{name} is on {network}, too, the network of VIP {of} on {its}: packets may leave by either"),
                format!("take {name} out of that network, or join both in a bond"),
            )
        } else {
            Finding::new(
                Verdict::Bad,
                format!(
                    "{name} is on {network}, too, the network of VIP {of} on {its}: it answers for VIPs that this node does \
                     not hold"
                ),
                format!(
                    "take {name} out of that network, or sysctl net.ipv4.conf.{name}.arp_ignore=1 \
                     net.ipv4.conf.{name}.arp_announce=2"
                ),
            )
        });
    }
    found
}

/// A VIP, or a node's own address, that a DHCP server here may give to somebody else.
fn given_out(config: &Config, facts: &Facts) -> Vec<Finding> {
    let vips = config.vips.iter();
    let vips = vips.map(|vip| (format!("VIP {}", vip.name), vip.address));
    let nodes = config.nodes.iter();
    let nodes = nodes.map(|node| (format!("the address of {}", node.name), node.address));
    let addresses = vips.chain(nodes).filter_map(|(what, address)| {
        let mut pools = facts.pools.iter();
        Some((what, address, pools.find(|pool| pool.contains(&address))?))
    });
    addresses
        .map(|(what, address, pool)| {
            let (file, first, last) = (pool.file.display(), pool.first, pool.last);
            Finding::new(
                Verdict::Bad,
                format!(
                    "a DHCP server here gives out {first} to {last}, and with it {what}, {address}"
                ),
                format!("take it out of the range in {file}"),
            )
        })
        .collect()
}

fn forwarding(facts: &Facts) -> Option<Finding> {
    Some(match facts.forwarding.as_ref()? {
        Ok(()) => Finding::good("the kernel takes the TC program of flow forwarding"),
        Err(why) => Finding::new(
            Verdict::Warning,
            format!("{}: {why}", bpf::COST),
            bpf::REMEDY,
        ),
    })
}

/// What only a running node can know: rivals, both active, an advert that does not come.
fn running(facts: &Facts) -> Vec<Finding> {
    match &facts.status {
        Err(why) => vec![Finding::new(
            Verdict::Unknown,
            format!("no node runs here that could be asked: {why}"),
            "start it, and ask again",
        )],
        Ok(status) if status.warnings.is_empty() => {
            vec![Finding::good("the running node warns of nothing")]
        }
        Ok(status) => {
            let warnings = status.warnings.iter();
            warnings
                .map(|warning| {
                    let what = format!("the running node says: {warning}");
                    Finding::new(Verdict::Warning, what, "fmc-lb status")
                })
                .collect()
        }
    }
}

#[cfg(test)]
mod tests;
