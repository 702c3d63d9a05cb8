//! The supervisor's loop: waits for events, tells [`Lifecycle`], does what it says.

mod reload;

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use common::board::{Child, ChildSlot, Header, LAYOUT};
use common::config::VipIndex;
use common::time::Moment;
use nix::sys::signal::Signal;
use vrrp::release::{Left, Will};
use vrrp::signature::Stamp;

pub(super) use self::reload::Reload;
use super::events::{Event, Events};
use super::files::Files;
use super::forwarding::Forwarding;
use super::kit::{Boards, Kit, Place};
use super::lifecycle::{Action, Lifecycle, Seen};
use super::notify::{self, Notify};
use super::process::{Process, Remains};
use super::shadows::Keeper;
use crate::control::{Body, ReceiveError, Received, Wait};

/// After a stop the last processes have so long to be gone for good, with all their sockets.
const BURIAL_LIMIT: Duration = Duration::from_secs(2);
/// From a last will until frames to a virtual router's hardware address are refused.
const LEAVE: Duration = Duration::from_secs(1);

/// What the loop works with.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    pub(super) place: Place<'a>,
    pub(super) kit: Kit,
    pub(super) boards: Boards,
    pub(super) files: Files,
    pub(super) forwarding: Forwarding,
    /// `None` = there is no VIP to resign for.
    pub(super) will: Option<Will>,
    pub(super) events: Events,
    /// Where admin says what is to be done.
    pub(super) tasks: OwnedFd,
    pub(super) reload: Reload,
}

/// The loop.
#[derive(Debug)]
pub(super) struct Loop<'a> {
    with: Watch<'a>,
    lifecycle: Lifecycle,
    children: [Option<Process>; 3],
    remains: Vec<Remains>,
    notify: Notify,
    watchdog: Option<(Duration, Moment)>,
    /// It failed, and no vrrp lives that could do it.
    will_is_due: bool,
    /// When VIPs with a hardware address of their own are to be left for good, if no vrrp does it until then.
    leave_at: Option<Moment>,
    shadows: Keeper,
    stopping: bool,
    finished: Option<Moment>,
}

impl<'a> Loop<'a> {
    /// Takes the survivors over, and is ready to start the others.
    ///
    /// `others` are those of them that run by another configuration: they are replaced.
    pub(super) fn new(
        with: Watch<'a>,
        survivors: Vec<Process>,
        others: &[Child],
    ) -> anyhow::Result<Self> {
        let now = vrrp::now();
        let mut this = Self {
            lifecycle: Lifecycle::new(with.place.config.proxy.drain, now),
            children: [None, None, None],
            remains: Vec::new(),
            notify: Notify::from_environment(),
            watchdog: notify::watchdog_interval().map(|interval| (interval, now)),
            will_is_due: false,
            leave_at: None,
            shadows: Keeper::new(now),
            stopping: false,
            finished: None,
            with,
        };
        this.with
            .events
            .watch_tasks(&this.with.tasks)
            .context("watch tasks")?;
        this.introduce(now, survivors.is_empty());
        for process in survivors {
            let started = this.header(process.child).started.get().unwrap_or_default();
            tracing::info!(process = process.child.word(), pid = process.pid, "adopted");
            this.take(process, started)?;
        }
        for child in others {
            this.kill(
                *child,
                "it runs by another configuration, killed".to_owned(),
            );
        }
        Ok(this)
    }

