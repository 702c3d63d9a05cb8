//! Addresses: leases on the VIPs' interfaces, shadows on `lo`.
//!
//! A *lease* is the VIP as a /32 (/128) on its interface with a short lifetime, so that the kernel
//! itself drops it when we hang or die. Without a prefix route it depends on no other address and
//! changes no route but its own. A *shadow* is the VIP as a /32 (/128) on `lo`: it makes the address
//! local, so that sockets live on when the lease goes. The kernel never picks either as the source of
//! a packet that leaves the machine: an IPv4 shadow has scope host, and over IPv6 both are deprecated
//! from the start (a preferred lifetime of zero).
//!
//! Over IPv6 neither is probed for duplicates (RFC 4862, section 5.4; `IFA_F_NODAD`): that takes a
//! second in which the VIP could not be used, and a shadow is a duplicate on purpose.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use common::addr::Family;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE, Parseable};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
    AddressScope, CacheInfo,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{LinkError, RouteSocket, failed};

/// Longest label that an address can carry (`IFNAMSIZ` less its end).
const LABEL_BYTES: usize = 15;
/// Behind the interface's name in the label of our IPv4 addresses, as `ip address` shows it.
const LABEL_SUFFIX: &str = ":fmclb";
/// Who made the address, in `IFA_PROTO` (kernel 5.18 and newer; older ones skip it). 112 is VRRP's
/// IP protocol.
const ORIGIN: AddressProtocol = AddressProtocol::Other(112);
/// Lists that changed while they were made are asked for again; the last one is taken as it is.
const DUMP_TRIES: usize = 3;
/// A lifetime without an end, in `IFA_CACHEINFO`.
const FOREVER: u32 = u32::MAX;

/// An address that the kernel has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Index of its interface.
    pub interface: u32,
    pub address: IpAddr,
    pub prefix_len: u8,
    /// IPv4 only.
    pub label: Option<String>,
    /// What is left of its lifetime; `None` = for ever.
    pub lifetime: Option<Duration>,
    /// Packets may leave from it: it is not being probed for duplicates, and none was found.
    pub settled: bool,
    /// Looks like an IPv6 shadow of ours, which has no label.
    shadow_like: bool,
}

impl Address {
    /// A VIP's as a host's own, on the interface with this index.
    pub fn host(interface: u32, address: IpAddr) -> Self {
        Self {
            interface,
            address,
            prefix_len: Family::of(address).host_prefix(),
            label: None,
            lifetime: None,
            settled: true,
            shadow_like: false,
        }
    }

    /// Whether it is a shadow that we made, if it is on the interface with this name: IPv4 addresses
    /// carry our label. IPv6 ones have no labels: they carry our origin, and where the kernel does not
    /// keep that, they are what nobody else makes, a deprecated /128 for ever without duplicate
    /// detection and prefix route.
    pub fn is_our_shadow(&self, interface: &str) -> bool {
        match self.address {
            IpAddr::V4(_) => self.label.is_some() && self.label == label(interface),
            IpAddr::V6(_) => self.shadow_like,
        }
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
    pub address: IpAddr,
}

impl RouteSocket {
    /// Installs a lease, or renews it, and re-creates it if somebody deleted it. `lifetime` counts
    /// in whole seconds, at least one.
    pub fn put_lease(&mut self, place: Placement<'_>, lifetime: Duration) -> Result<(), LinkError> {
        let seconds = u32::try_from(lifetime.as_secs())
            .unwrap_or(FOREVER)
            .clamp(1, FOREVER - 1);
        self.requests
            .change(
                RouteNetlinkMessage::NewAddress(message(place, AddressScope::Universe, seconds)),
                NLM_F_CREATE | NLM_F_REPLACE,
            )
            .map_err(failed(format!("install the lease of {}", place.address)))
    }

    /// Installs a shadow; one that is there stays.
    pub fn put_shadow(&mut self, place: Placement<'_>) -> Result<(), LinkError> {
        self.requests
            .change(
                RouteNetlinkMessage::NewAddress(message(place, AddressScope::Host, FOREVER)),
                NLM_F_CREATE | NLM_F_REPLACE,
            )
            .map_err(failed(format!("install the shadow of {}", place.address)))
    }

