//! Macvlan interfaces: a second hardware address on an interface, for a VIP that is reached at that of its virtual
//! router. They are *private*: two of them on one interface hear nothing of each other. An alias says that they are
//! ours.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NlaBuffer, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};

use super::interface::{LINK_HEADER_BYTES, read_link};
use super::{Interface, LinkError, RouteSocket, failed};

/// As `ip link` shows it.
const ALIAS: &str = "fmc-lb";
/// Attributes with the name, `IFLA_IFNAME`, and with the alias, `IFLA_IFALIAS`.
const NAME: u16 = 3;
const ALIAS_KIND: u16 = 20;

/// One of our macvlan interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Macvlan {
    pub name: String,
    pub interface: Interface,
}

impl RouteSocket {
    /// Makes a macvlan interface on the one with the index `parent`, switched off.
    ///
    /// # Errors
    /// If there is an interface with this name, or the kernel makes no such interfaces on that one.
    pub fn make_macvlan(&mut self, name: &str, parent: u32, mac: [u8; 6]) -> Result<(), LinkError> {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Link(parent),
            LinkAttribute::Address(mac.to_vec()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::MacVlan),
                LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(
                    MacVlanMode::Private,
                )])),
            ]),
        ];
        self.requests
            .change(
                RouteNetlinkMessage::NewLink(message),
                NLM_F_CREATE | NLM_F_EXCL,
            )
            .map_err(failed(format!("make the macvlan interface {name}")))?;
        // The kernel takes an alias for an interface that is there only.
        let mut alias = LinkMessage::default();
        alias.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::IfAlias(ALIAS.to_owned()),
        ];
        self.requests
            .change(RouteNetlinkMessage::SetLink(alias), 0)
            .map_err(failed(format!("mark the interface {name}")))
    }

    /// Switches an interface on or off.
    ///
    /// # Errors
    /// If there is none with this index.
    pub fn switch(&mut self, index: u32, on: bool) -> Result<(), LinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.change_mask = LinkFlags::Up;
        if on {
            message.header.flags = LinkFlags::Up;
        }
        let word = if on { "on" } else { "off" };
        self.requests
            .change(RouteNetlinkMessage::SetLink(message), 0)
            .map_err(failed(format!("switch interface {index} {word}")))
    }

    /// Removes one of our macvlan interfaces; one that is gone is fine.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn remove_macvlan(&mut self, found: &Macvlan) -> Result<(), LinkError> {
        let mut message = LinkMessage::default();
        message.header.index = found.interface.index;
        match self
            .requests
            .change(RouteNetlinkMessage::DelLink(message), 0)
        {
            Err(error) if error.raw_os_error() != Some(nix::libc::ENODEV) => {
                Err(failed(format!("remove {}", found.name))(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// All interfaces of the network namespace that [`RouteSocket::make_macvlan`] has made.
    ///
    /// # Errors
    /// If the kernel gives no list.
    pub fn macvlans(&mut self) -> Result<Vec<Macvlan>, LinkError> {
        let mut found = Vec::new();
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        self.requests
            .dump(request, |payload| found.extend(read_macvlan(payload)))
            .map_err(failed("list the interfaces"))?;
        Ok(found)
    }
}

/// One of ours, by its alias.
pub(super) fn read_macvlan(payload: &[u8]) -> Option<Macvlan> {
    let interface = read_link(payload)?;
    let text = |kind: u16| {
        let mut attributes =
            NlasIterator::new(payload.get(LINK_HEADER_BYTES..)?).map_while(Result::ok);
        let found = attributes.find(|attribute: &NlaBuffer<_>| attribute.kind() == kind)?;
        let text = std::str::from_utf8(found.value()).ok()?;
        Some(text.trim_end_matches('\0').to_owned())
    };
    (text(ALIAS_KIND)? == ALIAS && interface.parent != 0).then_some(Macvlan {
        name: text(NAME)?,
        interface,
    })
}
