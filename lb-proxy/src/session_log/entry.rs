//! What the session log will say of a session, while it lives.
#![expect(
    clippy::disallowed_types,
    reason = "asks sockets for their addresses, where they are logged"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::config::BackendIndex;
use common::roster::Roster;
use common::time::Moment;
use tokio::net::TcpStream;

use super::line::{Counts, Line};
use crate::clock;
use crate::context::Proxy;
use crate::limit;
use crate::opening::Said;
use crate::registry::{Address, Record, Session};
use crate::termination::{Ending, Phase};

/// Longest name that is kept of what a client, or a balancer in front, says that it asks for: that
/// of a DNS name.
const LONGEST_NAME: usize = 253;

/// An entry of the session log; empty where nothing is logged, and then nothing is done for it. When
/// it is dropped open, its session ends with the proxy.
#[derive(Debug)]
pub(crate) struct Entry(Option<Box<Open>>);

/// Small: a session keeps it for all its life.
#[derive(Debug)]
struct Open {
    proxy: Arc<Proxy>,
    record: Arc<Record>,
    bind: Option<Address>,
    /// Nanoseconds since 1970.
    accepted: u64,
    began: Moment,
    sni: Option<Box<str>>,
    client_cn: Option<Box<str>>,
    stage: Stage,
}

/// How far it has come.
#[derive(Debug)]
enum Stage {
    Opening,
    Search(Box<Search>),
    Found(Found),
}

/// The way to a server.
#[derive(Debug)]
struct Search {
    backend: BackendIndex,
    began: Moment,
    /// Since when it waits in the queue, while it does.
    waiting: Option<Moment>,
    /// How long it has waited; `None` = it never came to the queue.
    waited: Option<Duration>,
    /// Clients that were before it in the queue, over all its waits.
    ahead: u64,
    /// The last one that was tried: its place, and its address, since its place may be given away.
    server: Option<(u16, Address)>,
    attempts: u16,
    /// Another server was tried than the first.
    redispatched: bool,
}

/// What is left of the search when a server is connected to.
#[derive(Debug)]
struct Found {
    backend: u16,
    server: u16,
    source: Option<Address>,
    queue: Duration,
    connect: Duration,
    ahead: u32,
    retries: u16,
    redispatched: bool,
}

impl Entry {
    #[cfg(test)]
    pub(crate) const fn unlogged() -> Self {
        Self(None)
    }

    /// For a session that begins now.
    pub(crate) fn open(proxy: &Arc<Proxy>, session: &Session, client: &TcpStream) -> Self {
        if proxy.config.listeners[session.listener()]
            .session_log
            .is_none()
        {
            return Self(None);
        }
        Self(Some(Box::new(Open {
            proxy: Arc::clone(proxy),
            record: session.record(),
            bind: client.local_addr().ok().map(Address::from),
            accepted: u64::try_from(clock::calendar().as_nanos()).unwrap_or(u64::MAX),
            began: clock::now(),
            sni: None,
            client_cn: None,
            stage: Stage::Opening,
        })))
    }

    /// The client has said what it wants: a server of this backend.
    pub(crate) fn wants(&mut self, backend: BackendIndex, said: &Said) {
        let Some(open) = &mut self.0 else { return };
        open.sni = said.authority.as_deref().map(shortened);
        open.client_cn = said.common_name.as_deref().map(shortened);
        open.stage = Stage::Search(Box::new(Search {
            backend,
            began: clock::now(),
            waiting: None,
            waited: None,
            ahead: 0,
            server: None,
            attempts: 0,
            redispatched: false,
        }));
    }

    /// It waits in the queue, behind so many others.
    pub(crate) fn queues(&mut self, ahead: usize) {
        if let Some(search) = self.search() {
            search.waiting = Some(clock::now());
            search.ahead += ahead as u64;
        }
    }

    pub(crate) fn leaves_queue(&mut self) {
        if let Some(search) = self.search() {
            search.leave_queue(clock::now());
        }
    }

    /// The server at this place is to be connected to.
    pub(crate) fn tries(&mut self, place: usize, address: SocketAddr) {
        if let Some(search) = self.search() {
            search.attempts = search.attempts.saturating_add(1);
            let place = small(place);
            search.redispatched |= search.server.is_some_and(|(before, _)| before != place);
            search.server = Some((place, address.into()));
        }
    }

    /// The server at this place is connected to.
    pub(crate) fn connects(&mut self, place: usize, stream: &TcpStream) {
        if let Some(search) = self.search() {
            let found = search.found(place, stream, clock::now());
            if let Some(open) = &mut self.0 {
                open.stage = Stage::Found(found);
            }
        }
    }

    /// Tells how the session ended, and with it all else; what comes later is not told any more.
    pub(crate) fn close(&mut self, ending: &Ending<'_>) {
        if let Some(open) = self.0.take() {
            let now = clock::now();
            let proxy = Arc::clone(&open.proxy);
            let line = open.line(ending, now);
            proxy.session_log.write(Box::new(line), now);
        }
    }

