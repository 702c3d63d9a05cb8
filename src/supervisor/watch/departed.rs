//! Processes that have made way for another one and still live: a proxy until its sessions have ended,
//! a vrrp until its sockets are closed.

use std::os::fd::AsFd;
use std::time::Duration;

use common::board::Child;
use common::time::Moment;

use super::Loop;
use crate::control::{Body, Handle, Received, Wait};
use crate::supervisor::folder::Seat;
use crate::supervisor::process::Process;

/// A vrrp that has left is gone within this.
const GONE: Duration = Duration::from_secs(5);

/// One of them.
#[derive(Debug)]
pub(super) struct Departed {
    process: Process,
    /// Of a proxy, on the supervisor's board.
    place: Option<usize>,
    /// It is killed then.
    until: Option<Moment>,
}

impl Loop<'_> {
    /// It has made way.
    pub(super) fn depart(&mut self, mut process: Process, place: Option<usize>) {
        process.has_left = true;
        if let Err(error) = self.with.events.rewatch_departed(&process) {
            tracing::warn!(%error, "the end of a process cannot be watched");
        }
        self.await_end(process, place);
    }

    /// One that an earlier supervisor has let retire.
    pub(super) fn take_retired(&mut self, mut process: Process, place: usize) {
        process.has_left = true;
        if let Err(error) = self.with.events.watch_departed(&process) {
            tracing::warn!(%error, "the end of a process cannot be watched");
        }
        tracing::info!(pid = process.pid, "adopted a proxy that has retired");
        // Whoever gave it this place may have died before it was told.
        process.ask_retire();
        self.await_end(process, Some(place));
    }

    fn await_end(&mut self, process: Process, place: Option<usize>) {
        let now = vrrp::now();
        if let Some(place) = place {
            let slot = &self.with.boards.supervisor.retired[place];
            if slot.pid.get() != u64::from(process.pid) {
                slot.since.set(now);
                slot.version.set(&process.software);
                slot.pid.set(u64::from(process.pid));
            }
        }
        let until = match process.child {
            Child::Proxy => None,
            Child::Vrrp | Child::Admin => Some(now + GONE),
        };
        self.departed.push(Departed {
            process,
            place,
            until,
        });
        self.tell_elders();
        for departed in self.departed.iter().filter(|one| one.place.is_some()) {
            if let Err(error) = self.show_successor(departed) {
                // It is dying, and takes its sessions with it.
                tracing::debug!("one that has retired does not see the next one: {error:#}");
            }
        }
    }

    /// A proxy that has retired sees the board of the one that accepts: what server that takes from its
    /// sessions is to be taken from those of this one.
    fn show_successor(&self, elder: &Departed) -> anyhow::Result<()> {
        let board = self.with.kit.successor_board()?;
        let handles = vec![Handle::Successor];
        let told = Body::Boards { handles };
        Ok(elder.process.channel.send(told, &[board.as_fd()])?)
    }

    /// Proxies with sessions that could not be adopted by a version that shares no boards before this layout.
    pub(super) fn left_behind_by(&self, oldest: u32) -> usize {
        let proxies = self.departed.iter().filter(|one| one.place.is_some());
        proxies.filter(|one| one.process.layout < oldest).count()
    }

    /// A stop waits for those that have sessions.
    fn tell_elders(&mut self) {
        let any = self.departed.iter().any(|one| one.place.is_some());
        self.lifecycle.set_elders(any);
    }

    /// Takes notice of those that have ended.
    pub(super) fn listen_to_departed(&mut self) {
        for index in (0..self.departed.len()).rev() {
            let has_ended = loop {
                match self.departed[index].process.channel.receive(Wait::No) {
                    Ok(Received::Nothing) => break false,
                    // It may say what it likes.
                    Ok(Received::Message(..)) => {}
                    Ok(Received::Closed) | Err(_) => break true,
                }
            };
            if !has_ended {
                continue;
            }
            let Departed { process, place, .. } = self.departed.swap_remove(index);
            if let Some(place) = place {
                if self.stopping {
                    self.count_reset(Some(place));
                }
                self.with.boards.supervisor.retired[place].pid.set(0);
                self.with.place.folder.forget(Seat::Retired(process.pid));
                self.with.kit.forget_sessions(self.successor());
            }
            tracing::info!(
                process = process.child.word(),
                pid = process.pid,
                "has gone"
            );
            self.keep_remains(process);
        }
        self.tell_elders();
    }

    /// Kills those whose time is over.
    pub(super) fn look_at_departed(&mut self, now: Moment) {
        for departed in &mut self.departed {
            if departed.until.is_some_and(|until| until <= now) {
                departed.until = None;
                departed
                    .process
                    .kill("did not go in time, killed".to_owned());
            }
        }
    }

    /// The node stops: their sessions come to their end as all others.
    pub(super) fn stop_departed(&self) {
        for departed in &self.departed {
            if let Err(error) = departed.process.ask_stop(self.stop_drain) {
                let error = anyhow::Error::from(error);
                tracing::debug!("a departed process cannot be asked to stop: {error:#}");
            }
        }
    }

    /// It is over: whoever is left goes with it.
    pub(super) fn kill_departed(&mut self) {
        for departed in &mut self.departed {
            departed
                .process
                .kill("the node has stopped, killed".to_owned());
        }
    }
}
