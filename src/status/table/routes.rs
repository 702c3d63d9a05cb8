//! What follows the VIPs, where it is not simply where they are.

use common::board::RouteState;
use common::status::VipStatus;

/// "2 routes and rules follow it, 1 refused"; empty = none follow it, or they are elsewhere with it.
pub(super) fn note(vip: &VipStatus) -> String {
    let of = |state: RouteState| {
        let routes = vip.routes.iter();
        routes.filter(|one| one.state == state.word()).count()
    };
    let restored: u64 = vip.routes.iter().map(|one| one.restored).sum();
    let (installed, refused) = (of(RouteState::Installed), of(RouteState::Refused));
    if installed + refused == 0 {
        return String::new();
    }
    let mut note = format!("routes and rules: {installed} installed");
    if refused > 0 {
        note.push_str(&format!(", {refused} refused"));
    }
    if restored > 0 {
        note.push_str(&format!(", put back {restored} times"));
    }
    note
}
