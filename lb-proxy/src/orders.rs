//! Does what an administrator says at run time, and answers what he asks.

mod servers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::board::AdminState;
use common::command::{
    Command, MOST_SESSIONS, Reply, ServerName, SessionList, SessionStatus, Wish,
};
use common::config::{BackendIndex, Config, MAX_WEIGHT};
use common::roster::{Member, Roster};
use common::time::Moment;
use tracing::info;

use crate::context::Proxy;
use crate::keeper::Keeper;
use crate::registry::{Cut, Oldest, Record, SessionId};

/// Why something was not done.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("there is no backend `{name}`, only {known}")]
    NoBackend { name: String, known: String },
    #[error("backend `{backend}` has no server {address}, {known}")]
    NoServer {
        backend: String,
        address: SocketAddr,
        known: String,
    },
    #[error("no backend has a server {0}")]
    NoSuchServer(SocketAddr),
    #[error("there is no listener `{name}`, only {known}")]
    NoListener { name: String, known: String },
    #[error("a weight is at most {MAX_WEIGHT}")]
    Weight,
    #[error("there is no session {0}: `fmc-lb sessions` lists them")]
    NoSession(String),
    #[error("{0}")]
    Server(#[from] servers::Refusal),
}

/// Does it, on the thread of the keeper.
pub(crate) fn execute(command: Command, keeper: &mut Keeper, now: Moment) -> Reply {
    let proxy = keeper.proxy();
    let done = match command {
        Command::ServerState {
            server,
            state,
            for_ms,
        } => set_state((&proxy, keeper), (&server, state), until(for_ms, now), now),
        Command::ServerWeight {
            server,
            weight,
            for_ms,
        } => set_weight((&proxy, keeper), (&server, weight), until(for_ms, now), now),
        Command::ServerAdd {
            server,
            weight,
            backup,
            max_sessions,
            for_ms,
        } => {
            let wanted = servers::Wanted {
                weight,
                backup,
                max_sessions,
            };
            servers::add(keeper, (&server, wanted), (now, until(for_ms, now)))
        }
        Command::ServerAddress {
            server,
            address,
            for_ms,
        } => servers::move_to(keeper, (&server, address), (now, until(for_ms, now))),
        Command::ServerRemove { server, sessions } => {
            servers::remove(keeper, (&server, sessions), now)
        }
        Command::ListenerPause { listener, for_ms } => {
            pause((&proxy, keeper), &listener, until(for_ms, now), now)
        }
        Command::ListenerResume { listener } => resume(&proxy, &listener),
        Command::Sessions { listener, server } => {
            return match list(&proxy, listener.as_deref(), server, now) {
                Ok(list) => Reply::sessions(list),
                Err(refusal) => Reply::error(refusal.to_string()),
            };
        }
        Command::KillSession { id } => kill_one(&proxy, id),
        Command::KillServerSessions { server } => {
            let found = find(&proxy, &server);
            return killed(&proxy, found.map(|at| at.place), |one, place| {
                one.server() == Some(place)
            });
        }
        Command::KillListenerSessions { listener } => {
            let found = index_of(&proxy.config, &listener);
            return killed(&proxy, found, |one, index| one.listener() == index);
        }
    };
    match done {
        Ok(what) => {
            info!(what, "by administrator");
            Reply::done(what)
        }
        Err(refusal) => Reply::error(refusal.to_string()),
    }
}

/// When something ends that an administrator says now.
fn until(for_ms: Option<u64>, now: Moment) -> Option<Moment> {
    for_ms.map(|millis| now + Duration::from_millis(millis))
}

fn set_state(
    (proxy, keeper): (&Proxy, &mut Keeper),
    (server, wish): (&ServerName, Wish),
    until: Option<Moment>,
    now: Moment,
) -> Result<String, Refusal> {
    let place = find(proxy, server)?.place;
    let (state, word) = match wish {
        Wish::Ready => (AdminState::None, "is what its probes say"),
        Wish::Drain => (AdminState::Drain, "gets no new sessions"),
        Wish::Maintenance => (
            AdminState::Maintenance,
            "gets no new sessions and is not probed",
        ),
    };
    let until = until.filter(|_| state != AdminState::None);
    keeper.say_state(place, (state, until), now);
    Ok(format!("server {server} {word}{}", for_words(until, now)))
}

fn set_weight(
    (proxy, keeper): (&Proxy, &mut Keeper),
    (server, weight): (&ServerName, Option<u16>),
    until: Option<Moment>,
    now: Moment,
) -> Result<String, Refusal> {
    let place = find(proxy, server)?.place;
    if weight.is_some_and(|weight| u64::from(weight) > MAX_WEIGHT) {
        return Err(Refusal::Weight);
    }
    let until = until.filter(|_| weight.is_some());
    proxy.board.servers[place].set_admin_weight(weight, until);
    keeper.handle_override(now);
    Ok(match weight {
        Some(weight) => format!(
            "server {server} has weight {weight}{}",
            for_words(until, now)
        ),
        None => format!("server {server} has its configured weight"),
    })
}

fn pause(
    (proxy, keeper): (&Proxy, &mut Keeper),
    name: &str,
    until: Option<Moment>,
    now: Moment,
) -> Result<String, Refusal> {
    let index = accepting(&proxy.config, name)?;
    proxy.board.listeners[index].pause.set(1, until);
    keeper.handle_override(now);
    let time = for_words(until, now);
    Ok(format!(
        "listener {name} is paused{time}: new connections wait"
    ))
}

