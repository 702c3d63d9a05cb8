//! Which interfaces carry VIPs, and between which addresses adverts travel there. Pure.

use std::net::{IpAddr, Ipv4Addr};

use common::addr::{Family, Priority};
use common::config::{Config, NodeIndex, Transport, Vip, VipIndex, VrrpVersion};

use crate::link::Address;
use crate::packet::{
    Addresses, Advert, EncodeError, Envelope, V2, Version, Virtual, encode, group,
};
use crate::signature::{Keys, Stamp, TRAILER_LEN};

/// An interface that carries VIPs of one family, as the configuration has it.
#[derive(Debug, Clone)]
pub(crate) struct PortPlan {
    pub(crate) name: String,
    pub(crate) family: Family,
    /// In the order of the file.
    pub(crate) vips: Vec<VipIndex>,
    /// Theirs.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) own: OwnAddress,
    /// The other node's address on this interface, if the configuration knows it.
    pub(crate) peer: Option<IpAddr>,
}

/// Which address of the interface is this node's own: the source of its adverts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OwnAddress {
    /// As the file says: on the pair's interface.
    Configured(IpAddr),
    /// The first one in the subnet of an IPv4 VIP, elsewhere.
    InSubnet {
        network: Ipv4Addr,
        prefix_len: u8,
        /// Never one of these.
        vips: Vec<IpAddr>,
    },
    /// The first link-local one, of IPv6 (RFC 9568, section 5.1.2.1).
    LinkLocal {
        /// Never one of these, which stand in adverts.
        vips: Vec<IpAddr>,
    },
}

impl OwnAddress {
    /// Finds it among the kernel's addresses of the interface with this index. One that is still being
    /// probed for duplicates is not there yet.
    pub(crate) fn find(&self, interface: u32, addresses: &[Address]) -> Option<IpAddr> {
        addresses
            .iter()
            .filter(|found| found.interface == interface && found.settled)
            .map(|found| found.address)
            .find(|address| self.is(*address))
    }

    fn is(&self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Configured(own), _) => address == *own,
            (
                Self::InSubnet {
                    network,
                    prefix_len,
                    vips,
                },
                IpAddr::V4(_),
            ) => same_subnet(address, (*network).into(), *prefix_len) && !vips.contains(&address),
            (Self::LinkLocal { vips }, IpAddr::V6(v6)) => {
                v6.is_unicast_link_local() && !vips.contains(&address)
            }
            (Self::InSubnet { .. }, IpAddr::V6(_)) | (Self::LinkLocal { .. }, IpAddr::V4(_)) => {
                false
            }
        }
    }

    /// What is wrong without it, in words.
    pub(crate) fn missing(&self) -> String {
        match self {
            Self::Configured(own) => format!("has lost {own}"),
            Self::InSubnet { .. } => "has no address in the VIP's subnet".to_owned(),
            Self::LinkLocal { .. } => "has no link-local address that can be used".to_owned(),
        }
    }
}

/// Whether two addresses of one family are in one subnet.
pub(crate) fn same_subnet(a: IpAddr, b: IpAddr, prefix_len: u8) -> bool {
    // As 128 bits, those of IPv4 first.
    let bits = |address| match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    };
    let host_bits = 128 - u32::from(prefix_len.min(128));
    (bits(a) ^ bits(b)).checked_shr(host_bits).unwrap_or(0) == 0
}

/// The interfaces that carry VIPs, in the order in which the file names them first; one with VIPs of
/// both families is there twice.
pub(crate) fn plan(config: &Config, node: NodeIndex) -> Vec<PortPlan> {
    let mut ports: Vec<PortPlan> = Vec::new();
    for (index, vip) in config.live_vips() {
        let family = vip.family();
        let same = |port: &&mut PortPlan| port.name == vip.interface && port.family == family;
        match ports.iter_mut().find(same) {
            Some(port) => {
                port.vips.push(index);
                port.addresses.push(vip.address);
            }
            None => ports.push(PortPlan {
                name: vip.interface.clone(),
                family,
                vips: vec![index],
                addresses: vec![vip.address],
                own: own_address(config, node, vip),
                peer: peer_address(config, node, vip),
            }),
        }
    }
    ports
}

/// What the file says of a node's address for adverts of this VIP: it knows those on the pair's
/// interface only.
fn known_address(config: &Config, node: NodeIndex, vip: &Vip) -> Option<IpAddr> {
    let node = &config.nodes[node.0];
    match vip.address {
        IpAddr::V4(_) => node.address.is_ipv4().then_some(node.address),
        IpAddr::V6(_) => node.link_local.map(IpAddr::V6),
    }
}

fn own_address(config: &Config, node: NodeIndex, vip: &Vip) -> OwnAddress {
    let known = known_address(config, node, vip);
    match (vip.address, known) {
        (_, Some(own)) if vip.interface == config.pair.interface => OwnAddress::Configured(own),
        (IpAddr::V4(network), _) => OwnAddress::InSubnet {
            network,
            prefix_len: vip.prefix_len,
            vips: config.vips.iter().map(|vip| vip.address).collect(),
        },
        (IpAddr::V6(_), _) => {
            let vips = config.vips.iter().filter_map(|vip| vip.link_local);
            OwnAddress::LinkLocal {
                vips: vips.map(IpAddr::V6).collect(),
            }
        }
    }
}

