//! Which interfaces carry VIPs, and between which addresses adverts travel there. Pure.

use std::net::Ipv4Addr;

use common::addr::Priority;
use common::config::{Config, NodeIndex, Transport, Vip, VipIndex, VrrpVersion};

use crate::link::Address;
use crate::packet::{
    Advert, EncodeError, Envelope, GROUP, MAX_DATAGRAM, V2, Version, Virtual, encode,
};
use crate::signature::{Keys, Stamp};

/// An interface that carries VIPs, as the configuration has it.
#[derive(Debug, Clone)]
pub(crate) struct PortPlan {
    pub(crate) name: String,
    /// In the order of the file.
    pub(crate) vips: Vec<VipIndex>,
    /// Theirs.
    pub(crate) addresses: Vec<Ipv4Addr>,
    pub(crate) own: OwnAddress,
    /// The other node's address on this interface, if the configuration knows it.
    pub(crate) peer: Option<Ipv4Addr>,
}

/// Which address of the interface is this node's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OwnAddress {
    /// The node's address in the file: on the pair's interface.
    Configured(Ipv4Addr),
    /// The first one in the subnet of a VIP, elsewhere.
    InSubnet {
        network: Ipv4Addr,
        prefix_len: u8,
        /// Never one of these.
        vips: Vec<Ipv4Addr>,
    },
}

impl OwnAddress {
    /// Finds it among the kernel's addresses of the interface with this index.
    pub(crate) fn find(&self, interface: u32, addresses: &[Address]) -> Option<Ipv4Addr> {
        addresses
            .iter()
            .filter(|found| found.interface == interface)
            .map(|found| found.address)
            .find(|address| match self {
                Self::Configured(own) => address == own,
                Self::InSubnet {
                    network,
                    prefix_len,
                    vips,
                } => same_subnet(*address, *network, *prefix_len) && !vips.contains(address),
            })
    }
}

fn same_subnet(a: Ipv4Addr, b: Ipv4Addr, prefix_len: u8) -> bool {
    let host_bits = 32 - u32::from(prefix_len.min(32));
    (a.to_bits() ^ b.to_bits())
        .checked_shr(host_bits)
        .unwrap_or(0)
        == 0
}

/// The interfaces that carry VIPs, in the order in which the file names them first.
pub(crate) fn plan(config: &Config, node: NodeIndex) -> Vec<PortPlan> {
    let mut ports: Vec<PortPlan> = Vec::new();
    for (index, vip) in config.vips.iter().enumerate() {
        match ports.iter_mut().find(|port| port.name == vip.interface) {
            Some(port) => {
                port.vips.push(VipIndex(index));
                port.addresses.push(vip.address);
            }
            None => ports.push(PortPlan {
                name: vip.interface.clone(),
                vips: vec![VipIndex(index)],
                addresses: vec![vip.address],
                own: own_address(config, node, vip),
                peer: peer_address(config, node, vip),
            }),
        }
    }
    ports
}

fn own_address(config: &Config, node: NodeIndex, vip: &Vip) -> OwnAddress {
    if vip.interface == config.pair.interface {
        return OwnAddress::Configured(config.nodes[node.0].address);
    }
    OwnAddress::InSubnet {
        network: vip.address,
        prefix_len: vip.prefix_len,
        vips: config.vips.iter().map(|vip| vip.address).collect(),
    }
}

/// The file knows the nodes' addresses on the pair's interface only. Unicast goes to them from
/// anywhere.
fn peer_address(config: &Config, node: NodeIndex, vip: &Vip) -> Option<Ipv4Addr> {
    let known = vip.interface == config.pair.interface || vip.transport == Transport::Unicast;
    config
        .peer_of(node)
        .filter(|_| known)
        .map(|peer| config.nodes[peer.0].address)
}

/// One advert, ready to be sent.
#[derive(Debug)]
pub(crate) struct EncodedAdvert {
    bytes: [u8; MAX_DATAGRAM],
    length: usize,
    pub(crate) destination: Ipv4Addr,
}

impl EncodedAdvert {
    /// The whole IPv4 datagram.
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
    own: Ipv4Addr,
    peer: Option<Ipv4Addr>,
    signature: Option<(&Keys, Stamp)>,
) -> Result<Option<EncodedAdvert>, EncodeError> {
    let destination = match vip.transport {
        Transport::Multicast => GROUP,
        Transport::Unicast => match peer {
            Some(peer) => peer,
            None => return Ok(None),
        },
    };
    let mut bytes = [0; MAX_DATAGRAM];
    let advert = Advert {
        vrid: vip.vrid,
        priority,
        interval: vip.advert_interval,
        addresses: &[vip.address.octets()],
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
            v2: match vip.version {
                VrrpVersion::V3 => None,
                VrrpVersion::V2 { pass } => Some(V2 {
                    pass,
                    seconds: u8::try_from(vip.advert_interval.as_secs()).unwrap_or(u8::MAX),
                    address: vip.address,
                    owner: vip.priorities[node.0] == Priority::OWNER,
                }),
            },
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(interface: u32, address: [u8; 4]) -> Address {
        Address {
            interface,
            address: address.into(),
            prefix_len: 24,
            label: None,
            lifetime: None,
        }
    }

    #[test]
    fn a_configured_address_must_be_on_the_interface() {
        let own = OwnAddress::Configured(Ipv4Addr::new(192, 0, 2, 1));
        let elsewhere = [address(3, [192, 0, 2, 1]), address(2, [192, 0, 2, 9])];
        assert_eq!(own.find(2, &elsewhere), None);
        assert_eq!(own.find(3, &elsewhere), Some(Ipv4Addr::new(192, 0, 2, 1)));
    }

    #[test]
    fn elsewhere_the_first_address_of_the_subnet_that_is_no_vip_is_ours() {
        let vip = Ipv4Addr::new(198, 51, 100, 10);
        let own = OwnAddress::InSubnet {
            network: vip,
            prefix_len: 25,
            vips: vec![vip],
        };
        let found = [
            address(2, [198, 51, 100, 200]),
            address(2, [198, 51, 100, 10]),
            address(2, [198, 51, 100, 2]),
        ];
        assert_eq!(own.find(2, &found), Some(Ipv4Addr::new(198, 51, 100, 2)));
    }
}
