//! The trackers, and what those that are down do to a VIP.

use common::status::{TrackerStatus, VipStatus};

use super::grid::{Column, Grid};
use super::{section, since};

pub(super) fn lines(trackers: &[TrackerStatus]) -> Vec<String> {
    if trackers.is_empty() {
        return Vec::new();
    }
    let mut grid = Grid::new(&[
        Column::name("TRACKER"),
        Column::word("KIND"),
        Column::word("STATE"),
        Column::number("FOR"),
        Column::number("WEIGHT"),
        Column::number("LOOKED"),
        Column::text("FOUND"),
    ]);
    for tracker in trackers {
        grid.row([
            tracker.name.clone(),
            tracker.kind.clone(),
            tracker.state.clone(),
            since(tracker.since_ms_ago),
            tracker
                .weight
                .map_or_else(|| "fault".to_owned(), |weight| weight.to_string()),
            since(tracker.looked_ms_ago),
            tracker.reason.clone(),
        ]);
    }
    section(grid.lines())
}

/// "priority 250 is 230: uplink -20"; empty = all is as configured.
pub(super) fn note(vip: &VipStatus) -> String {
    let down = vip.trackers_down.join(", ");
    match (vip.configured_priority, vip.trackers_down.is_empty()) {
        (_, true) => String::new(),
        (Some(configured), false) => {
            format!("priority {configured} is {}: {down}", vip.priority)
        }
        (None, false) if vip.state == "fault" => String::new(),
        (None, false) => format!("down: {down}; the other node is no better"),
    }
}
