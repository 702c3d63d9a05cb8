use common::board::ProbeStatus;
use proptest::prelude::*;

use super::*;

fn good() -> Verdict {
    Verdict::Good(Finding::new(ProbeStatus::L7Ok, "fine"))
}

fn failed() -> Verdict {
    Verdict::Failed(Finding::new(ProbeStatus::L4Con, "refused"))
}

fn not_ready() -> Verdict {
    Verdict::NotReady(Finding::new(ProbeStatus::L7Okc, "[-]etcd"))
}

fn not_asked() -> Verdict {
    Verdict::NotAsked(Finding::new(ProbeStatus::SockErr, "no descriptor"))
}

/// States after each probe, with rise 2 and fall 3.
fn walk(start: ServerState, probes: &[fn() -> Verdict]) -> Vec<ServerState> {
    let mut health = Health::new(start, 2, 3);
    probes
        .iter()
        .map(|probe| {
            health.handle_probe(probe());
            health.state()
        })
        .collect()
}

use ServerState::{Down, Draining, Maintenance, Unknown, Up};

#[test]
fn from_unknown_one_probe_decides() {
    assert_eq!(walk(Unknown, &[good]), [Up]);
    assert_eq!(walk(Unknown, &[failed]), [Down]);
    assert_eq!(walk(Unknown, &[not_ready]), [Draining]);
}

#[test]
fn an_up_server_falls_after_fall_failures_in_a_row() {
    assert_eq!(walk(Up, &[failed, failed, failed]), [Up, Up, Down]);
    assert_eq!(
        walk(Up, &[failed, failed, good, failed, failed, failed]),
        [Up, Up, Up, Up, Up, Down]
    );
}

#[test]
fn a_down_server_rises_after_rise_good_ones_in_a_row() {
    assert_eq!(walk(Down, &[good, good]), [Down, Up]);
    assert_eq!(
        walk(Down, &[good, failed, good, good]),
        [Down, Down, Down, Up]
    );
}

#[test]
fn not_ready_drains_at_once_and_comes_back_after_rise() {
    assert_eq!(
        walk(Up, &[not_ready, good, not_ready, good, good]),
        [Draining, Draining, Draining, Draining, Up]
    );
    assert_eq!(walk(Down, &[not_ready]), [Draining]);
}

#[test]
fn a_draining_server_that_falls_silent_goes_down_after_fall() {
    assert_eq!(
        walk(Draining, &[failed, not_ready, failed, failed, failed]),
        [Draining, Draining, Draining, Draining, Down]
    );
}

#[test]
fn maintenance_ends_by_no_probe() {
    assert_eq!(
        walk(Maintenance, &[good, failed, not_ready]),
        [Maintenance, Maintenance, Maintenance]
    );
}

#[test]
fn a_server_that_could_not_be_asked_stays_what_it_was() {
    let mut health = Health::new(Up, 2, 1);
    let before = health.clone();
    assert_eq!(health.handle_probe(not_asked()), None);
    assert_eq!(health, before);
}

#[test]
fn the_last_probe_makes_a_server_doubtful_or_hoped_for() {
    let mut health = Health::new(Up, 2, 2);
    let mut probe = |verdict| {
        health.handle_probe(verdict);
        (health.state(), health.is_sure(), health.is_hoped_for())
    };
    assert_eq!(probe(good()), (Up, true, true));
    assert_eq!(probe(failed()), (Up, false, true));
    assert_eq!(probe(not_asked()), (Up, false, true));
    assert_eq!(probe(failed()), (Down, false, false));
    assert_eq!(probe(good()), (Down, false, true));
    assert_eq!(probe(good()), (Up, true, true));
    assert_eq!(probe(not_ready()), (Draining, false, false));
}

#[test]
fn every_change_tells_the_state_before_and_its_reason() {
    let mut health = Health::new(Up, 2, 2);
    assert_eq!(health.handle_probe(failed()), None);
    assert_eq!(health.reason(), "1 of 2 failed: L4CON: refused");
    assert_eq!(health.handle_probe(failed()), Some(Up));
    assert_eq!((health.state(), health.reason()), (Down, "L4CON: refused"));
    assert_eq!(health.handle_probe(good()), None);
    assert_eq!(health.reason(), "1 of 2 good: L7OK: fine");
    assert_eq!(health.handle_probe(not_ready()), Some(Down));
    assert_eq!(health.reason(), "L7OKC: [-]etcd");
}

/// States and paces after each probe, with rise 2 and fall 3; the first are those before.
fn start(initial: InitialState, probes: &[fn() -> Verdict]) -> Vec<(ServerState, Pace)> {
    let mut health = Health::unproven(initial, 2, 3);
    let before = (health.state(), health.pace());
    let after = probes.iter().map(|probe| {
        health.handle_probe(probe());
        (health.state(), health.pace())
    });
    std::iter::once(before).chain(after).collect()
}

