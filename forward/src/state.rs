//! The map of the program that is memory: its stamp, the roles, the verdict.
#![expect(
    unsafe_code,
    reason = "a mapping of the kernel's memory has no safe form; this file makes the only one"
)]

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;

use common::board::ForwardBoard;
use nix::sys::mman::{MapFlags, ProtFlags, mmap};

/// Maps the board of a program, for as long as the process lives; the descriptor is enough, no capability is needed.
///
/// # Errors
/// If the descriptor is no such map, or it is too small.
pub fn map_state(map: impl AsFd) -> io::Result<&'static ForwardBoard> {
    let length =
        const { NonZeroUsize::new(size_of::<ForwardBoard>()).expect("a board is not empty") };
    // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
    let address = unsafe {
        mmap(
            None,
            length,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_SHARED,
            map,
            0,
        )?
    };
    // SAFETY: the mapping is page-aligned and never unmapped; the kernel refuses one that is longer than the map, whose
    // size never changes. A board is made of atomics, for which any bytes, and changes by others, are valid.
    Ok(unsafe { address.cast::<ForwardBoard>().as_ref() })
}
