//! The proxies of a node count together: the one that accepts, those that have retired and still have
//! sessions, and what those have counted that have ended. So a counter never goes back, and a session
//! is shown wherever it lives.

use std::io;
use std::os::fd::OwnedFd;

use common::board::{ProxyBoard, SupervisorBoard};

use crate::memory;

/// A proxy that has retired: its place on the supervisor's board, and its own board.
pub(crate) type Retired = (usize, &'static ProxyBoard);

/// All of them.
#[derive(Debug)]
pub(crate) struct Proxies {
    /// Of the one that accepts.
    board: &'static ProxyBoard,
    retired: &'static [Retired],
    /// `None` = there is one alone.
    sum: Option<Sum>,
}

/// A board of this process's own, on which they are added up.
#[derive(Debug)]
struct Sum {
    current: OwnedFd,
    past: Option<&'static ProxyBoard>,
    memory: OwnedFd,
    board: &'static ProxyBoard,
}

impl Proxies {
    /// One proxy, or some more.
    ///
    /// # Errors
    /// A board cannot be mapped.
    pub(crate) fn new(
        current: &OwnedFd,
        retired: &[(usize, OwnedFd)],
        past: Option<&OwnedFd>,
    ) -> io::Result<Self> {
        let map = |(place, board): &(usize, OwnedFd)| Ok((*place, memory::map_read_only(board)?));
        let retired = retired.iter().map(map).collect::<io::Result<Vec<_>>>()?;
        let past = past.map(memory::map_read_only).transpose()?;
        let sum = if retired.is_empty() && past.is_none() {
            None
        } else {
            let memory = memory::create::<ProxyBoard>("fmc-lb-sum")?;
            Some(Sum {
                current: current.try_clone()?,
                past,
                board: memory::map_writable(&memory)?,
                memory,
            })
        };
        Ok(Self {
            board: memory::map_read_only(current)?,
            retired: Box::leak(retired.into_boxed_slice()),
            sum,
        })
    }

    /// One that is the only one.
    #[cfg(test)]
    pub(crate) fn alone(board: &'static ProxyBoard) -> Self {
        Self {
            board,
            retired: &[],
            sum: None,
        }
    }

    /// What all of them say; as of the last [`Self::add_up`].
    pub(crate) fn board(&self) -> &'static ProxyBoard {
        self.sum.as_ref().map_or(self.board, |sum| sum.board)
    }

    /// Those that have retired, dead or alive.
    pub(crate) fn retired(&self) -> &'static [Retired] {
        self.retired
    }

    /// Adds up what they say now. The sessions of one that is dead have ended with it.
    pub(crate) fn add_up(&self, supervisor: &SupervisorBoard) {
        let Some(sum) = &self.sum else { return };
        if let Err(error) = memory::copy(&sum.current, &sum.memory) {
            tracing::warn!(%error, "what the proxy has counted cannot be read");
            return;
        }
        if let Some(past) = sum.past {
            sum.board.add_counters(past);
        }
        for (place, board) in self.retired {
            sum.board.add_counters(board);
            if supervisor.retired[*place].pid.get() != 0 {
                sum.board.add_sessions(board);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> (OwnedFd, &'static ProxyBoard) {
        let memory = memory::create::<ProxyBoard>("test").expect("memfd");
        let board = memory::map_writable(&memory).expect("mapped");
        (memory, board)
    }

    fn supervisor() -> Box<SupervisorBoard> {
        Box::default()
    }

    #[test]
    fn one_proxy_is_read_where_it_writes() {
        let (memory, board) = board();
        let proxies = Proxies::new(&memory, &[], None).expect("mapped");
        proxies.add_up(&supervisor());
        board.listeners[0].accepted.add(3);
        assert_eq!(proxies.board().listeners[0].accepted.get(), 3);
    }

    #[test]
    fn several_count_together_and_the_dead_have_no_sessions() {
        let (current, now) = board();
        let (retired, old) = board();
        let (past, dead) = board();
        for (board, count) in [(now, 1), (old, 10), (dead, 100)] {
            board.listeners[1].accepted.set(count);
            board.listeners[1].sessions.set(count);
        }
        now.vip_health[0].set(67);
        let proxies = Proxies::new(&current, &[(4, retired)], Some(&past)).expect("mapped");
        let supervisor = supervisor();
        let seen = || {
            proxies.add_up(&supervisor);
            let slot = &proxies.board().listeners[1];
            (slot.accepted.get(), slot.sessions.get())
        };
        assert_eq!(seen(), (111, 1));
        supervisor.retired[4].pid.set(77);
        assert_eq!(seen(), (111, 11));
        // Each time from the beginning.
        assert_eq!(seen(), (111, 11));
        assert_eq!(proxies.board().vip_health[0].get(), 67);
    }
}
