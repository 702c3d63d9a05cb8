//! Large pipes for splice(2), a few for each thread.
//!
//! A pipe that holds bytes belongs to one direction of one session; an empty one goes back. So a
//! session that waits for its source holds none, and readers that do not read can take all of them:
//! then the others copy.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use common::time::Moment;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;

use crate::clock;

/// What a pipe takes. One of the kernel's default size (64 KiB) moves so little at once that it
/// costs more than copying.
pub(super) const CAPACITY: usize = 1024 * 1024;
/// Most pipes of all threads together: a user without privileges has 64 MiB of them
/// (/proc/sys/fs/pipe-user-pages-soft), and two proxies live while one replaces the other.
const MOST: usize = 24;
/// When the kernel has given none, it is not asked again for so long.
const AGAIN: Duration = Duration::from_secs(10);
const FLAGS: SpliceFFlags = SpliceFFlags::SPLICE_F_MOVE.union(SpliceFFlags::SPLICE_F_NONBLOCK);

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool::new(0)) };
}

/// The pipes of one thread.
#[derive(Debug)]
struct Pool {
    idle: Vec<Ends>,
    /// In use or idle.
    made: usize,
    limit: usize,
    /// The kernel gave none: when it is asked again.
    again: Option<Moment>,
}

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

/// Sets how many pipes this thread may have; it is the one at `index` of so many.
pub(crate) fn share(index: usize, threads: usize) {
    POOL.with_borrow_mut(|pool| pool.limit = share_of(index, threads));
}

/// Out of [`MOST`]: with more threads than that, some have none and copy.
const fn share_of(index: usize, threads: usize) -> usize {
    MOST / threads + if index < MOST % threads { 1 } else { 0 }
}

/// A pipe, taken from its thread's pool until dropped.
#[derive(Debug)]
pub(super) struct Pipe {
    /// `None` only while it is dropped.
    ends: Option<Ends>,
    /// Bytes in it.
    held: usize,
}

impl Pipe {
    /// An empty pipe; `None` = all are in use, or the kernel gives no large one: copy instead.
    pub(super) fn take() -> Option<Self> {
        let ends = POOL.with_borrow_mut(|pool| pool.take(clock::now, make))?;
        Some(Self {
            ends: Some(ends),
            held: 0,
        })
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes what the socket has, up to `most` bytes; 0 = its peer has sent a FIN. To be called with an empty pipe:
    /// then "would block" means that the socket has nothing.
    pub(super) fn fill(&mut self, from: impl AsFd, most: usize) -> io::Result<usize> {
        debug_assert_eq!(self.held, 0, "a full pipe would block as well");
        let n = splice(from, None, &self.ends().write, None, most, FLAGS)?;
        self.held += n;
        Ok(n)
    }

    /// Gives the socket what it takes.
    pub(super) fn drain(&mut self, to: impl AsFd) -> io::Result<usize> {
        let n = splice(&self.ends().read, None, to, None, self.held, FLAGS)?;
        self.held -= n;
        Ok(n)
    }

    fn ends(&self) -> &Ends {
        self.ends.as_ref().expect("it is there until the drop")
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        POOL.with_borrow_mut(|pool| match self.ends.take() {
            Some(ends) if self.held == 0 => pool.idle.push(ends),
            // What a broken session has left in it is nobody else's.
            _ => pool.made -= 1,
        });
    }
}

impl Pool {
    const fn new(limit: usize) -> Self {
        Self {
            idle: Vec::new(),
            made: 0,
            limit,
            again: None,
        }
    }

