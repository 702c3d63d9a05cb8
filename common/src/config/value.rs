//! The values of a section after each was read as its kind demands, with their places in the file.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::diagnostic::Span;
use super::kind::{Key, Section};
use super::{AdminHttp, PortOffset, PortRange, ServerQuery, StatusRange};

/// Something and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
    /// The file says it; otherwise it is a default.
    pub(super) given: bool,
}

impl<T> At<T> {
    pub(super) fn with<U>(&self, value: U) -> At<U> {
        At {
            value,
            span: self.span,
            given: self.given,
        }
    }
}

/// A value of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Bool(bool),
    Integer(u64),
    /// `None` = "off".
    Duration(Option<Duration>),
    Word(&'static str),
    Text(String),
    /// `fe80::…`
    LinkLocal(Ipv6Addr),
    /// A network, or an address and the length of its network's prefix.
    Network(IpNet),
    Server(SocketAddr),
    Serving(ServingText),
    Name(ServerQuery),
    /// The name of a backend, and the address of one of its servers.
    Member(String, SocketAddr),
    Ip(IpAddr),
    Bind(BindText),
    Ports(PortRange),
    Http(Option<AdminHttp>),
    /// Name and value.
    Header(String, String),
    StatusRange(StatusRange),
    Path(PathBuf),
    Bytes(Vec<u8>),
    /// Without the elements that were wrong.
    List(Vec<At<Self>>),
    Table(Values),
    /// "off" in place of a table.
    Off,
    ByNode(Vec<(At<String>, At<Self>)>),
}

/// Where the sessions of a server go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServingText {
    pub(super) address: SocketAddr,
    /// To be added to the client's port; the address has none then.
    pub(super) offset: Option<PortOffset>,
}

/// Where a listener binds, with the VIP still as a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BindText {
    pub(super) host: BindHost,
    pub(super) first_port: u16,
    /// The first one, if it is the only one.
    pub(super) last_port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BindHost {
    Vip(String),
    Address(IpAddr),
}

/// The values of one section. What was wrong has been reported and is absent.
#[derive(Debug, Clone)]
pub(super) struct Values {
    pub(super) section: &'static Section,
    /// The section's name in the file, for what is missing.
    pub(super) header: Span,
    pub(super) entries: Vec<(&'static Key, At<Value>)>,
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        let names = |values: &Self| -> Vec<(&'static str, At<Value>)> {
            let entry = |(key, value): &(&'static Key, At<Value>)| (key.name, value.clone());
            values.entries.iter().map(entry).collect()
        };
        self.section.name == other.section.name && names(self) == names(other)
    }
}

impl Eq for Values {}

impl Values {
    /// The value of a key, if the key has one of that type.
    pub(super) fn get<T: FromValue>(&self, name: &str) -> Option<At<T>> {
        debug_assert!(
            self.section.keys.iter().any(|key| key.name == name),
            "{} has no key {name}",
            self.section.name
        );
        let (_, value) = self.entries.iter().find(|(key, _)| key.name == name)?;
        T::from_value(&value.value).map(|found| value.with(found))
    }

    /// The elements of a list; an absent list has none.
    pub(super) fn list<T: FromValue>(&self, name: &str) -> Option<At<Vec<At<T>>>> {
        let list = self.get::<Vec<At<Value>>>(name)?;
        let elements = list
            .value
            .iter()
            .filter_map(|element| T::from_value(&element.value).map(|value| element.with(value)))
            .collect();
        Some(list.with(elements))
    }
}

/// A type that a value can be read as.
pub(super) trait FromValue: Sized {
    fn from_value(value: &Value) -> Option<Self>;
}

/// Implements [`FromValue`] for the payload of a variant.
macro_rules! from_variant {
    ($($variant:ident => $type:ty,)*) => {$(
        impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                if let Value::$variant(found) = value { Some(found.clone()) } else { None }
            }
        }
    )*};
}

from_variant! {
    Bool => bool,
    Integer => u64,
    Duration => Option<Duration>,
    Word => &'static str,
    Text => String,
    LinkLocal => Ipv6Addr,
    Network => IpNet,
    Server => SocketAddr,
    Serving => ServingText,
    Name => ServerQuery,
    Ip => IpAddr,
    Bind => BindText,
    Ports => PortRange,
    Http => Option<AdminHttp>,
    StatusRange => StatusRange,
    Path => PathBuf,
    Bytes => Vec<u8>,
    List => Vec<At<Value>>,
    Table => Values,
    ByNode => Vec<(At<String>, At<Value>)>,
}

impl FromValue for (String, SocketAddr) {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Member(backend, address) = value {
            Some((backend.clone(), *address))
        } else {
            None
        }
    }
}

impl FromValue for Duration {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Duration(found) = value {
            *found
        } else {
            None
        }
    }
}

/// Name and value of a header.
impl FromValue for (String, String) {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Header(name, value) = value {
            Some((name.clone(), value.clone()))
        } else {
            None
        }
    }
}

/// A table that may be "off".
impl FromValue for Option<Values> {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Table(values) = value {
            Some(Some(values.clone()))
        } else if *value == Value::Off {
            Some(None)
        } else {
            None
        }
    }
}
