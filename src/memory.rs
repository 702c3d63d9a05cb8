//! Memory that processes share: the boards, and texts that are handed over (memfd_create(2)).
//!
//! A board's descriptor is writable in the supervisor and in the board's writer; every reader gets
//! one that was opened anew for reading. The size is sealed, so that no mapping can lose its pages
//! under a reader (SIGBUS); the mode is 0600, so that a process of another user cannot open its
//! read-only descriptor again for writing.

#![expect(
    unsafe_code,
    reason = "a mapping of shared memory has no safe form; this is the only file that makes one"
)]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::mem::size_of;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use common::board::{AdminBoard, ProxyBoard, ROOM, SessionTable, SupervisorBoard, VrrpBoard};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use rustix::fs::{MemfdFlags, Mode, SealFlags};

/// A type that may be mapped from shared memory.
///
/// # Safety
/// The type is made of atomics only, has no padding that matters, and zeroed memory is a valid
/// value of it.
pub(crate) unsafe trait Shared: Sync + 'static {}

// SAFETY: boards are nothing but atomics, and zeroed memory is a valid, empty board (see
// `common::board`).
unsafe impl Shared for SupervisorBoard {}
// SAFETY: as above.
unsafe impl Shared for VrrpBoard {}
// SAFETY: as above.
unsafe impl Shared for ProxyBoard {}
// SAFETY: as above.
unsafe impl Shared for AdminBoard {}
// SAFETY: as above.
unsafe impl Shared for SessionTable {}

/// Makes the memory of an empty board, with room for what later versions add; the descriptor is writable.
pub(crate) fn create<T: Shared>(name: &str) -> io::Result<OwnedFd> {
    let memory = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&memory, size_of::<T>() as u64 + ROOM)?;
    rustix::fs::fchmod(&memory, Mode::RUSR | Mode::WUSR)?;
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&memory, seals)?;
    Ok(memory)
}

/// Makes another board hold what this one does, to the last word that any version knows. A text that is
/// just being written may be cut.
///
/// # Errors
/// The other one is shorter, or one of them cannot be read or written.
pub(crate) fn copy(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    // Both are page for page as their writers left them: the kernel copies, and nobody's mapping is touched.
    let content = read_text(from)?;
    File::from(to.try_clone()?).write_all_at(&content, 0)
}

/// The same memory behind a descriptor that only reads.
pub(crate) fn reopen_read_only(memory: &OwnedFd) -> io::Result<OwnedFd> {
    File::open(own_path(memory)).map(OwnedFd::from)
}

/// The same memory behind a descriptor that writes: what a new supervisor does with what it was
/// handed.
pub(crate) fn reopen_writable(memory: &OwnedFd) -> io::Result<OwnedFd> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(own_path(memory))
        .map(OwnedFd::from)
}

/// Maps a board for its readers, for as long as the process lives.
pub(crate) fn map_read_only<T: Shared>(memory: &OwnedFd) -> io::Result<&'static T> {
    map(memory, ProtFlags::PROT_READ)
}

/// Maps a board for its writer, for as long as the process lives.
pub(crate) fn map_writable<T: Shared>(memory: &OwnedFd) -> io::Result<&'static T> {
    map(memory, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)
}

/// A text that nobody can change any more, to be handed to other processes.
pub(crate) fn sealed_text(name: &str, text: &[u8]) -> io::Result<OwnedFd> {
    let memory = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(memory);
    file.write_all(text)?;
    let memory = OwnedFd::from(file);
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&memory, seals)?;
    Ok(memory)
}

/// Reads such a text from its beginning, wherever the descriptor's offset is (it is shared by all
/// holders).
pub(crate) fn read_text(memory: &OwnedFd) -> io::Result<Vec<u8>> {
    let file = File::from(memory.try_clone()?);
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    let mut text = vec![0; length];
    file.read_exact_at(&mut text, 0)?;
    Ok(text)
}

fn own_path(memory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", memory.as_raw_fd())
}

