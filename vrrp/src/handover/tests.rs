//! Requests, answers, and who takes what.

use super::*;

const HEARTBEAT: Duration = Duration::from_millis(20);

fn at(millis: u64) -> Moment {
    Moment::from_nanos(1_000_000_000 + millis * 1_000_000)
}

fn request(id: u64) -> Request {
    Request {
        id,
        vips: 0b101,
        pins: true,
        forced: false,
    }
}

fn giving() -> Giving {
    Giving::new(request(7), HEARTBEAT, at(0))
}

fn answer(id: u64, verdict: Result<(), (Refusal, u8)>) -> Answer {
    Answer { id, verdict }
}

#[test]
fn it_is_done_when_the_other_node_holds_all_and_this_one_none_of_them() {
    let mut giving = giving();
    giving.handle_answer(answer(7, Ok(())));
    for (here, there) in [(0b101, 0), (0b101, 0b101), (0b001, 0b101), (0, 0b100)] {
        assert_eq!(
            giving.poll((here, there), at(5)),
            None,
            "{here:b} {there:b}"
        );
    }
    // What was not asked for may be anywhere.
    let ended = giving.poll((0b010, 0b101), at(9)).expect("it has ended");
    assert_eq!(ended.end, HandoverEnd::Done);
    assert_eq!(ended.took, Duration::from_millis(9));
}

#[test]
fn a_refusal_ends_it_and_an_answer_to_an_earlier_request_does_not() {
    let mut giving = giving();
    let refusal = (Refusal::Unprobed, 2);
    giving.handle_answer(answer(6, Err(refusal)));
    assert_eq!(giving.poll((0b101, 0), at(1)), None);
    giving.handle_answer(answer(7, Err(refusal)));
    let ended = giving.poll((0b101, 0), at(2)).expect("it has ended");
    assert_eq!(
        (ended.end, ended.refusal),
        (HandoverEnd::Refused, Some(refusal))
    );
}

#[test]
fn when_its_time_is_over_it_says_how_far_it_came() {
    let over = 1_000 + 3 * 20;
    for (answered, end) in [
        (false, HandoverEnd::Unanswered),
        (true, HandoverEnd::NotTaken),
    ] {
        let mut giving = giving();
        if answered {
            giving.handle_answer(answer(7, Ok(())));
        }
        assert_eq!(giving.poll((0b101, 0), at(over - 1)), None);
        let ended = giving.poll((0b101, 0), at(over)).expect("it has ended");
        assert_eq!((ended.end, ended.refusal), (end, None));
    }
}

#[test]
fn a_request_is_judged_once_and_its_answer_stays() {
    let mut taking = Taking::default();
    assert_eq!(taking.answer(), None);
    assert!(taking.handle_request(&request(7), || Ok(())));
    assert!(!taking.handle_request(&request(7), || panic!("it was judged")));
    assert_eq!(taking.answer(), Some(answer(7, Ok(()))));
    let refusal = (Refusal::Tracker, 0);
    assert!(!taking.handle_request(&request(8), || Err(refusal)));
    assert!(!taking.handle_request(&request(8), || panic!("it was judged")));
    assert_eq!(taking.answer(), Some(answer(8, Err(refusal))));
}

/// As well as the one that asks.
fn candidate() -> Candidate<'static> {
    Candidate {
        takes_part: true,
        fitness: Ok(()),
        maintenance: false,
        health: Some(66),
        asker_health: Some(66),
        knows_trackers: true,
        faults: 1,
        asker_faults: 1,
        priority: Priority::PINNED,
        preempted_by: Priority::new(253),
    }
}

#[test]
fn a_node_that_is_as_well_as_the_other_one_takes_it() {
    for candidate in [
        candidate(),
        Candidate {
            asker_health: None,
            preempted_by: None,
            ..candidate()
        },
        Candidate {
            health: Some(100),
            faults: 0,
            ..candidate()
        },
    ] {
        assert_eq!(candidate.judge(false), Ok(()), "{candidate:?}");
    }
}

#[test]
fn what_might_go_badly_is_refused_unless_it_is_forced() {
    let ok = candidate();
    for (candidate, refusal) in [
        (Candidate { health: None, ..ok }, Refusal::Unprobed),
        (
            Candidate {
                health: Some(65),
                ..ok
            },
            Refusal::WorseHealth,
        ),
        (
            Candidate {
                knows_trackers: false,
                ..ok
            },
            Refusal::TrackersUnknown,
        ),
        (Candidate { faults: 2, ..ok }, Refusal::MoreTrackers),
        (
            Candidate {
                preempted_by: Some(Priority::PINNED),
                ..ok
            },
            Refusal::LowPriority,
        ),
    ] {
        assert_eq!(candidate.judge(false), Err(refusal));
        assert!(refusal.yields_to_force(), "{refusal:?}");
        assert_eq!(candidate.judge(true), Ok(()), "{refusal:?}");
    }
}

#[test]
fn what_cannot_be_is_refused_even_if_it_is_forced() {
    let ok = candidate();
    let hung = Cause::Together {
        vip: "web".to_owned(),
        cause: Box::new(Cause::ProxyHung),
    };
    for (candidate, refusal) in [
        (
            Candidate {
                maintenance: true,
                ..ok
            },
            Refusal::Maintenance,
        ),
        (
            Candidate {
                takes_part: false,
                ..ok
            },
            Refusal::NotStarted,
        ),
        (
            Candidate {
                fitness: Err(&hung),
                ..ok
            },
            Refusal::ProxyHung,
        ),
        (
            Candidate {
                fitness: Err(&Cause::NoUsableServer),
                takes_part: false,
                ..ok
            },
            Refusal::NoUsableServer,
        ),
    ] {
        assert!(!refusal.yields_to_force(), "{refusal:?}");
        for forced in [false, true] {
            assert_eq!(candidate.judge(forced), Err(refusal));
        }
    }
}
