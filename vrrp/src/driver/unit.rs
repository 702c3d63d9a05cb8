//! One VIP in the loop: whether it may be held, what is known of its lease, and its place on the
//! board.

use std::net::IpAddr;
use std::time::Duration;

use common::addr::{Family, Vrid};
use common::board::{VipSlot, VipState};
use common::config::{Config, NodeIndex, VipIndex};
use common::time::Moment;

use super::virtual_mac::Macvlan;
use crate::fitness::{self, Judge};
use crate::router::VirtualRouter;
use crate::timing::active_down_interval;

/// How long a node that could not make itself heard stays away from the election.
const UNHEARD_HOLD: Duration = Duration::from_secs(10);

/// One VIP.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) judge: Judge,
    /// Index into the driver's groups.
    pub(super) group: usize,
    /// Index into the driver's ports.
    pub(super) port: usize,
    pub(super) vrid: Vrid,
    pub(super) address: IpAddr,
    /// The kernel acknowledged the lease, and nobody has said that it is gone.
    pub(super) leased: bool,
    /// Index of the interface that the lease was put on: it may have another name when it has to go.
    pub(super) leased_on: Option<u32>,
    /// Index of an interface that has the address although it is not the VIP's.
    pub(super) elsewhere: Option<u32>,
    pub(super) unheard: Unheard,
    /// Where the VIP has a hardware address of its own.
    pub(super) macvlan: Option<Macvlan>,
    /// It has been given up for good, whatever becomes of those that move together with it.
    pub(super) is_given_up: bool,
    slot: &'static VipSlot,
    reason: String,
}

impl Unit {
    /// A VIP of which nothing is known, in a group and on a port.
    pub(super) fn new(
        config: &Config,
        node: NodeIndex,
        index: VipIndex,
        (group, router, port): (usize, &VirtualRouter, usize),
        slot: &'static VipSlot,
    ) -> Self {
        let vip = &config.vips[index.0];
        Self {
            judge: Judge::new(fitness::patience(config, index)),
            group,
            port,
            vrid: vip.vrid,
            address: vip.address,
            leased: false,
            leased_on: None,
            elsewhere: None,
            unheard: Unheard {
                patience: active_down_interval(
                    (vip.priorities[node.0], router.skew()),
                    vip.advert_interval,
                    heartbeat_of(config, node),
                ),
                since: None,
                until: None,
            },
            macvlan: Macvlan::of(vip),
            is_given_up: false,
            slot,
            reason: String::new(),
        }
    }

    /// Its virtual router: VRIDs are counted in each family apart.
    pub(super) fn router_id(&self) -> (Family, Vrid) {
        (Family::of(self.address), self.vrid)
    }

    /// This VIP's place on the board.
    pub(super) fn slot(&self) -> &'static VipSlot {
        self.slot
    }

    /// Its state, which is that of its router.
    pub(super) fn state(&self, router: &VirtualRouter) -> VipState {
        match self.is_given_up {
            true => VipState::Init,
            false => router.state(),
        }
    }

    /// Puts what can change in any turn on the board.
    pub(super) fn publish(&mut self, router: &VirtualRouter) {
        self.slot.state.set(self.state(router).on_board());
        self.slot.leased.set(u64::from(self.leased));
        self.slot.priority.set(u64::from(router.priority().value()));
        if self.reason != router.reason() {
            self.reason.clear();
            self.reason.push_str(router.reason());
            self.slot.reason.set(&self.reason);
        }
    }

    /// Clears what an earlier process has heard.
    pub(super) fn forget_peer(&self) {
        self.slot.advert_heard.clear();
        self.slot.peer_priority.set(0);
    }

    /// Clears what an earlier process said; counters go on.
    pub(super) fn publish_start(&mut self, router: &VirtualRouter, now: Moment) {
        self.slot.since.set(now);
        self.slot.reason.set("");
        self.publish(router);
    }

    /// It is Active with those that move together with it, which have been so for longer.
    pub(super) fn publish_joined(&self, now: Moment) {
        self.slot.since.set(now);
        self.slot.became_active.add(1);
    }

    /// Puts a change of state on the board.
    pub(super) fn publish_change(&mut self, (from, to): (VipState, VipState), now: Moment) {
        if from == to {
            // Another reason, no other state.
            return;
        }
        self.slot.since.set(now);
        self.unheard.restart();
        if to == VipState::Active {
            self.slot.became_active.add(1);
        }
    }
}

/// Interval of the pair channel's heartbeats, if the node has one.
pub(super) fn heartbeat_of(config: &Config, node: NodeIndex) -> Option<Duration> {
    config
        .has_pair_channel(node)
        .then_some(config.pair.heartbeat)
        .flatten()
}

/// A node whose adverts do not leave (a full queue, a firewall) holds a VIP that the other node
/// takes as well: after an active-down interval of failures it steps back, for a while.
#[derive(Debug)]
pub(super) struct Unheard {
    patience: Duration,
    since: Option<Moment>,
    until: Option<Moment>,
}

impl Unheard {
    /// An advert left, or did not. Says whether this is the first failure of a row.
    pub(super) fn note(&mut self, sent: bool, now: Moment) -> bool {
        if sent {
            self.since = None;
            return false;
        }
        let first = self.since.is_none();
        let since = *self.since.get_or_insert(now);
        if now.since(since) >= self.patience {
            self.until = Some(now + UNHEARD_HOLD);
            self.since = None;
        }
        first
    }

    /// A change of state ends a row: failures before it say nothing about adverts after it.
    fn restart(&mut self) {
        self.since = None;
    }

    /// Whether the node has to stay away.
    pub(super) fn holds(&self, now: Moment) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_node_whose_adverts_fail_for_an_active_down_interval_steps_back_for_a_while() {
        let mut unheard = Unheard {
            patience: Duration::from_millis(300),
            since: None,
            until: None,
        };
        assert!(unheard.note(false, at(0)));
        assert!(!unheard.note(false, at(200)));
        assert!(!unheard.holds(at(200)));
        unheard.note(true, at(250));
        assert!(unheard.note(false, at(300)));
        assert!(!unheard.holds(at(500)));
        unheard.note(false, at(600));
        assert!(unheard.holds(at(600)) && unheard.holds(at(10_599)));
        assert!(!unheard.holds(at(10_600)));
    }
}
