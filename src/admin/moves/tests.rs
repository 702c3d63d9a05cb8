//! Orders, with somebody who plays vrrp.

use std::sync::Arc;
use std::thread::JoinHandle;

use common::board::VipState;
use common::config::Config;

use super::*;
use crate::admin::answers::Answers;
use crate::admin::fixture;

/// A node whose vrrp is alive, as `fixture` has it, on the real clock.
fn view() -> View {
    let view = fixture::healthy();
    fixture::beat(&view.boards, clock::now() + Duration::from_secs(60));
    let peer = &view.boards.vrrp.peer;
    peer.heartbeat.set(clock::now() + Duration::from_secs(60));
    view.boards.vrrp.peer_forwards.set(1);
    view
}

fn follow(order: Order, view: &View) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let reply = runtime.block_on(Orders::default().follow(order, view))?;
    Ok(reply.done.expect("it was done"))
}

/// Answers the next wish; its thread returns the wish.
fn vrrp(view: &View, answer: HandoverResult) -> JoinHandle<HandoverWish> {
    let boards = view.boards;
    let known = boards.admin.handover.get();
    std::thread::spawn(move || {
        loop {
            if let Some(wish) = boards
                .admin
                .handover
                .get()
                .filter(|one| Some(*one) != known)
            {
                boards.vrrp.handover.set(&HandoverResult {
                    id: wish.id,
                    ..answer
                });
                return wish;
            }
            std::thread::yield_now();
        }
    })
}

const DONE: HandoverResult = HandoverResult {
    id: 0,
    end: HandoverEnd::Done,
    refusal: Refusal::Unknown,
    vip: None,
    vips: 0b11,
    took: 12_000_000,
};

fn refusal(refusal: Refusal, vip: Option<usize>) -> HandoverResult {
    HandoverResult {
        end: HandoverEnd::Refused,
        refusal,
        vip,
        ..DONE
    }
}

fn all() -> Order {
    Order::Handover {
        vips: Vec::new(),
        force: false,
    }
}

#[test]
fn a_handover_says_who_holds_what() {
    let view = view();
    let playing = vrrp(&view, DONE);
    let order = Order::Handover {
        vips: vec!["web".to_owned()],
        force: true,
    };
    let said = follow(order, &view).expect("it was done");
    assert!(
        said.starts_with("lb2 holds api, web after 12.0 ms"),
        "{said}"
    );
    assert!(said.ends_with("or hands it back"), "{said}");
    let wish = playing.join().expect("it ends");
    assert_eq!(
        (wish.vips, wish.forced, wish.maintenance),
        (0b10, true, false)
    );
}

#[test]
fn a_move_to_a_node_that_forwards_nothing_says_what_it_cost() {
    let view = view();
    view.boards.vrrp.peer_forwards.set(0);
    let on = Order::MaintenanceOn {
        for_ms: None,
        force: false,
    };
    for order in [all(), on] {
        let playing = vrrp(&view, DONE);
        let said = follow(order, &view).expect("it was done");
        assert!(said.contains("connections of this node are cut"), "{said}");
        playing.join().expect("it ends");
    }
}

#[test]
fn every_way_to_fail_says_what_helps() {
    let view = view();
    let peer = &view.boards.vrrp.peer;
    peer.version.set(2 << 16);
    peer.vip_state[0].set(VipState::Active.on_board());
    for (answer, words) in [
        (refusal(Refusal::NotActive, Some(0)), "lb2 is: ask there"),
        (
            refusal(Refusal::NotActive, Some(1)),
            "VIP web: this node is not active for it; no node",
        ),
        (refusal(Refusal::NotActive, None), "lb2 is: ask there"),
        (refusal(Refusal::Owner, Some(1)), "give it another priority"),
        (
            refusal(Refusal::Silent, None),
            "lb2 cannot be asked: its heartbeats do not come",
        ),
        (
            refusal(Refusal::TooOld, None),
            "knows no handover (fmc-lb 0.2.0); stop this node",
        ),
        (
            refusal(Refusal::Unprobed, Some(0)),
            "VIP api: lb2 does not take it: it has not probed all its servers yet (--force",
        ),
        (
            refusal(Refusal::Interface, Some(0)),
            "`fmc-lb status` there says more",
        ),
        (
            refusal(Refusal::Unknown, Some(0)),
            "this version does not know",
        ),
        (
            HandoverResult {
                end: HandoverEnd::Unanswered,
                ..DONE
            },
            "nothing has moved",
        ),
        (
            HandoverResult {
                end: HandoverEnd::NotTaken,
                ..DONE
            },
            "was not heard to hold all",
        ),
    ] {
        let playing = vrrp(&view, answer);
        let complaint = follow(all(), &view).expect_err("it was refused");
        assert!(complaint.contains(words), "{complaint}, wanted {words}");
        playing.join().expect("it ends");
    }
    let order = Order::Handover {
        vips: vec!["wab".to_owned()],
        force: false,
    };
    let complaint = follow(order, &view).expect_err("no such VIP");
    assert_eq!(
        complaint,
        "there is no VIP wab; the configuration has api, web"
    );
}

