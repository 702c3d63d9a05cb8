//! Why an order was not followed, in words. Pure.

use common::board::{HandoverEnd, HandoverResult, Refusal, VipState};
use common::time::Moment;

use crate::admin::peer::{self, Channel};
use crate::admin::view::View;

/// Why it was not done. `asked` are the VIPs that were named.
pub(super) fn explain(result: &HandoverResult, asked: u16, (view, now): (&View, Moment)) -> String {
    let peer = peer(view);
    let about = result
        .vip
        .and_then(|vip| view.config.vips.get(vip))
        .map_or_else(String::new, |vip| format!("VIP {}: ", vip.name));
    match result.end {
        HandoverEnd::Refused => about + &refused(result, asked, (view, now)),
        HandoverEnd::Unanswered => format!(
            "{peer} has not answered in time: nothing has moved; does its fmc-lb hang, or is the pair channel lossy?"
        ),
        HandoverEnd::NotTaken => format!(
            "{peer} wanted to take {}, and was not heard to hold all of them in time; `fmc-lb status` says who holds what",
            list(result.vips, view)
        ),
        HandoverEnd::None | HandoverEnd::Done => String::new(),
    }
}

fn refused(result: &HandoverResult, asked: u16, (view, now): (&View, Moment)) -> String {
    let peer = peer(view);
    let reason = result.refusal.word();
    match result.refusal {
        Refusal::NotActive => format!(
            "{reason}; {}",
            active_elsewhere(result.vip, asked, (view, now))
        ),
        Refusal::Owner => format!("{reason}: give it another priority"),
        Refusal::NoPeer | Refusal::Busy => reason.to_owned(),
        Refusal::Silent => format!("{peer} cannot be asked: {reason}"),
        Refusal::TooOld => {
            let version = peer::version(view.boards.vrrp.peer.version.get());
            let version = version.unwrap_or_default();
            format!(
                "{peer} cannot be asked: {reason} (fmc-lb {version}); stop this node to move its VIPs"
            )
        }
        Refusal::Unprobed
        | Refusal::TrackersUnknown
        | Refusal::WorseHealth
        | Refusal::MoreTrackers
        | Refusal::LowPriority => {
            format!("{peer} does not take it: {reason} (--force does it all the same)")
        }
        Refusal::Unknown
        | Refusal::UnknownVip
        | Refusal::Maintenance
        | Refusal::NotStarted
        | Refusal::ProxyHung
        | Refusal::ProxyCrashLoop
        | Refusal::ProxyNotReady
        | Refusal::NoUsableServer
        | Refusal::Interface
        | Refusal::LeaseRefused
        | Refusal::LeaseDisputed
        | Refusal::SupervisorGone
        | Refusal::Tracker => {
            format!("{peer} cannot take it: {reason}; `fmc-lb status` there says more")
        }
    }
}

/// Where to ask instead.
fn active_elsewhere(vip: Option<usize>, asked: u16, (view, now): (&View, Moment)) -> String {
    let states = &view.boards.vrrp.peer.vip_state;
    let peer = view.config.peer_of(view.node);
    let heard = peer.is_some_and(|peer| Channel::of(view, peer, now) == Channel::On);
    let is_there =
        |place: usize| heard && VipState::from_board(states[place].get()) == VipState::Active;
    let live = view.config.live_vips().map(|(place, _)| place.0);
    let mut concerned =
        live.filter(|place| vip.map_or(asked == 0 || asked >> place & 1 == 1, |vip| vip == *place));
    if concerned.any(is_there) {
        format!("{} is: ask there", self::peer(view))
    } else {
        "no node is heard to be".to_owned()
    }
}

/// What a move has cost, where it was not free.
pub(super) fn cut(view: &View) -> &'static str {
    match view.boards.vrrp.peer_forwards.get() {
        0 => {
            "; it forwards nothing, so the connections of this node are cut (`fmc-lb status` says why)"
        }
        _ => "",
    }
}

pub(super) fn peer(view: &View) -> String {
    let peer = view.config.peer_of(view.node);
    peer.map_or_else(
        || "the other node".to_owned(),
        |peer| view.config.nodes[peer.0].name.clone(),
    )
}

/// "api, web"
pub(super) fn list(vips: u16, view: &View) -> String {
    let named = view.config.live_vips();
    let named = named.filter(|(place, _)| vips >> place.0 & 1 == 1);
    let named: Vec<_> = named.map(|(_, vip)| vip.name.as_str()).collect();
    named.join(", ")
}
