//! How the process that hosts the loop talks to it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use common::config::Config;
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Requests to a running loop, from any thread; each wakes it at once.
#[derive(Debug)]
pub struct Control {
    wake: EventFd,
    stop: AtomicBool,
    supervisor_absent: AtomicBool,
    /// What a reload has brought, until the loop takes it.
    next: Mutex<Option<Running>>,
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
            supervisor_absent: AtomicBool::new(false),
            next: Mutex::new(None),
        }))
    }

    /// Asks the loop to give its VIPs up and to return.
    pub fn request_stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Says whether a supervisor holds the control connection. Two seconds without one, and the
    /// VIPs are handed over until one comes: nobody would resign for this process if it died.
    pub fn supervisor_present(&self, present: bool) {
        self.supervisor_absent.store(!present, Ordering::Release);
        self.wake();
    }

    /// The node runs by this configuration from now on. Nodes, pair, VIPs and trackers are as they were: a
    /// reload does not change them.
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

    pub(crate) fn stop_requested(&self) -> bool {
        self.stop.load(Ordering::Acquire)
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
