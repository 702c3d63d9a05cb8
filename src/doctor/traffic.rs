//! What has to pass a node's firewall, by its configuration. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use common::config::{Config, NodeIndex, Runs, Transport};

use super::firewall::{Packet, Wanted};

const TCP: u8 = 6;
const UDP: u8 = 17;
const VRRP: u8 = 112;
/// Where adverts go (RFC 9568, section 5.1.1.2 and 5.1.2.2).
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

/// Everything that the two nodes say to each other, and what clients ask the VIPs.
pub(super) fn wanted(config: &Config, node: NodeIndex) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    if let Some(peer) = config.peer_of(node) {
        let (own, other) = (config.nodes[node.0].address, config.nodes[peer.0].address);
        for family in [Family::V4, Family::V6] {
            let packets = adverts(config, family, (own, other));
            if !packets.is_empty() {
                wanted.push(family.wanted(packets));
            }
        }
        if config.has_pair_channel(node) && config.nodes[peer.0].runs == Runs::FmcLb {
            wanted.extend(pair(config, (own, other)));
        }
    }
    wanted.extend(listeners(config));
    wanted
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    fn wanted(self, packets: Vec<Packet>) -> Wanted {
        let (what, condition) = match self {
            Self::V4 => ("adverts (IP protocol 112, vrrp)", "ip protocol vrrp"),
            Self::V6 => ("IPv6 adverts (protocol 112, vrrp)", "meta l4proto vrrp"),
        };
        Wanted {
            what: what.to_owned(),
            packets,
            condition: condition.to_owned(),
            or: "with firewalld: firewall-cmd --permanent --add-protocol=vrrp".to_owned(),
        }
    }
}

/// One in and one out for each interface and way of sending.
fn adverts(config: &Config, family: Family, (own, other): (IpAddr, IpAddr)) -> Vec<Packet> {
    let mut packets = Vec::new();
    let vips = config.live_vips().map(|(_, vip)| vip);
    for vip in vips.filter(|vip| Family::of(vip.address) == family) {
        let group = match family {
            Family::V4 => IpAddr::from(GROUP_V4),
            Family::V6 => IpAddr::from(GROUP_V6),
        };
        let (here, there) = match vip.transport {
            Transport::Multicast => (group, group),
            Transport::Unicast => (own, other),
        };
        // Those of IPv6 come from a link-local address, which is the kernel's choice.
        let source = |address| (family == Family::V4).then_some(address);
        for (incoming, source, destination) in
            [(true, source(other), here), (false, source(own), there)]
        {
            let packet = Packet {
                incoming,
                interface: vip.interface.clone(),
                source,
                destination,
                protocol: VRRP,
                port: None,
            };
            if !packets.contains(&packet) {
                packets.push(packet);
            }
        }
    }
    packets
}

/// Heartbeats, and what the admin processes tell each other.
fn pair(config: &Config, (own, other): (IpAddr, IpAddr)) -> [Wanted; 2] {
    let port = config.pair.port;
    [
        (UDP, "udp", "the pair channel's heartbeats"),
        (TCP, "tcp", "the connection of the admin processes"),
    ]
    .map(|(protocol, name, what)| {
        let packet = |incoming, source, destination| Packet {
            incoming,
            interface: config.pair.interface.clone(),
            source: Some(source),
            destination,
            protocol,
            port: Some(port),
        };
        Wanted {
            what: format!("{what} ({} port {port})", name.to_uppercase()),
            packets: vec![packet(true, other, own), packet(false, own, other)],
            condition: format!("{name} dport {port}"),
            or: format!("with firewalld: firewall-cmd --permanent --add-port={port}/{name}"),
        }
    })
}

/// What clients ask for, each port once.
fn listeners(config: &Config) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for bind in config.listeners.iter().flat_map(|listener| &listener.binds) {
        let address = bind.address.ip();
        let vips = config.live_vips().map(|(_, vip)| vip);
        let Some(vip) = vips.into_iter().find(|vip| vip.address == address) else {
            continue;
        };
        let port = bind.address.port();
        let packet = Packet {
            incoming: true,
            interface: vip.interface.clone(),
            source: None,
            destination: address,
            protocol: TCP,
            port: Some(port),
        };
        let condition = format!("tcp dport {port}");
        match wanted.iter_mut().find(|known| known.condition == condition) {
            Some(known) => known.packets.push(packet),
            None => wanted.push(Wanted {
                what: format!("new connections of clients (TCP port {port})"),
                packets: vec![packet],
                condition,
                or: format!("with firewalld: firewall-cmd --permanent --add-port={port}/tcp"),
            }),
        }
    }
    wanted
}
