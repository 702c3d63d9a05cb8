//! Watching who claims the VIPs, in the loop: what [`crate::rival`] hears, and what follows.

use std::time::Duration;

use common::addr::Mac;
use common::board::VipState;
use common::time::Moment;

use super::Driver;
use crate::clock::Clocks;
use crate::rival::{Claim, Rivals};
use crate::socket::Read;

/// Whoever has a VIP and is silent is asked for it so often.
const PROBE: Duration = Duration::from_secs(10);
/// The first time, when the node is settled.
const FIRST_PROBE: Duration = Duration::from_secs(1);
/// Most claims that one turn reads on an interface.
const CLAIMS: usize = 8;

/// Who claims each VIP.
#[derive(Debug)]
pub(super) struct Watch {
    /// By VIP.
    rivals: Vec<Rivals>,
    probe_at: Moment,
}

impl Watch {
    pub(super) fn new(vips: usize, now: Moment) -> Self {
        Self {
            rivals: (0..vips).map(|_| Rivals::default()).collect(),
            probe_at: now + FIRST_PROBE,
        }
    }
}

impl Driver {
    /// Reads claims, and asks for silent ones.
    pub(super) fn watch_rivals(&mut self, clocks: Clocks, now: Moment) {
        for port in 0..self.ports.len() {
            for _ in 0..CLAIMS {
                let Read::Datagram(datagram) = self.ports[port].receive_claim(&mut self.buffer)
                else {
                    break;
                };
                let at = clocks.moment_of(datagram.stamp, self.emptied);
                let Some((sender, address)) = self.ports[port].claimant(&datagram) else {
                    continue;
                };
                let place = self
                    .units
                    .position(|unit| unit.port == port && unit.address == address);
                if let Some(place) = place {
                    self.hear_claim(place, Mac(sender), at);
                }
            }
        }
        for place in self.units.places().iter() {
            let held = self.units[place].leased;
            if self.rivals.rivals[place].defends(held, now) {
                self.announce(place);
            }
        }
        if now >= self.rivals.probe_at {
            self.rivals.probe_at = now + PROBE;
            for unit in self.units.all() {
                if let Err(error) = self.ports[unit.port].probe(unit.address) {
                    tracing::debug!(%error, "a probe was not sent");
                }
            }
        }
    }

    /// The other node's hardware address where a VIP is, as far as it is known. It is asked for on the pair's interface
    /// only; elsewhere whoever claims a VIP is the other node as long as that one is active for it.
    fn peer_mac_at(&self, place: usize, claimant: Mac, at: Moment) -> Option<Mac> {
        let vip = &self.config.vips[place];
        if vip.interface == self.config.pair.interface {
            return self.questions.as_ref()?.peer_mac().map(Mac);
        }
        let (slot, peer) = (self.units[place].slot(), &self.board.peer);
        let said = self
            .pair
            .as_ref()
            .is_some_and(|pair| pair.is_fresh(peer, at))
            && VipState::from_board(peer.vip_state[place].get()) == VipState::Active;
        let last = slot.advert_heard.get();
        let heard = last.is_some_and(|last| at.since(last) <= vip.advert_interval * 3)
            && slot.peer_priority.get() > 0;
        (said || heard).then_some(claimant)
    }

    fn hear_claim(&mut self, place: usize, sender: Mac, at: Moment) {
        let held = self.units[place].leased;
        // The other node's too, if it has the VIP at the virtual router's address.
        let is_virtual = sender == self.config.vips[place].router_mac();
        let peer = if is_virtual {
            Some(sender)
        } else {
            self.peer_mac_at(place, sender, at)
        };
        let is_rival = self.rivals.rivals[place].hear(Claim {
            sender,
            at,
            peer,
            held,
        });
        if is_rival {
            let slot = &self.board.rivals[place];
            if slot.mac.get() != sender.to_bits() {
                let vip = &self.config.vips[place].name;
                tracing::warn!(vip, mac = %sender, "a foreign machine claims a VIP");
            }
            slot.mac.set(sender.to_bits());
            slot.seen.set(at);
            slot.claims.add(1);
        }
    }
}
