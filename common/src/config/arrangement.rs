//! Which place on the boards everything has that comes and goes with a reload.
//!
//! Every index of a [`Config`] is a place on the boards, too. At the start the places are in the order
//! of the file. A reload leaves everything at its place that has the same name (servers: the same
//! address in the same backend; VIPs: the same address, VRID and interface; trackers: the same name and
//! what they look at), gives a free one to what is new, and leaves a stand-in where something
//! was: old sessions are still counted there. So an index means the same before and after a reload, in
//! all processes.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{
    Backend, BackendIndex, Config, Listener, MAX_LISTENERS, MAX_SERVERS, MAX_TRACKERS, MAX_VIPS,
    Tracker, Vip, VipIndex, VirtualMac,
};
use crate::addr::Vrid;

/// Everything that has a place, by place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Arrangement {
    /// Names; also those of which the file knows no more.
    pub listeners: Vec<String>,
    pub backends: Vec<String>,
    pub servers: Vec<PlacedServer>,
    /// Also those of which the file knows no more. Since reloads take VIPs over.
    #[serde(default)]
    pub vips: Vec<PlacedVip>,
    /// Names; empty = nobody's any more. Likewise.
    #[serde(default)]
    pub trackers: Vec<String>,
}

/// A VIP: what it is to the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedVip {
    pub address: IpAddr,
    pub vrid: u8,
    pub interface: String,
}

impl PlacedVip {
    fn of(vip: &Vip) -> Self {
        Self {
            address: vip.address,
            vrid: vip.vrid.value(),
            interface: vip.interface.clone(),
        }
    }
}

/// A server of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacedServer {
    /// Place of its backend.
    pub backend: usize,
    pub address: SocketAddr,
    /// What is added to the port that a client came to: servers of one backend may differ in nothing else.
    #[serde(default)]
    pub port_offset: Option<i32>,
    pub place: usize,
}

/// Why there is no place for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoPlace {
    what: String,
    most: usize,
}

impl std::error::Error for NoPlace {}

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, most } = self;
        write!(
            f,
            "no place is free for {what}: all {most} are taken, also by what is gone and still has sessions or \
             counters; restart this node to begin anew"
        )
    }
}

/// What is known of the places while a node runs.
pub struct Occupied<'a> {
    /// The listener at a place has no session.
    pub is_idle: &'a dyn Fn(usize) -> bool,
    /// The place of a server that has a backend and an address, whether the file has it or not.
    pub place_of: &'a dyn Fn(BackendIndex, SocketAddr) -> Option<usize>,
    /// Nobody is at this place of a server.
    pub is_free: &'a dyn Fn(usize) -> bool,
}

impl Arrangement {
    /// As a configuration has it.
    pub fn of(config: &Config) -> Self {
        let servers = config.backends.iter().enumerate();
        let servers = servers.flat_map(|(backend, one)| {
            let servers = one.servers.iter().zip(&one.places);
            servers.map(move |(server, place)| PlacedServer {
                backend,
                address: server.address,
                port_offset: server.port_offset.map(|offset| offset.number()),
                place: *place,
            })
        });
        Self {
            listeners: names(config.listeners.iter().map(|one| &one.name)),
            backends: names(config.backends.iter().map(|one| &one.name)),
            servers: servers.collect(),
            vips: config.vips.iter().map(PlacedVip::of).collect(),
            trackers: names(config.trackers.iter().map(|one| &one.name)),
        }
    }

