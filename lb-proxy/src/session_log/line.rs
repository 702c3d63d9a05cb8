//! One connection as a line: JSON, or HAProxy's "tcplog" (its configuration manual, section 8.2.2).
//! Pure.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::config::{BackendIndex, Config, LogFormat};
use serde::Serialize;
use time::OffsetDateTime;

use crate::registry::SessionId;
use crate::termination::{Ending, Phase, Termination};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// What is told of a connection.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) listener: usize,
    /// Since 1970 (UTC).
    pub(super) accepted: Duration,
    /// From then to its end.
    pub(super) total: Duration,
    /// `None` = it was refused at once.
    pub(super) id: Option<SessionId>,
    /// Whose connection it is: by a header, or by its socket.
    pub(super) client: SocketAddr,
    /// Who sent the header.
    pub(super) via: Option<SocketAddr>,
    /// Where it arrived.
    pub(super) bind: Option<SocketAddr>,
    pub(super) backend: Option<BackendIndex>,
    /// The last one that was tried.
    pub(super) server: Option<SocketAddr>,
    /// Our own end of the connection to the server.
    pub(super) source: Option<SocketAddr>,
    /// In the queue of a full backend; `None` = it came neither there nor to a server.
    pub(super) queue: Option<Duration>,
    /// `None` = no server was connected to.
    pub(super) connect: Option<Duration>,
    /// From the client.
    pub(super) bytes_in: u64,
    /// To the client.
    pub(super) bytes_out: u64,
    pub(super) counts: Counts,
    /// Clients that were before it in the queue.
    pub(super) ahead: u64,
    /// Attempts to connect beyond the first.
    pub(super) retries: u16,
    pub(super) redispatched: bool,
    pub(super) sni: Option<Box<str>>,
    pub(super) client_cn: Option<Box<str>>,
    pub(super) termination: Termination,
    pub(super) reason: Option<String>,
}

/// Sessions when it ended, itself among them.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Counts {
    pub(super) process: u64,
    pub(super) listener: u64,
    /// Those that wait in its queue too.
    pub(super) backend: u64,
    pub(super) server: u64,
}

/// What indices of the configuration are called.
#[derive(Debug)]
pub(super) struct Names {
    config: Arc<Config>,
}

impl Names {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self { config }
    }

    fn listener(&self, line: &Line) -> &str {
        &self.config.listeners[line.listener].name
    }

    fn ends_tls(&self, line: &Line) -> bool {
        self.config.listeners[line.listener].tls.is_some()
    }

    fn backend(&self, line: &Line) -> Option<&str> {
        let index = line.backend?;
        Some(&self.config.backends[index.0].name)
    }
}

impl Line {
    /// For a connection of which only its ends are known.
    pub(super) fn new(
        listener: usize,
        (client, bind): (SocketAddr, Option<SocketAddr>),
        accepted: Duration,
    ) -> Self {
        Self {
            listener,
            accepted,
            client,
            bind,
            total: Duration::ZERO,
            id: None,
            via: None,
            backend: None,
            server: None,
            source: None,
            queue: None,
            connect: None,
            bytes_in: 0,
            bytes_out: 0,
            counts: Counts::default(),
            ahead: 0,
            retries: 0,
            redispatched: false,
            sni: None,
            client_cn: None,
            termination: Termination::NORMAL,
            reason: None,
        }
    }

    pub(super) fn ended(self, ending: &Ending<'_>, phase: Phase) -> Self {
        Self {
            termination: Termination::of(ending, phase),
            reason: ending.reason(),
            ..self
        }
    }

    /// Appends the line and its line feed.
    pub(super) fn write(&self, format: LogFormat, names: &Names, out: &mut Vec<u8>) {
        let text = match format {
            LogFormat::Json => self.json(names),
            LogFormat::Tcplog => self.tcplog(names),
        };
        out.extend_from_slice(text.as_bytes());
        out.push(b'\n');
    }

