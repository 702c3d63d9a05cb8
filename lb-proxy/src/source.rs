//! The address that connections to servers come from: never a VIP.
//!
//! A connection from a VIP would lose its way back the moment the VIP moves. As a rule the kernel
//! gives none: source selection takes an address of the subnet that the server or the gateway is
//! in, which a VIP's /32 never is (seen with the shadow on `lo` first, with the lease as the oldest
//! address of the interface, with and without a gateway in between). Only over a device route
//! without gateway it takes the interface's oldest address, which may be the lease. So the choice
//! is left to the kernel, which knows every interface of the node, and looked at afterwards (one
//! getsockname(2)). Should it be a VIP, that connection is given up before a byte was relayed, and
//! the server is connected to from the node's own address from then on. (Of IPv6 it takes a VIP, which
//! is deprecated from the start, only where the machine has no other address. Then there may be no own
//! one to connect from either, and the server cannot be reached: nor could it answer when the VIP
//! moves.)
//!
//! A backend may name addresses of its own instead: each has 28,000 ports or more for every server,
//! so several of them let more connections be open at once.

mod ports;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::config::{BackendIndex, Config, MAX_SERVERS, NodeIndex};

use self::ports::Ports;

/// The addresses that the file names for one backend and the node has, and the ports.
#[derive(Debug, Default)]
struct Configured {
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    turn: AtomicUsize,
    ports: Option<Arc<Ports>>,
}

/// Where a connection is to come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    /// `None` = the kernel chooses.
    pub(crate) address: Option<IpAddr>,
    /// 0 = the kernel chooses.
    pub(crate) port: u16,
}

/// Which servers need a source address of our choice.
#[derive(Debug)]
pub(crate) struct Sources {
    vips: Vec<IpAddr>,
    own: IpAddr,
    /// By backend.
    configured: Vec<Configured>,
    /// By place on the board; stays over a reload.
    from_own: Arc<[AtomicBool; MAX_SERVERS]>,
}

impl Sources {
    /// `has` tells whether the node has an address.
    pub(crate) fn new(config: &Config, node: NodeIndex, has: impl Fn(IpAddr) -> bool) -> Self {
        Self::with((config, node), has, None)
    }

    /// The same for the configuration after this one: ports rest on.
    pub(crate) fn after(
        &self,
        config: &Config,
        node: NodeIndex,
        has: impl Fn(IpAddr) -> bool,
    ) -> Self {
        Self::with((config, node), has, Some(self))
    }

    fn with(
        (config, node): (&Config, NodeIndex),
        has: impl Fn(IpAddr) -> bool,
        before: Option<&Self>,
    ) -> Self {
        let backends = config.backends.iter().enumerate();
        let configured = backends.map(|(index, backend)| {
            let known = before.and_then(|before| before.configured.get(index)?.ports.as_ref());
            let of_node = backend.source.iter().copied().filter(|source| has(*source));
            let (v4, v6) = of_node.partition(IpAddr::is_ipv4);
            Configured {
                v4,
                v6,
                turn: AtomicUsize::new(0),
                ports: backend.source_ports.map(|range| {
                    let same = known.filter(|known| known.is_of(range));
                    same.map_or_else(|| Arc::new(Ports::new(range)), Arc::clone)
                }),
            }
        });
        Self {
            configured: configured.collect(),
            vips: config.live_vips().map(|(_, vip)| vip.address).collect(),
            own: config.nodes[node.0].address,
            from_own: match before {
                Some(before) => Arc::clone(&before.from_own),
                None => Arc::new([const { AtomicBool::new(false) }; MAX_SERVERS]),
            },
        }
    }

    /// What to bind before connecting to the server at `place` of the backend, after so many ports
    /// that were in use. `None` = no other port is to be tried.
    pub(crate) fn bound(
        &self,
        backend: BackendIndex,
        (place, server): (usize, SocketAddr),
        in_use: u32,
    ) -> Option<Bound> {
        let configured = &self.configured[backend.0];
        let own = || {
            let forced = self.from_own[place].load(Ordering::Relaxed);
            (forced && self.has_own_for(server)).then_some(self.own)
        };
        let port = match &configured.ports {
            Some(ports) => ports.next(in_use)?,
            None if in_use > 0 => return None,
            None => 0,
        };
        Some(Bound {
            address: configured.next(server).or_else(own),
            port,
        })
    }

    /// The backends whose `source` names addresses and none that the node has.
    pub(crate) fn without_any<'a>(&self, config: &'a Config) -> Vec<&'a str> {
        let backends = config.backends.iter().zip(&self.configured);
        backends
            .filter(|(backend, found)| !backend.source.is_empty() && found.is_empty())
            .map(|(backend, _)| backend.name.as_str())
            .collect()
    }

    /// Whether the file names an address of this node that a connection to the server can come from.
    pub(crate) fn has_own_for(&self, server: SocketAddr) -> bool {
        server.is_ipv4() == self.own.is_ipv4()
    }

    /// Looks at what the kernel chose: `true` if it was a VIP, and then it will not choose again.
    pub(crate) fn is_wrong(&self, place: usize, chosen: IpAddr) -> bool {
        let wrong = self.vips.contains(&chosen);
        if wrong {
            self.from_own[place].store(true, Ordering::Relaxed);
        }
        wrong
    }
}

impl Configured {
    fn next(&self, server: SocketAddr) -> Option<IpAddr> {
        let sources = if server.is_ipv4() { &self.v4 } else { &self.v6 };
        match sources.as_slice() {
            [] => None,
            [one] => Some(*one),
            several => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed);
                Some(several[turn % several.len()])
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}