    /// That of the next configuration, which is as its file has it, after the running one.
    ///
    /// # Errors
    /// There is no place for something that is new.
    pub fn after(
        running: &Config,
        next: &Config,
        occupied: &Occupied<'_>,
    ) -> Result<Self, NoPlace> {
        let before = Self::of(running);
        let is_listed = |name: &String| next.listeners.iter().any(|one| one.name == *name);
        let (mut listeners, mut backends) = (before.listeners.clone(), before.backends.clone());
        for listener in &next.listeners {
            if listeners.contains(&listener.name) {
                continue;
            }
            if listeners.len() < MAX_LISTENERS {
                listeners.push(listener.name.clone());
                continue;
            }
            let mut places = listeners.iter().enumerate();
            let free = places.position(|(at, name)| !is_listed(name) && (occupied.is_idle)(at));
            let free = free.ok_or_else(|| NoPlace {
                what: format!("listener {}", listener.name),
                most: MAX_LISTENERS,
            })?;
            listeners[free] = listener.name.clone();
        }
        for backend in &next.backends {
            if !backends.contains(&backend.name) {
                backends.push(backend.name.clone());
            }
        }
        // A client may be about to go to a backend that is gone: its place is nobody else's.
        if let Some(name) = backends.get(MAX_SERVERS) {
            return Err(NoPlace {
                what: format!("backend {name}"),
                most: MAX_SERVERS,
            });
        }
        let servers = place_servers(&before, (next, &backends), occupied)?;
        Ok(Self {
            listeners,
            backends,
            servers,
            vips: place_vips(before.vips, next)?,
            trackers: place_trackers(&running.trackers, next)?,
        })
    }
}

/// Places that were never used come first: what was said of another one is forgotten longest.
fn place_vips(mut places: Vec<PlacedVip>, next: &Config) -> Result<Vec<PlacedVip>, NoPlace> {
    let wanted: Vec<PlacedVip> = next.vips.iter().map(PlacedVip::of).collect();
    for (vip, one) in next.vips.iter().zip(&wanted) {
        if places.contains(one) {
            continue;
        }
        if places.len() < MAX_VIPS {
            places.push(one.clone());
            continue;
        }
        let free = places.iter().position(|place| !wanted.contains(place));
        let free = free.ok_or_else(|| NoPlace {
            what: format!("VIP {}", vip.name),
            most: MAX_VIPS,
        })?;
        places[free] = one.clone();
    }
    Ok(places)
}

/// One that looks at something else begins anew, whatever it is called.
fn place_trackers(running: &[Tracker], next: &Config) -> Result<Vec<String>, NoPlace> {
    let stays = |old: &&Tracker| {
        let mut all = next.trackers.iter();
        !old.retired && all.any(|new| new.looks_like(old))
    };
    let mut places: Vec<String> = running
        .iter()
        .map(|old| {
            Some(old)
                .filter(stays)
                .map_or("", |old| &old.name)
                .to_owned()
        })
        .collect();
    for tracker in &next.trackers {
        if places.contains(&tracker.name) {
            continue;
        }
        if places.len() < MAX_TRACKERS {
            places.push(tracker.name.clone());
            continue;
        }
        let free = places.iter().position(String::is_empty);
        let free = free.ok_or_else(|| NoPlace {
            what: format!("tracker {}", tracker.name),
            most: MAX_TRACKERS,
        })?;
        places[free] = tracker.name.clone();
    }
    Ok(places)
}

fn place_servers(
    before: &Arrangement,
    (next, backends): (&Config, &[String]),
    occupied: &Occupied<'_>,
) -> Result<Vec<PlacedServer>, NoPlace> {
    let mut servers: Vec<PlacedServer> = Vec::new();
    let mut homeless: Vec<PlacedServer> = Vec::new();
    for backend in &next.backends {
        let at = backends.iter().position(|name| *name == backend.name);
        let at = at.expect("every backend has a place by now");
        for server in &backend.servers {
            let port_offset = server.port_offset.map(|offset| offset.number());
            let mut one = PlacedServer {
                backend: at,
                address: server.address,
                port_offset,
                place: usize::MAX,
            };
            let same = |known: &&PlacedServer| {
                known.backend == at
                    && known.address == server.address
                    && known.port_offset == port_offset
            };
            let known = before.servers.iter().find(same).map(|known| known.place);
            let known = known.or_else(|| {
                // It came at run time, or left and still has sessions.
                let found = (occupied.place_of)(BackendIndex(at), server.address)?;
                let is_other = before.servers.iter().any(|known| known.place == found);
                (!is_other && port_offset.is_none()).then_some(found)
            });
            match known {
                Some(place) => {
                    one.place = place;
                    servers.push(one);
                }
                None => homeless.push(one),
            }
        }
    }
    for mut one in homeless {
        let is_taken = |place: usize| {
            let by_file = |known: &PlacedServer| known.place == place;
            before.servers.iter().any(by_file) || servers.iter().any(by_file)
        };
        let mut places = 0..MAX_SERVERS;
        let free = places.find(|place| !is_taken(*place) && (occupied.is_free)(*place));
        one.place = free.ok_or_else(|| NoPlace {
            what: format!(
                "server {} of backend {}",
                one.address, backends[one.backend]
            ),
            most: MAX_SERVERS,
        })?;
        servers.push(one);
    }
    Ok(servers)
}

