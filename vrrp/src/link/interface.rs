//! What an interface is and whether it can carry a VIP.

use netlink_packet_core::{NlaBuffer, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkHeader, LinkMessage};

use super::{LinkError, RouteSocket, failed};

/// Length of the header of a link message, `struct ifinfomsg`.
pub(super) const LINK_HEADER_BYTES: usize = 16;
/// Attribute with the hardware address, `IFLA_ADDRESS`.
const HARDWARE_ADDRESS: u16 = 1;
/// Attribute with the index of the interface below, `IFLA_LINK`.
const BELOW: u16 = 5;

/// An interface as the kernel has it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    pub index: u32,
    /// Zero for an interface that has none, such as `lo`.
    pub mac: [u8; 6],
    /// Index of the interface that it is on, as a macvlan or a VLAN is; 0 for others.
    pub parent: u32,
    /// Switched on.
    pub up: bool,
    /// Its lower layer can carry packets ("RUNNING": the cable is in, the bridge port forwards).
    pub carrier: bool,
}

impl RouteSocket {
    /// The interface with this name, `None` if there is none.
    pub fn interface(&mut self, name: &str) -> Result<Option<Interface>, LinkError> {
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::IfName(name.to_owned()));
        self.requests
            .one(RouteNetlinkMessage::GetLink(message), read_link)
            .map_err(failed(format!("look up interface {name}")))
    }
}

/// Reads only what is needed: a kernel may send attributes that a codec does not know yet.
pub(super) fn read_link(payload: &[u8]) -> Option<Interface> {
    let header = LinkHeader::parse(payload).ok()?;
    let (mut mac, mut parent) = ([0; 6], [0; 4]);
    for attribute in NlasIterator::new(payload.get(LINK_HEADER_BYTES..)?).map_while(Result::ok) {
        let attribute: NlaBuffer<_> = attribute;
        match attribute.kind() {
            HARDWARE_ADDRESS => mac = attribute.value().try_into().unwrap_or_default(),
            BELOW => parent = attribute.value().try_into().unwrap_or_default(),
            _ => {}
        }
    }
    Some(Interface {
        index: header.index,
        mac,
        parent: u32::from_ne_bytes(parent),
        up: header.flags.contains(LinkFlags::Up),
        carrier: header.flags.contains(LinkFlags::Running),
    })
}
