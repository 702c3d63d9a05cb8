//! What wakes the loop: its sockets, its control, and one absolute timer.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use common::time::Moment;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};

use super::judging::ON_TIME;
use crate::clock::Clocks;

/// Every source is looked at in every turn, so events need no names.
const EVENTS: usize = 32;

/// An epoll instance with a timer in it.
#[derive(Debug)]
pub(super) struct Wake {
    epoll: Epoll,
    timer: TimerFd,
    /// How long the machine had been suspended in all when that was asked last.
    suspended: Option<Duration>,
}

impl Wake {
    pub(super) fn new() -> io::Result<Self> {
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        let wake = Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            timer,
            suspended: None,
        };
        wake.add(&wake.timer)?;
        Ok(wake)
    }

    /// Wakes the loop from now on when the descriptor is readable, until it is closed.
    pub(super) fn add(&self, source: impl AsFd) -> io::Result<()> {
        Ok(self
            .epoll
            .add(source, EpollEvent::new(EpollFlags::EPOLLIN, 0))?)
    }

    /// How long the machine was suspended since this was asked last; what is no longer than a late turn is none.
    pub(super) fn suspended(&mut self, clocks: Clocks) -> Duration {
        let in_all = clocks.suspended();
        let before = self.suspended.replace(in_all).unwrap_or(in_all);
        let since = in_all.saturating_sub(before);
        if since > ON_TIME {
            since
        } else {
            Duration::ZERO
        }
    }

    /// Waits for a source, at most until `due`.
    pub(super) fn wait(&self, due: Moment) -> io::Result<()> {
        self.set(due)?;
        let mut events = [EpollEvent::empty(); EVENTS];
        // The next turn sets the timer anew, which also takes its expiry back.
        match self.epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sleeps until `due`, whatever arrives.
    pub(super) fn rest(&self, due: Moment) -> io::Result<()> {
        self.set(due)?;
        let mut timer = [PollFd::new(self.timer.as_fd(), PollFlags::POLLIN)];
        match poll(&mut timer, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn set(&self, due: Moment) -> io::Result<()> {
        // A timer at zero would be switched off.
        let due = Duration::from_nanos(due.as_nanos().max(1));
        Ok(self.timer.set(
            Expiration::OneShot(TimeSpec::from_duration(due)),
            TimerSetTimeFlags::TFD_TIMER_ABSTIME,
        )?)
    }
}
