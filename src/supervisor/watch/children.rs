//! Births and ends of the children.

use std::time::Duration;

use anyhow::Context;
use common::board::Child;
use common::time::Moment;

use super::Loop;
use crate::control::{Body, ReceiveError, Received, Wait};
use crate::supervisor::process::{Process, Remains};

impl Loop<'_> {
    pub(super) fn start(&mut self, child: Child) {
        let now = vrrp::now();
        let started = self.launch(child).and_then(|process| {
            tracing::info!(process = child.word(), pid = process.pid, "started");
            if child == Child::Proxy {
                self.with.files.proxy_started();
            }
            self.take(process, now)
        });
        if let Err(error) = started {
            tracing::error!(process = child.word(), "cannot be started: {error:#}");
            self.slot(child)
                .last_end
                .set(&format!("not started: {error:#}"));
            self.lifecycle.handle_end(child, now);
        }
    }

    fn launch(&self, child: Child) -> anyhow::Result<Process> {
        let given = self.with.kit.for_child(child);
        let given = given.context("collect its descriptors")?;
        let binary = &self.binaries[child as usize];
        Process::start(child, binary, self.with.place.folder, given)
    }

    pub(super) fn take(&mut self, process: Process, since: Moment) -> anyhow::Result<()> {
        if let Err(error) = self.with.events.watch_child(&process) {
            // Nobody would hear its end: it must not live on beside its successor.
            self.remains.push(process.bury());
            return Err(error).context("watch its connection");
        }
        self.install(process, since);
        Ok(())
    }

    /// It is the one in charge, and is listened to.
    pub(super) fn install(&mut self, process: Process, since: Moment) {
        let child = process.child;
        if child == Child::Vrrp {
            self.settle(since);
        }
        self.slot(child).pid.set(u64::from(process.pid));
        self.tell_version(&process);
        self.children[child as usize] = Some(process);
        self.lifecycle.handle_started(child, since);
    }

    fn tell_version(&self, process: &Process) {
        let versions = &self.with.boards.supervisor.versions;
        versions[process.child as usize].set(&process.software);
    }

    /// Asks it to make way for a successor.
    pub(super) fn ask_leave(&mut self, child: Child) {
        let Some(process) = &mut self.children[child as usize] else {
            return;
        };
        let asked = match child {
            Child::Vrrp | Child::Proxy => process.channel.send(Body::Leave, &[]),
            Child::Admin => {
                process.has_left = true;
                process.ask_stop(None)
            }
        };
        if let Err(error) = asked {
            let error = anyhow::Error::from(error);
            tracing::warn!(
                process = child.word(),
                "cannot be asked to make way: {error:#}"
            );
            process.kill("could not be asked to make way, killed".to_owned());
        }
    }

    /// It has made way.
    pub(super) fn succeed(&mut self, child: Child) {
        match child {
            Child::Admin => {
                self.start(child);
                if self.children[child as usize].is_some() {
                    self.tell_upgrade(|upgrade, now| upgrade.handle_taken(child, now));
                }
            }
            Child::Vrrp | Child::Proxy => {
                if !self.succeed_vrrp() {
                    // Nobody holds the VIPs any more.
                    if let Some(old) = self.children[child as usize].take() {
                        self.depart(old, None);
                    }
                    self.lifecycle.handle_end(child, vrrp::now());
                    self.child_changed(child);
                }
            }
        }
    }

    pub(super) fn kill(&mut self, child: Child, why: String) {
        if let Some(process) = &mut self.children[child as usize] {
            tracing::warn!(process = child.word(), pid = process.pid, why, "killing it");
            process.kill(why);
        }
    }

    pub(super) fn ask_stop(&mut self, child: Child) {
        let Some(process) = &mut self.children[child as usize] else {
            return;
        };
        if let Err(error) = process.ask_stop(self.stop_drain) {
            tracing::warn!(
                process = child.word(),
                "cannot be asked to stop: {:#}",
                anyhow::Error::from(error)
            );
            process.kill("could not be asked to stop, killed".to_owned());
        }
        if child == Child::Proxy {
            // From now on nobody accepts: a new connection is refused, not left waiting.
            self.with.kit.close_listeners();
        }
    }

    /// Reads what a child says; its end is what matters.
    pub(super) fn listen_to(&mut self, child: Child) {
        while let Some(process) = &mut self.children[child as usize] {
            match process.channel.receive(Wait::No) {
                Ok(Received::Nothing) => return,
                Ok(Received::Message(Body::Hello(hello), _)) => {
                    self.with.boards.supervisor.versions[child as usize].set(&hello.software);
                    process.software = hello.software;
                    process.layout = hello.layout;
                }
                Ok(Received::Message(Body::Left, _)) => {
                    self.lifecycle.handle_left(child, vrrp::now());
                    // Its successor goes on before its end is heard.
                    return;
                }
                Ok(Received::Message(Body::Prepared { number, refused }, _)) => {
                    self.child_prepared(child, (number, refused));
                }
                Ok(Received::Message(Body::GoneOver { failed }, _)) => {
                    self.child_went_over(child, failed);
                }
                Ok(Received::Message(..)) | Err(ReceiveError::Cut | ReceiveError::Decode(_)) => {
                    tracing::warn!(process = child.word(), "a message that means nothing here");
                }
                Ok(Received::Closed) | Err(ReceiveError::Receive(_)) => self.bury(child),
            }
        }
    }

    fn bury(&mut self, child: Child) {
        let Some(process) = self.children[child as usize].take() else {
            return;
        };
        let remains = process.bury();
        if self.stopping {
            self.note_stopped(child);
        }
        // The last will first; how it ended is asked later.
        self.lifecycle.handle_end(child, vrrp::now());
        self.act();
        self.child_changed(child);
        self.watch_remains(remains);
    }

    /// One that nobody needs any more.
    pub(super) fn keep_remains(&mut self, process: Process) {
        self.watch_remains(process.bury());
    }

    fn watch_remains(&mut self, remains: Remains) {
        if let Err(error) = self.with.events.watch_remains(&remains) {
            tracing::warn!(%error, "the end of a process cannot be watched");
        }
        self.remains.push(remains);
        self.clear_remains();
    }

    pub(super) fn report_death(&mut self, child: Child, delay: Duration) {
        self.note_death(child);
        let slot = self.slot(child);
        slot.pid.set(0);
        slot.deaths.add(1);
        for place in 1..slot.last_deaths.len() {
            match slot.last_deaths[place].get() {
                Some(moment) => slot.last_deaths[place - 1].set(moment),
                None => slot.last_deaths[place - 1].clear(),
            }
        }
        slot.last_deaths[slot.last_deaths.len() - 1].set(vrrp::now());
        if delay.is_zero() {
            tracing::warn!(process = child.word(), "died, is replaced");
        } else {
            let wait_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(
                process = child.word(),
                wait_ms,
                "died again and again, is replaced after a wait"
            );
        }
    }

    /// Learns how the dead ended.
    pub(super) fn clear_remains(&mut self) {
        let boards = self.with.boards;
        let stopping = self.stopping;
        self.remains.retain(|remains| {
            let child = remains.child;
            let how = match remains.end() {
                Ok(None) => return true,
                Ok(Some(how)) => how,
                Err(error) => format!("ended ({error})"),
            };
            // That of one that has made way says nothing of the one in charge.
            if !remains.has_left {
                boards.supervisor.children[child as usize]
                    .last_end
                    .set(&how);
            }
            if stopping || remains.has_left {
                tracing::info!(process = child.word(), pid = remains.pid, how, "ended");
            } else {
                tracing::warn!(process = child.word(), pid = remains.pid, how, "ended");
            }
            false
        });
    }
}
