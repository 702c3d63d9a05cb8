//! Whom to poke when. Pure.
//!
//! Each client once, and those who got no RST twice more; never more than [`RATE`] in a second.

use std::time::Duration;

use common::board::VipSession;
use common::time::Moment;

use super::segment::Form;

/// Pokes in a second: 40-byte segments, 1 MB.
const RATE: u32 = 20_000;
/// How far sending may lag behind and catch up, in pokes.
const BURST: u32 = 100;
/// After each round. A client's kernel answers such a segment once in 500 ms, and its first answer may have gone to the
/// dead machine, because the client had not heard yet where the VIP is. After the last one only answers are awaited.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(150),
    Duration::from_millis(550),
    Duration::from_millis(300),
];
/// What is sent in each round.
const FORMS: [Form; PAUSES.len()] = [Form::SynAck, Form::SynAck, Form::Ack];
/// Between the numbers of a client's rounds: a window has at most 2^30 bytes, so two of three lie outside.
const STEP: u32 = 0x5555_5555;
/// Spreads the first numbers (2^32 divided by the golden ratio).
const SPREAD: u32 = 0x9e37_79b9;

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Poke {
        session: VipSession,
        sequence: u32,
        form: Form,
    },
    /// Nothing until then.
    Wait(Moment),
    /// Everybody was told, or as often as it makes sense.
    Over,
}

/// The clients, and how far they have come.
#[derive(Debug)]
pub(super) struct Plan {
    /// Sorted, each once; with whether its client got an RST.
    targets: Vec<(VipSession, bool)>,
    freed: usize,
    round: usize,
    /// Whose turn it is in the round.
    next: usize,
    /// When the round begins, or has begun.
    begins: Moment,
    /// The pace is kept up to here.
    paid: Moment,
}

impl Plan {
    /// Begins now.
    pub(super) fn new(mut sessions: Vec<VipSession>, now: Moment) -> Self {
        sessions.sort_unstable();
        sessions.dedup();
        Self {
            targets: sessions.into_iter().map(|one| (one, false)).collect(),
            freed: 0,
            round: 0,
            next: 0,
            begins: now,
            paid: now,
        }
    }

    pub(super) fn clients(&self) -> u64 {
        self.targets.len() as u64
    }

    pub(super) fn freed(&self) -> u64 {
        self.freed as u64
    }

    /// An RST has left for a client.
    pub(super) fn handle_reset(&mut self, session: &VipSession) {
        let place = self.targets.binary_search_by_key(session, |(one, _)| *one);
        if let Ok(place) = place
            && !self.targets[place].1
        {
            self.targets[place].1 = true;
            self.freed += 1;
        }
    }

    /// What is to be done now.
    pub(super) fn next(&mut self, now: Moment) -> Next {
        loop {
            if self.freed == self.targets.len() {
                return Next::Over;
            }
            if now < self.begins {
                return Next::Wait(self.begins);
            }
            let Some(pause) = PAUSES.get(self.round) else {
                return Next::Over;
            };
            let waiting = self.targets[self.next..]
                .iter()
                .position(|(_, freed)| !freed);
            let Some(skipped) = waiting else {
                self.round += 1;
                self.next = 0;
                self.begins = now + *pause;
                continue;
            };
            if now < self.paid {
                return Next::Wait(self.paid);
            }
            let each = Duration::from_secs(1) / RATE;
            self.paid = self.paid.max(now - each * BURST) + each;
            let place = self.next + skipped;
            self.next = place + 1;
            return Next::Poke {
                session: self.targets[place].0,
                sequence: sequence(place, self.round),
                form: FORMS[self.round],
            };
        }
    }
}

fn sequence(place: usize, round: usize) -> u32 {
    let first = (place as u32).wrapping_mul(SPREAD);
    first.wrapping_add(STEP.wrapping_mul(round as u32))
}

#[cfg(test)]
mod tests {
    use common::config::VipIndex;

    use super::*;

    fn session(client: u32) -> VipSession {
        VipSession {
            vip: VipIndex(0),
            port: 80,
            client: (std::net::Ipv4Addr::from_bits(client), 4_000).into(),
        }
    }

    fn at(micros: u64) -> Moment {
        Moment::from_nanos(micros * 1_000)
    }

    /// Runs to the end, each 50 us; gives the pokes and when they were, in microseconds.
    fn run(
        plan: &mut Plan,
        freed: impl Fn(u64, &VipSession) -> bool,
    ) -> (Vec<(u64, VipSession, u32)>, u64) {
        let mut pokes = Vec::new();
        for now in (0..10_000_000).step_by(50) {
            loop {
                match plan.next(at(now)) {
                    Next::Poke {
                        session, sequence, ..
                    } => {
                        pokes.push((now, session, sequence));
                        if freed(pokes.len() as u64, &session) {
                            plan.handle_reset(&session);
                        }
                    }
                    Next::Wait(until) => {
                        assert!(until > at(now));
                        break;
                    }
                    Next::Over => return (pokes, now),
                }
            }
        }
        panic!("no end");
    }

    #[test]
    fn who_answers_is_poked_once_and_nobody_a_fourth_time() {
        let sessions = (0..10).map(session).collect();
        let mut plan = Plan::new(sessions, at(0));
        let silent = session(7);
        let (pokes, end) = run(&mut plan, |_, one| *one != silent);
        assert_eq!((plan.clients(), plan.freed()), (10, 9));
        assert_eq!(pokes.len(), 12);
        let its: Vec<_> = pokes.iter().filter(|(_, one, _)| *one == silent).collect();
        let [first, second, third] = its[..] else {
            panic!("{its:?}")
        };
        assert!((150_000..160_000).contains(&(second.0 - first.0)));
        assert!((550_000..560_000).contains(&(third.0 - second.0)));
        assert_eq!(second.2.wrapping_sub(first.2), STEP);
        assert!((300_000..310_000).contains(&(end - third.0)));
    }

    #[test]
    fn a_client_that_was_told_already_is_left_alone() {
        let mut plan = Plan::new(vec![session(1), session(2), session(2)], at(0));
        assert_eq!(plan.clients(), 2);
        plan.handle_reset(&session(2));
        plan.handle_reset(&session(2));
        plan.handle_reset(&session(3));
        let (pokes, end) = run(&mut plan, |_, _| true);
        assert_eq!((pokes.len(), end, plan.freed()), (1, 0, 2));
        assert_eq!(Plan::new(Vec::new(), at(0)).next(at(0)), Next::Over);
    }

    #[test]
    fn the_pace_is_kept_also_after_a_stall() {
        let mut plan = Plan::new((0..5_000).map(session).collect(), at(0));
        let mut sent = 0;
        while let Next::Poke { session, .. } = plan.next(at(0)) {
            plan.handle_reset(&session);
            sent += 1;
        }
        assert!(sent <= BURST + 1, "{sent}");
        while let Next::Poke { session, .. } = plan.next(at(100_000)) {
            plan.handle_reset(&session);
            sent += 1;
        }
        assert!(sent <= 2 * (BURST + 1), "{sent} after a stall of 100 ms");
        let (pokes, _) = run(&mut plan, |_, _| true);
        let last = pokes.last().expect("the others").0;
        // 4,800 of them at 20,000 a second, from 100 ms on.
        assert!((330_000..360_000).contains(&last), "{last}");
    }
}
