//! What wakes the supervisor: signals, a clock, the ends of its children.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use common::board::Child;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::process::{Process, Remains};
use crate::control::Channel;

const SIGNAL: u64 = 0;
const CLOCK: u64 = 1;
const REMAINS: u64 = 2;
const TASKS: u64 = 3;
const BESIDE: u64 = 4;
const DEPARTED: u64 = 5;
const PROVER: u64 = 6;
/// And those after it, by [`Child`].
const CHILDREN: u64 = 8;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Signal(Signal),
    /// It is time to look at the heartbeats.
    Look,
    /// Something came over the child's connection, or its end.
    Child(Child),
    /// One of the dead is gone for good.
    Remains,
    /// Admin has something for the supervisor to do.
    Tasks,
    /// A child says something that was started beside another one.
    Beside,
    /// One that has made way says something, or ends.
    Departed,
    /// A new version has proved itself, or has ended.
    Prover,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Events {
    epoll: Epoll,
    signals: SignalFd,
    clock: TimerFd,
}

/// Signals that are read, not suffered. To be called before the first thread starts: a thread that
/// does not block them would take them.
pub(super) fn block_signals() -> io::Result<SigSet> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    Ok(signals)
}

impl Events {
    /// A look each `interval`.
    pub(super) fn new(signals: &SigSet, interval: Duration) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let signals =
            SignalFd::with_flags(signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let clock = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        let interval = TimeSpec::from_duration(interval);
        clock.set(
            Expiration::IntervalDelayed(interval, interval),
            TimerSetTimeFlags::empty(),
        )?;
        epoll.add(&signals, readable(SIGNAL))?;
        epoll.add(&clock, readable(CLOCK))?;
        Ok(Self {
            epoll,
            signals,
            clock,
        })
    }

    pub(super) fn watch_child(&self, process: &Process) -> io::Result<()> {
        let token = CHILDREN + process.child as u64;
        Ok(self.epoll.add(process.channel.as_fd(), readable(token))?)
    }

    pub(super) fn watch_tasks(&self, socket: impl AsFd) -> io::Result<()> {
        Ok(self.epoll.add(socket, readable(TASKS))?)
    }

    /// One that is to take a child's place.
    pub(super) fn watch_beside(&self, process: &Process) -> io::Result<()> {
        Ok(self.epoll.add(process.channel.as_fd(), readable(BESIDE))?)
    }

    /// It has taken it.
    pub(super) fn rewatch_child(&self, process: &Process) -> io::Result<()> {
        let mut event = readable(CHILDREN + process.child as u64);
        Ok(self.epoll.modify(process.channel.as_fd(), &mut event)?)
    }

    /// One that has made way, as an earlier supervisor has it.
    pub(super) fn watch_departed(&self, process: &Process) -> io::Result<()> {
        Ok(self
            .epoll
            .add(process.channel.as_fd(), readable(DEPARTED))?)
    }

    /// A child that makes way.
    pub(super) fn rewatch_departed(&self, process: &Process) -> io::Result<()> {
        let mut event = readable(DEPARTED);
        Ok(self.epoll.modify(process.channel.as_fd(), &mut event)?)
    }

    pub(super) fn watch_prover(&self, channel: &Channel) -> io::Result<()> {
        Ok(self.epoll.add(channel.as_fd(), readable(PROVER))?)
    }

    pub(super) fn watch_remains(&self, remains: &Remains) -> io::Result<()> {
        Ok(self.epoll.add(remains, readable(REMAINS))?)
    }

    /// Waits for the next events. The ends of children come first: a last will must not wait for
    /// anything.
    pub(super) fn wait(&mut self) -> io::Result<Vec<Event>> {
        let mut ready = [EpollEvent::empty(); 16];
        let count = match self.epoll.wait(&mut ready, EpollTimeout::NONE) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let mut events = Vec::with_capacity(count);
        for token in ready[..count].iter().map(EpollEvent::data) {
            match token {
                SIGNAL => events.extend(self.signal()?.map(Event::Signal)),
                CLOCK => {
                    self.clock.wait()?;
                    events.push(Event::Look);
                }
                REMAINS => events.push(Event::Remains),
                TASKS => events.push(Event::Tasks),
                BESIDE => events.push(Event::Beside),
                DEPARTED => events.push(Event::Departed),
                PROVER => events.push(Event::Prover),
                token => events.extend(child_of(token).map(Event::Child)),
            }
        }
        events.sort_by_key(|event| !matches!(event, Event::Child(_)));
        Ok(events)
    }

    fn signal(&mut self) -> io::Result<Option<Signal>> {
        let info = self.signals.read_signal()?;
        Ok(info
            .and_then(|info| i32::try_from(info.ssi_signo).ok())
            .and_then(|number| Signal::try_from(number).ok()))
    }
}

fn readable(token: u64) -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN, token)
}

fn child_of(token: u64) -> Option<Child> {
    Child::ALL
        .into_iter()
        .find(|child| token == CHILDREN + *child as u64)
}
