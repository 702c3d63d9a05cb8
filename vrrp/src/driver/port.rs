//! One interface that carries VIPs of one family: its state in the kernel and the sockets on it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use common::addr::Family;
use common::board::DropReason;
use common::config::{Config, NodeIndex, Signing as Mode, Transport};
use common::time::Moment;
use nix::errno::Errno;

use super::wake::Wake;
use crate::flap::Debounce;
use crate::link::{Address, Interface, LinkError, RouteSocket};
use crate::packet::{Expect, Packet, Received, Virtual, claim, decode, group};
use crate::ports::{self, EncodedAdvert, OwnAddress, PortPlan};
use crate::socket::{
    AdvertReceiver, AdvertSender, Announcer, Datagram, Read, ReceiveBuffer, Sentinel, Witness,
};

/// An interface, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) plan: PortPlan,
    /// Last known own address, the source of adverts.
    pub(super) own: IpAddr,
    /// The other node's here, as the file or its last heartbeat says.
    pub(super) peer: Option<IpAddr>,
    /// As the kernel had it at the last look; `None` = missing.
    pub(super) interface: Option<Interface>,
    /// Why it cannot carry a VIP; `None` = it can.
    pub(super) fault: Option<String>,
    /// When it has to be looked at again, if it waits for that.
    pub(super) look_at: Option<Moment>,
    debounce: Debounce,
    sockets: Option<Sockets>,
    multicast: Vec<Virtual>,
    unicast: Vec<Virtual>,
    peers: Vec<IpAddr>,
    /// Adverts may be signed.
    trailers: bool,
}

#[derive(Debug)]
struct Sockets {
    receiver: AdvertReceiver,
    sender: AdvertSender,
    announcer: Announcer,
    witness: Witness,
    /// Where the other node's address is known.
    overhearing: Option<Witness>,
    sentinel: Sentinel,
}

