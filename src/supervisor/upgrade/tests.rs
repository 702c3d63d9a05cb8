use super::*;

fn at(milliseconds: u64) -> Moment {
    Moment::from_nanos(1_000_000_000_000) + Duration::from_millis(milliseconds)
}

/// What is to be done, without what is only said.
fn actions(upgrade: &mut Upgrade) -> Vec<Action> {
    std::iter::from_fn(|| upgrade.poll_action())
        .filter(|action| !matches!(action, Action::Say(_)))
        .collect()
}

fn stages(upgrade: &mut Upgrade) -> Vec<UpgradeStage> {
    let said = std::iter::from_fn(|| upgrade.poll_action());
    said.filter_map(|action| {
        if let Action::Say(stage) = action {
            Some(stage)
        } else {
            None
        }
    })
    .collect()
}

fn begun() -> Upgrade {
    let mut upgrade = Upgrade::new(at(0));
    assert_eq!(actions(&mut upgrade), [Action::Prove]);
    upgrade
}

/// All three are of the new version since 1 s.
fn renewed() -> Upgrade {
    let mut upgrade = begun();
    upgrade.handle_proof(Ok(()), at(500));
    for child in ORDER {
        upgrade.handle_ready(child, at(1_000));
        upgrade.handle_taken(child, at(1_000));
    }
    actions(&mut upgrade);
    upgrade
}

fn failed(why: &str) -> Action {
    Action::Fail(why.to_owned())
}

#[test]
fn the_supervisor_is_not_replaced_before_all_beat_and_while_clients_of_a_dead_machine_are_told() {
    let mut upgrade = renewed();
    upgrade.handle_not_yet(at(2_900));
    upgrade.handle_timeout(at(4_899));
    assert_eq!(actions(&mut upgrade), []);
    upgrade.handle_timeout(at(4_900));
    assert_eq!(actions(&mut upgrade), [Action::Execute]);
}

#[test]
fn one_after_the_other_and_the_supervisor_last() {
    let mut upgrade = begun();
    upgrade.handle_proof(Ok(()), at(500));
    assert_eq!(actions(&mut upgrade), [Action::Prepare(Child::Proxy)]);
    upgrade.handle_taken(Child::Proxy, at(501));
    assert_eq!(actions(&mut upgrade), [], "it was not told to");
    upgrade.handle_ready(Child::Proxy, at(600));
    assert_eq!(actions(&mut upgrade), [Action::TakeOver(Child::Proxy)]);
    upgrade.handle_taken(Child::Proxy, at(600));
    assert_eq!(actions(&mut upgrade), [Action::TakeOver(Child::Admin)]);
    upgrade.handle_taken(Child::Admin, at(650));
    assert_eq!(actions(&mut upgrade), [Action::Prepare(Child::Vrrp)]);
    upgrade.handle_ready(Child::Vrrp, at(700));
    assert_eq!(actions(&mut upgrade), [Action::TakeOver(Child::Vrrp)]);
    upgrade.handle_taken(Child::Vrrp, at(702));
    upgrade.handle_timeout(at(2_701));
    assert_eq!(actions(&mut upgrade), []);
    upgrade.handle_timeout(at(2_702));
    assert_eq!(actions(&mut upgrade), [Action::Execute]);
    upgrade.handle_timeout(at(60_000));
    assert_eq!(actions(&mut upgrade), []);
}

#[test]
fn it_says_how_far_it_has_come() {
    let mut upgrade = Upgrade::new(at(0));
    assert_eq!(stages(&mut upgrade), [UpgradeStage::Proving]);
    upgrade.handle_proof(Ok(()), at(1));
    assert_eq!(stages(&mut upgrade), [UpgradeStage::Proxy]);
    let mut upgrade = renewed();
    upgrade.handle_death(Child::Vrrp, at(1_100));
    assert_eq!(stages(&mut upgrade), [UpgradeStage::RollingBack]);
}

#[test]
fn who_cannot_prove_itself_changes_nothing() {
    let mut upgrade = begun();
    upgrade.handle_proof(Err("no".to_owned()), at(500));
    assert_eq!(actions(&mut upgrade), [Action::Discard, failed("no")]);
    let mut upgrade = begun();
    upgrade.handle_timeout(at(19_999));
    assert_eq!(actions(&mut upgrade), []);
    upgrade.handle_timeout(at(20_000));
    let why = "the new version says nothing within 20 s";
    assert_eq!(actions(&mut upgrade), [Action::Discard, failed(why)]);
}

#[test]
fn a_new_proxy_that_does_not_serve_is_thrown_away() {
    let mut upgrade = begun();
    upgrade.handle_proof(Ok(()), at(500));
    actions(&mut upgrade);
    upgrade.handle_lost(Child::Vrrp, "whoever", at(550));
    assert_eq!(actions(&mut upgrade), [], "nobody waits for that");
    upgrade.handle_lost(Child::Proxy, "exit status 1", at(600));
    let why = "the new proxy: exit status 1";
    assert_eq!(actions(&mut upgrade), [Action::Discard, failed(why)]);
}

