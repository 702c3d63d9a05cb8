//! Does what an administrator says at run time, and answers what he asks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::board::AdminState;
use common::command::{
    Command, MOST_SESSIONS, Reply, ServerName, SessionList, SessionStatus, Wish,
};
use common::config::{Config, MAX_WEIGHT};
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
    #[error("backend `{backend}` has no server {address}, only {known}")]
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
        Command::KillServerSessions { server } => place_of(&proxy.config, &server)
            .map(|place| killed(&proxy, |one| one.server() == Some(place))),
        Command::KillListenerSessions { listener } => index_of(&proxy.config, &listener)
            .map(|index| killed(&proxy, |one| one.listener() == index)),
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
    let place = place_of(&proxy.config, server)?;
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
    let place = place_of(&proxy.config, server)?;
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
    let index = index_of(&proxy.config, name)?;
    proxy.board.listeners[index].pause.set(1, until);
    keeper.handle_override(now);
    let time = for_words(until, now);
    Ok(format!(
        "listener {name} is paused{time}: new connections wait"
    ))
}

fn resume(proxy: &Proxy, name: &str) -> Result<String, Refusal> {
    let index = index_of(&proxy.config, name)?;
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

fn killed(proxy: &Proxy, which: impl Fn(&Record) -> bool) -> String {
    match proxy.cut(Cut::Administrator, which) {
        1 => "1 session was killed".to_owned(),
        count => format!("{count} sessions were killed"),
    }
}

fn list(
    proxy: &Proxy,
    listener: Option<&str>,
    server: Option<SocketAddr>,
    now: Moment,
) -> Result<SessionList, Refusal> {
    let config = &proxy.config;
    let listener = listener.map(|name| index_of(config, name)).transpose()?;
    let servers = servers(config);
    if let Some(wanted) = server
        && !servers.iter().any(|(_, address)| *address == wanted)
    {
        return Err(Refusal::NoSuchServer(wanted));
    }
    let address_of = |one: &Record| one.server().map(|place| servers[place].1);
    let mut oldest = Oldest::new(MOST_SESSIONS);
    for registry in &proxy.registries {
        registry.collect(&mut oldest, |one| {
            listener.is_none_or(|index| one.listener() == index)
                && server.is_none_or(|wanted| address_of(one) == Some(wanted))
        });
    }
    let (sessions, more) = oldest.into_list();
    let status = |one: Arc<Record>| {
        let to = one.server().map(|place| servers[place]);
        let advertised = proxy.advertised(&one);
        SessionStatus {
            id: one.id.to_string(),
            listener: config.listeners[one.listener()].name.clone(),
            client: advertised.unwrap_or(one.peer()).to_string(),
            via: advertised.map(|_| one.peer().to_string()),
            backend: to.map(|(backend, _)| backend.to_owned()),
            server: to.map(|(_, address)| address.to_string()),
            age_ms: u64::try_from(now.since(one.started).as_millis()).unwrap_or(u64::MAX),
            bytes_in: one.up.get(),
            bytes_out: one.down.get(),
        }
    };
    Ok(SessionList {
        sessions: sessions.into_iter().map(status).collect(),
        more,
    })
}

/// Backend and address of every server, by place.
fn servers(config: &Config) -> Vec<(&str, SocketAddr)> {
    let backends = config.backends.iter();
    let all = backends.flat_map(|backend| {
        let servers = backend.servers.iter();
        servers.map(|server| (backend.name.as_str(), server.address))
    });
    all.collect()
}

fn place_of(config: &Config, name: &ServerName) -> Result<usize, Refusal> {
    let mut backends = config.backends.iter();
    let Some(backend) = backends.find(|backend| backend.name == name.backend) else {
        return Err(Refusal::NoBackend {
            name: name.backend.clone(),
            known: words(config.backends.iter().map(|backend| &backend.name)),
        });
    };
    let mut servers = backend.servers.iter();
    match servers.position(|server| server.address == name.address) {
        Some(index) => Ok(backend.first_server + index),
        None => Err(Refusal::NoServer {
            backend: name.backend.clone(),
            address: name.address,
            known: words(backend.servers.iter().map(|server| server.address)),
        }),
    }
}

fn index_of(config: &Config, name: &str) -> Result<usize, Refusal> {
    let mut listeners = config.listeners.iter();
    listeners
        .position(|listener| listener.name == name)
        .ok_or_else(|| Refusal::NoListener {
            name: name.to_owned(),
            known: words(config.listeners.iter().map(|listener| &listener.name)),
        })
}

fn words(all: impl Iterator<Item = impl ToString>) -> String {
    all.map(|one| one.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