fn map<T: Shared>(memory: &OwnedFd, protection: ProtFlags) -> io::Result<&'static T> {
    let wanted = const { NonZeroUsize::new(size_of::<T>()).expect("a board is not empty") };
    let length = rustix::fs::fstat(memory)?.st_size;
    if u64::try_from(length).unwrap_or(0) < wanted.get() as u64 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a board of {length} bytes, expected at least {wanted}"),
        ));
    }
    // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
    let address = unsafe {
        mmap(
            None,
            wanted,
            protection,
            MapFlags::MAP_SHARED,
            memory.as_fd(),
            0,
        )?
    };
    // SAFETY: the mapping is page-aligned, at least as long as T (checked above; its size is
    // sealed, so it stays) and never unmapped. T is made of atomics, for which any bytes, and
    // changes by other processes, are valid (`Shared`). A read-only mapping is only ever loaded
    // from: no reader of a board calls a method that stores.
    Ok(unsafe { address.cast::<T>().as_ref() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_what_the_writer_writes_and_cannot_write_itself() {
        let memory = create::<VrrpBoard>("test").expect("memfd");
        let writer = map_writable::<VrrpBoard>(&memory).expect("writer");
        let read_only = reopen_read_only(&memory).expect("reopen");
        let reader = map_read_only::<VrrpBoard>(&read_only).expect("reader");
        writer.vips[15].adverts_sent.add(7);
        writer.vips[15].reason.set("because");
        assert_eq!(reader.vips[15].adverts_sent.get(), 7);
        assert_eq!(reader.vips[15].reason.get(), "because");
        assert!(map_writable::<VrrpBoard>(&read_only).is_err());
    }

    #[test]
    fn a_board_cannot_change_its_size() {
        let memory = create::<AdminBoard>("test").expect("memfd");
        assert!(rustix::fs::ftruncate(&memory, 0).is_err());
        assert!(rustix::fs::ftruncate(&memory, 1 << 20).is_err());
    }

    #[test]
    fn a_board_that_is_too_short_is_refused() {
        let memory = sealed_text("test", b"no board").expect("memfd");
        assert!(map_read_only::<ProxyBoard>(&memory).is_err());
    }

    /// What a later version adds at the end.
    #[repr(C)]
    struct Later {
        known: AdminBoard,
        added: common::board::Cell,
    }

    // SAFETY: as the board that it begins with.
    unsafe impl Shared for Later {}

    #[test]
    fn a_later_version_has_room_for_more_and_an_earlier_one_copies_it_too() {
        let memory = create::<AdminBoard>("test").expect("memfd");
        let later = map_writable::<Later>(&memory).expect("there is room");
        assert_eq!(later.added.get(), 0);
        later.added.set(7);
        later.known.http_denied.set(3);
        let other = create::<AdminBoard>("test").expect("memfd");
        copy(&memory, &other).expect("they are of a length");
        let copied = map_read_only::<Later>(&other).expect("there is room");
        assert_eq!((copied.added.get(), copied.known.http_denied.get()), (7, 3));
    }

    #[test]
    fn a_new_supervisor_writes_on_with_what_it_was_handed() {
        let memory = create::<AdminBoard>("test").expect("memfd");
        let handed = reopen_read_only(&memory).expect("reopen");
        let writable = reopen_writable(&handed).expect("reopen");
        let board = map_writable::<AdminBoard>(&writable).expect("map");
        board
            .header
            .pid
            .store(9, std::sync::atomic::Ordering::Relaxed);
        let first = map_read_only::<AdminBoard>(&memory).expect("map");
        assert_eq!(
            first.header.pid.load(std::sync::atomic::Ordering::Relaxed),
            9
        );
    }

    #[test]
    fn a_sealed_text_is_read_whole_by_each_holder_and_changed_by_none() {
        let text = sealed_text("test", b"[nodes.a]").expect("memfd");
        let other = text.try_clone().expect("dup");
        assert_eq!(read_text(&text).expect("read"), b"[nodes.a]");
        assert_eq!(read_text(&other).expect("read"), b"[nodes.a]");
        assert!(File::from(other).write_at(b"x", 0).is_err());
    }
}
