//! Small words of VRRP that cannot hold a wrong value.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU8;

/// Virtual Router Identifier, 1 to 255 (RFC 9568, section 5.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vrid(NonZeroU8);

impl Vrid {
    /// `None` for 0, which RFC 9568 does not allow.
    pub fn new(id: u8) -> Option<Self> {
        NonZeroU8::new(id).map(Self)
    }

    /// The identifier as it stands in an advert.
    pub const fn value(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Priority of a router, 1 to 255 (RFC 9568, section 5.2.4). 0 is no priority but the message "I resign", 255 is the
/// address owner's, 254 is reserved for a node that a handover made active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(NonZeroU8);

impl Priority {
    /// Of the router that owns the address as its real one.
    pub const OWNER: Self = Self(NonZeroU8::MAX);
    /// Of a node that a handover made active; no configuration has it.
    pub const PINNED: Self = Self(NonZeroU8::new(254).expect("not zero"));
    /// Of a node that takes part for want of a better one only.
    pub const LOWEST: Self = Self(NonZeroU8::MIN);

    /// `None` for 0.
    pub fn new(value: u8) -> Option<Self> {
        NonZeroU8::new(value).map(Self)
    }

    /// The priority as it stands in an advert.
    pub const fn value(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Address family of a virtual router. VRIDs are counted in each apart: 51 over IPv4 and 51 over IPv6 are two routers
/// (RFC 9568, section 5.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// That of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Prefix length of an address that stands for itself: 32 or 128.
    pub const fn host_prefix(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// Version of the Internet Protocol: 4 or 6.
    pub const fn number(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IPv{}", self.number())
    }
}

/// A hardware address of Ethernet (EUI-48), shown as `ip neigh` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Of a virtual router: 00:00:5e:00:01:VRID over IPv4, 00:00:5e:00:02:VRID over IPv6 (RFC 9568, section 7.3).
    pub const fn of_virtual_router(family: Family, vrid: Vrid) -> Self {
        let block = match family {
            Family::V4 => 1,
            Family::V6 => 2,
        };
        Self([0x00, 0x00, 0x5e, 0x00, block, vrid.value()])
    }

    /// As a board carries it: in the lower six bytes.
    pub fn to_bits(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// From a board; what is above the lower six bytes is ignored.
    pub fn from_bits(bits: u64) -> Self {
        let [_, _, a, b, c, d, e, f] = bits.to_be_bytes();
        Self([a, b, c, d, e, f])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_is_carried_and_shown() {
        let mac = Mac([0x52, 0x54, 0, 0xab, 0, 1]);
        assert_eq!(mac.to_string(), "52:54:00:ab:00:01");
        assert_eq!(Mac::from_bits(mac.to_bits() | 0xffff << 48), mac);
    }

    #[test]
    fn a_virtual_router_has_the_hardware_address_of_its_family_and_number() {
        let vrid = Vrid::new(51).expect("not 0");
        let mac = |family| Mac::of_virtual_router(family, vrid).to_string();
        assert_eq!(mac(Family::V4), "00:00:5e:00:01:33");
        assert_eq!(mac(Family::V6), "00:00:5e:00:02:33");
    }
}