impl Config {
    /// The same with everything at its place; `before` is what ran until now, if this process knows it.
    ///
    /// # Errors
    /// What is not arranged: it is the arrangement of another configuration.
    pub fn arranged(
        mut self,
        arrangement: &Arrangement,
        before: Option<&Self>,
    ) -> Result<Self, String> {
        let places = arrangement.places_of(&self)?;
        let to = |index: BackendIndex| BackendIndex(places[index.0]);
        for listener in &mut self.listeners {
            listener.backend = to(listener.backend);
            for route in &mut listener.routes {
                route.backend = to(route.backend);
            }
        }
        for (index, backend) in self.backends.iter_mut().enumerate() {
            backend.track = backend.track.map(to);
            for server in &mut backend.servers {
                if let Some(track) = &mut server.track {
                    track.backend = to(track.backend);
                }
            }
            backend.places = backend
                .servers
                .iter()
                .map(|server| arrangement.place(places[index], server))
                .collect::<Result<_, _>>()?;
        }
        let old = before.map_or(&[][..], |before| before.backends.as_slice());
        let backends = std::mem::take(&mut self.backends);
        self.backends = at_places(backends, (&arrangement.backends, old));
        let old = before.map_or(&[][..], |before| before.listeners.as_slice());
        let listeners = std::mem::take(&mut self.listeners);
        self.listeners = at_places(listeners, (&arrangement.listeners, old));
        let known = self.backends.len();
        for listener in &mut self.listeners {
            // Of a stand-in, where it led.
            listener.backend.0 = listener.backend.0.min(known.saturating_sub(1));
        }
        self.arrange_vips(arrangement)?;
        self.arrange_trackers(arrangement)?;
        Ok(self)
    }

    fn arrange_vips(&mut self, arrangement: &Arrangement) -> Result<(), String> {
        if arrangement.vips.is_empty() {
            // An earlier version's: all are where the file has them.
            return Ok(());
        }
        let mut places = Vec::new();
        for vip in &self.vips {
            let one = PlacedVip::of(vip);
            let place = arrangement.vips.iter().position(|known| *known == one);
            places.push(place.ok_or_else(|| format!("VIP {} has no place", vip.name))?);
        }
        let to = |index: VipIndex| VipIndex(places[index.0]);
        for bind in self.listeners.iter_mut().flat_map(|one| &mut one.binds) {
            bind.vip = bind.vip.map(to);
        }
        for vip in self.trackers.iter_mut().flat_map(|one| &mut one.vips) {
            *vip = to(*vip);
        }
        let there = std::mem::take(&mut self.vips);
        let Some(first) = there.first() else {
            return Ok(());
        };
        let at = |place: usize| places.iter().position(|one| *one == place);
        let all = arrangement.vips.iter().enumerate().map(|(place, known)| {
            let vip = at(place).map(|index| there[index].clone());
            vip.map_or_else(|| first.stand_in(known), Ok)
        });
        self.vips = all.collect::<Result<_, String>>()?;
        Ok(())
    }