#[test]
fn what_was_replaced_is_replaced_again_by_the_old_version() {
    let mut upgrade = begun();
    upgrade.handle_proof(Ok(()), at(500));
    upgrade.handle_ready(Child::Proxy, at(600));
    upgrade.handle_taken(Child::Proxy, at(600));
    upgrade.handle_taken(Child::Admin, at(650));
    actions(&mut upgrade);
    assert!(upgrade.goes_forth());
    upgrade.handle_timeout(at(10_650));
    assert!(!upgrade.goes_forth());
    let back = [Action::Discard, Action::Prepare(Child::Proxy)];
    assert_eq!(actions(&mut upgrade), back);
    upgrade.handle_ready(Child::Proxy, at(10_700));
    upgrade.handle_taken(Child::Proxy, at(10_700));
    upgrade.handle_taken(Child::Admin, at(10_750));
    assert_eq!(
        actions(&mut upgrade),
        [
            Action::TakeOver(Child::Proxy),
            Action::TakeOver(Child::Admin),
            failed("the new vrrp: it is not ready within 10 s")
        ]
    );
}

#[test]
fn a_death_in_the_first_seconds_turns_back_and_that_child_is_the_old_one_already() {
    let mut upgrade = renewed();
    upgrade.handle_death(Child::Proxy, at(1_500));
    let back = [Action::Discard, Action::TakeOver(Child::Admin)];
    assert_eq!(actions(&mut upgrade), back);
    upgrade.handle_taken(Child::Admin, at(1_550));
    assert_eq!(actions(&mut upgrade), [Action::Prepare(Child::Vrrp)]);
    // What cannot be replaced gently is replaced.
    upgrade.handle_lost(Child::Vrrp, "whyever", at(1_600));
    assert_eq!(
        actions(&mut upgrade),
        [
            Action::Discard,
            Action::Kill(Child::Vrrp),
            failed("the new proxy died")
        ]
    );
    upgrade.handle_death(Child::Vrrp, at(1_601));
    assert_eq!(actions(&mut upgrade), []);
}

#[test]
fn whose_successor_waits_on_the_way_back_needs_none_when_it_is_dead() {
    let mut upgrade = renewed();
    upgrade.handle_death(Child::Admin, at(1_500));
    let back = [Action::Discard, Action::Prepare(Child::Proxy)];
    assert_eq!(actions(&mut upgrade), back);
    upgrade.handle_death(Child::Proxy, at(1_510));
    let back = [Action::Discard, Action::Prepare(Child::Vrrp)];
    assert_eq!(actions(&mut upgrade), back);
}

#[test]
fn admin_follows_a_proxy_that_was_replaced_whatever_it_was() {
    let mut upgrade = renewed();
    upgrade.handle_death(Child::Admin, at(1_500));
    upgrade.handle_ready(Child::Proxy, at(1_550));
    actions(&mut upgrade);
    upgrade.handle_taken(Child::Proxy, at(1_550));
    assert_eq!(actions(&mut upgrade), [Action::TakeOver(Child::Admin)]);
}

#[test]
fn a_version_that_cannot_be_executed_leaves_the_old_one() {
    let mut upgrade = renewed();
    upgrade.handle_timeout(at(3_000));
    assert_eq!(actions(&mut upgrade), [Action::Execute]);
    upgrade.handle_not_executed("no", at(3_001));
    let back = [Action::Discard, Action::Prepare(Child::Proxy)];
    assert_eq!(actions(&mut upgrade), back);
}

#[test]
fn a_stop_ends_it() {
    let mut upgrade = begun();
    upgrade.handle_stop();
    upgrade.handle_stop();
    let over = [Action::Discard, failed("the node was stopped")];
    assert_eq!(actions(&mut upgrade), over);
    upgrade.handle_proof(Ok(()), at(500));
    upgrade.handle_timeout(at(60_000));
    assert_eq!(actions(&mut upgrade), []);
}

#[test]
fn a_version_that_cannot_take_over_is_replaced_where_it_lives() {
    // vrrp has died meanwhile: it comes back as the old version anyway.
    let mut upgrade = Upgrade::back("why".to_owned(), [false, true, true], at(0));
    assert!(!upgrade.goes_forth());
    assert_eq!(actions(&mut upgrade), [Action::Prepare(Child::Proxy)]);
    upgrade.handle_ready(Child::Proxy, at(100));
    upgrade.handle_taken(Child::Proxy, at(100));
    let done = [
        Action::TakeOver(Child::Proxy),
        Action::TakeOver(Child::Admin),
    ];
    assert_eq!(actions(&mut upgrade), done);
    upgrade.handle_taken(Child::Admin, at(200));
    assert_eq!(actions(&mut upgrade), [failed("why")]);
    let mut upgrade = Upgrade::back("why".to_owned(), [false; 3], at(0));
    assert_eq!(actions(&mut upgrade), [failed("why")]);
}
