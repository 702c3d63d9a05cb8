//! VIPs that are elected as one (`together`), or one by itself: one virtual router decides for all
//! of them, so a transition of it applies to each before anything is said of the next.

use common::config::{Config, NodeIndex, VrrpVersion};

use super::Driver;
use super::places::Places;
use super::port::Port;
use super::unit::heartbeat_of;
use crate::router::{Cause, Heard, Params, Via, VirtualRouter};
use crate::timing::Skew;
use crate::tracking::{Findings, Trial};

/// One virtual router and its VIPs.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) router: VirtualRouter,
    pub(super) members: Places,
    pub(super) trial: Trial,
    /// What the last turn knew of its trackers; `None` = there was none.
    pub(super) findings: Option<Findings>,
    /// All trackers were looked at.
    pub(super) knows_trackers: bool,
    /// What keeps the node from the VIPs, as the other one is told: trackers without a weight that are down, and
    /// maintenance.
    pub(super) faults: u8,
    /// The first of them, with what it had found when it went down: its words may change with every
    /// look, the reason of a Fault does not.
    pub(super) blamed: Option<(usize, String)>,
    /// The other node takes no part any more, as of the last turn.
    pub(super) peer_has_stopped: bool,
}

impl Group {
    /// The groups of a configuration: every VIP for itself, or all of them together.
    pub(super) fn plan(vips: Places, together: bool) -> Vec<Places> {
        match together {
            true if vips.count() > 0 => vec![vips],
            true | false => vips
                .iter()
                .map(|place| [place].into_iter().collect())
                .collect(),
        }
    }

    /// A router in Init. What it is told is that of the first member: `check` sees to it that it is
    /// the same for all.
    pub(super) fn new(config: &Config, node: NodeIndex, members: Places, port: &Port) -> Self {
        let vip = &config.vips[members.first()];
        let skew = match vip.version {
            VrrpVersion::V3 => Skew::OfInterval,
            VrrpVersion::V2 { .. } => Skew::OfSecond,
        };
        let priority = vip.priorities[node.0];
        Self {
            router: VirtualRouter::new(Params {
                vrid: vip.vrid,
                priority,
                advert_interval: vip.advert_interval,
                skew,
                preempt: vip.preempt,
                preempt_delay: vip.preempt_delay,
                own: port.own,
                sole_peer: port.plan.peer,
                heartbeat: heartbeat_of(config, node),
            }),
            members,
            trial: Trial::new(priority),
            findings: None,
            knows_trackers: false,
            faults: 0,
            blamed: None,
            peer_has_stopped: false,
        }
    }

    /// Whether it decides for more than one VIP.
    pub(super) fn is_several(&self) -> bool {
        self.members.count() > 1
    }

    /// One member cannot be held: no member can.
    pub(super) fn cause(&self, vip: &str, cause: Cause) -> Cause {
        if self.is_several() {
            Cause::Together {
                vip: vip.to_owned(),
                cause: Box::new(cause),
            }
        } else {
            cause
        }
    }
}

impl Driver {
    /// What a router is told of what was heard for one of its VIPs. It knows the other node by one
    /// address, where the first of its VIPs is; adverts for the others may come from another one, over
    /// another interface or another family.
    pub(super) fn under_its_first_name(&mut self, place: usize, heard: Heard) -> Heard {
        let port = self.units[place].port;
        if heard.via == Via::Heartbeat {
            self.ports[port].peer = Some(heard.source);
        }
        let first = self.groups[self.units[place].group].members.first();
        let first = self.units[first].port;
        if first == port || self.ports[port].peer != Some(heard.source) {
            return heard;
        }
        Heard {
            source: self.ports[first].peer.unwrap_or(heard.source),
            ..heard
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_vip_is_elected_by_itself_or_all_as_one() {
        let plan = |vips: u16, together| {
            let groups = Group::plan(vips.into(), together).into_iter();
            groups.map(Places::bits).collect::<Vec<_>>()
        };
        assert_eq!(plan(0b1101, false), [0b1, 0b100, 0b1000]);
        assert_eq!(plan(0b1101, true), [0b1101]);
        assert!(plan(0, true).is_empty() && plan(0, false).is_empty());
    }
}
