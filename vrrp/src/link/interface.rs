//! What an interface is and whether it can carry a VIP.

use netlink_packet_core::{NlaBuffer, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkHeader, LinkMessage};

use super::{LinkError, RouteSocket, failed};

/// Length of the header of a link message, `struct ifinfomsg`.
const LINK_HEADER_BYTES: usize = 16;
/// Attribute with the hardware address, `IFLA_ADDRESS`.
const HARDWARE_ADDRESS: u16 = 1;

/// An interface as the kernel has it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    pub index: u32,
    /// Zero for an interface that has none, such as `lo`.
    pub mac: [u8; 6],
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
    let mac = NlasIterator::new(payload.get(LINK_HEADER_BYTES..)?)
        .map_while(Result::ok)
        .find(|attribute: &NlaBuffer<_>| attribute.kind() == HARDWARE_ADDRESS)
        .and_then(|attribute| attribute.value().try_into().ok())
        .unwrap_or_default();
    Some(Interface {
        index: header.index,
        mac,
        up: header.flags.contains(LinkFlags::Up),
        carrier: header.flags.contains(LinkFlags::Running),
    })
}
