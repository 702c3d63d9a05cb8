//! One process of a node after another, on purpose: the old one leaves everything as it is, the new
//! one goes on with it. The other node hears one adverts' grid, and nobody who resigns.

use common::addr::Priority;
use common::board::VipState;
use common::time::Moment;

use super::Driver;
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
    /// The end that gives nothing up. Leases are renewed and adverts sent once more, whenever they were
    /// due: so the successor has the whole of both before it.
    pub(super) fn leave(&mut self, now: Moment) {
        for group in 0..self.groups.len() {
            self.groups[group].router.handle_leave(now);
            self.perform(group, now);
        }
        self.heartbeat_at_once = true;
        self.beat(now);
        // The successor binds the same address: what comes from here on is its.
        self.pair = None;
    }

    /// What the board and the kernel agree on: the process before this one was Active, and the leases
    /// live. To be called before anything is published.
    pub(super) fn left_to_us(&self, addresses: &[Address]) -> Vec<Inherited> {
        let groups = self.groups.iter().enumerate();
        let left = groups.filter_map(|(group, one)| {
            let mut members = one.members.clone();
            members
                .all(|place| self.is_left_to_us(place, addresses))
                .then(|| {
                    let first = one.members.start;
                    let said = u8::try_from(self.board.vips[first].priority.get());
                    let said = said.ok().and_then(Priority::new);
                    Inherited {
                        group,
                        priority: said.unwrap_or_else(|| one.router.priority()),
                        pinned: self.board.pinned[first].get() != 0,
                    }
                })
        });
        left.collect()
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
        for place in self.groups[group].members.clone() {
            self.units[place].leased_on = self.lease_of(place, addresses);
        }
        let router = &mut self.groups[group].router;
        router.handle_go_on((priority, pinned), now);
        self.perform(group, now);
    }
}