    fn take(
        &mut self,
        now: impl Fn() -> Moment,
        make: impl FnOnce() -> nix::Result<Ends>,
    ) -> Option<Ends> {
        if let Some(ends) = self.idle.pop() {
            return Some(ends);
        }
        let is_early = || self.again.is_some_and(|again| now() < again);
        if self.made >= self.limit || is_early() {
            return None;
        }
        match make() {
            Ok(ends) => {
                self.made += 1;
                self.again = None;
                Some(ends)
            }
            Err(error) => {
                // No use in asking for each session: the user's share is taken, or no descriptor is
                // left. Either may be over after a while.
                if self.again.replace(now() + AGAIN).is_none() {
                    tracing::warn!(
                        pipes = self.made,
                        %error,
                        "no more large pipes: what is beyond is copied, at more cost"
                    );
                }
                None
            }
        }
    }
}

fn make() -> nix::Result<Ends> {
    let capacity = i32::try_from(CAPACITY).expect("a mebibyte");
    let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    fcntl(&write, FcntlArg::F_SETPIPE_SZ(capacity))?;
    Ok(Ends { read, write })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_thread_has_its_share_and_gets_back_what_is_empty() {
        share(0, MOST / 2);
        let (one, two) = (Pipe::take().expect("one"), Pipe::take().expect("two"));
        assert!(Pipe::take().is_none());
        drop(one);
        let again = Pipe::take().expect("it came back");
        assert!(Pipe::take().is_none());
        drop((again, two));
        POOL.with_borrow(|pool| assert_eq!((pool.idle.len(), pool.made), (2, 2)));
    }

    #[test]
    fn all_threads_of_two_proxies_have_no_more_than_a_user_may() {
        // 16,384 pages of 4 KiB (pipe(7)).
        const { assert!(2 * MOST * CAPACITY <= 64 << 20) };
        for threads in 1..=common::config::MAX_THREADS {
            let all: usize = (0..threads).map(|index| share_of(index, threads)).sum();
            assert_eq!(all, MOST, "of {threads} threads");
        }
    }

    #[test]
    fn a_kernel_that_gives_no_pipe_is_asked_again_after_a_while() {
        let start = Moment::from_nanos(1);
        let refuse = || Err(nix::errno::Errno::EPERM);
        let mut pool = Pool::new(2);
        let first = pool.take(|| start, make).expect("the first one");
        assert!(pool.take(|| start, refuse).is_none());
        let early = start + AGAIN - Duration::from_nanos(1);
        let unasked = || panic!("it is too early");
        assert!(pool.take(|| early, unasked).is_none());
        // One that came back needs nobody.
        pool.idle.push(first);
        assert!(pool.take(|| early, unasked).is_some());
        assert!(pool.take(|| start + AGAIN, refuse).is_none());
        let later = start + 2 * AGAIN;
        assert!(pool.take(|| later, make).is_some());
        assert!(pool.take(|| later, unasked).is_none(), "it has its two");
    }

    #[test]
    fn a_pipe_with_bytes_of_a_broken_session_is_given_to_nobody() {
        share(0, MOST);
        let (mut far, near) = UnixStream::pair().expect("a pair");
        far.write_all(b"secret").expect("sent");
        let mut pipe = Pipe::take().expect("one");
        assert_eq!(pipe.fill(&near, CAPACITY).expect("six bytes"), 6);
        drop(pipe);
        POOL.with_borrow(|pool| assert_eq!((pool.idle.len(), pool.made), (0, 0)));
        assert_eq!(Pipe::take().expect("a new one").held(), 0);
    }

    #[test]
    fn bytes_pass_through_and_an_empty_source_would_block() {
        share(0, MOST);
        let (mut far, near) = UnixStream::pair().expect("a pair");
        near.set_nonblocking(true).expect("set");
        let (mut out, target) = UnixStream::pair().expect("a pair");
        let mut pipe = Pipe::take().expect("one");
        let error = pipe.fill(&near, CAPACITY).expect_err("nothing was sent");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        far.write_all(b"hello").expect("sent");
        assert_eq!(pipe.fill(&near, CAPACITY).expect("five bytes"), 5);
        assert_eq!(pipe.drain(&target).expect("all"), 5);
        assert_eq!(pipe.held(), 0);
        let mut got = [0; 5];
        out.read_exact(&mut got).expect("they arrive");
        assert_eq!(&got, b"hello");
        drop(far);
        assert_eq!(pipe.fill(&near, CAPACITY).expect("the end"), 0);
    }
}