/// Unicast goes to the other node's known address from anywhere.
fn peer_address(config: &Config, node: NodeIndex, vip: &Vip) -> Option<IpAddr> {
    let known = vip.interface == config.pair.interface || vip.transport == Transport::Unicast;
    let peer = config.peer_of(node).filter(|_| known)?;
    known_address(config, peer, vip)
}

/// Bytes of the longest of our own adverts: IPv6 header, fixed part, two addresses, signature.
pub(crate) const OWN_DATAGRAM: usize = 40 + 8 + 2 * 16 + TRAILER_LEN;

/// One advert, ready to be sent.
#[derive(Debug)]
pub(crate) struct EncodedAdvert {
    bytes: [u8; OWN_DATAGRAM],
    length: usize,
    pub(crate) destination: IpAddr,
}

impl EncodedAdvert {
    /// The whole IP datagram.
    pub(crate) fn datagram(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Writes the advert of a VIP, signed if there is a `signature`; 0 as priority resigns. `None` if it has nobody to go to (unicast
/// without a peer).
///
/// # Errors
/// If the configuration holds an interval that cannot be written.
pub(crate) fn advert(
    vip: &Vip,
    priority: u8,
    own: IpAddr,
    peer: Option<IpAddr>,
    signature: Option<(&Keys, Stamp)>,
) -> Result<Option<EncodedAdvert>, EncodeError> {
    let destination = match vip.transport {
        Transport::Multicast => group(vip.family()),
        Transport::Unicast => match peer {
            Some(peer) => peer,
            None => return Ok(None),
        },
    };
    let mut bytes = [0; OWN_DATAGRAM];
    let (v4, v6);
    let addresses = match vip.address {
        IpAddr::V4(address) => {
            v4 = [address.octets()];
            Addresses::V4(&v4)
        }
        IpAddr::V6(address) => {
            let first = vip.link_local.unwrap_or(address);
            v6 = [first.octets(), address.octets()];
            Addresses::V6(&v6)
        }
    };
    let advert = Advert {
        vrid: vip.vrid,
        priority,
        interval: vip.advert_interval,
        addresses,
    };
    let envelope = Envelope {
        source: own,
        destination,
        version: match vip.version {
            VrrpVersion::V3 => Version::V3(vip.checksum),
            VrrpVersion::V2 { pass } => Version::V2(pass),
        },
    };
    let length = encode(&advert, &envelope, signature, &mut bytes)?;
    Ok(Some(EncodedAdvert {
        bytes,
        length,
        destination,
    }))
}

/// The virtual routers of some VIPs.
pub(crate) fn routers<'a>(
    config: &'a Config,
    node: NodeIndex,
    vips: &'a [VipIndex],
    transport: Transport,
) -> impl Iterator<Item = Virtual> + 'a {
    vips.iter()
        .map(|vip| &config.vips[vip.0])
        .filter(move |vip| vip.transport == transport)
        .map(move |vip| Virtual {
            vrid: vip.vrid,
            v2: match (vip.version, vip.address) {
                (VrrpVersion::V2 { pass }, IpAddr::V4(address)) => Some(V2 {
                    pass,
                    seconds: u8::try_from(vip.advert_interval.as_secs()).unwrap_or(u8::MAX),
                    address,
                    owner: vip.priorities[node.0] == Priority::OWNER,
                }),
                (VrrpVersion::V3, _) | (VrrpVersion::V2 { .. }, IpAddr::V6(_)) => None,
            },
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(interface: u32, address: &str) -> Address {
        Address::host(interface, address.parse().expect("an address"))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_configured_address_must_be_on_the_interface() {
        let own = OwnAddress::Configured(ip("192.0.2.1"));
        let elsewhere = [address(3, "192.0.2.1"), address(2, "192.0.2.9")];
        assert_eq!(own.find(2, &elsewhere), None);
        assert_eq!(own.find(3, &elsewhere), Some(ip("192.0.2.1")));
    }

    #[test]
    fn elsewhere_the_first_address_of_the_subnet_that_is_no_vip_is_ours() {
        let own = OwnAddress::InSubnet {
            network: Ipv4Addr::new(198, 51, 100, 10),
            prefix_len: 25,
            vips: vec![ip("198.51.100.10")],
        };
        let found = [
            address(2, "fe80::2"),
            address(2, "198.51.100.200"),
            address(2, "198.51.100.10"),
            address(2, "198.51.100.2"),
        ];
        assert_eq!(own.find(2, &found), Some(ip("198.51.100.2")));
    }

    #[test]
    fn over_ipv6_the_first_link_local_address_that_is_no_vip_and_can_be_used_is_ours() {
        let own = OwnAddress::LinkLocal {
            vips: vec![ip("fe80::33")],
        };
        let mut tentative = address(2, "fe80::1");
        tentative.settled = false;
        let mut found = vec![
            address(3, "fe80::9"),
            address(2, "192.0.2.1"),
            address(2, "fd00::1"),
            address(2, "fe80::33"),
            tentative,
        ];
        assert_eq!(own.find(2, &found), None);
        found.push(address(2, "fe80::2"));
        assert_eq!(own.find(2, &found), Some(ip("fe80::2")));
    }
}
