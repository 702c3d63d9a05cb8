//! The supervisor's loop: waits for events, tells [`Lifecycle`], does what it says.
//!
//! `children` does what concerns a process, `beside` what concerns one that is to take its place, `departed` one that
//! has made way, `boards` what is read and written there; `reload` and `upgrade` go through with reloads and with upgrades
//! in place, `stop` begins a stop.

mod beside;
mod boards;
mod children;
mod departed;
mod reload;
mod stop;
mod upgrade;

use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::Context;
use common::board::Child;
use common::config::VipIndex;
use common::time::Moment;
use nix::sys::signal::Signal;
use vrrp::release::{Left, Will};
use vrrp::signature::Stamp;

use self::beside::Beside;
use self::departed::Departed;
pub(super) use self::reload::Reload;
use self::reload::Unsettled;
use self::upgrade::Ongoing;
use super::events::{Event, Events};
use super::files::Files;
use super::forwarding::Forwarding;
use super::installed;
use super::kit::{Boards, Kit, Place};
use super::lifecycle::{Action, Lifecycle};
use super::notify::{self, Notify};
use super::process::{Binary, Process, Remains};
use super::prover::Prover;
use super::rescue::Rescue;
use super::shadows::{self, Keeper};

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
    pub(super) rescue: Rescue,
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
    /// What each child is started from, by [`Child`].
    binaries: [Binary; 3],
    beside: Option<Beside>,
    departed: Vec<Departed>,
    remains: Vec<Remains>,
    ongoing: Option<Ongoing>,
    /// Those that have said what they had to.
    provers: Vec<Prover>,
    notify: Notify,
    watchdog: Option<(Duration, Moment)>,
    /// It failed, and no vrrp lives that could do it.
    will_is_due: bool,
    /// When VIPs with a hardware address of their own are to be left for good, if no vrrp does it until then.
    leave_at: Option<Moment>,
    shadows: Keeper,
    unsettled: Option<Unsettled>,
    /// When the shadows go that a reload has made needless.
    clear_at: Option<Moment>,
    stopping: bool,
    /// How long sessions may go on, where the stop was asked for with that.
    stop_drain: Option<Duration>,
    finished: Option<Moment>,
}

impl<'a> Loop<'a> {
    /// Takes the survivors over, and is ready to start the others.
    ///
    /// `others` are those of them that run by another configuration: they are replaced. `retired` are proxies
    /// that have made way, with the places of their boards.
    pub(super) fn new(
        with: Watch<'a>,
        survivors: Vec<Process>,
        (others, retired): (&[Child], Vec<(Process, usize)>),
    ) -> anyhow::Result<Self> {
        let now = vrrp::now();
        let mut this = Self {
            lifecycle: Lifecycle::new(with.place.config.proxy.drain, now),
            children: [None, None, None],
            binaries: [Binary::Own, Binary::Own, Binary::Own],
            beside: None,
            departed: Vec::new(),
            remains: Vec::new(),
            ongoing: None,
            provers: Vec::new(),
            notify: Notify::from_environment(),
            watchdog: notify::watchdog_interval().map(|interval| (interval, now)),
            will_is_due: false,
            leave_at: None,
            shadows: Keeper::new(now),
            unsettled: None,
            clear_at: None,
            stopping: false,
            stop_drain: None,
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
        for (process, place) in retired {
            this.take_retired(process, place);
        }
        this.with.kit.forget_sessions(None);
        if this.with.forwarding.is_renewed {
            this.tell_program().context("tell vrrp of the TC program")?;
        }
        this.conclude_upgrade();
        Ok(this)
    }

    /// Runs until a stop was asked for and all children have ended. Then the listening sockets are closed, and the TC
    /// program is there still.
    pub(super) fn run(mut self) -> anyhow::Result<Forwarding> {
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
        let Self {
            with: Watch { forwarding, .. },
            ..
        } = self;
        Ok(forwarding)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Child(child) => self.listen_to(child),
            Event::Look => self.look(vrrp::now()),
            Event::Remains => self.clear_remains(),
            Event::Tasks => self.take_tasks(),
            Event::Beside => self.listen_beside(),
            Event::Departed => self.listen_to_departed(),
            Event::Prover => self.hear_proof(),
            // Who asks has no place for an answer: it is in the log.
            Event::Signal(Signal::SIGHUP) if installed::is_replaced() => {
                drop(self.begin_upgrade());
            }
            Event::Signal(Signal::SIGHUP) => {
                tracing::info!(signal = "SIGHUP", "a reload was asked for");
                self.begin_reload((false, None), None);
            }
            Event::Signal(signal) => {
                tracing::info!(signal = signal.as_str(), "a stop was asked for");
                self.begin_stop(None);
            }
        }
    }

    fn act(&mut self) {
        loop {
            // What an upgrade has to do about a death comes before the next start.
            if let Some(action) = self.next_of_upgrade() {
                self.perform(action);
                continue;
            }
            let Some(action) = self.lifecycle.poll_action() else {
                return;
            };
            match action {
                Action::LastWill => self.execute_will(),
                Action::Start(child) => self.start(child),
                Action::Kill { child, why } => self.kill(child, why),
                Action::ReportDeath { child, delay } => self.report_death(child, delay),
                Action::AskStop(child) => self.ask_stop(child),
                Action::AskLeave(child) => self.ask_leave(child),
                Action::Succeed(child) => self.succeed(child),
                Action::AskElders => self.stop_departed(),
                Action::Ready => {
                    tracing::info!(node = self.node_name(), "the node is up");
                    self.notify.ready();
                }
                Action::Finish => {
                    self.sum_up_stop();
                    self.kill_departed();
                    self.finished = Some(vrrp::now());
                }
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
        if !self.stopping && !self.is_reloading() {
            let place = (&*self.with.place.config, self.with.place.folder);
            if self.clear_at.take_if(|at| *at <= now).is_some() {
                shadows::replace(place.0, place.1);
            }
            self.shadows.look(place, now);
        }
        if !self.stopping {
            let slot = &self.with.boards.supervisor.forwarding;
            self.with
                .forwarding
                .look((self.with.boards.vrrp, slot), now);
            self.look_for_rescue(now);
        }
        self.look_at_reload(now);
        let proxy = self.children[Child::Proxy as usize].as_ref();
        let with = &mut self.with;
        let slots = &with.boards.supervisor.files;
        with.files.look((&mut with.kit, proxy), slots, now);
        self.look_at_departed(now);
        self.look_at_upgrade(now);
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

    /// Tells the clients of a dead machine, once their VIP is held here.
    fn look_for_rescue(&mut self, now: Moment) {
        let verdict = self.with.forwarding.verdict();
        let vips = self.with.boards.vrrp.vips.iter().enumerate();
        let held = vips.filter(|(_, slot)| slot.leased.get() != 0);
        let held = held.fold(0, |bits, (index, _)| bits | 1 << index);
        let slot = &self.with.boards.supervisor.rescue;
        self.with.rescue.look((verdict, held), slot, now);
    }

    fn is_over(&self) -> bool {
        self.finished.is_some_and(|finished| {
            let all_gone = self.remains.is_empty() && self.departed.is_empty();
            all_gone || vrrp::now().since(finished) > BURIAL_LIMIT
        })
    }

    fn node_name(&self) -> &str {
        &self.with.place.config.nodes[self.with.place.node.0].name
    }
}
