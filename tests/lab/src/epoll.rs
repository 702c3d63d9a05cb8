//! One epoll and one interval timer: the loop of the measuring threads.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// The token of the timer.
const TIMER: u64 = u64::MAX;
/// Events taken at once.
const BATCH: usize = 256;
/// Long enough to be no load, short enough to notice a request to stop.
const IDLE: u16 = 100;

/// Sockets by token, and a tick.
#[derive(Debug)]
pub struct Ticker {
    epoll: Epoll,
    timer: TimerFd,
    events: Vec<EpollEvent>,
}

/// What one wait brought.
#[derive(Debug)]
pub struct Turn {
    /// Whether the interval has passed.
    pub ticked: bool,
    /// Sockets that something can be done with, by token.
    pub ready: Vec<(u64, EpollFlags)>,
}

impl Ticker {
    /// A tick each interval.
    ///
    /// # Errors
    /// When the kernel has no descriptors left.
    pub fn new(interval: Duration) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let timer = TimerFd::new(
            ClockId::CLOCK_MONOTONIC,
            TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC,
        )?;
        timer.set(
            Expiration::Interval(TimeSpec::from_duration(interval)),
            TimerSetTimeFlags::empty(),
        )?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        Ok(Self {
            epoll,
            timer,
            events: vec![EpollEvent::empty(); BATCH],
        })
    }

    /// Watches a socket, edge-triggered, both ways.
    ///
    /// # Errors
    /// When it is watched already.
    pub fn add(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        let flags = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLET;
        Ok(self.epoll.add(socket, EpollEvent::new(flags, token))?)
    }

    /// Waits for sockets or the tick.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn wait(&mut self) -> io::Result<Turn> {
        let mut turn = Turn {
            ticked: false,
            ready: Vec::new(),
        };
        let count = match self.epoll.wait(&mut self.events, EpollTimeout::from(IDLE)) {
            Ok(count) => count,
            Err(nix::errno::Errno::EINTR) => return Ok(turn),
            Err(error) => return Err(error.into()),
        };
        for event in &self.events[..count] {
            if event.data() == TIMER {
                // It is non-blocking and just became readable.
                turn.ticked = self.timer.wait().is_ok();
            } else {
                turn.ready.push((event.data(), event.events()));
            }
        }
        Ok(turn)
    }
}
