//! Servers that an administrator adds, moves to another address or removes.

use std::net::SocketAddr;

use common::board::{AdminState, Entrant};
use common::command::{Remaining, ServerName};
use common::config::{BackendIndex, InitialState, MAX_SERVERS, MAX_WEIGHT};
use common::roster::{Member, Roster};
use common::time::Moment;

use super::{backend_of, backends_of, find, for_words, words};
use crate::context::Proxy;
use crate::keeper::Keeper;
use crate::registry::{Cut, Oldest, Withdrawn};

/// Sessions that a refusal names.
const NAMED: usize = 3;

/// What is said of a server that is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) weight: Option<u16>,
    pub(super) backup: bool,
    pub(super) max_sessions: Option<u32>,
}

/// Why the servers of a backend stay as they are.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0} is a server of that backend already")]
    There(ServerName),
    #[error(
        "{0} is a server of the configuration: `fmc-lb server add` without options brings it back as the file has it"
    )]
    OfFile(ServerName),
    #[error(
        "all {MAX_SERVERS} places for servers are taken, also by those that leave: their sessions have to end first"
    )]
    NoPlace,
    #[error("no server can be at {address}: {why}")]
    OwnAddress { address: SocketAddr, why: String },
    #[error("port 0 is no address")]
    NoPort,
    #[error("a weight is at most {MAX_WEIGHT}")]
    Weight,
    #[error("--max-sessions is at least 1; a server that takes none has weight 0")]
    NoSessions,
    #[error(
        "the servers of backend `{backend}` follow those of `{followed}`, which has not one server at {}: add it there first",
        address.ip()
    )]
    NobodyToFollow {
        backend: String,
        followed: String,
        address: SocketAddr,
    },
    #[error("{0} is removed already, and leaves when its last session has ended")]
    Leaving(ServerName),
    #[error("{0} is removed already")]
    Gone(ServerName),
    #[error(
        "{0} is not in maintenance: say `fmc-lb server maintenance` first, or --drain (it leaves when its last session has ended) or --force (its sessions are ended)"
    )]
    InUse(ServerName),
    #[error(
        "{server} still has {count} sessions ({named}): wait, or say --drain (it leaves when the last one has ended) or --force (they are ended)"
    )]
    Busy {
        server: ServerName,
        count: u64,
        named: String,
    },
    #[error("{server} is followed by {followers}: remove them first, or give it another address")]
    Followed {
        server: ServerName,
        followers: String,
    },
    #[error(
        "{0} is reached at the ports that clients come to, which only the file can say of a server"
    )]
    KeepsPorts(ServerName),
    #[error(
        "{server} comes from the DNS: it leaves when {name} names it no more; until then say drain or maintenance"
    )]
    ByName { server: ServerName, name: String },
    #[error(
        "{0} was added at run time, so there is no configured address to go back to: leave --for out"
    )]
    NothingToReturnTo(ServerName),
}

type Done = Result<String, super::Refusal>;
/// From when, and until when.
type Span = (Moment, Option<Moment>);

/// Adds a server, or lets one come back.
pub(super) fn add(
    keeper: &mut Keeper,
    (server, wanted): (&ServerName, Wanted),
    (now, until): Span,
) -> Done {
    let proxy = keeper.proxy();
    let backend = backend_of(&proxy.config, server)?;
    if proxy.config.backends[backend.0].retired {
        return Err(super::Refusal::NoBackend {
            name: server.backend.clone(),
            known: backends_of(&proxy.config),
        });
    }
    may_be_at(&proxy, server.address)?;
    if wanted.weight.is_some_and(|one| u64::from(one) > MAX_WEIGHT) {
        return Err(Refusal::Weight.into());
    }
    if wanted.max_sessions == Some(0) {
        return Err(Refusal::NoSessions.into());
    }
    let roster = keeper.roster();
    let known = roster.find(backend, server.address);
    if known.is_some_and(Member::is_present) {
        return Err(Refusal::There(server.clone()).into());
    }
    if let Some(known) = known.filter(|one| one.is_configured(&proxy.config)) {
        let plain = Wanted {
            weight: None,
            backup: false,
            max_sessions: None,
        };
        if wanted != plain || until.is_some() {
            return Err(Refusal::OfFile(server.clone()).into());
        }
        return Ok(restore(keeper, (&roster, known), now));
    }
    let who = Entrant {
        backend: backend.0,
        address: server.address.to_string(),
        weight: wanted.weight.unwrap_or(1),
        backup: wanted.backup,
        max_sessions: wanted.max_sessions,
        follows: followed(&proxy, &roster, (backend, server.address))?,
        replaces: None,
        name: None,
    };
    match known {
        Some(known) => keeper.come_back((known.place, Some(&who)), (now, until)),
        None => keeper.enter((spare(keeper)?, &who), None, (now, until)),
    }
    let time = for_words(until, now);
    Ok(format!("server {server} was added{time}"))
}

