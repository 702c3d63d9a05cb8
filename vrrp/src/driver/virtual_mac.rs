//! VIPs at the hardware address of their virtual router: on which interface the lease is, and whether the network lets
//! such an address through ([`crate::preflight`]). The interfaces are the supervisor's ([`crate::macvlan`]); this node
//! switches them on where it holds the VIP, and off a moment after it has given it up: until the switches know where the
//! address is now, frames to it still come here, and flow forwarding passes them on.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use common::board::{Cell, MacPreflight};
use common::config::{Config, NodeIndex, Vip, VirtualMac};
use common::time::Moment;

use super::Driver;
use super::port::Port;
use super::unit::Unit;
use crate::link::{Interface, LinkError, RouteSocket};
use crate::preflight::{Preflight, probe_mac};
use crate::socket::{QuestionSocket, ReceiveBuffer};

/// A switch has heard of the new holder within this, by its announcement or an advert.
const GRACE: Duration = Duration::from_secs(1);
/// Most answers that one turn reads.
const ANSWERS: usize = 4;

/// The interface of a VIP with a hardware address of its own.
#[derive(Debug)]
pub(super) struct Macvlan {
    name: String,
    mac: [u8; 6],
    /// As the kernel had it at the last look; `None` = missing.
    found: Option<Interface>,
    /// When it is to be switched off.
    off_at: Option<Moment>,
}

impl Macvlan {
    /// `None` if the VIP has none.
    pub(super) fn of(vip: &Vip) -> Option<Self> {
        Some(Self {
            name: vip.macvlan()?,
            mac: vip.router_mac().0,
            found: None,
            off_at: None,
        })
    }

    /// Index of the interface, if there is one.
    pub(super) fn index(&self) -> Option<u32> {
        self.found.map(|found| found.index)
    }

    /// Looks at it again. Only one on the VIP's own interface, with the right address, is ours.
    fn look(&mut self, route: &mut RouteSocket, parent: Option<u32>) -> Result<(), LinkError> {
        let found = route.interface(&self.name)?;
        self.found = found.filter(|found| found.mac == self.mac && Some(found.parent) == parent);
        Ok(())
    }
}

/// Where a lease goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seat {
    /// Index of the interface.
    pub(super) interface: u32,
    pub(super) name: String,
    /// Hardware address that the VIP is reached at there.
    pub(super) mac: [u8; 6],
}

/// The preflight of the network behind the pair's interface.
#[derive(Debug)]
pub(super) struct MacPreflights {
    rules: Preflight,
    interface: String,
    peer: Ipv4Addr,
    socket: Option<(Interface, QuestionSocket)>,
    told: &'static Cell,
}

impl MacPreflights {
    /// `None` where no VIP needs one, or nobody is there to be asked. Over IPv6 nobody can be asked without telling
    /// everybody a wrong address.
    pub(super) fn new(
        config: &Config,
        node: NodeIndex,
        (told, now): (&'static Cell, Moment),
    ) -> Option<Self> {
        let interface = &config.pair.interface;
        let needed = config
            .live_vips()
            .any(|(_, vip)| vip.macvlan().is_some() && vip.interface == *interface);
        match config.nodes[config.peer_of(node)?.0].address {
            IpAddr::V4(peer) if needed => Some(Self {
                // What goes on where it was must not move for want of knowledge.
                rules: Preflight::going_on(MacPreflight::from_board(told.get()), now),
                interface: interface.clone(),
                peer,
                socket: None,
                told,
            }),
            IpAddr::V4(_) | IpAddr::V6(_) => None,
        }
    }

    /// Looks at the interface again; the socket is opened anew when it is another one.
    fn look(&mut self, route: &mut RouteSocket) -> Result<(), LinkError> {
        let found = route.interface(&self.interface)?.filter(|one| one.up);
        let is = |interface: &Interface| (interface.index, interface.mac);
        let known = self.socket.as_ref().map(|(interface, _)| is(interface));
        if known == found.as_ref().map(is) {
            return Ok(());
        }
        self.socket = None;
        let Some(interface) = found else {
            return Ok(());
        };
        let from = (interface.index, probe_mac(interface.mac));
        match QuestionSocket::open_from_second(from, self.peer) {
            Ok(socket) => self.socket = Some((interface, socket)),
            Err(error) => {
                tracing::warn!(interface = self.interface, %error, "no preflight of virtual hardware addresses");
            }
        }
        Ok(())
    }

    fn turn(&mut self, buffer: &mut ReceiveBuffer, heard: Option<Moment>, now: Moment) {
        let Some((_, socket)) = &self.socket else {
            return;
        };
        if socket.has_answered(buffer, ANSWERS) {
            self.rules.hear_answer(now);
        }
        if self.rules.turn(heard, now)
            && let Err(error) = socket.ask(None)
        {
            tracing::debug!(%error, "a question of the preflight was not sent");
        }
        let verdict = self.rules.verdict();
        if self.told.get() != verdict.on_board() {
            self.told.set(verdict.on_board());
            tracing::info!(
                verdict = verdict.word(),
                interface = self.interface,
                "preflight of virtual hardware addresses"
            );
        }
    }

    /// Whether a VIP on this interface may be at the address of its virtual router.
    fn permits(&self, vip: &Vip) -> bool {
        vip.virtual_mac == VirtualMac::Always
            || vip.interface != self.interface
            || self.rules.verdict() != MacPreflight::Failed
    }
}

impl Unit {
    /// Whether an interface is one that this VIP's lease may be on.
    pub(super) fn is_seat(&self, interface: u32, port: &Port) -> bool {
        let macvlan = self.macvlan.as_ref().and_then(Macvlan::index);
        port.index() == Some(interface) || macvlan == Some(interface)
    }