    fn arrange_trackers(&mut self, arrangement: &Arrangement) -> Result<(), String> {
        if arrangement.trackers.is_empty() {
            return Ok(());
        }
        let is_unknown = |one: &&Tracker| !arrangement.trackers.contains(&one.name);
        if let Some(tracker) = self.trackers.iter().find(is_unknown) {
            return Err(format!("tracker {} has no place", tracker.name));
        }
        let there = std::mem::take(&mut self.trackers);
        let all = arrangement.trackers.iter().map(|name| {
            let found = there.iter().find(|one| one.name == *name);
            found.cloned().unwrap_or_else(Tracker::stand_in)
        });
        self.trackers = all.collect();
        Ok(())
    }

    /// Whether the file has a server at this place of the boards.
    pub fn has_server_at(&self, place: usize) -> bool {
        let mut backends = self.backends.iter();
        backends.any(|backend| backend.places.contains(&place))
    }
}

impl Arrangement {
    /// The place of each backend of a configuration.
    fn places_of(&self, config: &Config) -> Result<Vec<usize>, String> {
        let is_unknown = |listener: &&Listener| !self.listeners.contains(&listener.name);
        if let Some(listener) = config.listeners.iter().find(is_unknown) {
            return Err(format!("listener {} has no place", listener.name));
        }
        let place = |backend: &Backend| {
            let found = self.backends.iter().position(|name| *name == backend.name);
            found.ok_or_else(|| format!("backend {} has no place", backend.name))
        };
        config.backends.iter().map(place).collect()
    }

    fn place(&self, backend: usize, server: &super::Server) -> Result<usize, String> {
        let same = |one: &&PlacedServer| {
            one.backend == backend
                && one.address == server.address
                && one.port_offset == server.port_offset.map(|offset| offset.number())
        };
        let found = self.servers.iter().find(same);
        found
            .map(|one| one.place)
            .filter(|place| *place < MAX_SERVERS)
            .ok_or_else(|| format!("server {} has no place", server.address))
    }
}

/// What has a name, and can be stood in for.
trait Named: Clone {
    fn name(&self) -> &str;
    /// What is left of it, or of another one that takes this name, once the file has it no more.
    fn retire(self, name: &str) -> Self;
}

impl Named for Listener {
    fn name(&self) -> &str {
        &self.name
    }

    fn retire(self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            retired: true,
            binds: Vec::new(),
            routes: Vec::new(),
            tls: None,
            accept_proxy: None,
            allow: None,
            deny: Vec::new(),
            drop: Vec::new(),
            files: super::AccessFiles::default(),
            source_limit: super::SourceLimit::default(),
            required: false,
            ..self
        }
    }
}

impl Named for Backend {
    fn name(&self) -> &str {
        &self.name
    }

    fn retire(self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            retired: true,
            servers: Vec::new(),
            places: Vec::new(),
            names: Vec::new(),
            probe: None,
            agent: None,
            track: None,
            observe: None,
            tls: None,
            ..self
        }
    }
}

impl Vip {
    /// What is left at the place of another one, that the file knows no more.
    fn stand_in(&self, known: &PlacedVip) -> Result<Self, String> {
        let vrid = Vrid::new(known.vrid).ok_or("a place has the VRID 0")?;
        Ok(Self {
            name: String::new(),
            retired: true,
            address: known.address,
            vrid,
            interface: known.interface.clone(),
            virtual_mac: VirtualMac::Off,
            followers: Vec::new(),
            ..self.clone()
        })
    }
}

/// Everything in the order of its names, with stand-ins for those that are not there any more: of what
/// was there, or of anything where nobody knows that.
fn at_places<T: Named>(there: Vec<T>, (names, old): (&[String], &[T])) -> Vec<T> {
    let stand_in = |name: &String| {
        let known = old.iter().find(|one| one.name() == name).or(there.first());
        known.cloned().map(|one| one.retire(name))
    };
    let by_place = names.iter().map_while(|name| {
        let found = there.iter().find(|one| one.name() == name);
        found.cloned().or_else(|| stand_in(name))
    });
    by_place.collect()
}

fn names<'a>(all: impl Iterator<Item = &'a String>) -> Vec<String> {
    all.cloned().collect()
}

#[cfg(test)]
mod tests;
