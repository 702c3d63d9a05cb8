//! Which hardware address the other node has. Pure.
//!
//! It is learned from answers of its kernel, and anybody can give one: a router that answers for others (proxy ARP), a
//! machine with the same address, somebody who lies. What is learned matters: segments are forwarded there, and a
//! machine from which no frame comes is taken for dead. So an answer is not believed against the evidence of signed
//! heartbeats in frames of the address that is known, and that address is looked for anew where they come in others.

use std::time::Duration;

use common::time::Moment;

/// What is received is younger than the stamp of its own frame by less than this.
const EXACT: Duration = Duration::from_millis(20);
/// Frames as old as this prove nothing any more.
const RECENT: Duration = Duration::from_secs(1);

/// What heartbeats and the stamps of the TC program say of the address that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// Nobody stamps, or nobody is heard.
    None,
    /// Frames come from it.
    For,
    /// The other node is heard, and not in frames from it.
    Against,
}

impl Evidence {
    /// The last frame that was stamped, and the last heartbeat.
    pub(crate) fn of(frame: Option<Moment>, beat: Option<Moment>, now: Moment) -> Self {
        match (frame, beat) {
            (_, Some(beat))
                if now.since(beat) < RECENT && frame.is_none_or(|it| is_unstamped(beat, it)) =>
            {
                Self::Against
            }
            (Some(frame), _) if now.since(frame) < RECENT => Self::For,
            (Some(_) | None, _) => Self::None,
        }
    }
}

/// Whether what was received at a moment came in a later frame than the last one that was stamped.
pub(crate) fn is_unstamped(received: Moment, frame: Moment) -> bool {
    received > frame + EXACT
}

/// What is known.
#[derive(Debug, Default)]
pub(crate) struct Neighbour {
    mac: Option<[u8; 6]>,
    /// One of the answers to the last question was believed: others than that are not.
    settled: bool,
    /// The last one that was not believed.
    disbelieved: Option<[u8; 6]>,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Believed,
    Disbelieved {
        /// The one before had another address in it, or there was none.
        first: bool,
    },
}

impl Neighbour {
    /// The address, once there was an answer.
    pub(crate) fn mac(&self) -> Option<[u8; 6]> {
        self.mac
    }

    /// Everybody was asked.
    pub(crate) fn asked(&mut self) {
        self.settled = false;
    }

    /// An answer came.
    pub(crate) fn hear(&mut self, mac: [u8; 6], evidence: Evidence) -> Answer {
        if self.mac == Some(mac) {
            self.settled |= evidence != Evidence::Against;
            return Answer::Believed;
        }
        if self.mac.is_some() && (self.settled || evidence == Evidence::For) {
            let first = self.disbelieved.replace(mac) != Some(mac);
            return Answer::Disbelieved { first };
        }
        self.mac = Some(mac);
        self.settled = true;
        Answer::Believed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: [u8; 6] = [2, 0, 0, 0, 0, 2];
    const ROUTER: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(1_000_000_000 + millis * 1_000_000)
    }

    #[test]
    fn a_heartbeat_in_another_frame_than_its_own_speaks_against_the_address() {
        let of = |frame: Option<u64>, beat: Option<u64>| {
            Evidence::of(frame.map(at), beat.map(at), at(5_000))
        };
        assert_eq!(of(None, None), Evidence::None);
        assert_eq!(of(Some(4_990), Some(4_991)), Evidence::For);
        assert_eq!(
            of(Some(4_500), None),
            Evidence::For,
            "only its kernel speaks"
        );
        assert_eq!(of(Some(4_500), Some(4_520)), Evidence::For);
        assert_eq!(of(Some(4_500), Some(4_521)), Evidence::Against);
        assert_eq!(of(None, Some(4_990)), Evidence::Against);
        // What was long ago says nothing of now.
        assert_eq!(of(Some(4_000), Some(3_990)), Evidence::None);
        assert_eq!(of(Some(3_000), Some(4_000)), Evidence::None);
    }

    #[test]
    fn nobody_takes_the_place_of_a_machine_whose_frames_come() {
        let mut neighbour = Neighbour::default();
        assert_eq!(neighbour.hear(PEER, Evidence::None), Answer::Believed);
        neighbour.asked();
        let first = Answer::Disbelieved { first: true };
        assert_eq!(neighbour.hear(ROUTER, Evidence::For), first);
        let again = Answer::Disbelieved { first: false };
        assert_eq!(neighbour.hear(ROUTER, Evidence::For), again);
        assert_eq!(neighbour.mac(), Some(PEER));
    }

    #[test]
    fn of_several_answers_the_one_that_is_known_counts_until_heartbeats_speak_against_it() {
        let mut neighbour = Neighbour::default();
        neighbour.hear(ROUTER, Evidence::None);
        assert!(matches!(
            neighbour.hear(PEER, Evidence::None),
            Answer::Disbelieved { .. }
        ));
        neighbour.asked();
        neighbour.hear(ROUTER, Evidence::None);
        neighbour.hear(PEER, Evidence::None);
        assert_eq!(
            neighbour.mac(),
            Some(ROUTER),
            "nothing says that it is wrong"
        );
        neighbour.asked();
        for mac in [ROUTER, PEER, ROUTER] {
            neighbour.hear(mac, Evidence::Against);
        }
        assert_eq!(neighbour.mac(), Some(PEER));
    }

    #[test]
    fn a_machine_with_another_card_is_found_with_the_next_question() {
        let mut neighbour = Neighbour::default();
        neighbour.hear(PEER, Evidence::None);
        neighbour.asked();
        assert_eq!(neighbour.hear(ROUTER, Evidence::None), Answer::Believed);
        assert_eq!(neighbour.mac(), Some(ROUTER));
    }
}
