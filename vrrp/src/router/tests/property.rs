//! FSM-33: whatever happens in whatever order.

use std::mem;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Happening {
    Start,
    Stop,
    Heard {
        priority: u8,
        from: u8,
        heartbeat: bool,
        age: u64,
    },
    Fit,
    Unfit,
    Rank(u8),
    Ready(bool),
    Take(Option<u8>),
    Giving(bool),
    Removed,
    Suspended(u64),
    Turn,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        2 => Just(Happening::Start),
        1 => Just(Happening::Stop),
        8 => (prop_oneof![Just(0), 95..105_u8, Just(255)], 10..13_u8, any::<bool>(), 0..3000_u64)
            .prop_map(|(priority, from, heartbeat, age)| Happening::Heard {
                priority,
                from: if from == 11 { 13 } else { from },
                heartbeat,
                age,
            }),
        3 => Just(Happening::Fit),
        1 => Just(Happening::Unfit),
        2 => (1..255_u8).prop_map(Happening::Rank),
        1 => any::<bool>().prop_map(Happening::Ready),
        1 => prop_oneof![Just(None), (1..255_u8).prop_map(Some)].prop_map(Happening::Take),
        1 => any::<bool>().prop_map(Happening::Giving),
        1 => Just(Happening::Removed),
        1 => (0..6000_u64).prop_map(Happening::Suspended),
        12 => Just(Happening::Turn),
    ]
}

fn some_params() -> impl Strategy<Value = Params> {
    let priority = prop_oneof![Just(1), Just(100), Just(254), Just(255)];
    let centiseconds = prop_oneof![Just(1_u64), Just(10), Just(100), Just(4095)];
    let heartbeat = prop_oneof![Just(None), Just(Some(ms(20)))];
    (
        priority,
        centiseconds,
        heartbeat,
        any::<(bool, bool, bool)>(),
    )
        .prop_map(
            |(priority, centiseconds, heartbeat, (preempt, delayed, sole))| Params {
                advert_interval: ms(centiseconds * 10),
                preempt,
                preempt_delay: if delayed { SECOND * 10 } else { Duration::ZERO },
                sole_peer: sole.then_some(PEER),
                heartbeat,
                ..with_priority(priority)
            },
        )
}

/// What an observer of the actions knows.
#[derive(Debug)]
struct Model {
    state: VipState,
    leased: bool,
    refuse: bool,
    resigning: u8,
    now: Duration,
}

impl Model {
    fn happen(&self, router: &mut VirtualRouter, happening: Happening) {
        let now = at(self.now);
        match happening {
            Happening::Start => router.handle_start(now),
            Happening::Stop => router.handle_stop(now),
            Happening::Fit => router.handle_fitness(Ok(()), now),
            Happening::Unfit => router.handle_fitness(Err(Cause::ProxyHung), now),
            Happening::Rank(priority) => {
                let priority = Priority::new(priority).expect("not zero");
                router.handle_priority(priority, now);
            }
            Happening::Ready(ready) => router.handle_ready(ready),
            Happening::Take(pin) => router.handle_take(pin.and_then(Priority::new), now),
            Happening::Giving(gives) => router.handle_giving(gives),
            Happening::Removed => router.handle_lease_removed(now),
            Happening::Suspended(time) => router.handle_suspended(ms(time)),
            Happening::Turn => router.handle_timeout(now),
            Happening::Heard {
                priority,
                from,
                heartbeat,
                age,
            } => {
                let heard = Heard {
                    source: IpAddr::from([192, 168, 0, from]),
                    via: if heartbeat {
                        Via::Heartbeat
                    } else {
                        Via::Advert
                    },
                    at: at(self.now) - ms(age),
                    ..advert(priority, Duration::ZERO)
                };
                router.handle_heard(heard, now);
            }
        }
    }

    /// Every action must be legal for the state that the actions before it led to.
    fn perform(&mut self, router: &mut VirtualRouter) {
        let own = router.priority().value();
        let mut just_removed = false;
        while let Some(action) = router.poll_action() {
            let removed_before = mem::replace(&mut just_removed, false);
            match action {
                Action::Advertise { priority: 0 } => {
                    assert!(!self.leased && removed_before || self.resigning == 1);
                    self.resigning += 1;
                    assert!(self.resigning <= 2, "more than two resignations");
                }
                Action::Advertise { priority } => {
                    assert_eq!(priority, own);
                    let first = self.state != VipState::Active;
                    assert!(
                        self.leased || first || removed_before,
                        "no lease, no advert"
                    );
                }
                Action::InstallLease { lifetime } => self.lease(router, lifetime),
                Action::RenewLease { lifetime } => {
                    assert!(self.leased, "renewal of nothing");
                    self.lease(router, lifetime);
                }
                Action::RemoveLease => {
                    assert_eq!(self.state, VipState::Active);
                    self.leased = false;
                    just_removed = true;
                }
                Action::Announce => assert!(self.leased && self.state == VipState::Active),
                Action::Changed { from, to, reason } => {
                    assert_eq!(from, self.state);
                    assert!(from != to || to == VipState::Fault);
                    assert!(!reason.is_empty());
                    self.state = to;
                    self.resigning = 0;
                }
            }
        }
        assert_eq!(self.state, router.state());
        assert_eq!(
            self.leased,
            self.state == VipState::Active,
            "leased iff active"
        );
    }

    fn lease(&mut self, router: &mut VirtualRouter, lifetime: Duration) {
        assert!((1..=5).contains(&lifetime.as_secs()) && lifetime.subsec_nanos() == 0);
        let answer = if self.refuse {
            Err("no".to_owned())
        } else {
            Ok(())
        };
        // A refused lease may or may not be there; taking it away is what counts.
        self.leased = true;
        router.handle_lease_result(answer, at(self.now));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn fsm_33_leased_iff_active_and_every_action_is_legal(
        params in some_params(),
        steps in proptest::collection::vec((happening(), 0..2500_u64, 0..20_u8), 1..500),
    ) {
        let mut router = VirtualRouter::new(params);
        let mut model = Model {
            state: VipState::Init,
            leased: false,
            refuse: false,
            resigning: 0,
            now: Duration::ZERO,
        };
        for (happening, wait, refuse) in steps {
            // Half of the waits end exactly when something is due.
            let due = router.poll_timeout().map(|(due, _)| due.since(at(Duration::ZERO)));
            model.now = match due {
                Some(due) if wait % 2 == 0 => due.max(model.now),
                Some(_) | None => model.now + ms(wait),
            };
            model.refuse = refuse == 0;
            model.happen(&mut router, happening);
            model.perform(&mut router);
            router.handle_timeout(at(model.now));
            model.perform(&mut router);
            if let Some((due, _)) = router.poll_timeout() {
                prop_assert!(due > at(model.now), "something is still due");
            }
        }
    }
}
