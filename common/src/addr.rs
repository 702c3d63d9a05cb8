//! Small words of VRRP that cannot hold a wrong value.

use std::fmt;
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
