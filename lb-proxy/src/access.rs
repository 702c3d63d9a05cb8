//! Who is served: by the address that the connection comes from, before anything is read. Pure.

use std::net::IpAddr;

use common::config::Listener;
use ipnet::IpNet;

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Served,
    /// Closed with RST.
    Denied,
    /// Closed without an answer.
    Dropped,
}

/// The first of `drop`, `deny` and `allow` that knows the client decides; without `allow`
/// everybody else is served. An IPv4-mapped address is compared as IPv4.
pub(crate) fn of(listener: &Listener, client: IpAddr) -> Access {
    let client = client.to_canonical();
    let knows = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&client));
    if knows(&listener.drop) {
        Access::Dropped
    } else if knows(&listener.deny) || listener.allow.as_ref().is_some_and(|nets| !knows(nets)) {
        Access::Denied
    } else {
        Access::Served
    }
}
