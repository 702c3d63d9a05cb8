//! Socket options of TCP (tcp(7)) that no crate of ours has.
#![expect(unsafe_code, reason = "calls setsockopt(2) and getsockopt(2) itself")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;

/// TCP_DEFER_ACCEPT: a connection without data is not accepted before so many seconds.
pub(super) fn set_defer_accept(socket: &impl AsFd, seconds: i32) -> io::Result<()> {
    set(socket, libc::TCP_DEFER_ACCEPT, seconds)
}

/// TCP_FASTOPEN: so many connections with data in the SYN may wait.
pub(super) fn set_fast_open(socket: &impl AsFd, queue: i32) -> io::Result<()> {
    set(socket, libc::TCP_FASTOPEN, queue)
}

fn set(socket: &impl AsFd, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("4 bytes");
    // SAFETY: the pointer is to a value of this function, as long as the length says, and the
    // kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
pub(super) fn fast_open(socket: &impl AsFd) -> io::Result<i32> {
    let mut value: libc::c_int = 0;
    let mut length = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("4 bytes");
    // SAFETY: both pointers are to values of this function, and the kernel writes no more than the
    // length says.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(value)
    } else {
        Err(io::Error::last_os_error())
    }
}