fn resume(proxy: &Proxy, name: &str) -> Result<String, Refusal> {
    let index = accepting(&proxy.config, name)?;
    proxy.board.listeners[index].pause.clear();
    Ok(format!("listener {name} accepts"))
}

fn for_words(until: Option<Moment>, now: Moment) -> String {
    until.map_or_else(String::new, |end| {
        let seconds = end.since(now).as_secs_f64();
        format!(" for {seconds} s")
    })
}

fn kill_one(proxy: &Proxy, text: String) -> Result<String, Refusal> {
    let Ok(id) = text.parse::<SessionId>() else {
        return Err(Refusal::NoSession(text));
    };
    let registry = proxy.registries.get(id.thread());
    match registry.map(|registry| registry.cut(Cut::Administrator, |one| one.id == id)) {
        Some(1..) => Ok(format!("session {id} was killed")),
        Some(0) | None => Err(Refusal::NoSession(text)),
    }
}

/// Those of a listener or a server, by its place.
fn killed(
    proxy: &Proxy,
    found: Result<usize, Refusal>,
    which: impl Fn(&Record, usize) -> bool,
) -> Reply {
    let place = match found {
        Ok(place) => place,
        Err(refusal) => return Reply::error(refusal.to_string()),
    };
    let count = proxy.cut(Cut::Administrator, |one| which(one, place));
    info!(count, "sessions were killed by administrator");
    Reply::killed(count)
}

fn list(
    proxy: &Proxy,
    listener: Option<&str>,
    server: Option<SocketAddr>,
    now: Moment,
) -> Result<SessionList, Refusal> {
    let config = &proxy.config;
    let listener = listener.map(|name| index_of(config, name)).transpose()?;
    let roster = proxy.roster.load();
    if let Some(wanted) = server
        && !roster.all().any(|one| one.server.address == wanted)
    {
        return Err(Refusal::NoSuchServer(wanted));
    }
    let member = |one: &Record| one.server().and_then(|place| roster.at(place));
    let address_of = |one: &Record| member(one).map(|of| of.server.address);
    let mut oldest = Oldest::new(MOST_SESSIONS);
    for registry in &proxy.registries {
        registry.collect(&mut oldest, |one| {
            listener.is_none_or(|index| one.listener() == index)
                && server.is_none_or(|wanted| address_of(one) == Some(wanted))
        });
    }
    let (sessions, more) = oldest.into_list();
    let status = |one: Arc<Record>| {
        let to = member(&one);
        let advertised = proxy.advertised(&one);
        SessionStatus {
            id: one.id.to_string(),
            listener: config.listeners[one.listener()].name.clone(),
            client: advertised.unwrap_or(one.peer()).to_string(),
            via: advertised.map(|_| one.peer().to_string()),
            backend: to.map(|of| config.backends[of.backend.0].name.clone()),
            server: to.map(|of| of.server.address.to_string()),
            age_ms: u64::try_from(now.since(one.started).as_millis()).unwrap_or(u64::MAX),
            bytes_in: one.up.get(),
            bytes_out: one.down.get(),
        }
    };
    Ok(SessionList {
        sessions: sessions.into_iter().map(status).collect(),
        more,
        silent: Vec::new(),
    })
}

/// A server of the roster, also one that is leaving or has left.
fn find(proxy: &Proxy, name: &ServerName) -> Result<Member, Refusal> {
    let backend = backend_of(&proxy.config, name)?;
    let roster = proxy.roster.load();
    match roster.find(backend, name.address) {
        Some(member) => Ok(*member),
        None => Err(Refusal::NoServer {
            backend: name.backend.clone(),
            address: name.address,
            known: known(&roster, backend),
        }),
    }
}

fn known(roster: &Roster, backend: BackendIndex) -> String {
    match roster.of(backend) {
        [] => "and none at all now".to_owned(),
        all => format!("only {}", words(all.iter().map(|one| one.server.address))),
    }
}

fn backend_of(config: &Config, name: &ServerName) -> Result<BackendIndex, Refusal> {
    let mut backends = config.backends.iter();
    let found = backends.position(|backend| backend.name == name.backend);
    found.map(BackendIndex).ok_or_else(|| Refusal::NoBackend {
        name: name.backend.clone(),
        known: backends_of(config),
    })
}

fn backends_of(config: &Config) -> String {
    let there = config.backends.iter().filter(|backend| !backend.retired);
    words(there.map(|backend| &backend.name))
}

/// A listener that the file has: what was said of another one would hold for nothing.
fn accepting(config: &Config, name: &str) -> Result<usize, Refusal> {
    let index = index_of(config, name)?;
    match config.listeners[index].retired {
        false => Ok(index),
        true => Err(no_listener(config, name)),
    }
}

fn no_listener(config: &Config, name: &str) -> Refusal {
    let there = config.listeners.iter().filter(|listener| !listener.retired);
    Refusal::NoListener {
        name: name.to_owned(),
        known: words(there.map(|listener| &listener.name)),
    }
}

fn index_of(config: &Config, name: &str) -> Result<usize, Refusal> {
    let mut listeners = config.listeners.iter();
    listeners
        .position(|listener| listener.name == name)
        .ok_or_else(|| no_listener(config, name))
}

fn words(all: impl Iterator<Item = impl ToString>) -> String {
    all.map(|one| one.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
