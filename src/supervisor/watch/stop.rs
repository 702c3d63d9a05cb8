//! A stop: how it begins, and what is told of it.

use std::time::Duration;

use common::board::Child;
use common::command::Reply;

use super::Loop;
use super::reload::tell;
use crate::commands::ReplySocket;
use crate::status::human;

/// What a stop takes beside its drain, at most: vrrp and admin have two seconds each, the proxy one more, and the last
/// processes two to be gone.
const MARGIN: Duration = Duration::from_secs(10);

impl Loop<'_> {
    /// What admin has sent.
    pub(super) fn obey_stop(&mut self, asker: ReplySocket, drain_ms: Option<u64>) {
        let begun = self.judge_stop(drain_ms.map(Duration::from_millis));
        tell(Some(asker), &begun);
    }

    fn judge_stop(&mut self, drain: Option<Duration>) -> Reply {
        if self.stopping {
            let why = "this node is stopping already; another SIGTERM to its supervisor ends the drain at once";
            return Reply::error(why.to_owned());
        }
        let drain_ms = drain.map(|drain| u64::try_from(drain.as_millis()).unwrap_or(u64::MAX));
        tracing::info!(drain_ms, "an administrator has asked for a stop");
        self.begin_stop(drain);
        let drain = self.drain();
        Reply::done(format!(
            "{} stops: its VIPs move, and its sessions may go on for {}; `fmc-lb status` of both nodes shows what is left",
            self.node_name(),
            human::age(drain)
        ))
    }

    /// How long sessions may go on in a stop.
    pub(super) fn drain(&self) -> Duration {
        self.stop_drain
            .unwrap_or(self.with.place.config.proxy.drain)
    }

    /// A stop was asked for, with this drain or that of the configuration; the second time the drain is cut short.
    pub(super) fn begin_stop(&mut self, drain: Option<Duration>) {
        let now = vrrp::now();
        if !self.stopping {
            self.stopping = true;
            self.stop_drain = drain;
            let drain = self.drain();
            self.lifecycle.set_drain(drain);
            self.notify.stopping(drain + MARGIN);
            let slot = &self.with.boards.supervisor.stop;
            slot.drain
                .set(u64::try_from(drain.as_nanos()).unwrap_or(u64::MAX));
            slot.since.set(now);
        }
        self.stop_reload();
        if !self.is_upgrading() {
            self.discard_beside();
        }
        self.tell_upgrade(|upgrade, _| upgrade.handle_stop());
        self.lifecycle.handle_stop_request(now);
    }

    /// A child has ended in a stop.
    pub(super) fn note_stopped(&self, child: Child) {
        self.slot(child).pid.set(0);
        if child == Child::Proxy {
            self.count_reset(None);
        }
    }

    /// What a proxy had when it ended: one that was killed has counted nothing.
    pub(super) fn count_reset(&self, place: Option<usize>) {
        if let Err(error) = self.with.kit.count_reset(place) {
            tracing::warn!(%error, "the sessions that ended with a proxy are not counted");
        }
    }

    /// All have ended.
    pub(super) fn sum_up_stop(&self) {
        let (closed, reset) = self.with.kit.drained();
        tracing::info!(
            closed,
            reset,
            "sessions were closed at a quiet moment, and reset at the end of the drain"
        );
    }
}
