//! Handover and maintenance between admin, who is asked for them, and vrrp, who does them.

use super::{Cell, MomentCell};
use crate::config::MAX_VIPS;
use crate::time::Moment;

board_enum! {
    /// Why a VIP does not change hands. The numbers also travel on the pair channel.
    Refusal {
        /// A newer version's reason.
        Unknown = 0 => "for a reason that this version does not know",
        // What the other node says of itself.
        UnknownVip = 1 => "its configuration has no such VIP",
        Maintenance = 2 => "it is on maintenance itself",
        NotStarted = 3 => "it takes no part in the election yet",
        ProxyHung = 4 => "its proxy does not accept",
        ProxyCrashLoop = 5 => "its proxy is in a crash loop",
        ProxyNotReady = 6 => "its proxy does not accept yet",
        NoUsableServer = 7 => "a required listener has no usable server there",
        Interface = 8 => "its interface for the VIP is in fault",
        LeaseRefused = 9 => "its kernel has refused the address",
        LeaseDisputed = 10 => "somebody deletes the address there",
        SupervisorGone = 11 => "it has no supervisor",
        Tracker = 12 => "a tracker keeps it from the VIP",
        // The same, where force helps.
        Unprobed = 20 => "it has not probed all its servers yet",
        TrackersUnknown = 21 => "it has not looked at all its trackers yet",
        WorseHealth = 22 => "fewer servers are usable there than here",
        MoreTrackers = 23 => "more trackers are down there than here",
        LowPriority = 24 => "trackers take so much from its priority that the VIP would come back",
        // What the node says that was asked to give.
        NoPeer = 40 => "this node has no pair channel",
        Silent = 41 => "its heartbeats do not come",
        TooOld = 42 => "its version knows no handover",
        NotActive = 43 => "this node is not active for it",
        Owner = 44 => "this node owns the address (priority 255) and would take it back",
        Busy = 45 => "a handover is under way already",
    }
}

impl Refusal {
    /// Whether the other node would do it if it were forced.
    pub const fn yields_to_force(self) -> bool {
        matches!(
            self,
            Self::Unprobed
                | Self::TrackersUnknown
                | Self::WorseHealth
                | Self::MoreTrackers
                | Self::LowPriority
        )
    }
}

board_enum! {
    /// How a handover ended on the node that gave, or should have given.
    HandoverEnd {
        None = 0 => "none",
        /// The other node holds the VIPs.
        Done = 1 => "done",
        Refused = 2 => "refused",
        /// The other node has said nothing to it.
        Unanswered = 3 => "unanswered",
        /// The other node wanted to take them, and has not become active in time.
        NotTaken = 4 => "not_taken",
    }
}

/// What admin asks of vrrp; it stands on admin's board.
#[repr(C)]
#[derive(Debug, Default)]
pub struct HandoverWishSlot {
    /// Never the same twice; 0 = nothing, or it is being written.
    id: Cell,
    vips: Cell,
    flags: Cell,
    at: MomentCell,
}

/// A handover that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandoverWish {
    /// Not 0.
    pub id: u64,
    /// Bit n: the VIP with index n; none = all for which this node is active.
    pub vips: u16,
    pub forced: bool,
    /// The node goes on maintenance: the other one is not to hold the VIPs against preemption.
    pub maintenance: bool,
    /// When it was wished.
    pub at: Moment,
}

const FORCED: u64 = 1;
const MAINTENANCE: u64 = 2;

impl HandoverWishSlot {
    /// Says it. Only the board's writer may call it.
    pub fn set(&self, wish: &HandoverWish) {
        // Whoever reads in between reads nothing.
        self.id.set(0);
        self.vips.set(u64::from(wish.vips));
        let forced = if wish.forced { FORCED } else { 0 };
        let maintenance = if wish.maintenance { MAINTENANCE } else { 0 };
        self.flags.set(forced | maintenance);
        self.at.set(wish.at);
        self.id.set(wish.id);
    }