#[test]
fn a_vrrp_that_is_dead_or_does_not_answer_is_told_apart() {
    let mut view = view();
    let mut config: Config = fixture::config();
    config.pair.heartbeat = None;
    view.config = Arc::new(config);
    let complaint = follow(all(), &view).expect_err("nobody answers");
    assert!(complaint.contains("vrrp has not answered"), "{complaint}");
    view.boards.vrrp.header.heartbeat.set(Moment::from_nanos(1));
    let complaint = follow(all(), &view).expect_err("nobody is there");
    assert!(complaint.contains("vrrp does not run"), "{complaint}");
}

#[test]
fn maintenance_is_on_when_the_other_node_has_the_vips_or_if_it_is_forced() {
    let view = view();
    let on = |for_ms, force| Order::MaintenanceOn { for_ms, force };
    let is_on = || view.boards.admin.maintenance.get(clock::now());

    let playing = vrrp(&view, refusal(Refusal::Silent, None));
    follow(on(None, false), &view).expect_err("it was refused");
    playing.join().expect("it ends");
    assert_eq!(is_on(), None);

    let playing = vrrp(&view, DONE);
    let said = follow(on(Some(3_600_000), false), &view).expect("it was done");
    assert_eq!(said, "lb1 is on maintenance for 1h 00m; lb2 holds api, web");
    assert!(playing.join().expect("it ends").maintenance);
    assert!(is_on().is_some_and(|said| said.until.is_some()));

    // Said again, it is only the time that changes.
    let said = follow(on(None, false), &view).expect("it was done");
    assert_eq!(said, "lb1 is on maintenance until `fmc-lb maintenance off`");
    assert!(is_on().is_some_and(|said| said.until.is_none()));
    follow(Order::MaintenanceOff, &view).expect("it was done");
    follow(Order::MaintenanceOff, &view).expect_err("it is off");

    for (why, is_forced) in [(Refusal::Silent, true), (Refusal::Owner, false)] {
        let playing = vrrp(&view, refusal(why, None));
        let said = follow(on(None, true), &view);
        playing.join().expect("it ends");
        assert_eq!(
            (said.is_ok(), is_on().is_some()),
            (is_forced, is_forced),
            "{said:?}"
        );
        view.boards.admin.maintenance.clear();
    }
}

#[test]
fn maintenance_ends_with_its_time() {
    let view = view();
    let (until, second) = (Moment::from_nanos(5_000_000_000), Duration::from_secs(1));
    let maintenance = &view.boards.admin.maintenance;
    maintenance.set(1, Some(until));
    end_if_over(&view, until - second);
    assert!(maintenance.end().is_some());
    end_if_over(&view, until + second);
    assert_eq!(maintenance.end(), None);
}

#[test]
fn status_and_metrics_show_who_is_on_maintenance_and_what_was_handed_over() {
    let view = fixture::healthy();
    let now = fixture::CLOCKS.now;
    let answers = || {
        let answers = Answers::new(view.clone(), fixture::CLOCKS);
        (
            answers.status(fixture::CLOCKS),
            answers.metrics(fixture::CLOCKS),
        )
    };
    let (status, page) = answers();
    assert!(!status.maintenance && status.vips.iter().all(|vip| !vip.pinned));
    assert_eq!(status.peer.expect("a peer").maintenance, Some(false));
    for line in [
        "fmc_lb_vrrp_maintenance 0",
        "fmc_lb_pair_peer_maintenance 0",
        "fmc_lb_vrrp_vip_pinned{vip=\"web\"} 0",
        "fmc_lb_vrrp_handovers_total{result=\"not_taken\"} 0",
        "fmc_lb_vrrp_handover_requests_total{answer=\"taken\"} 0",
        "fmc_lb_vrrp_handover_requests_total{answer=\"refused\"} 0",
    ] {
        assert!(page.lines().any(|one| one == line), "{line}");
    }
    let board = view.boards.vrrp;
    let minute = Duration::from_secs(60);
    view.boards.admin.maintenance.set(1, Some(now + minute));
    board.peer_maintenance.set(1);
    board.pinned[1].set(1);
    board.handovers[HandoverEnd::NotTaken as usize].add(3);
    board.handovers_taken.add(4);
    board.handovers_declined.add(5);
    let (status, page) = answers();
    assert_eq!(status.maintenance_ms_left, Some(60_000));
    assert!(status.maintenance && status.vips[1].pinned && !status.vips[0].pinned);
    assert_eq!(status.peer.expect("a peer").maintenance, Some(true));
    let own = "lb1 is on maintenance, 1m 00s left: it takes VIPs only for want of another node";
    assert_eq!(status.warnings, [own, "lb2 is on maintenance"]);
    for line in [
        "fmc_lb_vrrp_maintenance 1",
        "fmc_lb_pair_peer_maintenance 1",
        "fmc_lb_vrrp_vip_pinned{vip=\"web\"} 1",
        "fmc_lb_vrrp_vip_pinned{vip=\"api\"} 0",
        "fmc_lb_vrrp_handovers_total{result=\"not_taken\"} 3",
        "fmc_lb_vrrp_handovers_total{result=\"done\"} 0",
        "fmc_lb_vrrp_handover_requests_total{answer=\"taken\"} 4",
        "fmc_lb_vrrp_handover_requests_total{answer=\"refused\"} 5",
    ] {
        assert!(page.lines().any(|one| one == line), "{line}");
    }
    // Nothing is known of a node that is not heard.
    board.peer.heartbeat.clear();
    assert_eq!(answers().0.peer.expect("a peer").maintenance, None);
}
