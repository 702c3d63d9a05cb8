//! The address that connections to servers come from: never a VIP.
//!
//! A connection from a VIP would lose its way back the moment the VIP moves. As a rule the kernel
//! gives none: source selection takes an address of the subnet that the server or the gateway is
//! in, which a VIP's /32 never is (seen with the shadow on `lo` first, with the lease as the oldest
//! address of the interface, with and without a gateway in between). Only over a device route
//! without gateway it takes the interface's oldest address, which may be the lease. So the choice
//! is left to the kernel, which knows every interface of the node, and looked at afterwards (one
//! getsockname(2)). Should it be a VIP, that connection is given up before a byte was relayed, and
//! the server is connected to from the node's own address from then on.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};

use common::config::{Config, MAX_SERVERS, NodeIndex};

/// Which servers need a source address of our choice.
#[derive(Debug)]
pub(crate) struct Sources {
    vips: Vec<Ipv4Addr>,
    own: Ipv4Addr,
    /// By place on the board.
    from_own: [AtomicBool; MAX_SERVERS],
}

impl Sources {
    pub(crate) fn new(config: &Config, node: NodeIndex) -> Self {
        Self {
            vips: config.vips.iter().map(|vip| vip.address).collect(),
            own: config.nodes[node.0].address,
            from_own: [const { AtomicBool::new(false) }; MAX_SERVERS],
        }
    }

    /// The address to bind before connecting to the server at `place`; `None` = the kernel chooses.
    pub(crate) fn bound(&self, place: usize) -> Option<Ipv4Addr> {
        self.from_own[place]
            .load(Ordering::Relaxed)
            .then_some(self.own)
    }

    /// Looks at what the kernel chose: `true` if it was a VIP, and then it will not choose again.
    pub(crate) fn is_wrong(&self, place: usize, chosen: IpAddr) -> bool {
        let wrong = self.vips.iter().any(|vip| IpAddr::V4(*vip) == chosen);
        if wrong {
            self.from_own[place].store(true, Ordering::Relaxed);
        }
        wrong
    }
}