impl Port {
    /// A port that has not looked at its interface yet.
    pub(super) fn new(plan: PortPlan, config: &Config, node: NodeIndex) -> Self {
        let own = match (&plan.own, plan.family) {
            (OwnAddress::Configured(own), _) => *own,
            (_, Family::V4) => Ipv4Addr::UNSPECIFIED.into(),
            (_, Family::V6) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Self {
            own,
            peer: plan.peer,
            interface: None,
            fault: Some(format!("{} was not looked at yet", plan.name)),
            look_at: None,
            debounce: Debounce::new(longest_interval(&plan, config)),
            sockets: None,
            multicast: ports::routers(config, node, &plan.vips, Transport::Multicast).collect(),
            unicast: ports::routers(config, node, &plan.vips, Transport::Unicast).collect(),
            peers: plan.peer.into_iter().collect(),
            trailers: config.pair.signing != Mode::Off,
            plan,
        }
    }

    /// Looks at the interface again; opens the sockets anew when it is another one or comes back
    /// from a fault. Says whether its fault came, went or changed.
    pub(super) fn look(
        &mut self,
        (route, wake): (&mut RouteSocket, &Wake),
        addresses: &[Address],
        now: Moment,
    ) -> Result<bool, LinkError> {
        let found = route.interface(&self.plan.name)?;
        let own = found.and_then(|found| self.plan.own.find(found.index, addresses));
        let same = self.index() == found.map(|found| found.index)
            && self.interface.map(|known| known.mac) == found.map(|found| found.mac)
            && own.is_none_or(|own| own == self.own);
        if !same {
            self.sockets = None;
        }
        self.interface = found;
        self.own = own.unwrap_or(self.own);
        let mut fault = self.fault_of(own);
        self.look_at = self.debounce.look(fault.is_none(), now);
        if self.look_at.is_some() {
            fault = Some(format!(
                "{} is back, and has to stay for a while",
                self.plan.name
            ));
        }
        if let (None, Some(interface)) = (&fault, found)
            && (self.fault.is_some() || self.sockets.is_none())
        {
            // A membership may have gone with the interface: come back by the same road as at the
            // start.
            self.sockets = None;
            match self.open_sockets(interface, wake) {
                Ok(sockets) => self.sockets = Some(sockets),
                Err(error) => fault = Some(format!("no socket on {}: {error}", self.plan.name)),
            }
        }
        let changed = fault != self.fault;
        self.fault = fault;
        Ok(changed)
    }

    fn fault_of(&self, own: Option<IpAddr>) -> Option<String> {
        let name = &self.plan.name;
        match (self.interface, own) {
            (None, _) => Some(format!("{name} is missing")),
            (Some(interface), _) if !interface.up => Some(format!("{name} is switched off")),
            (Some(interface), _) if !interface.carrier => Some(format!("{name} has no carrier")),
            (Some(_), None) => Some(format!("{name} {}", self.plan.own.missing())),
            (Some(_), Some(_)) => None,
        }
    }

    /// Index of the interface, if there is one.
    pub(super) fn index(&self) -> Option<u32> {
        self.interface.map(|interface| interface.index)
    }

    /// Whether an event about this interface concerns the port: its own, or any while its own is
    /// missing.
    pub(super) fn is_concerned(&self, interface: u32) -> bool {
        self.index().is_none_or(|index| index == interface)
    }

    /// Reads one packet; nothing comes while there are no sockets.
    pub(super) fn receive<'a>(&self, buffer: &'a mut ReceiveBuffer) -> Read<'a> {
        match &self.sockets {
            Some(sockets) => sockets.receiver.receive(buffer),
            None => Read::Empty,
        }
    }

    /// Reads one packet that came from outside with our own address as its source.
    pub(super) fn receive_forged<'a>(&self, buffer: &'a mut ReceiveBuffer) -> Read<'a> {
        match &self.sockets {
            Some(sockets) => sockets.witness.receive(buffer),
            None => Read::Empty,
        }
    }

    /// Reads one packet from the other node as it reached this host, whether a firewall lets it through or not.
    pub(super) fn overhear<'a>(&self, buffer: &'a mut ReceiveBuffer) -> Read<'a> {
        match &self.sockets {
            Some(Sockets {
                overhearing: Some(witness),
                ..
            }) => witness.receive(buffer),
            Some(_) | None => Read::Empty,
        }
    }

    /// Reads one claim of a VIP by another machine.
    pub(super) fn receive_claim<'a>(&self, buffer: &'a mut ReceiveBuffer) -> Read<'a> {
        match &self.sockets {
            Some(sockets) => sockets.sentinel.receive(buffer),
            None => Read::Empty,
        }
    }

    /// Who says in a claim that it has which address; `None` if it is this node after all.
    pub(super) fn claimant(&self, datagram: &Datagram<'_>) -> Option<([u8; 6], IpAddr)> {
        let sentinel = &self.sockets.as_ref()?.sentinel;
        claim(datagram.bytes).filter(|(mac, _)| !sentinel.is_own(*mac))
    }

    /// Asks whether anybody else has the VIP.
    pub(super) fn probe(&self, vip: IpAddr) -> io::Result<()> {
        self.sockets()?.sentinel.probe(vip)
    }

    /// Reads what [`Self::receive`] or a witness gave.
    ///
    /// # Errors
    /// Why it has to be dropped.
    pub(super) fn decode<'a>(&self, datagram: &Datagram<'a>) -> Result<Received<'a>, DropReason> {
        self.judge(&packet(datagram)?)
    }

    /// The validation ladder.
    ///
    /// # Errors
    /// The first rung that the packet fails.
    pub(super) fn judge<'a>(&self, packet: &Packet<'a>) -> Result<Received<'a>, DropReason> {
        decode(packet, &self.expect(packet.destination))
    }

    /// What a packet must fit. An interface may carry VIPs of both transports: the destination says
    /// which is meant.
    fn expect(&self, destination: IpAddr) -> Expect<'_> {
        let to_group = destination == group(self.plan.family);
        let (transport, routers) =
            if self.unicast.is_empty() || (to_group && !self.multicast.is_empty()) {
                (Transport::Multicast, &self.multicast)
            } else {
                (Transport::Unicast, &self.unicast)
            };
        Expect {
            own: self.own,
            transport,
            sources: &self.peers,
            routers,
            trailers: self.trailers,
        }
    }

    /// Sends an advert; to the group from `mac`, if the VIP has one of its own (RFC 9568, section 7.3), so that the
    /// switches keep knowing where it is.
    pub(super) fn send(&self, advert: &EncodedAdvert, mac: Option<[u8; 6]>) -> io::Result<()> {
        let sockets = self.sockets()?;
        match mac {
            Some(mac) if advert.destination.is_multicast() => {
                sockets.announcer.advertise(mac, advert.datagram())
            }
            Some(_) | None => sockets.sender.send(advert.datagram(), advert.destination),
        }
    }

    /// Sends one round of announcements: of the interface's hardware address, or of `mac`.
    pub(super) fn announce(&self, vip: IpAddr, mac: Option<[u8; 6]>) -> io::Result<()> {
        self.sockets()?.announcer.announce(vip, mac)
    }

    fn sockets(&self) -> io::Result<&Sockets> {
        self.sockets.as_ref().ok_or(Errno::ENETDOWN.into())
    }

    fn open_sockets(&self, interface: Interface, wake: &Wake) -> io::Result<Sockets> {
        let (name, family) = (&self.plan.name, self.plan.family);
        let Interface { index, mac, .. } = interface;
        let receiver = AdvertReceiver::open(family, name, index)?;
        let witness = Witness::open(index, self.own)?;
        wake.add(&receiver)?;
        wake.add(&witness)?;
        // Nothing hurries here: what it hears waits for the next turn.
        let overhearing = self
            .peer
            .map(|peer| Witness::open(index, peer))
            .transpose()?;
        let sentinel = Sentinel::open((index, mac), self.own, &self.plan.addresses)?;
        wake.add(&sentinel)?;
        Ok(Sockets {
            receiver,
            sender: AdvertSender::open(family, name, index)?,
            announcer: Announcer::open(name, index, mac)?,
            witness,
            overhearing,
            sentinel,
        })
    }
}

/// The packet in a datagram.
///
/// # Errors
/// [`DropReason::IpHeader`] if there is none.
pub(super) fn packet<'a>(datagram: &Datagram<'a>) -> Result<Packet<'a>, DropReason> {
    match (datagram.header, datagram.source) {
        (Some((destination, hop_limit)), Some(source)) => Ok(Packet {
            source,
            destination: destination.into(),
            ttl: hop_limit,
            message: datagram.bytes,
        }),
        (Some(_), None) | (None, _) => Packet::read(datagram.bytes),
    }
}

/// Of the VIPs on the interface: so long it has to stay when it comes back.
fn longest_interval(plan: &PortPlan, config: &Config) -> Duration {
    let vips = plan.vips.iter().map(|vip| &config.vips[vip.0]);
    let intervals = vips.map(|vip| vip.advert_interval);
    intervals.max().unwrap_or_default()
}
