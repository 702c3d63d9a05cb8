//! What the connections for sessions tell of a server's health, beside its probes (HAProxy's
//! `observe layer4`): relay threads count on the board, the keeper judges.

use std::io;

use common::board::ServerSlot;
use nix::errno::Errno;

/// Counts a connection that has failed through no fault of ours; at each multiple of `limit` of them
/// in a row, an error of the server.
pub(crate) fn count_error(slot: &ServerSlot, error: &io::Error, limit: u32) {
    let number = error
        .raw_os_error()
        .unwrap_or_else(|| number_of(error.kind()));
    slot.last_error.set(number.unsigned_abs().into());
    if slot.errors_in_row.count().is_multiple_of(limit.into()) {
        slot.error_limits.add(1);
    }
}

/// Of an error that is none of the kernel's: it took too long, or a handshake of TLS came to nothing.
fn number_of(kind: io::ErrorKind) -> i32 {
    if kind == io::ErrorKind::TimedOut {
        0
    } else if kind == io::ErrorKind::UnexpectedEof {
        Errno::ECONNRESET as i32
    } else {
        Errno::EPROTO as i32
    }
}

/// A connection has succeeded. Reading first keeps the threads from fighting for the cell.
pub(crate) fn count_success(slot: &ServerSlot) {
    if slot.errors_in_row.get() != 0 {
        slot.errors_in_row.set(0);
    }
}

/// Why the server has an error: "10 connections in a row failed, the last: connection refused".
pub(crate) fn words(slot: &ServerSlot, limit: u32) -> String {
    let number = i32::try_from(slot.last_error.get()).unwrap_or(0);
    let last = match number {
        0 => "no connection in time".to_owned(),
        number => Errno::from_raw(number).desc().to_lowercase(),
    };
    format!("{limit} connections in a row failed, the last: {last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> io::Error {
        io::Error::from_raw_os_error(Errno::ECONNREFUSED as i32)
    }

    #[test]
    fn each_so_many_failures_in_a_row_are_an_error() {
        let slot = ServerSlot::default();
        for _ in 0..2 {
            count_error(&slot, &refused(), 3);
        }
        count_success(&slot);
        for _ in 0..2 {
            count_error(&slot, &refused(), 3);
        }
        assert_eq!(slot.error_limits.get(), 0);
        count_error(&slot, &io::ErrorKind::TimedOut.into(), 3);
        assert_eq!((slot.error_limits.get(), slot.errors_in_row.get()), (1, 3));
        assert_eq!(
            words(&slot, 3),
            "3 connections in a row failed, the last: no connection in time"
        );
        for _ in 0..4 {
            count_error(&slot, &refused(), 3);
        }
        assert_eq!((slot.error_limits.get(), slot.errors_in_row.get()), (2, 7));
        assert_eq!(
            words(&slot, 3),
            "3 connections in a row failed, the last: connection refused"
        );
        count_success(&slot);
        assert_eq!(slot.errors_in_row.get(), 0);
        count_error(
            &slot,
            &io::Error::new(io::ErrorKind::InvalidData, "alert"),
            1,
        );
        assert_eq!(
            words(&slot, 1),
            "1 connections in a row failed, the last: protocol error"
        );
    }
}
