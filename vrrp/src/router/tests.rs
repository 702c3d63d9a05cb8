//! The state table, row by row.

mod active;
mod addresses;
mod backup;
mod faults;
mod priority;
mod property;
mod relief;
mod succession;

use std::net::Ipv4Addr;

use super::*;

const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 11));
const BELOW: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 10));
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 12));
const SECOND: Duration = Duration::from_secs(1);
const LEASE: Duration = Duration::from_secs(3);

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// `after` the start of the test.
fn at(after: Duration) -> Moment {
    Moment::from_nanos(1_000_000_000_000) + after
}

/// Priority 100, an advert each second, preemption without delay, peers unknown, no pair channel.
fn params() -> Params {
    Params {
        vrid: Vrid::new(51).expect("not zero"),
        priority: Priority::new(100).expect("not zero"),
        advert_interval: SECOND,
        preempt: true,
        preempt_delay: Duration::ZERO,
        skew: Skew::OfInterval,
        own: OWN,
        sole_peer: None,
        heartbeat: None,
    }
}

fn with_priority(priority: u8) -> Params {
    Params {
        priority: Priority::new(priority).expect("not zero"),
        ..params()
    }
}

fn advert(priority: u8, after: Duration) -> Heard {
    Heard {
        source: PEER,
        priority,
        interval: SECOND,
        via: Via::Advert,
        at: at(after),
    }
}

/// A router and a driver that performs at once what it is told; every lease is granted.
struct Bench {
    router: VirtualRouter,
    leased: bool,
}

impl Bench {
    fn started(params: Params) -> Self {
        let mut bench = Self {
            router: VirtualRouter::new(params),
            leased: false,
        };
        bench.router.handle_start(at(Duration::ZERO));
        bench
    }

    /// Active since `at(ZERO)`, its first actions performed.
    fn active(params: Params) -> Self {
        let down = crate::timing::active_down_interval(
            (params.priority, params.skew),
            params.advert_interval,
            params.heartbeat,
        );
        let mut bench = Self {
            router: VirtualRouter::new(params),
            leased: false,
        };
        bench.router.handle_start(at(Duration::ZERO) - down);
        bench.router.handle_timeout(at(Duration::ZERO));
        bench.perform(Duration::ZERO);
        assert_eq!(bench.router.state(), VipState::Active);
        bench
    }

    /// Takes every action and answers for the kernel; without texts.
    fn perform(&mut self, after: Duration) -> Vec<Done> {
        let mut done = Vec::new();
        while let Some(action) = self.router.poll_action() {
            done.push(match action {
                Action::Advertise { priority } => Done::Advert(priority),
                Action::InstallLease { lifetime } => {
                    self.leased = true;
                    self.router.handle_lease_result(Ok(()), at(after));
                    Done::Install(lifetime)
                }
                Action::RenewLease { lifetime } => {
                    assert!(self.leased, "a renewal of nothing");
                    self.router.handle_lease_result(Ok(()), at(after));
                    Done::Renew(lifetime)
                }
                Action::RemoveLease => {
                    self.leased = false;
                    Done::Remove
                }
                Action::Announce => Done::Announce,
                Action::Changed { to, .. } => Done::Now(to),
            });
        }
        done
    }

    fn hear(&mut self, heard: Heard, after: Duration) -> Vec<Done> {
        self.router.handle_heard(heard, at(after));
        self.turn(after)
    }

    /// A turn of the driver's loop in which nothing was heard.
    fn turn(&mut self, after: Duration) -> Vec<Done> {
        self.router.handle_timeout(at(after));
        self.perform(after)
    }

    /// Turns at every time that the router asks for, up to and including `until`.
    fn run(&mut self, until: Duration) -> Vec<(Duration, Done)> {
        let mut done = Vec::new();
        while let Some((due, _)) = self.router.poll_timeout()
            && due <= at(until)
        {
            let after = due.since(at(Duration::ZERO));
            done.extend(self.turn(after).into_iter().map(|what| (after, what)));
        }
        done
    }

    fn due(&self) -> Duration {
        let (due, _) = self.router.poll_timeout().expect("something is due");
        due.since(at(Duration::ZERO))
    }

    fn state(&self) -> VipState {
        self.router.state()
    }
}

/// An [`Action`] without its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Advert(u8),
    Install(Duration),
    Renew(Duration),
    Remove,
    Announce,
    Now(VipState),
}

/// When adverts went out.
fn adverts(done: &[(Duration, Done)]) -> Vec<Duration> {
    done.iter()
        .filter(|(_, what)| matches!(what, Done::Advert(_)))
        .map(|(after, _)| *after)
        .collect()
}