/// A server of the configuration comes back, and who was there for it leaves.
fn restore(keeper: &mut Keeper, (roster, member): (&Roster, &Member), now: Moment) -> String {
    let proxy = keeper.proxy();
    keeper.come_back((member.place, None), (now, None));
    let member_name = name_of(&proxy, member);
    let mut said = format!("server {member_name} is there again, as in the configuration");
    let mut all = roster.present(member.backend);
    if let Some(substitute) = all.find(|one| one.replaces == Some(member.place)) {
        keeper.hand_over_followers(substitute.place, member.place);
        keeper.leave(substitute.place, (now, None));
        let substitute = name_of(&proxy, substitute);
        said += &format!("; {substitute} leaves when its last session has ended");
    }
    said
}

/// Puts a server with another address in the place of one. Its health is not known then, and the
/// sessions go on at the old address.
pub(super) fn move_to(
    keeper: &mut Keeper,
    (server, address): (&ServerName, SocketAddr),
    (now, until): Span,
) -> Done {
    let proxy = keeper.proxy();
    let old = find(&proxy, server)?;
    if !old.is_present() {
        return Err(Refusal::Gone(server.clone()).into());
    }
    may_be_at(&proxy, address)?;
    let roster = keeper.roster();
    let known = roster.find(old.backend, address);
    if let Some(known) = known {
        if known.is_present() {
            return Err(Refusal::There(name_of(&proxy, known)).into());
        }
        if old.replaces == Some(known.place) && until.is_none() {
            return Ok(restore(keeper, (&roster, known), now));
        }
        if known.is_configured(&proxy.config) {
            return Err(Refusal::OfFile(name_of(&proxy, known)).into());
        }
    }
    not_by_name(&proxy, &old)?;
    if old.server.port_offset.is_some() {
        return Err(Refusal::KeepsPorts(server.clone()).into());
    }
    let is_configured = old.is_configured(&proxy.config);
    if until.is_some() && !is_configured {
        return Err(Refusal::NothingToReturnTo(server.clone()).into());
    }
    // One that was added for a time moves for the rest of it.
    let until = until.or(old.until.filter(|_| !is_configured));
    let who = Entrant {
        backend: old.backend.0,
        address: address.to_string(),
        weight: old.server.weight,
        backup: old.server.backup,
        max_sessions: old.server.max_sessions,
        follows: old.follows,
        replaces: match is_configured {
            true => Some(old.place),
            false => old.replaces,
        },
        name: None,
    };
    let place = match known {
        Some(known) => known.place,
        None => spare(keeper)?,
    };
    // The new one is there before the old one leaves.
    match known {
        Some(_) => keeper.come_back((place, Some(&who)), (now, until)),
        None => keeper.enter((place, &who), Some(InitialState::Down), (now, until)),
    }
    keeper.pass_on_words(old.place, place, now);
    if !is_configured {
        keeper.hand_over_followers(old.place, place);
    }
    let returns = until.filter(|_| is_configured);
    keeper.leave(old.place, (now, returns));
    let time = for_words(until, now);
    Ok(format!(
        "server {server} is at {address}{time}; its sessions go on at the old address"
    ))
}

