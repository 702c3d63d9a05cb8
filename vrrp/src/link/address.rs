//! IPv4 addresses: leases on the VIPs' interfaces, shadows on `lo`.
//!
//! A *lease* is the VIP as a /32 on its interface with a short lifetime, so that the kernel itself
//! drops it when we hang or die. Being a /32 without a prefix route it depends on no other address
//! and changes no route but its own. A *shadow* is the VIP as a /32 on `lo` of scope host: it makes
//! the address local, so that sockets live on when the lease goes, and the kernel never picks it as
//! the source of a packet that leaves the machine.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE, Parseable};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{LinkError, RouteSocket, failed};

/// Longest label that an address can carry (`IFNAMSIZ` less its end).
const LABEL_BYTES: usize = 15;
/// Behind the interface's name in the label of our addresses, as `ip address` shows it.
const LABEL_SUFFIX: &str = ":fmclb";
/// Who made the address, in `IFA_PROTO` (kernel 5.18 and newer; older ones skip it). 112 is VRRP's
/// IP protocol.
const ORIGIN: AddressProtocol = AddressProtocol::Other(112);
/// Length of an address that stands for itself.
const HOST_PREFIX: u8 = 32;
/// Lists that changed while they were made are asked for again; the last one is taken as it is.
const DUMP_TRIES: usize = 3;
/// A lifetime without an end, in `IFA_CACHEINFO`.
const FOREVER: u32 = u32::MAX;

/// An address that the kernel has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Index of its interface.
    pub interface: u32,
    pub address: Ipv4Addr,
    pub prefix_len: u8,
    pub label: Option<String>,
    /// What is left of its lifetime; `None` = for ever.
    pub lifetime: Option<Duration>,
}

impl Address {
    /// Whether it carries our label for this interface.
    pub fn is_labelled(&self, interface: &str) -> bool {
        self.label.is_some() && self.label == label(interface)
    }
}

/// What a removal found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    Removed,
    /// There was nothing to remove.
    WasGone,
}

/// An address to be installed.
#[derive(Debug, Clone, Copy)]
pub struct Placement<'a> {
    /// Index of its interface.
    pub interface: u32,
    pub interface_name: &'a str,
    pub address: Ipv4Addr,
}

impl RouteSocket {
    /// Installs a lease, or renews it, and re-creates it if somebody deleted it. `lifetime` counts
    /// in whole seconds, at least one.
    pub fn put_lease(&mut self, place: Placement<'_>, lifetime: Duration) -> Result<(), LinkError> {
        let seconds = u32::try_from(lifetime.as_secs())
            .unwrap_or(FOREVER)
            .clamp(1, FOREVER - 1);
        let mut cache_info = CacheInfo::default();
        cache_info.ifa_preferred = seconds;
        cache_info.ifa_valid = seconds;
        let mut message = message(place, AddressScope::Universe);
        message
            .attributes
            .push(AddressAttribute::CacheInfo(cache_info));
        self.change(
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
        .map_err(failed(format!("install the lease of {}", place.address)))
    }

    /// Installs a shadow; one that is there stays.
    pub fn put_shadow(&mut self, place: Placement<'_>) -> Result<(), LinkError> {
        self.change(
            RouteNetlinkMessage::NewAddress(message(place, AddressScope::Host)),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
        .map_err(failed(format!("install the shadow of {}", place.address)))
    }

    /// Removes an address.
    pub fn remove(&mut self, found: &Address) -> Result<Removal, LinkError> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.prefix_len = found.prefix_len;
        message.header.index = found.interface;
        message
            .attributes
            .push(AddressAttribute::Local(found.address.into()));
        match self.change(RouteNetlinkMessage::DelAddress(message), 0) {
            Ok(()) => Ok(Removal::Removed),
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(nix::libc::EADDRNOTAVAIL | nix::libc::ENODEV)
                ) =>
            {
                Ok(Removal::WasGone)
            }
            Err(error) => Err(failed(format!("remove {}", found.address))(error)),
        }
    }

    /// Removes a lease, or a shadow.
    pub fn remove_host(&mut self, interface: u32, address: Ipv4Addr) -> Result<Removal, LinkError> {
        self.remove(&Address {
            interface,
            address,
            prefix_len: HOST_PREFIX,
            label: None,
            lifetime: None,
        })
    }

    /// All IPv4 addresses of the network namespace.
    pub fn addresses(&mut self) -> Result<Vec<Address>, LinkError> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Inet;
        let mut found = Vec::new();
        for _ in 0..DUMP_TRIES {
            found.clear();
            let request = RouteNetlinkMessage::GetAddress(message.clone());
            let consistent = self
                .dump(request, |payload| found.extend(read_address(payload)))
                .map_err(failed("list the addresses"))?;
            if consistent {
                break;
            }
        }
        Ok(found)
    }
}

fn message(place: Placement<'_>, scope: AddressScope) -> AddressMessage {
    let address = IpAddr::V4(place.address);
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = HOST_PREFIX;
    message.header.scope = scope;
    message.header.index = place.interface;
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
        AddressAttribute::Flags(AddressFlags::Noprefixroute),
        AddressAttribute::Protocol(ORIGIN),
    ];
    if let Some(label) = label(place.interface_name) {
        message.attributes.push(AddressAttribute::Label(label));
    }
    message
}

/// Our label for an interface, if it fits.
fn label(interface: &str) -> Option<String> {
    let label = format!("{interface}{LABEL_SUFFIX}");
    (label.len() <= LABEL_BYTES).then_some(label)
}

/// Reads an address message; `None` if it is malformed or carries no local address.
pub(super) fn read_address(payload: &[u8]) -> Option<Address> {
    let message = AddressMessage::parse(payload).ok()?;
    let mut found = Address {
        interface: message.header.index,
        address: Ipv4Addr::UNSPECIFIED,
        prefix_len: message.header.prefix_len,
        label: None,
        lifetime: None,
    };
    for attribute in message.attributes {
        if let AddressAttribute::Local(IpAddr::V4(address)) = attribute {
            found.address = address;
        } else if let AddressAttribute::Label(label) = attribute {
            found.label = Some(label);
        } else if let AddressAttribute::CacheInfo(info) = attribute {
            found.lifetime =
                (info.ifa_valid != FOREVER).then(|| Duration::from_secs(u64::from(info.ifa_valid)));
        }
    }
    (!found.address.is_unspecified()).then_some(found)
}
