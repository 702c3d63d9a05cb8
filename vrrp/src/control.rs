//! How the process that hosts the loop talks to it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use common::board::{ForwardBoard, ProxyBoard};
use common::config::Config;
use nix::sys::eventfd::{EfdFlags, EventFd};

/// How a loop begins that was started beside another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// As any: what an earlier process has left is removed, and the election decides.
    Anew,
    /// The other one has left ([`Control::request_leave`]): what it was Active for, and whose lease
    /// lives, is gone on with.
    GoOn,
}

/// Requests to a running loop, from any thread; each wakes it at once.
#[derive(Debug)]
pub struct Control {
    wake: EventFd,
    stop: AtomicBool,
    leave: AtomicBool,
    /// What the successor of one that leaves runs by, if that is something else.
    leaves_to: Mutex<Option<Arc<Config>>>,
    supervisor_absent: AtomicBool,
    /// What a reload has brought, until the loop takes it.
    next: Mutex<Option<Running>>,
    /// Of [`crate::run_beside`]; `None` = it waits.
    beginning: Mutex<Option<Beginning>>,
    begun: Condvar,
    /// Another proxy's, which the loop has not taken yet.
    proxy: Mutex<Option<&'static ProxyBoard>>,
    /// Another TC program's, which the loop has not taken yet.
    forward: Mutex<Option<&'static ForwardBoard>>,
}

/// A configuration, and the hash by which the other node knows it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) config: Arc<Config>,
    pub(crate) hash: u64,
}

impl Control {
    /// For one loop; a supervisor is taken as present.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            wake: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
            stop: AtomicBool::new(false),
            leave: AtomicBool::new(false),
            leaves_to: Mutex::new(None),
            supervisor_absent: AtomicBool::new(false),
            next: Mutex::new(None),
            beginning: Mutex::new(None),
            begun: Condvar::new(),
            proxy: Mutex::new(None),
            forward: Mutex::new(None),
        }))
    }

    /// Asks the loop to give its VIPs up and to return.
    pub fn request_stop(&self) {
        self.stop.store(true, Ordering::Release);
        // Under the lock: who is about to wait for a beginning must not miss it.
        let waiting = self.lock_beginning();
        self.begun.notify_all();
        drop(waiting);
        self.wake();
    }

    /// Asks the loop to return and to leave everything as it is, for a successor that waits beside it:
    /// leases stay, nobody is told that it resigns. What `next` has no more, by which the successor runs, is given
    /// up before; `None` = it runs by the same.
    pub fn request_leave(&self, next: Option<Arc<Config>>) {
        *self
            .leaves_to
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = next;
        self.leave.store(true, Ordering::Release);
        self.wake();
    }

    /// Lets a loop begin that waits in [`crate::run_beside`].
    pub fn begin(&self, beginning: Beginning) {
        *self.lock_beginning() = Some(beginning);
        self.begun.notify_all();
    }

    /// From now on another proxy serves, with a board of its own.
    pub fn use_proxy(&self, board: &'static ProxyBoard) {
        *self.proxy.lock().unwrap_or_else(PoisonError::into_inner) = Some(board);
        self.wake();
    }

    /// Says whether a supervisor holds the control connection. Two seconds without one, and the
    /// VIPs are handed over until one comes: nobody would resign for this process if it died.
    pub fn supervisor_present(&self, present: bool) {
        self.supervisor_absent.store(!present, Ordering::Release);
        self.wake();
    }

    /// The node runs by this configuration from now on. Nodes, pair, VIPs and trackers are as they were
    /// ([`Config::elects_like`]): for other ones this process makes way for a successor.
    pub fn reconfigure(&self, config: Arc<Config>, hash: u64) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = Some(Running { config, hash });
        drop(next);
        self.wake();
    }

    /// What a reload has brought; never waits for somebody who is just saying it, and is woken after that.
    pub(crate) fn take_next(&self) -> Option<Running> {
        self.next.try_lock().ok()?.take()
    }

    /// From now on another TC program is in place, with a board of its own.
    pub fn use_forward(&self, board: &'static ForwardBoard) {
        *self.forward.lock().unwrap_or_else(PoisonError::into_inner) = Some(board);
        self.wake();
    }

    pub(crate) fn stop_requested(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(crate) fn leave_requested(&self) -> bool {
        self.leave.load(Ordering::Acquire)
    }

    /// What the successor runs by. Nobody else holds the lock once leaving was requested.
    pub(crate) fn leaves_to(&self) -> Option<Arc<Config>> {
        let next = self.leaves_to.lock();
        next.unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until the loop may begin; `None` = it is to stop before it has begun.
    pub(crate) fn wait_for_beginning(&self) -> Option<Beginning> {
        let waits =
            |beginning: &mut Option<Beginning>| beginning.is_none() && !self.stop_requested();
        let begun = self.begun.wait_while(self.lock_beginning(), waits);
        *begun.unwrap_or_else(PoisonError::into_inner)
    }

    /// The board of another proxy, once. Never waits: whoever is just putting one there wakes the loop.
    pub(crate) fn take_proxy(&self) -> Option<&'static ProxyBoard> {
        self.proxy.try_lock().ok()?.take()
    }

    /// The same for another TC program.
    pub(crate) fn take_forward(&self) -> Option<&'static ForwardBoard> {
        self.forward.try_lock().ok()?.take()
    }

    fn lock_beginning(&self) -> std::sync::MutexGuard<'_, Option<Beginning>> {
        self.beginning
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn supervisor_is_absent(&self) -> bool {
        self.supervisor_absent.load(Ordering::Acquire)
    }

    /// Readable after a request.
    pub(crate) fn as_event(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Takes the wake-up back, before the requests are read.
    pub(crate) fn clear(&self) {
        // Empty is fine: the request was seen in an earlier turn.
        let _ = self.wake.read();
    }

    fn wake(&self) {
        // Full means that the loop has 2^64 - 2 wake-ups to come.
        let _ = self.wake.write(1);
    }
}
