//! What this machine lacks: descriptors, memory, ports. Such an error says nothing of the server
//! that was to be connected to.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::time::Moment;
use nix::errno::Errno;

/// While something is lacking, it is warned of this often.
const PAUSE: Duration = Duration::from_secs(10);

/// Whether the error is a lack of something on this machine.
pub(crate) fn is_ours(error: &io::Error) -> bool {
    const LACKS: [Errno; 5] = [
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::ENOBUFS,
        Errno::ENOMEM,
        Errno::EADDRNOTAVAIL,
    ];
    error
        .raw_os_error()
        .is_some_and(|number| LACKS.contains(&Errno::from_raw(number)))
}

/// Whether it is a lack of ports: of those for one server, so that another server can be connected to.
pub(crate) fn is_of_ports(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EADDRNOTAVAIL as i32)
}

/// Lets one warning through for each pause, whoever of the threads has it.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    /// When the next one may come, in nanoseconds.
    next: AtomicU64,
}

impl Warnings {
    /// Whether to warn now.
    pub(crate) fn is_due(&self, now: Moment) -> bool {
        let next = self.next.load(Ordering::Relaxed);
        let after = (now + PAUSE).as_nanos();
        now.as_nanos() >= next
            && self
                .next
                .compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_does_is_not_ours() {
        let ours = |errno: Errno| is_ours(&io::Error::from(errno));
        assert!(ours(Errno::EMFILE) && ours(Errno::EADDRNOTAVAIL));
        assert!(!ours(Errno::ECONNREFUSED) && !ours(Errno::ENETUNREACH));
        assert!(!is_ours(&io::ErrorKind::TimedOut.into()));
    }

    #[test]
    fn one_warning_a_pause() {
        let warnings = Warnings::default();
        let start = Moment::from_nanos(7);
        assert!(warnings.is_due(start));
        assert!(!warnings.is_due(start + PAUSE - Duration::from_nanos(1)));
        assert!(warnings.is_due(start + PAUSE));
    }
}
