//! What the supervisor says on its board, and what it reads on the others.

use std::sync::atomic::Ordering;

use common::board::{Child, ChildSlot, Header, LAYOUT};
use common::time::Moment;

use super::Loop;
use crate::supervisor::kit::Boards;
use crate::supervisor::lifecycle::Seen;

impl Loop<'_> {
    /// Fills the supervisor's own board.
    pub(super) fn introduce(&self, now: Moment, anew: bool) {
        let header = &self.with.boards.supervisor.header;
        header.layout.store(LAYOUT, Ordering::Release);
        header.pid.store(std::process::id(), Ordering::Release);
        header.heartbeat.set(now);
        let version = &self.with.boards.supervisor.version;
        version.set(env!("CARGO_PKG_VERSION"));
        if anew {
            header.started.set(now);
        }
        let since = &self.with.boards.supervisor.reload.since;
        if since.get().is_none() {
            since.set(now);
        }
        self.with.boards.supervisor.stop.since.clear();
        self.publish_warnings();
    }

    /// One text for each warning; the last one says how many more there are.
    fn publish_warnings(&self) {
        let warnings = &self.with.kit.warnings;
        let places = &self.with.boards.supervisor.warnings;
        for (index, place) in places.iter().enumerate() {
            let left = warnings.len().saturating_sub(index);
            if index + 1 == places.len() && left > 1 {
                place.set(&format!("{left} more warnings: see the log"));
            } else {
                place.set(warnings.get(index).map_or("", String::as_str));
            }
        }
    }

    pub(super) fn seen(&self) -> Seen {
        let Boards {
            vrrp, proxy, admin, ..
        } = self.with.boards;
        let accepting = &proxy.accepting[..self.with.kit.threads()];
        Seen {
            beats: [
                vrrp.header.heartbeat.get(),
                // "Never" is the smallest: a thread that has not begun keeps the whole from being
                // alive.
                accepting.iter().map(|cell| cell.get()).min().flatten(),
                admin.header.heartbeat.get(),
            ],
        }
    }

    pub(super) fn header(&self, child: Child) -> &'static Header {
        let boards = self.with.boards;
        match child {
            Child::Vrrp => &boards.vrrp.header,
            Child::Proxy => &boards.proxy.header,
            Child::Admin => &boards.admin.header,
        }
    }

    pub(super) fn slot(&self, child: Child) -> &'static ChildSlot {
        &self.with.boards.supervisor.children[child as usize]
    }
}