    fn json(&self, names: &Names) -> String {
        let line = Json {
            time: rfc3339(self.accepted.saturating_add(self.total)),
            accepted: rfc3339(self.accepted),
            id: self.id.map(|id| id.to_string()),
            client: self.client,
            via: self.via,
            listener: names.listener(self),
            bind: self.bind,
            backend: names.backend(self),
            server: self.server,
            source: self.source,
            queue_ms: self.queue.map(millis),
            connect_ms: self.connect.map(millis),
            total_ms: millis(self.total),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            sessions: self.counts,
            queued_ahead: self.ahead,
            retries: self.retries,
            redispatched: self.redispatched,
            sni: self.sni.as_deref(),
            client_cn: self.client_cn.as_deref(),
            termination: self.termination.to_string(),
            reason: self.reason.as_deref(),
        };
        serde_json::to_string(&line).expect("texts and numbers are JSON")
    }

    /// `%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq`; there are no queues
    /// of single servers.
    fn tcplog(&self, names: &Names) -> String {
        let listener = names.listener(self);
        let mut text = String::new();
        let mut put = |part: std::fmt::Arguments<'_>| {
            text.write_fmt(part).expect("a string takes everything");
        };
        put(format_args!("{}:{} ", self.client.ip(), self.client.port()));
        let secured = if names.ends_tls(self) { "~" } else { "" };
        let accepted = haproxy_date(self.accepted);
        put(format_args!("[{accepted}] {listener}{secured} "));
        // A client that no backend was chosen for is still the frontend's.
        put(format_args!("{}/", names.backend(self).unwrap_or(listener)));
        match self.server {
            Some(server) => put(format_args!("{server} ")),
            None => put(format_args!("<NOSRV> ")),
        }
        let timers = [self.queue, self.connect, Some(self.total)].map(timer);
        put(format_args!("{}/{}/{} ", timers[0], timers[1], timers[2]));
        put(format_args!("{} {} ", self.bytes_out, self.termination));
        let Counts {
            process,
            listener,
            backend,
            server,
        } = self.counts;
        put(format_args!("{process}/{listener}/{backend}/{server}/"));
        let redispatched = if self.redispatched { "+" } else { "" };
        put(format_args!(
            "{redispatched}{} 0/{}",
            self.retries, self.ahead
        ));
        text
    }
}

#[derive(Serialize)]
struct Json<'a> {
    /// Of its end.
    time: String,
    accepted: String,
    id: Option<String>,
    client: SocketAddr,
    via: Option<SocketAddr>,
    listener: &'a str,
    bind: Option<SocketAddr>,
    backend: Option<&'a str>,
    server: Option<SocketAddr>,
    source: Option<SocketAddr>,
    queue_ms: Option<u64>,
    connect_ms: Option<u64>,
    total_ms: u64,
    bytes_in: u64,
    bytes_out: u64,
    sessions: Counts,
    queued_ahead: u64,
    retries: u16,
    redispatched: bool,
    sni: Option<&'a str>,
    client_cn: Option<&'a str>,
    termination: String,
    reason: Option<&'a str>,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// As HAProxy has it: -1 for what did not come to pass.
fn timer(time: Option<Duration>) -> String {
    time.map_or_else(|| "-1".to_owned(), |time| millis(time).to_string())
}

fn date(since_1970: Duration) -> OffsetDateTime {
    // The calendar of `time` ends in the year 9999.
    OffsetDateTime::UNIX_EPOCH
        .checked_add(since_1970.try_into().unwrap_or_default())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// `2009-02-06T12:12:51.443Z`
fn rfc3339(since_1970: Duration) -> String {
    let at = date(since_1970);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second) = at.to_hms();
    let milli = at.millisecond();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// `06/Feb/2009:12:12:51.443`
fn haproxy_date(since_1970: Duration) -> String {
    let at = date(since_1970);
    let month = MONTHS[usize::from(u8::from(at.month()) - 1)];
    let (year, day) = (at.year(), at.day());
    let (hour, minute, second) = at.to_hms();
    let milli = at.millisecond();
    format!("{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02}.{milli:03}")
}

#[cfg(test)]
mod tests;
