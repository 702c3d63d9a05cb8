//! The last will: what is done for a vrrp that died or hangs, by somebody else.
//!
//! Priority-0 adverts let the other node take over in milliseconds at any advert interval; the
//! leases are deleted so that this node stops answering for the VIPs. Adverts go first: they
//! need nothing but a socket, while a deletion waits for whoever changes the network configuration
//! at that moment. Routes and rules that follow the VIPs go last.

use std::io;
use std::net::IpAddr;

use common::config::key::{KeyFileError, parse_key_file};
use common::config::{Config, NodeIndex, Vip, VipIndex};

use crate::clock;

use crate::link::{Address, Interface, LinkError, RouteSocket};
use crate::packet::EncodeError;
use crate::ports::{self, OwnAddress, PortPlan};
use crate::signature::{Keys, Signer, Stamp};
use crate::socket::AdvertSender;

/// Adverts are not acknowledged; a second copy costs nothing.
const COPIES: usize = 2;

/// The last will could not be prepared or executed.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Interfaces, addresses or leases.
    #[error("release the leases")]
    Link(#[from] LinkError),
    /// No raw socket: `CAP_NET_RAW` is missing.
    #[error("open a socket for priority-0 adverts on {interface}")]
    Socket {
        interface: String,
        #[source]
        source: io::Error,
    },
    /// The configuration holds what an advert cannot carry.
    #[error("write a priority-0 advert")]
    Encode(#[from] EncodeError),
    #[error("read the key file that adverts are signed with")]
    Key(#[from] KeyFileError),
}

/// A last will with its sockets open, so that executing it takes less than a millisecond. Its adverts
/// are signed when they are sent.
#[derive(Debug)]
pub struct Will {
    route: RouteSocket,
    ports: Vec<Port>,
    /// `None` = ours are not signed.
    signer: Option<Signer>,
    /// Something follows the VIPs.
    has_followers: bool,
}

/// What vrrp left on its board.
#[derive(Debug, Clone, Copy)]
pub struct Left<F> {
    /// Whether a VIP was leased.
    pub was_leased: F,
    /// What its last advert was stamped with.
    pub stamp: Option<Stamp>,
}

#[derive(Debug)]
struct Port {
    plan: PortPlan,
    vips: Vec<(VipIndex, Vip)>,
    ready: Option<Ready>,
}

/// What hangs on the interface as it is now.
#[derive(Debug)]
struct Ready {
    index: u32,
    sender: AdvertSender,
    own: IpAddr,
}

impl Will {
    /// Opens what [`Will::execute`] needs. An interface that is missing now is looked for again
    /// then. `key` = the contents of the pair's key file, if there is one.
    ///
    /// # Errors
    /// If rights are missing, the kernel gives no answer, or the key file is none.
    pub fn prepare(
        config: &Config,
        node: NodeIndex,
        key: Option<&str>,
    ) -> Result<Self, ReleaseError> {
        let keys = key.map(parse_key_file).transpose()?;
        let signing = keys.filter(|_| config.pair.signing.signs());
        let keys = signing.and_then(|keys| Keys::new(&keys));
        let signer = keys.map(|keys| Signer::new(keys, None));
        let mut route = RouteSocket::open()?;
        let addresses = route.addresses()?;
        let mut ports = Vec::new();
        for plan in ports::plan(config, node) {
            let mut port = Port {
                vips: plan
                    .vips
                    .iter()
                    .map(|index| (*index, config.vips[index.0].clone()))
                    .collect(),
                plan,
                ready: None,
            };
            if let Some(interface) = route.interface(&port.plan.name)? {
                port.make_ready(interface.index, &addresses)?;
            }
            ports.push(port);
        }
        Ok(Self {
            route,
            ports,
            signer,
            has_followers: config.vips.iter().any(|vip| !vip.followers.is_empty()),
        })
    }

    /// Resigns for every VIP that was leased (as vrrp's board says) or that has its lease on its
    /// interface now, and deletes those leases and what follows them. Returns the VIPs whose lease was deleted. May be
    /// called again. What fails for one VIP or interface is logged and does not keep the others.
    ///
    /// # Errors
    /// If the kernel does not tell which addresses there are: then the adverts of those that
    /// were leased are out, and the leases lapse by themselves unless this is called again.
    pub fn execute(
        &mut self,
        left: Left<impl Fn(VipIndex) -> bool>,
    ) -> Result<Vec<VipIndex>, ReleaseError> {
        let Left { was_leased, stamp } = left;
        if let (Some(signer), Some(stamp)) = (&mut self.signer, stamp) {
            signer.pass(stamp);
        }
        for port in &self.ports {
            for (place, (vip, _)) in port.vips.iter().enumerate() {
                if was_leased(*vip) {
                    port.resign(place, self.signer.as_mut());
                }
            }
        }
        let addresses = self.route.addresses()?;
        let mut released = Vec::new();
        for port in &mut self.ports {
            match self.route.interface(&port.plan.name) {
                Ok(Some(interface)) => {
                    let own = port.macvlans(&mut self.route);
                    let leases = port.leases(interface.index, &own, &addresses);
                    let late = |vip| !was_leased(vip);
                    let found = (&leases[..], &addresses[..]);
                    port.resign_late(interface.index, found, late, self.signer.as_mut());
                    released.extend(port.delete(&mut self.route, leases));
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(
                        interface = port.plan.name,
                        cause = error.cause(),
                        "not looked at"
                    );
                }
            }
        }
        if self.has_followers {
            self.remove_routes();
        }
        Ok(released)
    }

    /// Whether a VIP has a hardware address of its own.
    pub fn has_macvlans(&self) -> bool {
        let mut vips = self.ports.iter().flat_map(|port| &port.vips);
        vips.any(|(_, vip)| vip.macvlan().is_some())
    }

    /// Switches the interfaces of such VIPs off, if no vrrp does: a second after [`Will::execute`], when the switches
    /// have heard where the address is now. Until then flow forwarding passes on what comes here.
    pub fn switch_off(&mut self) {
        for port in &self.ports {
            for interface in port.macvlans(&mut self.route).iter().filter(|one| one.up) {
                if let Err(error) = self.route.switch(interface.index, false) {
                    tracing::warn!(
                        cause = error.cause(),
                        "frames to a virtual hardware address still come here"
                    );
                }
            }
        }
    }

    /// A dead vrrp has said nothing of what it had installed, and the kernel keeps it for ever.
    fn remove_routes(&mut self) {
        match self.route.remove_our_routes() {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "routes and rules that followed VIPs removed"),
            Err(error) => tracing::warn!(
                cause = error.cause(),
                "routes that followed VIPs stay until the next start"
            ),
        }
    }
}

impl Port {
    /// The interfaces of VIPs with a hardware address of their own, as they are now.
    fn macvlans(&self, route: &mut RouteSocket) -> Vec<Interface> {
        let all = self.vips.iter().filter_map(|(_, vip)| {
            let name = vip.macvlan()?;
            let found = route.interface(&name).unwrap_or_else(|error| {
                tracing::warn!(interface = name, cause = error.cause(), "not looked at");
                None
            });
            found.filter(|found| found.mac == vip.router_mac().0)
        });
        all.collect()
    }

    /// The VIPs' addresses on the interface, or on one of their `own`, each with the VIP's place in `self.vips`.
    fn leases<'a>(
        &self,
        interface: u32,
        own: &[Interface],
        addresses: &'a [Address],
    ) -> Vec<(usize, &'a Address)> {
        let is_theirs = |index| index == interface || own.iter().any(|one| one.index == index);
        addresses
            .iter()
            .filter(|found| is_theirs(found.interface))
            .filter_map(|found| {
                let place = self
                    .vips
                    .iter()
                    .position(|(_, vip)| vip.address == found.address)?;
                Some((place, found))
            })
            .collect()
    }

    /// Opens the sender, unless it still fits the interface.
    fn make_ready(&mut self, index: u32, addresses: &[Address]) -> Result<(), ReleaseError> {
        let own = match (self.plan.own.find(index, addresses), &self.plan.own) {
            (Some(own), _) => own,
            // The address was taken away; the other node still knows us by it.
            (None, OwnAddress::Configured(own)) => *own,
            (None, OwnAddress::InSubnet { .. } | OwnAddress::LinkLocal { .. }) => return Ok(()),
        };
        if let Some(ready) = &self.ready
            && ready.index == index
            && ready.own == own
        {
            return Ok(());
        }
        let PortPlan { name, family, .. } = &self.plan;
        let sender =
            AdvertSender::open(*family, name, index).map_err(|source| ReleaseError::Socket {
                interface: name.clone(),
                source,
            })?;
        for (_, vip) in &self.vips {
            // What cannot be written is to be known now.
            ports::advert(vip, 0, own, self.plan.peer, None)?;
        }
        self.ready = Some(Ready { index, sender, own });
        Ok(())
    }

    /// Resigns for leases that nobody knew of; the interface may be another one than at first.
    fn resign_late(
        &mut self,
        index: u32,
        (leases, addresses): (&[(usize, &Address)], &[Address]),
        late: impl Fn(VipIndex) -> bool,
        mut signer: Option<&mut Signer>,
    ) {
        let moved = self.ready.as_ref().is_none_or(|ready| ready.index != index);
        if leases.is_empty() {
            return;
        }
        if let Err(error) = self.make_ready(index, addresses) {
            tracing::warn!(interface = self.plan.name, %error, "no priority-0 adverts can be sent");
        }
        for (place, _) in leases {
            if moved || late(self.vips[*place].0) {
                self.resign(*place, signer.as_deref_mut());
            }
        }
    }

    fn delete(&self, route: &mut RouteSocket, leases: Vec<(usize, &Address)>) -> Vec<VipIndex> {
        let mut released = Vec::new();
        for (place, lease) in leases {
            match route.remove(lease) {
                Ok(_) => released.push(self.vips[place].0),
                Err(error) => {
                    tracing::warn!(
                        vip = self.vips[place].1.name,
                        cause = error.cause(),
                        "a lease stays until it lapses"
                    );
                }
            }
        }
        released
    }

    fn resign(&self, place: usize, mut signer: Option<&mut Signer>) {
        let Some(ready) = &self.ready else { return };
        let vip = &self.vips[place].1;
        for _ in 0..COPIES {
            // A copy is a new advert to whoever counts the stamps.
            let signature = signer.as_mut().map(|signer| signer.next(clock::wall()));
            let sent = match ports::advert(vip, 0, ready.own, self.plan.peer, signature) {
                Ok(Some(advert)) => ready.sender.send(advert.datagram(), advert.destination),
                Ok(None) => return,
                Err(error) => Err(io::Error::other(error)),
            };
            if let Err(error) = sent {
                tracing::warn!(vip = vip.name, %error, "a priority-0 advert was not sent");
            }
        }
    }
}

/// Prepares and executes a last will at once. Only when no vrrp lives: a living one would take the
/// VIPs back.
///
/// # Errors
/// As [`Will::prepare`] and [`Will::execute`].
pub fn resign(
    config: &Config,
    node: NodeIndex,
    key: Option<&str>,
) -> Result<Vec<VipIndex>, ReleaseError> {
    Will::prepare(config, node, key)?.execute(Left {
        was_leased: |_| false,
        stamp: None,
    })
}