    /// The hardware address that the VIP is reached at, where that is not the interface's.
    pub(super) fn own_mac(&self, port: &Port) -> Option<[u8; 6]> {
        let macvlan = self.macvlan.as_ref()?;
        (self.leased_on.is_some()
            && self.leased_on != port.index()
            && self.leased_on == macvlan.index())
        .then_some(macvlan.mac)
    }

    /// Whether the state of an interface concerns this VIP's macvlan: its own, or any while it is missing.
    pub(super) fn is_concerned(&self, interface: u32) -> bool {
        let macvlan = self.macvlan.as_ref();
        macvlan.is_some_and(|own| own.index().is_none_or(|index| index == interface))
    }
}

impl Driver {
    /// Where a VIP's lease belongs now, switched on.
    pub(super) fn seat(&mut self, place: usize) -> Result<Seat, String> {
        let vip = &self.config.vips[place];
        let unit = &mut self.units[place];
        let permitted = self
            .preflights
            .as_ref()
            .is_none_or(|preflights| preflights.permits(vip));
        if let Some(macvlan) = unit.macvlan.as_mut().filter(|_| permitted)
            && let Some(found) = &mut macvlan.found
        {
            let on = match found.up {
                true => Ok(()),
                false => self.route.switch(found.index, true),
            };
            match on {
                Ok(()) => {
                    found.up = true;
                    macvlan.off_at = None;
                    return Ok(Seat {
                        interface: found.index,
                        name: macvlan.name.clone(),
                        mac: macvlan.mac,
                    });
                }
                Err(error) => {
                    tracing::warn!(
                        vip = vip.name,
                        cause = error.cause(),
                        "the VIP stays at its interface's own hardware address"
                    );
                    macvlan.found = None;
                }
            }
        }
        let port = &self.ports[unit.port];
        let interface = port.interface.as_ref();
        let missing = || format!("{} is missing", port.plan.name);
        let interface = interface.ok_or_else(missing)?;
        Ok(Seat {
            interface: interface.index,
            name: port.plan.name.clone(),
            mac: interface.mac,
        })
    }

    /// Looks at the interfaces of VIPs with a hardware address of their own. One that has a lease is on, whoever switched
    /// it off.
    pub(super) fn look_at_macvlans(&mut self, now: Moment) -> Result<(), LinkError> {
        if let Some(preflights) = &mut self.preflights {
            preflights.look(&mut self.route)?;
        }
        for unit in self.units.all_mut() {
            let parent = self.ports[unit.port].index();
            let Some(macvlan) = &mut unit.macvlan else {
                continue;
            };
            macvlan.look(&mut self.route, parent)?;
            let Some(found) = &mut macvlan.found else {
                continue;
            };
            let wanted = unit.leased_on == Some(found.index);
            if wanted && !found.up {
                self.route.switch(found.index, true)?;
                found.up = true;
            } else if !wanted && found.up {
                macvlan.off_at.get_or_insert(now + GRACE);
            }
        }
        Ok(())
    }

    /// After the lease has gone from an interface: if it is the VIP's own, it is switched off in a moment.
    pub(super) fn leave_seat(&mut self, place: usize, interface: u32, now: Moment) {
        if let Some(macvlan) = &mut self.units[place].macvlan
            && macvlan.index() == Some(interface)
        {
            macvlan.off_at = Some(now + GRACE);
        }
    }

    fn switch_off_due(&mut self, now: Moment) {
        for (place, unit) in self.units.iter_mut() {
            let Some(macvlan) = &mut unit.macvlan else {
                continue;
            };
            if macvlan.off_at.is_none_or(|at| at > now) {
                continue;
            }
            macvlan.off_at = None;
            let Some(found) = macvlan.found.as_mut().filter(|found| found.up) else {
                continue;
            };
            match self.route.switch(found.index, false) {
                Ok(()) => found.up = false,
                Err(error) => {
                    let vip = &self.config.vips[place].name;
                    tracing::warn!(
                        vip,
                        cause = error.cause(),
                        "frames to the virtual hardware address still come here"
                    );
                }
            }
        }
    }

    /// What is due: a macvlan that is to be switched off, a question of the preflight.
    pub(super) fn keep_macvlans(&mut self, now: Moment) {
        self.switch_off_due(now);
        if let Some(preflights) = &mut self.preflights {
            let heard = self.board.peer.heard.get();
            preflights.turn(&mut self.buffer, heard, now);
        }
    }
}
