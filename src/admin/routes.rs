//! Routes and rules that follow the VIPs, in the status. Pure.

use common::board::RouteState;
use common::config::VipIndex;
use common::status::{RouteStatus, VipStatus};

use super::view::View;

/// Those of a VIP, in the order of the file. A vrrp that is dead has installed nothing that counts: the
/// supervisor takes it away.
pub(super) fn status(view: &View, vip: VipIndex, vrrp_lives: bool) -> Vec<RouteStatus> {
    let followers = view.config.followers(vip);
    followers
        .map(|(place, follower)| {
            let slot = &view.boards.vrrp.routes[place];
            let state = match vrrp_lives {
                true => RouteState::from_board(slot.state.get()),
                false => RouteState::Absent,
            };
            RouteStatus {
                kind: follower.kind().to_owned(),
                text: follower.to_string(),
                state: state.word().to_owned(),
                reason: match state {
                    RouteState::Refused => slot.reason.get(),
                    RouteState::Absent | RouteState::Installed => String::new(),
                },
                restored: slot.restored.get(),
            }
        })
        .collect()
}

/// A warning for each that the kernel refuses.
pub(super) fn warnings(vip: &VipStatus) -> impl Iterator<Item = String> {
    let refused = vip
        .routes
        .iter()
        .filter(|one| one.state == RouteState::Refused.word());
    refused.map(|one| {
        format!(
            "VIP {}: the kernel refuses its {} {}: {}",
            vip.name, one.kind, one.text, one.reason
        )
    })
}