#[test]
fn a_server_that_was_not_probed_is_what_the_file_says() {
    use InitialState as Initial;
    use Pace::{Fast, Steady};
    let decided_by_one = [(Unknown, Fast), (Down, Pace::Down)];
    assert_eq!(start(Initial::Up, &[failed]), decided_by_one);
    assert_eq!(start(Initial::Up, &[good]), [(Unknown, Fast), (Up, Steady)]);
    assert_eq!(
        start(Initial::FullyUp, &[failed, failed, failed]),
        [(Up, Fast), (Up, Fast), (Up, Fast), (Down, Pace::Down)]
    );
    assert_eq!(start(Initial::Down, &[good]), [(Down, Fast), (Up, Steady)]);
    assert_eq!(
        start(Initial::Down, &[failed, good, good]),
        [(Down, Fast), (Down, Pace::Down), (Down, Fast), (Up, Steady)]
    );
    assert_eq!(
        start(Initial::FullyDown, &[good, good]),
        [(Down, Fast), (Down, Fast), (Up, Steady)]
    );
    assert_eq!(
        start(Initial::FullyDown, &[not_asked, not_ready]),
        [(Down, Fast), (Down, Fast), (Draining, Steady)]
    );
}

/// State and pace after each so many errors, of a server that was up, with rise 2 and fall 3.
fn errors(action: OnError, count: usize) -> Vec<(ServerState, Pace)> {
    let mut health = Health::new(Up, 2, 3);
    health.handle_probe(good());
    let after = (0..count).map(|_| {
        health.handle_errors(action, "10 in a row".to_owned());
        (health.state(), health.pace())
    });
    after.collect()
}

#[test]
fn errors_of_connections_do_what_the_file_says_and_hurry_the_next_probe() {
    let (up, down) = ((Up, Pace::Fast), (Down, Pace::Fast));
    assert_eq!(errors(OnError::FastProbe, 4), [up; 4]);
    assert_eq!(errors(OnError::FailProbe, 3), [up, up, down]);
    assert_eq!(errors(OnError::SuddenDeath, 2), [up, down]);
    assert_eq!(errors(OnError::MarkDown, 1), [down]);
}

#[test]
fn one_error_is_sudden_death_where_one_failed_probe_was_missing() {
    let sudden = |before: &[fn() -> Verdict], fall| {
        let mut health = Health::new(Up, 2, fall);
        for probe in before {
            health.handle_probe(probe());
        }
        health.handle_errors(OnError::SuddenDeath, String::new());
        health.state()
    };
    assert_eq!(sudden(&[], 3), Up);
    assert_eq!(sudden(&[failed], 3), Up);
    assert_eq!(sudden(&[failed, failed], 3), Down);
    assert_eq!(sudden(&[], 1), Down);
    assert_eq!(sudden(&[], 2), Up);
    assert_eq!(sudden(&[failed], 2), Down);
}

#[test]
fn errors_of_connections_break_no_promise_and_only_probes_end_them() {
    let mut health = Health::new(Up, 2, 2);
    health.handle_probe(good());
    let before = health.handle_errors(OnError::MarkDown, "10 in a row".to_owned());
    assert_eq!((before, health.reason()), (Some(Up), "10 in a row"));
    assert!(health.is_hoped_for() && !health.is_sure());
    assert_eq!(
        health.handle_errors(OnError::FailProbe, String::new()),
        None
    );
    health.handle_probe(good());
    assert_eq!((health.state(), health.pace()), (Down, Pace::Fast));
    health.handle_probe(good());
    assert_eq!((health.state(), health.pace()), (Up, Pace::Steady));
    // A probe that fails too is what both nodes see.
    health.handle_errors(OnError::FailProbe, String::new());
    assert!(health.is_sure());
    health.handle_probe(failed());
    assert_eq!(health.state(), Down);
    assert!(!health.is_hoped_for());
}

#[test]
fn a_change_that_has_begun_is_soon_known() {
    use Pace::{Fast, Steady};
    let mut health = Health::new(Up, 2, 2);
    let mut pace = |verdict| {
        health.handle_probe(verdict);
        health.pace()
    };
    assert_eq!(pace(good()), Steady);
    assert_eq!(pace(failed()), Fast);
    assert_eq!(pace(good()), Steady);
    assert_eq!(pace(failed()), Fast);
    assert_eq!(pace(failed()), Pace::Down);
    assert_eq!(pace(failed()), Pace::Down, "it stays down");
    assert_eq!(pace(not_asked()), Pace::Down);
    assert_eq!(pace(good()), Fast);
    assert_eq!(pace(good()), Steady);
    assert_eq!(pace(not_ready()), Steady, "it has said so itself");
    assert_eq!(pace(good()), Fast);
    assert_eq!(pace(not_ready()), Steady);
    assert_eq!(pace(failed()), Fast);
}

#[test]
fn new_sessions_go_to_unknown_and_up_only() {
    let takes: Vec<_> = ServerState::ALL.iter().map(|s| usable(*s)).collect();
    assert_eq!(takes, [true, true, false, false, false]);
}

proptest! {
    /// Against a model: a server is up exactly if the last decisive run of probes says so.
    #[test]
    fn up_needs_rise_in_a_row_and_down_needs_fall_in_a_row(
        probes in prop::collection::vec(prop::bool::ANY, 1..200), rise in 1_u32..5, fall in 1_u32..5,
    ) {
        let mut health = Health::new(Up, rise, fall);
        let (mut up, mut run, mut last) = (true, 0, true);
        for probe in probes {
            run = if probe == last { run + 1 } else { 1 };
            last = probe;
            if probe && run >= rise { up = true; }
            if !probe && run >= fall { up = false; }
            health.handle_probe(if probe { good() } else { failed() });
            prop_assert_eq!(health.state() == Up, up);
        }
    }
}
