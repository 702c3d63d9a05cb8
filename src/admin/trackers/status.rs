//! Trackers in the status. Pure.

use common::board::{TrackerSlot, TrackerState, tracker_slot};
use common::config::{Tracker, TrackerEffect, VipIndex};
use common::status::TrackerStatus;
use common::time::Moment;

use crate::admin::view::{View, millis};

/// All of them, in the order of the file.
pub(crate) fn status(view: &View, now: Moment) -> Vec<TrackerStatus> {
    let trackers = view.config.live_trackers();
    trackers
        .map(|(place, tracker)| one(view, (place, tracker), now))
        .collect()
}

fn one(view: &View, (place, tracker): (usize, &Tracker), now: Moment) -> TrackerStatus {
    let slot = slot(view, place, tracker);
    let ago = |at: Option<Moment>| at.map(|at| millis(now, at));
    TrackerStatus {
        name: tracker.name.clone(),
        kind: tracker.kind.word().to_owned(),
        state: slot.state().word().to_owned(),
        since_ms_ago: ago(slot.since.get()),
        reason: slot.reason.get(),
        weight: match tracker.effect {
            TrackerEffect::Fault => None,
            TrackerEffect::Lower(taken) => Some(-i64::from(taken)),
        },
        vips: tracker
            .vips
            .iter()
            .map(|vip| view.config.vips[vip.0].name.clone())
            .collect(),
        looked_ms_ago: ago(slot.looked.get()),
        looks: slot.looks.get(),
        failures: slot.failures.get(),
        downs: slot.downs.get(),
    }
}

/// The trackers that are down and concern a VIP, each with what it does: `uplink -20`, `disk fault`.
pub(crate) fn down(view: &View, vip: VipIndex) -> Vec<String> {
    let trackers = view.config.live_trackers();
    let shared = |tracker: &Tracker| {
        let mut all = view.config.trackers_of(vip);
        all.any(|one| one.name == tracker.name)
    };
    trackers
        .filter(|(place, tracker)| {
            shared(tracker) && slot(view, *place, tracker).state() == TrackerState::Down
        })
        .map(|(_, tracker)| match tracker.effect {
            TrackerEffect::Fault => format!("{} fault", tracker.name),
            TrackerEffect::Lower(taken) => format!("{} -{taken}", tracker.name),
        })
        .collect()
}

/// A warning for each that is down.
pub(crate) fn warnings(trackers: &[TrackerStatus]) -> impl Iterator<Item = String> {
    let down = trackers
        .iter()
        .filter(|one| one.state == TrackerState::Down.word());
    down.map(|one| format!("tracker {} is down: {}", one.name, one.reason))
}

fn slot<'a>(view: &'a View, place: usize, tracker: &Tracker) -> &'a TrackerSlot {
    let boards = (view.boards.vrrp, view.boards.admin);
    tracker_slot(&tracker.kind, place, boards)
}
