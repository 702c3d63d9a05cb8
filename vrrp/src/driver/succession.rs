//! One process of a node after another, on purpose: the old one leaves everything as it is, the new
//! one goes on with it. The other node hears one adverts' grid, and nobody who resigns.

use std::time::Duration;

use common::addr::Priority;
use common::board::VipState;
use common::config::{Config, MAX_VIPS, Vip};
use common::time::Moment;

use super::Driver;
use super::group::Group;
use super::places::Places;
use crate::link::Address;

/// VIPs that an earlier process of this node has left as Active, their leases alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Inherited {
    pub(super) group: usize,
    /// That it advertised last.
    priority: Priority,
    pinned: bool,
}

impl Driver {
    /// The end that gives nothing up but what the next configuration does not have. Leases are renewed and adverts
    /// sent once more, whenever they were due: so the successor has the whole of both before it.
    pub(super) fn leave(&mut self, now: Moment) {
        let next = self.control.leaves_to();
        let own = self.units.places();
        let stay = next.as_ref().map_or(own, |next| self.staying(next));
        for place in stay.iter() {
            // With the renewal the lease goes where the successor looks for it.
            if next
                .as_ref()
                .is_some_and(|next| next.vips[place].macvlan().is_none())
            {
                self.units[place].macvlan = None;
            }
        }
        for group in 0..self.groups.len() {
            let one = &mut self.groups[group];
            match one.members.iter().any(|place| stay.contains(place)) {
                true => one.router.handle_leave(now),
                false => one.router.handle_stop(now),
            }
            self.perform(group, now);
        }
        for place in own.iter().filter(|place| !stay.contains(*place)) {
            self.give_up(place, now);
        }
        if let Some(next) = next {
            self.make_room(&next);
        }
        self.heartbeat_at_once = true;
        self.beat(now);
        // The successor binds the same address: what comes from here on is its.
        self.pair = None;
    }

    /// The VIPs that a successor can go on with: it has them, and all that it elects together with them are Active
    /// here, or new.
    fn staying(&self, next: &Config) -> Places {
        let is_kept = |place: &usize| self.is_kept(*place, next);
        let is_active = |place: usize| {
            let group = &self.groups[self.units[place].group];
            group.router.state() == VipState::Active
        };
        let groups = Group::plan(Places::of(next), next.together).into_iter();
        let staying = groups.flat_map(|members| {
            let kept: Vec<usize> = members.iter().filter(is_kept).collect();
            let together = kept.iter().all(|place| is_active(*place));
            kept.into_iter()
                .filter(move |place| together || !is_active(*place))
        });
        staying.collect()
    }

    /// Whether the next configuration has the same VIP at a place.
    fn is_kept(&self, place: usize, next: &Config) -> bool {
        let (own, next) = (live_at(&self.config, place), live_at(next, place));
        own.is_some_and(|own| next.is_some_and(|next| own.is_same_router(next)))
    }

    /// One that others of its group outlive. Nobody resigns: as long as the other node has it in its group, that would
    /// count for all of them there.
    fn give_up(&mut self, place: usize, now: Moment) {
        let group = &self.groups[self.units[place].group];
        if group.router.state() != VipState::Active {
            return;
        }
        self.units[place].is_given_up = true;
        self.tell_roles(self.units[place].group);
        self.remove_lease(place, now);
        let router = &self.groups[self.units[place].group].router;
        self.units[place].publish(router);
        self.settle_routes(place);
    }

    /// Leaves the board as the successor numbers it: nothing is known of what is new at its place.
    fn make_room(&mut self, next: &Config) {
        let board = self.board;
        for place in (0..MAX_VIPS).filter(|place| !self.is_kept(*place, next)) {
            board.rivals[place].mac.set(0);
            board.rivals[place].seen.clear();
            board.owner_heard[place].clear();
            board.pinned[place].set(0);
            board.macs[place].set(0);
            // What the other node said of it last must not look like a resignation when it says the next thing.
            board.peer.vip_state[place].set(VipState::Init.on_board());
            board.peer.vip_health[place].set(0);
            board.peer_faults[place].set(0);
        }
        for (place, slot) in board.trackers.iter().enumerate() {
            let (own, next) = (self.config.trackers.get(place), next.trackers.get(place));
            let stays = own.is_some_and(|own| next.is_some_and(|next| own.looks_like(next)));
            if !stays {
                slot.forget();
            }
        }
        self.renumber_routes(next);
    }

    /// What the board and the kernel agree on: the process before this one was Active, and the leases
    /// live. A VIP that is new moves with those that it belongs to. To be called before anything is published.
    pub(super) fn left_to_us(&self, addresses: &[Address]) -> Vec<Inherited> {
        let groups = self.groups.iter().enumerate();
        let left = groups.filter_map(|(group, one)| {
            let members = one.members.iter();
            let left: Places = members
                .filter(|place| self.is_left_to_us(*place, addresses))
                .collect();
            let mut others = one.members.iter().filter(|place| !left.contains(*place));
            if left.count() == 0 || !others.all(|place| self.is_new(place)) {
                return None;
            }
            let said = u8::try_from(self.board.vips[left.first()].priority.get());
            let said = said.ok().and_then(Priority::new);
            Some(Inherited {
                group,
                priority: said.unwrap_or_else(|| one.router.priority()),
                pinned: self.board.pinned[left.first()].get() != 0,
            })
        });
        left.collect()
    }

    fn is_new(&self, place: usize) -> bool {
        let slot = &self.board.vips[place];
        VipState::from_board(slot.state.get()) == VipState::Init && slot.leased.get() == 0
    }

    /// A Backup goes on waiting as long as the Active's adverts need, whatever the file says by now. To be called before
    /// anything is published.
    pub(super) fn expect_adverts(&mut self, now: Moment) {
        for group in &mut self.groups {
            let heard = group.members.iter().filter_map(|place| {
                let heard = self.board.vips[place].advert_heard.get()?;
                let interval = Duration::from_nanos(self.board.heard_interval[place].get());
                (now.since(heard) <= interval * 3).then_some(interval)
            });
            if let Some(interval) = heard.max() {
                group.router.handle_expected(interval);
            }
        }
    }

    fn is_left_to_us(&self, place: usize, addresses: &[Address]) -> bool {
        let slot = &self.board.vips[place];
        VipState::from_board(slot.state.get()) == VipState::Active
            && slot.leased.get() != 0
            && self.lease_of(place, addresses).is_some()
    }

    /// Index of the interface that has the lease of a VIP.
    fn lease_of(&self, place: usize, addresses: &[Address]) -> Option<u32> {
        let unit = &self.units[place];
        let port = &self.ports[unit.port];
        let mut leases = addresses.iter().filter(|found| {
            found.address == unit.address
                && found.lifetime.is_some()
                && unit.is_seat(found.interface, port)
        });
        leases.next().map(|found| found.interface)
    }

    /// Goes on as Active. Who has a better right has said so meanwhile, and is read in the first turn.
    pub(super) fn go_on(&mut self, inherited: Inherited, addresses: &[Address], now: Moment) {
        let Inherited {
            group,
            priority,
            pinned,
        } = inherited;
        for place in self.groups[group].members.iter() {
            let lease = self.lease_of(place, addresses);
            let unit = &mut self.units[place];
            unit.leased_on = lease;
            if lease.is_none() {
                unit.publish_joined(now);
            }
        }
        let router = &mut self.groups[group].router;
        router.handle_go_on((priority, pinned), now);
        self.perform(group, now);
    }
}

fn live_at(config: &Config, place: usize) -> Option<&Vip> {
    config.vips.get(place).filter(|vip| !vip.retired)
}