    fn search(&mut self) -> Option<&mut Search> {
        match &mut self.0.as_mut()?.stage {
            Stage::Search(search) => Some(search),
            Stage::Opening | Stage::Found(_) => None,
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.close(if std::thread::panicking() {
            &Ending::Panicked
        } else {
            &Ending::Stopped
        });
    }
}

/// Tells of a connection that became no session.
pub(crate) fn refuse(
    proxy: &Proxy,
    listener: usize,
    (stream, peer): (&TcpStream, SocketAddr),
    ending: &Ending<'_>,
) {
    if proxy.config.listeners[listener].session_log.is_none() {
        return;
    }
    let line = Line {
        counts: counts(proxy, listener, None),
        ..Line::new(
            listener,
            (peer, stream.local_addr().ok()),
            clock::calendar(),
        )
    };
    let line = line.ended(ending, Phase::Opening);
    proxy.session_log.write(Box::new(line), clock::now());
}

impl Search {
    fn leave_queue(&mut self, now: Moment) {
        if let Some(since) = self.waiting.take() {
            *self.waited.get_or_insert_default() += now.since(since);
        }
    }

    /// How long it took to connect: all attempts and the pauses between them, but not the queue.
    fn found(&self, place: usize, stream: &TcpStream, now: Moment) -> Found {
        let queue = self.waited.unwrap_or_default();
        Found {
            backend: small(self.backend.0),
            server: small(place),
            source: stream.local_addr().ok().map(Address::from),
            queue,
            connect: now.since(self.began).saturating_sub(queue),
            ahead: u32::try_from(self.ahead).unwrap_or(u32::MAX),
            retries: self.attempts.saturating_sub(1),
            redispatched: self.redispatched,
        }
    }

    /// Into the line of a session that found no server.
    fn tell(&mut self, line: &mut Line, now: Moment) {
        self.leave_queue(now);
        line.backend = Some(self.backend);
        line.server = self.server.map(|(_, address)| address.into());
        // Who was given a server at once has waited no time at all.
        let at_once = self.server.map(|_| Duration::ZERO);
        line.queue = self.waited.or(at_once);
        line.ahead = self.ahead;
        line.retries = self.attempts.saturating_sub(1);
        line.redispatched = self.redispatched;
    }
}

impl Found {
    /// A server keeps its place as long as it has a session.
    fn tell(&self, roster: &Roster, line: &mut Line) {
        line.backend = Some(BackendIndex(self.backend.into()));
        let member = roster.at(self.server.into());
        line.server = member.map(|one| one.server.address);
        line.source = self.source.map(SocketAddr::from);
        line.queue = Some(self.queue);
        line.connect = Some(self.connect);
        line.ahead = self.ahead.into();
        line.retries = self.retries;
        line.redispatched = self.redispatched;
    }
}

impl Open {
    fn phase(&self) -> Phase {
        match &self.stage {
            Stage::Opening => Phase::Opening,
            Stage::Search(search) if search.waiting.is_some() => Phase::Queue,
            Stage::Search(_) => Phase::Connect,
            Stage::Found(_) => Phase::Data,
        }
    }

    /// The place of the last one that was tried.
    fn server(&self) -> Option<usize> {
        match &self.stage {
            Stage::Opening => None,
            Stage::Search(search) => search.server.map(|(place, _)| place.into()),
            Stage::Found(found) => Some(found.server.into()),
        }
    }

    fn line(mut self, ending: &Ending<'_>, now: Moment) -> Line {
        let (phase, place) = (self.phase(), self.server());
        let session = &self.record;
        let ends = (session.peer(), self.bind.map(SocketAddr::from));
        let accepted = Duration::from_nanos(self.accepted);
        let mut line = Line::new(session.listener(), ends, accepted);
        match &mut self.stage {
            Stage::Opening => {}
            Stage::Search(search) => search.tell(&mut line, now),
            Stage::Found(found) => found.tell(&self.proxy.roster.load(), &mut line),
        }
        if let Some(advertised) = self.proxy.advertised(session) {
            line.via = Some(line.client);
            line.client = advertised;
        }
        line.id = Some(session.id);
        line.total = now.since(self.began);
        line.bytes_in = session.up.get();
        line.bytes_out = session.down.get();
        line.counts = counts(&self.proxy, line.listener, line.backend.zip(Some(place)));
        line.sni = self.sni;
        line.client_cn = self.client_cn;
        line.ended(ending, phase)
    }
}

/// Sessions at this moment.
fn counts(proxy: &Proxy, listener: usize, wanted: Option<(BackendIndex, Option<usize>)>) -> Counts {
    let board = proxy.board;
    let of_backend = |index: BackendIndex| {
        let roster = proxy.roster.load();
        let members = roster.of(index).iter();
        let served: u64 = members
            .map(|one| board.servers[one.place].sessions.get())
            .sum();
        served + board.backends[index.0].queued.get()
    };
    let server = wanted.and_then(|(_, server)| server);
    Counts {
        process: limit::sessions(&board.listeners),
        listener: board.listeners[listener].sessions.get(),
        backend: wanted.map_or(0, |(backend, _)| of_backend(backend)),
        server: server.map_or(0, |place| board.servers[place].sessions.get()),
    }
}

/// At most [`LONGEST_NAME`] bytes of it.
fn shortened(name: &str) -> Box<str> {
    name[..name.floor_char_boundary(LONGEST_NAME)].into()
}

/// Backends and servers have places on a board, which has room for far fewer.
fn small(place: usize) -> u16 {
    u16::try_from(place).expect("a board has fewer places")
}
