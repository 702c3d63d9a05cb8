//! How many sessions there may be, and how fast they may come.
//!
//! What is beyond a listener's or the process's limit waits in the kernel's queue; what one client
//! has too much of is refused.

mod clients;
mod rate;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::board::{Hold, ListenerSlot, ProxyBoard};
use common::config::{Config, Listener};
use common::time::Moment;

use crate::lists::Lists;

pub use self::clients::{Admitted, Clients, Refusal};
pub use self::rate::Rate;

/// The limits of all listeners, shared by the relay threads.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Of the whole process.
    max_sessions: u64,
    listeners: Vec<Limit>,
}

/// The limits of one listener.
#[derive(Debug)]
struct Limit {
    max_sessions: Option<u64>,
    accepts: Option<Arc<Accepts>>,
    /// `None` = a client may have as many as it likes.
    clients: Option<Arc<Clients>>,
}

/// A rate that several threads take from.
#[derive(Debug)]
struct Accepts {
    per_second: u64,
    rate: Rate,
    /// When the rate allows the next one, in nanoseconds.
    next: AtomicU64,
}

/// Why a listener accepts nothing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Until a session ends.
    Full(Hold),
    /// So long, for its rate.
    Pace(Duration),
}

impl Limits {
    /// `possible`: the sessions that this process has descriptors for.
    pub(crate) fn new(
        config: &Config,
        (board, lists): (&'static ProxyBoard, &Lists),
        possible: u64,
    ) -> Self {
        let none = Self {
            max_sessions: 0,
            listeners: Vec::new(),
        };
        none.after(config, (board, lists), possible)
    }

    /// Those of the configuration after this one: what clients have is known on, whatever becomes of the
    /// limits. In force from [`Limits::take_over`] on.
    pub(crate) fn after(
        &self,
        config: &Config,
        (board, lists): (&'static ProxyBoard, &Lists),
        possible: u64,
    ) -> Self {
        let wanted = config.proxy.max_sessions.unwrap_or(possible);
        let listeners = config.listeners.iter().zip(&board.listeners).enumerate();
        let limit = |(index, (listener, slot))| {
            Limit::new((listener, slot), lists, self.listeners.get(index))
        };
        Self {
            max_sessions: wanted.min(possible),
            listeners: listeners.map(limit).collect(),
        }
    }

    /// From now on these count.
    pub(crate) fn take_over(&self) {
        let clients = self.listeners.iter().flat_map(|limit| &limit.clients);
        clients.for_each(|clients| clients.take_over());
    }

    /// Whether a listener may serve one more. Threads that ask at the same time may each get a yes,
    /// so the limits are exact to within the number of threads.
    pub(crate) fn may_serve(
        &self,
        listener: usize,
        board: &ProxyBoard,
        now: Moment,
    ) -> Result<(), Wait> {
        let limit = &self.listeners[listener];
        let full = |most: Option<u64>, sessions: u64| most.is_some_and(|most| sessions >= most);
        if full(limit.max_sessions, board.listeners[listener].sessions.get()) {
            return Err(Wait::Full(Hold::Sessions));
        }
        if full(Some(self.max_sessions), sessions(&board.listeners)) {
            return Err(Wait::Full(Hold::AllSessions));
        }
        match &limit.accepts {
            Some(accepts) => accepts.take(now).map_err(Wait::Pace),
            None => Ok(()),
        }
    }

    /// Counts a client's new session until the value is dropped, or refuses it.
    pub(crate) fn admit(
        &self,
        listener: usize,
        client: IpAddr,
        now: Moment,
    ) -> Result<Option<Box<Admitted>>, Refusal> {
        match &self.listeners[listener].clients {
            Some(clients) => clients.admit(client, now),
            None => Ok(None),
        }
    }
}

impl Limit {
    fn new(
        (listener, slot): (&Listener, &'static ListenerSlot),
        lists: &Lists,
        before: Option<&Self>,
    ) -> Self {
        let limit = &listener.source_limit;
        let known = before.and_then(|before| before.clients.as_ref());
        let paced = before.and_then(|before| before.accepts.as_ref());
        let exempt = || lists.list(&limit.exempt, limit.exempt_file.as_deref());
        Self {
            max_sessions: listener.max_sessions,
            accepts: listener.accept_rate.map(|per_second| {
                let same = paced.filter(|paced| paced.per_second == per_second);
                same.cloned().unwrap_or_else(|| {
                    Arc::new(Accepts {
                        per_second,
                        rate: Rate::per_second(per_second),
                        next: AtomicU64::new(0),
                    })
                })
            }),
            clients: match known {
                Some(known) => known.after(limit, exempt),
                None => Clients::new(limit, exempt, &slot.clients_at_limit),
            },
        }
    }
}

impl Accepts {
    fn take(&self, now: Moment) -> Result<(), Duration> {
        let mut next = self.next.load(Ordering::Relaxed);
        loop {
            let after = self.rate.take(next, now)?;
            match self
                .next
                .compare_exchange_weak(next, after, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Ok(()),
                Err(other) => next = other,
            }
        }
    }
}

/// Sessions of the whole process.
pub(crate) fn sessions(listeners: &[ListenerSlot]) -> u64 {
    listeners.iter().map(|slot| slot.sessions.get()).sum()
}
