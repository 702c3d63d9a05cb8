//! A signal that would end a new version before it has taken over has it execute the one before instead.

#![expect(unsafe_code, reason = "a signal handler, and what it may call")]

use std::ffi::{CString, c_char, c_int};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Those by which a process ends itself.
pub(super) const FATAL: [Signal; 5] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGILL,
    Signal::SIGFPE,
    Signal::SIGABRT,
];

/// What is executed, made beforehand: a handler may not allocate.
pub(super) struct Plan {
    pub(super) file: OwnedFd,
    pub(super) arguments: Vec<CString>,
    /// For each signal of [`FATAL`].
    pub(super) environments: [Vec<CString>; FATAL.len()],
}

/// The same as the kernel takes it.
struct Ready {
    file: RawFd,
    arguments: Vec<*const c_char>,
    environments: [Vec<*const c_char>; FATAL.len()],
}

/// Null = a signal does what it does by default.
static READY: AtomicPtr<Ready> = AtomicPtr::new(ptr::null_mut());

/// Signals and what they did before.
#[derive(Debug)]
pub(super) struct Net(Vec<(Signal, SigAction)>);

impl Net {
    /// From now on, until it is dropped. To be made once in a process: the plan is never freed, since another thread may
    /// be in the handler.
    pub(super) fn spread(plan: Plan) -> io::Result<Self> {
        let plan: &'static Plan = Box::leak(Box::new(plan));
        let ready = Box::leak(Box::new(Ready {
            file: plan.file.as_raw_fd(),
            arguments: pointers(&plan.arguments),
            environments: plan.environments.each_ref().map(|one| pointers(one)),
        }));
        READY.store(ready, Ordering::Release);
        // Not blocked within it: what is executed inherits the mask.
        let flags = SaFlags::SA_ONSTACK | SaFlags::SA_NODEFER;
        let action = SigAction::new(SigHandler::Handler(fall_back), flags, SigSet::empty());
        let mut net = Self(Vec::new());
        for signal in FATAL {
            // SAFETY: `fall_back` calls nothing but what signal-safety(7) names, and execveat(2), which is a system call.
            let before = unsafe { sigaction(signal, &action) }?;
            net.0.push((signal, before));
        }
        Ok(net)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        READY.store(ptr::null_mut(), Ordering::Release);
        for (signal, before) in self.0.drain(..) {
            // SAFETY: it was in place before, and is std's or the default.
            let put_back = unsafe { sigaction(signal, &before) };
            put_back.expect("it was one of ours a moment ago");
        }
    }
}

extern "C" fn fall_back(signal: c_int) {
    let ready = READY.load(Ordering::Acquire);
    // SAFETY: null, or leaked by `spread`.
    if let Some(ready) = unsafe { ready.as_ref() } {
        let place = FATAL.iter().position(|one| *one as c_int == signal);
        let environment = &ready.environments[place.unwrap_or(0)];
        // SAFETY: both end with a null pointer, and all others are strings of the plan, which is never freed.
        unsafe {
            libc::syscall(
                libc::SYS_execveat,
                ready.file,
                c"".as_ptr(),
                ready.arguments.as_ptr(),
                environment.as_ptr(),
                libc::AT_EMPTY_PATH,
            );
        }
    }
    // SAFETY: both may be called here; the process ends by the signal as if nobody had handled it.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    let all = strings.iter().map(|one| one.as_ptr());
    all.chain([ptr::null()]).collect()
}