    /// Removes an address.
    pub fn remove(&mut self, found: &Address) -> Result<Removal, LinkError> {
        let mut message = AddressMessage::default();
        message.header.family = family(found.address);
        message.header.prefix_len = found.prefix_len;
        message.header.index = found.interface;
        message
            .attributes
            .push(AddressAttribute::Local(found.address));
        match self
            .requests
            .change(RouteNetlinkMessage::DelAddress(message), 0)
        {
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
    pub fn remove_host(&mut self, interface: u32, address: IpAddr) -> Result<Removal, LinkError> {
        self.remove(&Address::host(interface, address))
    }

    /// All addresses of the network namespace, of both families.
    pub fn addresses(&mut self) -> Result<Vec<Address>, LinkError> {
        let mut message = AddressMessage::default();
        message.header.family = AddressFamily::Unspec;
        let mut found = Vec::new();
        for _ in 0..DUMP_TRIES {
            found.clear();
            let request = RouteNetlinkMessage::GetAddress(message.clone());
            let consistent = self
                .requests
                .dump(request, |payload| found.extend(read_address(payload)))
                .map_err(failed("list the addresses"))?;
            if consistent {
                break;
            }
        }
        Ok(found)
    }
}

pub(super) const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// `seconds` is its lifetime.
fn message(place: Placement<'_>, scope: AddressScope, seconds: u32) -> AddressMessage {
    let address = place.address;
    let mut cache_info = CacheInfo::default();
    cache_info.ifa_valid = seconds;
    let (preferred, flags) = match address {
        IpAddr::V4(_) => (seconds, AddressFlags::Noprefixroute),
        IpAddr::V6(_) => (0, AddressFlags::Noprefixroute | AddressFlags::Nodad),
    };
    cache_info.ifa_preferred = preferred;
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = Family::of(address).host_prefix();
    message.header.scope = scope;
    message.header.index = place.interface;
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
        AddressAttribute::Flags(flags),
        AddressAttribute::Protocol(ORIGIN),
        AddressAttribute::CacheInfo(cache_info),
    ];
    if let (IpAddr::V4(_), Some(label)) = (address, label(place.interface_name)) {
        message.attributes.push(AddressAttribute::Label(label));
    }
    message
}

/// Our label for an interface, if it fits.
fn label(interface: &str) -> Option<String> {
    let label = format!("{interface}{LABEL_SUFFIX}");
    (label.len() <= LABEL_BYTES).then_some(label)
}

/// Reads an address message; `None` if it is malformed or carries no address.
pub(super) fn read_address(payload: &[u8]) -> Option<Address> {
    let message = AddressMessage::parse(payload).ok()?;
    let header = &message.header;
    let unsettled = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    let mut found = Address {
        settled: !header.flags.intersects(unsettled),
        ..Address::host(header.index, Ipv6Addr::UNSPECIFIED.into())
    };
    found.prefix_len = header.prefix_len;
    let (mut local, mut flags, mut origin) = (None, AddressFlags::empty(), None);
    for attribute in message.attributes {
        if let AddressAttribute::Local(address) = attribute {
            local = Some(address);
        } else if let AddressAttribute::Address(address) = attribute {
            // The other end of a point-to-point link, where there is a local one beside it.
            found.address = address;
        } else if let AddressAttribute::Label(label) = attribute {
            found.label = Some(label);
        } else if let AddressAttribute::Flags(all) = attribute {
            flags = all;
        } else if let AddressAttribute::Protocol(protocol) = attribute {
            origin = Some(protocol);
        } else if let AddressAttribute::CacheInfo(info) = attribute {
            found.lifetime =
                (info.ifa_valid != FOREVER).then(|| Duration::from_secs(u64::from(info.ifa_valid)));
        }
    }
    found.address = local.unwrap_or(found.address);
    let made_so = AddressFlags::Nodad | AddressFlags::Noprefixroute | AddressFlags::Deprecated;
    found.shadow_like = match origin {
        Some(origin) => origin == ORIGIN,
        None => {
            found.prefix_len == Family::V6.host_prefix()
                && found.lifetime.is_none()
                && flags.contains(made_so)
        }
    };
    (!found.address.is_unspecified()).then_some(found)
}