/// Takes a server out of its backend.
pub(super) fn remove(
    keeper: &mut Keeper,
    (server, sessions): (&ServerName, Remaining),
    now: Moment,
) -> Done {
    let proxy = keeper.proxy();
    let member = find(&proxy, server)?;
    let place = member.place;
    let of_elders = keeper.elder_sessions(place);
    let count = proxy.board.servers[place].sessions.get() + of_elders;
    if !member.is_present() && (sessions != Remaining::Cut || count == 0) {
        return Err(match count {
            0 => Refusal::Gone(server.clone()).into(),
            1.. => Refusal::Leaving(server.clone()).into(),
        });
    }
    if member.is_present() {
        not_by_name(&proxy, &member)?;
    }
    let followers = followers(&proxy, &keeper.roster(), place);
    if !followers.is_empty() {
        let server = server.clone();
        return Err(Refusal::Followed { server, followers }.into());
    }
    if sessions == Remaining::Refuse {
        is_idle((&proxy, server), (place, count, of_elders), now)?;
    }
    if member.is_present() {
        keeper.leave(place, (now, None));
    }
    Ok(match sessions {
        Remaining::Cut => {
            // Nobody picks it since it has left.
            let Withdrawn { ended, moved } = proxy.withdraw(place, Cut::Administrator, now);
            // Those of earlier proxies end as soon as these look.
            let ended = ended + of_elders;
            let moved = match moved {
                0 => String::new(),
                1.. => format!("; {moved} that were still connecting to it look for another one"),
            };
            format!("server {server} was removed, and its sessions were ended: {ended}{moved}")
        }
        Remaining::Drain if count > 0 => {
            format!(
                "server {server} was removed: it leaves when its last session has ended, of {count}"
            )
        }
        Remaining::Drain | Remaining::Refuse => format!("server {server} was removed"),
    })
}

/// Whether a server is in maintenance and has no sessions.
fn is_idle(
    (proxy, server): (&Proxy, &ServerName),
    (place, count, of_elders): (usize, u64, u64),
    now: Moment,
) -> Result<(), Refusal> {
    let said = proxy.board.servers[place].admin_state(now);
    if said.is_none_or(|said| said.value != AdminState::Maintenance) {
        return Err(Refusal::InUse(server.clone()));
    }
    if count > 0 {
        return Err(Refusal::Busy {
            server: server.clone(),
            count,
            named: named(proxy, place, of_elders),
        });
    }
    Ok(())
}

/// What the DNS says would be there again with its next answer.
fn not_by_name(proxy: &Proxy, member: &Member) -> Result<(), Refusal> {
    let mut names = proxy.config.names();
    match member.name.and_then(|index| names.nth(index)) {
        Some((_, one)) => Err(Refusal::ByName {
            server: name_of(proxy, member),
            name: one.name.to_string(),
        }),
        None => Ok(()),
    }
}

fn may_be_at(proxy: &Proxy, address: SocketAddr) -> Result<(), Refusal> {
    if address.port() == 0 {
        return Err(Refusal::NoPort);
    }
    match proxy.config.own_address(address) {
        Some(why) => Err(Refusal::OwnAddress { address, why }),
        None => Ok(()),
    }
}

fn spare(keeper: &Keeper) -> Result<usize, Refusal> {
    keeper.spare_place().ok_or(Refusal::NoPlace)
}

fn name_of(proxy: &Proxy, member: &Member) -> ServerName {
    ServerName {
        backend: proxy.config.backends[member.backend.0].name.clone(),
        address: member.server.address,
    }
}

/// The place of the server that one of a backend follows, if that backend's servers follow others.
fn followed(
    proxy: &Proxy,
    roster: &Roster,
    (backend, address): (BackendIndex, SocketAddr),
) -> Result<Option<usize>, Refusal> {
    let own = &proxy.config.backends[backend.0];
    let Some(of) = own.track else { return Ok(None) };
    match roster.counterpart(of, address) {
        Some(member) => Ok(Some(member.place)),
        None => Err(Refusal::NobodyToFollow {
            backend: own.name.clone(),
            followed: proxy.config.backends[of.0].name.clone(),
            address,
        }),
    }
}

/// Who follows the server at a place; empty = nobody.
fn followers(proxy: &Proxy, roster: &Roster, place: usize) -> String {
    let followers = roster
        .all()
        .filter(|one| one.is_present() && one.follows == Some(place));
    words(followers.map(|one| name_of(proxy, one)))
}

/// "5a3f01c2e of 192.168.0.40:51234, …": the oldest sessions to the server at a place.
fn named(proxy: &Proxy, place: usize, of_elders: u64) -> String {
    let mut oldest = Oldest::new(NAMED);
    for registry in &proxy.registries {
        registry.collect(&mut oldest, |one| one.server() == Some(place));
    }
    let (sessions, more) = oldest.into_list();
    let named = sessions.iter().map(|one| {
        let client = proxy.advertised(one).unwrap_or(one.peer());
        format!("{} of {client}", one.id)
    });
    let more = (more > 0).then(|| format!("{more} more"));
    let elders = (of_elders > 0).then(|| format!("{of_elders} of earlier proxies"));
    words(named.chain(more).chain(elders))
}
