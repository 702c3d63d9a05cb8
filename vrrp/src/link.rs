//! What vrrp asks of the kernel's network configuration, by rtnetlink:
//!
//! - `interface`: index, hardware address and state of an interface.
//! - `address`: who has which address, leases and shadows of the VIPs.
//! - `macvlan`: interfaces with the hardware address of a virtual router.
//! - `route`: routes and rules that follow VIPs.
//! - `events`: what others changed.

mod address;
mod events;
mod interface;
mod macvlan;
mod route;

use std::io;
use std::time::Duration;

use netlink::{Messages, Requests, acknowledgement};

pub use self::address::{Address, Placement, Removal};
pub use self::events::{Event, EventSocket, RouteWatch};
pub use self::interface::Interface;
pub use self::macvlan::Macvlan;
pub use self::route::{Installed, RouteKey};

/// Longest wait for an answer.
const ANSWER_LIMIT: Duration = Duration::from_millis(20);

/// A request to the kernel's network configuration failed.
#[derive(Debug, thiserror::Error)]
#[error("{request} by rtnetlink")]
pub struct LinkError {
    /// What was asked for ("install the lease of 192.0.2.1").
    request: String,
    #[source]
    source: io::Error,
}

impl LinkError {
    /// The kernel's own words, for a state's reason.
    pub(crate) fn cause(&self) -> String {
        format!("{}: {}", self.request, self.source)
    }
}

/// A socket for requests.
#[derive(Debug)]
pub struct RouteSocket {
    requests: Requests,
}

impl RouteSocket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, LinkError> {
        let requests = Requests::open(ANSWER_LIMIT).map_err(failed("open a socket"))?;
        crate::syscall::filter_lists(&requests);
        Ok(Self { requests })
    }
}

/// Reads a datagram of the kernel in every way that there is; for tests that feed it anything.
#[doc(hidden)]
pub fn read_everything(datagram: &[u8]) {
    for message in Messages::of(datagram) {
        let (kind, payload) = (message.message_type(), message.payload());
        if acknowledgement(&message).is_none() {
            // Only that they return matters here.
            let _ = (
                address::read_address(payload),
                interface::read_link(payload),
                macvlan::read_macvlan(payload),
                route::tells_of_ours(kind, payload),
                route::foreign_replacement(kind, message.flags(), payload),
                route::our_route(payload),
                route::our_rule(payload),
            );
            let _ = events::read_event(kind, payload);
        }
    }
}

/// Puts what was tried beside the kernel's answer.
fn failed(request: impl Into<String>) -> impl FnOnce(io::Error) -> LinkError {
    move |source| LinkError {
        request: request.into(),
        source,
    }
}