    /// Runs until a stop was asked for and all children have ended.
    pub(super) fn run(mut self) -> anyhow::Result<()> {
        if self.children[Child::Vrrp as usize].is_none() {
            // It may have died with an earlier supervisor: the other node need not wait for the
            // lease to lapse.
            self.execute_will();
        }
        self.lifecycle.handle_timeout(vrrp::now());
        self.act();
        while !self.is_over() {
            for event in self.with.events.wait().context("wait for events")? {
                self.handle(event);
                self.act();
            }
        }
        self.with.forwarding.remove();
        Ok(())
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Child(child) => self.listen_to(child),
            Event::Look => self.look(vrrp::now()),
            Event::Remains => self.clear_remains(),
            Event::Tasks => self.take_tasks(),
            Event::Signal(Signal::SIGHUP) => {
                tracing::info!(signal = "SIGHUP", "a reload was asked for");
                self.begin_reload(false, None);
            }
            Event::Signal(signal) => {
                tracing::info!(signal = signal.as_str(), "a stop was asked for");
                self.notify.stopping();
                self.stopping = true;
                self.stop_reload();
                self.lifecycle.handle_stop_request(vrrp::now());
            }
        }
    }

    fn act(&mut self) {
        while let Some(action) = self.lifecycle.poll_action() {
            match action {
                Action::LastWill => self.execute_will(),
                Action::Start(child) => self.start(child),
                Action::Kill { child, why } => self.kill(child, why),
                Action::ReportDeath { child, delay } => self.report_death(child, delay),
                Action::AskStop(child) => self.ask_stop(child),
                Action::Ready => {
                    tracing::info!(node = self.node_name(), "the node is up");
                    self.notify.ready();
                }
                Action::Finish => self.finished = Some(vrrp::now()),
            }
        }
    }

    fn execute_will(&mut self) {
        self.with.forwarding.resign();
        let Some(will) = &mut self.with.will else {
            return;
        };
        let board = self.with.boards.vrrp;
        let began = vrrp::now();
        let outcome = will.execute(Left {
            was_leased: |vip: VipIndex| board.vips[vip.0].leased.get() != 0,
            stamp: Stamp::from_bits(board.advert_stamp.get()),
        });
        self.will_is_due = outcome.is_err();
        self.leave_at = will.has_macvlans().then_some(began + LEAVE);
        match outcome {
            Ok(released) if released.is_empty() => {}
            Ok(released) => {
                let vips: Vec<&str> = released
                    .iter()
                    .map(|vip| self.with.place.config.vips[vip.0].name.as_str())
                    .collect();
                let took = vrrp::now().since(began);
                tracing::warn!(
                    vips = vips.join(","),
                    us = took.as_micros(),
                    "resigned for vrrp"
                );
            }
            Err(error) => {
                let error = anyhow::Error::from(error);
                tracing::error!("the last will of vrrp failed, trying again: {error:#}");
            }
        }
    }

    fn start(&mut self, child: Child) {
        let now = vrrp::now();
        let started =
            Process::start(child, &self.with.kit, self.with.place.folder).and_then(|process| {
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

    fn take(&mut self, process: Process, since: Moment) -> anyhow::Result<()> {
        let child = process.child;
        if let Err(error) = self.with.events.watch_child(&process) {
            // Nobody would hear its end: it must not live on beside its successor.
            self.remains.push(process.bury());
            return Err(error).context("watch its connection");
        }
        self.slot(child).pid.set(u64::from(process.pid));
        self.children[child as usize] = Some(process);
        self.lifecycle.handle_started(child, since);
        Ok(())
    }

    fn kill(&mut self, child: Child, why: String) {
        if let Some(process) = &mut self.children[child as usize] {
            tracing::warn!(process = child.word(), pid = process.pid, why, "killing it");
            process.kill(why);
        }
    }

    fn ask_stop(&mut self, child: Child) {
        let Some(process) = &mut self.children[child as usize] else {
            return;
        };
        if let Err(error) = process.ask_stop() {
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
    fn listen_to(&mut self, child: Child) {
        while let Some(process) = &self.children[child as usize] {
            match process.channel.receive(Wait::No) {
                Ok(Received::Nothing) => return,
                Ok(Received::Message(Body::Hello(hello), _)) => {
                    tracing::debug!(
                        process = child.word(),
                        software = hello.software,
                        "says hello"
                    );
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
        // The last will first; how it ended is asked later.
        self.lifecycle.handle_end(child, vrrp::now());
        self.act();
        self.child_changed(child);
        if let Err(error) = self.with.events.watch_remains(&remains) {
            tracing::warn!(%error, "the end of a process cannot be watched");
        }
        self.remains.push(remains);
        self.clear_remains();
    }

    fn report_death(&mut self, child: Child, delay: Duration) {
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
    fn clear_remains(&mut self) {
        let boards = self.with.boards;
        let expected = self.stopping;
        self.remains.retain(|remains| {
            let child = remains.child;
            let how = match remains.end() {
                Ok(None) => return true,
                Ok(Some(how)) => how,
                Err(error) => format!("ended ({error})"),
            };
            boards.supervisor.children[child as usize]
                .last_end
                .set(&how);
            if expected {
                tracing::info!(process = child.word(), pid = remains.pid, how, "ended");
            } else {
                tracing::warn!(process = child.word(), pid = remains.pid, how, "ended");
            }
            false
        });
    }

    fn look(&mut self, now: Moment) {
        self.with.boards.supervisor.header.heartbeat.set(now);
        if self.will_is_due && self.children[Child::Vrrp as usize].is_none() {
            self.execute_will();
        }
        if self.leave_at.is_some_and(|at| at <= now) {
            self.leave_at = None;
            if let (None, Some(will)) = (&self.children[Child::Vrrp as usize], &mut self.with.will)
            {
                will.switch_off();
            }
        }
        if !self.stopping {
            let place = (&*self.with.place.config, self.with.place.folder);
            self.shadows.look(place, now);
        }
        if !self.stopping {
            let slot = &self.with.boards.supervisor.forwarding;
            self.with
                .forwarding
                .look((self.with.boards.vrrp, slot), now);
        }
        self.look_at_reload(now);
        let proxy = self.children[Child::Proxy as usize].as_ref();
        let with = &mut self.with;
        let slots = &with.boards.supervisor.files;
        with.files.look((&mut with.kit, proxy), slots, now);
        let seen = self.seen();
        self.lifecycle.handle_look(&seen, now);
        self.lifecycle.handle_timeout(now);
        if let Some((interval, last)) = &mut self.watchdog
            && now.since(*last) >= *interval
        {
            *last = now;
            self.notify.alive();
        }
    }

    fn seen(&self) -> Seen {
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

    /// Fills the supervisor's own board.
    fn introduce(&self, now: Moment, anew: bool) {
        let header = &self.with.boards.supervisor.header;
        header.layout.store(LAYOUT, Ordering::Release);
        header.pid.store(std::process::id(), Ordering::Release);
        header.heartbeat.set(now);
        if anew {
            header.started.set(now);
        }
        let since = &self.with.boards.supervisor.reload.since;
        if since.get().is_none() {
            since.set(now);
        }
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

    fn is_over(&self) -> bool {
        self.finished.is_some_and(|finished| {
            self.remains.is_empty() || vrrp::now().since(finished) > BURIAL_LIMIT
        })
    }

    fn header(&self, child: Child) -> &'static Header {
        let boards = self.with.boards;
        match child {
            Child::Vrrp => &boards.vrrp.header,
            Child::Proxy => &boards.proxy.header,
            Child::Admin => &boards.admin.header,
        }
    }

    fn slot(&self, child: Child) -> &'static ChildSlot {
        &self.with.boards.supervisor.children[child as usize]
    }

    fn node_name(&self) -> &str {
        &self.with.place.config.nodes[self.with.place.node.0].name
    }
}