    /// What was said last.
    pub fn get(&self) -> Option<HandoverWish> {
        let id = self.id.get();
        let flags = self.flags.get();
        let wish = HandoverWish {
            id,
            vips: u16::try_from(self.vips.get()).ok()?,
            forced: flags & FORCED != 0,
            maintenance: flags & MAINTENANCE != 0,
            at: self.at.get()?,
        };
        (id != 0 && self.id.get() == id).then_some(wish)
    }
}

/// How the last handover ended that admin has asked for; it stands on vrrp's board.
#[repr(C)]
#[derive(Debug, Default)]
pub struct HandoverResultSlot {
    /// Of the wish; 0 = nothing, or it is being written.
    id: Cell,
    end: Cell,
    refusal: Cell,
    /// Index of the VIP that was refused, and 1; 0 = none.
    vip: Cell,
    vips: Cell,
    took: Cell,
}

/// How a handover ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandoverResult {
    /// Of the wish.
    pub id: u64,
    pub end: HandoverEnd,
    /// Why, where it was refused.
    pub refusal: Refusal,
    /// Index of the VIP that was refused.
    pub vip: Option<usize>,
    /// Bit n: the VIP with index n was asked for, or moves together with one that was.
    pub vips: u16,
    /// Nanoseconds from the request to the moment at which the other node was heard to hold them.
    pub took: u64,
}

impl HandoverResultSlot {
    /// Says it. Only the board's writer may call it.
    pub fn set(&self, result: &HandoverResult) {
        self.id.set(0);
        self.end.set(result.end.on_board());
        self.refusal.set(result.refusal.on_board());
        self.vip.set(result.vip.map_or(0, |vip| vip as u64 + 1));
        self.vips.set(u64::from(result.vips));
        self.took.set(result.took);
        self.id.set(result.id);
    }

    /// What was said last.
    pub fn get(&self) -> Option<HandoverResult> {
        let id = self.id.get();
        let vip = usize::try_from(self.vip.get()).ok()?.checked_sub(1);
        let result = HandoverResult {
            id,
            end: HandoverEnd::from_board(self.end.get()),
            refusal: Refusal::from_board(self.refusal.get()),
            vip: vip.filter(|vip| *vip < MAX_VIPS),
            vips: u16::try_from(self.vips.get()).ok()?,
            took: self.took.get(),
        };
        (id != 0 && self.id.get() == id).then_some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_and_its_result_come_back_as_they_were_said() {
        let (wishes, results) = (HandoverWishSlot::default(), HandoverResultSlot::default());
        assert_eq!((wishes.get(), results.get()), (None, None));
        for (forced, maintenance) in [(true, false), (false, true)] {
            let wish = HandoverWish {
                id: 7,
                vips: 0b101,
                forced,
                maintenance,
                at: Moment::from_nanos(9),
            };
            wishes.set(&wish);
            assert_eq!(wishes.get(), Some(wish));
        }
        for (refusal, vip) in [(Refusal::Unprobed, Some(0)), (Refusal::Unknown, None)] {
            let result = HandoverResult {
                id: 7,
                end: HandoverEnd::Refused,
                refusal,
                vip,
                vips: u16::MAX,
                took: 3,
            };
            results.set(&result);
            assert_eq!(results.get(), Some(result));
        }
    }

    #[test]
    fn what_stands_half_on_a_board_is_nothing() {
        let wishes = HandoverWishSlot::default();
        wishes.vips.set(1 << 20);
        wishes.id.set(5);
        assert_eq!(wishes.get(), None);
        let results = HandoverResultSlot::default();
        results.vip.set(99);
        results.id.set(5);
        assert_eq!(results.get().and_then(|result| result.vip), None);
    }

    #[test]
    fn force_is_for_what_might_go_badly_not_for_what_cannot_be() {
        let forcible = Refusal::ALL.iter().filter(|one| one.yields_to_force());
        assert!(
            forcible
                .into_iter()
                .all(|one| (20..30).contains(&(*one as u64)))
        );
        assert!(
            Refusal::ALL
                .iter()
                .all(|one| one.on_board() <= u64::from(u8::MAX))
        );
    }
}
