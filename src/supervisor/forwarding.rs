//! Flow forwarding on this node: the TC program, where it hangs, and what it has counted.
//!
//! It is loaded at the start and attached once the other node was heard: from then on it stays, whoever of our
//! processes dies, until the node stops. vrrp holds its descriptors too, so that the next supervisor goes on with the
//! same program and the same board.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use common::board::{ForwardBoard, Forwarding as State, ForwardingSlot, VrrpBoard};
use common::config::{Config, NodeIndex, VipIndex};
use common::time::Moment;
use forward::{Link, Program};
use vrrp::link::RouteSocket;

use super::kit::{Kit, Place};
use crate::rights;

/// Somebody may take the program off, or make the interface anew: it is looked at this often, and its counters are read.
const LOOK: Duration = Duration::from_secs(1);

/// The program and what it hangs on.
#[derive(Debug)]
pub(super) struct Forwarding {
    /// Or why there is none.
    loaded: Result<Loaded, (State, String)>,
    /// Another program than the one that vrrp knows is in place.
    pub(super) is_renewed: bool,
}

/// Where the program comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// This process has loaded it, and nobody had one.
    New,
    /// An earlier supervisor has loaded it.
    Kept,
    /// This process has loaded it in the place of an earlier one.
    Renewed,
}

#[derive(Debug)]
struct Loaded {
    program: Program,
    board: &'static ForwardBoard,
    /// The pair's interface first, then all others that VIPs are on, and those that have the hardware address of a virtual
    /// router. Whatever is sent to the other node goes there by the first.
    hooks: Vec<Hook>,
    /// What the program judges.
    listened: Vec<(SocketAddr, VipIndex)>,
    looked: Option<Moment>,
    /// What went wrong at the last look, so that it is logged once.
    trouble: Option<String>,
}

/// An interface that the program is attached to.
#[derive(Debug)]
struct Hook {
    interface: String,
    /// Attached to the interface with this index, where it got this id of the kernel.
    attached: Option<(u32, u32)>,
    /// As the program has it.
    link: Option<Link>,
}

impl Forwarding {
    /// Takes over the program that vrrp holds, or loads one; after an upgrade also where there is one, if this version's
    /// is another one. Without it everything else works: a plain failover is left.
    pub(super) fn start(place: &Place<'_>, kit: &mut Kit, is_upgrade: bool) -> Self {
        let mut is_renewed = false;
        let loaded = match obstacle(&place.config, place.node) {
            Some(reason) => Err((State::Off, reason)),
            None => load(&place.config, kit, is_upgrade)
                .map(|(loaded, origin)| {
                    is_renewed = origin == Origin::Renewed;
                    loaded
                })
                .map_err(|error| {
                    let reason = format!("{error:#}");
                    kit.warnings.push(format!("no flow forwarding: {reason}"));
                    (State::Refused, reason)
                }),
        };
        if loaded.is_err()
            && let Err(error) = detach_all(&place.config)
        {
            tracing::warn!("the TC program of an earlier run stays: {error:#}");
        }
        Self { loaded, is_renewed }
    }

    /// What is listened to from now on, and where. What was listened to stays, but for addresses that have another
    /// VIP's place now: its last sessions may have to be sent to the other node, and for nobody else's segments does
    /// it matter.
    pub(super) fn go_over(&mut self, config: &Config) {
        let Ok(loaded) = &mut self.loaded else {
            return;
        };
        let stays = |(address, place): &(SocketAddr, VipIndex)| match config.vip_at(address.ip()) {
            Some(now) => now == *place,
            None => config.vips.get(place.0).is_some_and(|vip| vip.retired),
        };
        let mut known = std::mem::take(&mut loaded.listened);
        known.retain(stays);
        let new = listened(config).into_iter();
        let new = new.filter(|one| !known.contains(one)).collect::<Vec<_>>();
        loaded.listened = [known, new].concat();
        let hooks = hooks(config).into_iter();
        let new = hooks.filter(|one| {
            loaded
                .hooks
                .iter()
                .all(|known| known.interface != one.interface)
        });
        loaded.hooks.extend(new.collect::<Vec<_>>());
        if let Err(error) = loaded.program.set_listeners(&loaded.listened) {
            let error = anyhow::Error::from(error);
            tracing::error!("connections to what is new are not sent to the other node: {error:#}");
        }
    }

    /// Of a vrrp that died: new connections go to the other node until somebody is active here again.
    pub(super) fn resign(&self) {
        if let Ok(loaded) = &self.loaded {
            loaded.board.resign();
        }
    }

    /// The frame as of which the other node's machine is dead; `None` = it is not.
    pub(super) fn verdict(&self) -> Option<Moment> {
        let board = self.loaded.as_ref().ok()?.board;
        board.dead_as_of.get().filter(|_| board.is_peer_dead())
    }

    /// Attaches the program as soon as it is known where the other node is, keeps it there, and publishes what it counts.
    pub(super) fn look(&mut self, (vrrp, slot): (&VrrpBoard, &ForwardingSlot), now: Moment) {
        let loaded = match &mut self.loaded {
            Ok(loaded) => loaded,
            Err((state, reason)) => {
                if slot.state.get() != state.on_board() || slot.reason.get() != *reason {
                    slot.state.set(state.on_board());
                    slot.reason.set(reason);
                }
                return;
            }
        };
        let peer = peer_of(vrrp);
        let is_news = peer.is_ok_and(|mac| loaded.peer() != Some(mac));
        if !is_news && loaded.looked.is_some_and(|last| now.since(last) < LOOK) {
            return;
        }
        loaded.looked = Some(now);
        let state = loaded.keep_attached(peer);
        loaded.say(state, slot);
        if let Err(error) = loaded.publish_counts(slot) {
            tracing::debug!("{error:#}");
        }
    }

    /// Takes the program off: at the end of the node.
    pub(super) fn remove(&mut self) {
        let Ok(loaded) = &mut self.loaded else {
            return;
        };
        for hook in &mut loaded.hooks {
            if let Some((interface, _)) = hook.attached.take()
                && let Err(error) = forward::detach(interface)
            {
                tracing::warn!("the TC program stays: {:#}", anyhow::Error::from(error));
            }
        }
    }
}

impl Loaded {
    /// The other node's hardware address that the program has.
    fn peer(&self) -> Option<[u8; 6]> {
        self.hooks[0].link.map(|link| link.peer)
    }

    /// Gives the reason where it has to wait.
    fn keep_attached(&mut self, peer: Result<[u8; 6], &'static str>) -> anyhow::Result<State> {
        let mut route = RouteSocket::open()?;
        let (known, first) = (self.peer(), &self.hooks[0]);
        let way = route
            .interface(&first.interface)?
            .with_context(|| format!("{} is missing", first.interface))?;
        let stays = first.attached.is_some_and(|(index, _)| index == way.index);
        let peer = match (peer, known) {
            (Ok(mac), _) => mac,
            // It was known, and stays where it was.
            (Err(_), Some(mac)) if stays => mac,
            (Err(reason), _) => return Err(anyhow!(reason)),
        };
        let link = Link {
            peer,
            own: way.mac,
            way: way.index,
        };
        for (place, hook) in self.hooks.iter_mut().enumerate() {
            let index = match place {
                0 => Some(way.index),
                // Its VIP is at the pair's interface while there is none.
                _ => forward::index_of(&hook.interface),
            };
            match index {
                Some(index) => hook.keep((index, link), &mut self.program)?,
                None => hook.attached = None,
            }
        }
        Ok(State::On)
    }

    fn say(&mut self, state: anyhow::Result<State>, slot: &ForwardingSlot) {
        let (state, reason) = match state {
            Ok(state) => (state, String::new()),
            Err(error) => (State::Waiting, format!("{error:#}")),
        };
        if slot.state.get() != state.on_board() || slot.reason.get() != reason {
            slot.state.set(state.on_board());
            slot.reason.set(&reason);
        }
        let trouble = Some(reason).filter(|reason| !reason.is_empty());
        if trouble != self.trouble {
            if let Some(reason) = &trouble {
                tracing::info!(reason, "nothing is forwarded");
            }
            self.trouble = trouble;
        }
    }

    fn publish_counts(&self, slot: &ForwardingSlot) -> anyhow::Result<()> {
        for (cause, count) in self.program.counts()? {
            slot.packets[cause as usize].set(count.packets);
            slot.bytes[cause as usize].set(count.bytes);
        }
        Ok(())
    }
}

impl Hook {
    fn on(interface: String) -> Self {
        Self {
            interface,
            attached: None,
            link: None,
        }
    }

    fn keep(&mut self, (index, link): (u32, Link), program: &mut Program) -> anyhow::Result<()> {
        let known = self.attached.filter(|(known, _)| *known == index);
        if self.link != Some(link) || known.is_none() {
            program.set_link(index, link)?;
            self.link = Some(link);
        }
        let found = forward::attached(index)?;
        if known.is_none() || found != known.map(|(_, id)| id) {
            forward::attach(index, &*program)?;
            let id = forward::attached(index)?.context("the TC program is gone at once")?;
            self.attached = Some((index, id));
            tracing::info!(
                interface = self.interface,
                "segments of the other node's connections are sent there"
            );
        }
        Ok(())
    }
}

/// The interfaces that it hangs on.
fn hooks(config: &Config) -> Vec<Hook> {
    let mut names = vec![config.pair.interface.clone()];
    let of_vips = config.live_vips().map(|(_, vip)| vip.interface.clone());
    let macvlans = config.live_vips().filter_map(|(_, vip)| vip.macvlan());
    for name in of_vips.chain(macvlans) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.into_iter().map(Hook::on).collect()
}

/// Takes the program off every interface that a node of this configuration attaches it to.
pub(crate) fn detach_all(config: &Config) -> anyhow::Result<()> {
    for hook in hooks(config) {
        if let Some(index) = forward::index_of(&hook.interface) {
            forward::detach(index)?;
        }
    }
    Ok(())
}

/// Why the configuration has no use for it.
pub(super) fn obstacle(config: &Config, node: NodeIndex) -> Option<String> {
    if config.live_vips().next().is_none() {
        return Some("no virtual IPs".to_owned());
    }
    if !config.has_pair_channel(node) {
        return Some("no pair channel".to_owned());
    }
    // What is sent to the other node goes there by this interface, and arrives on it.
    let interface = &config.pair.interface;
    let mut vips = config.live_vips();
    let (_, elsewhere) = vips.find(|(_, vip)| vip.interface != *interface)?;
    is_strict(interface).then(|| {
        // A board's text is short.
        format!(
            "rp_filter is strict on {interface}, and {} is on {}: sysctl net.ipv4.conf.{interface}.rp_filter=2, then restart",
            elsewhere.name, elsewhere.interface
        )
    })
}

/// Whether packets are dropped on an interface that their answers would not leave by: the larger of two settings counts,
/// and 1 is strict (kernel, ip-sysctl).
fn is_strict(interface: &str) -> bool {
    let setting = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter"));
        text.ok().and_then(|text| text.trim().parse::<u8>().ok())
    };
    setting("all").max(setting(interface)) == Some(1)
}

/// This version's program in the place of an earlier one, unless that is the same.
fn renew(earlier: Program) -> (Program, Origin) {
    let own = Program::load().map_err(anyhow::Error::from);
    let renewed = own.and_then(|mut own| {
        if own.is_like(&earlier)? {
            return Ok(None);
        }
        if let Err(error) = own.succeed(&earlier) {
            tracing::warn!(
                "the TC program begins anew: {:#}",
                anyhow::Error::from(error)
            );
        }
        let board = forward::map_state(own.state()).context("map its board")?;
        board.go_on_from(forward::map_state(earlier.state()).context("map the old board")?);
        Ok(Some(own))
    });
    match renewed {
        Ok(Some(own)) => (own, Origin::Renewed),
        Ok(None) => (earlier, Origin::Kept),
        Err(error) => {
            tracing::warn!("the old version's TC program stays: {error:#}");
            (earlier, Origin::Kept)
        }
    }
}

fn load(config: &Config, kit: &mut Kit, is_upgrade: bool) -> anyhow::Result<(Loaded, Origin)> {
    let inherited = kit.forward_parts().context("keep its descriptors")?;
    let (mut program, origin) = rights::with_perfmon(|| -> anyhow::Result<_> {
        Ok(match <[_; 5]>::try_from(inherited) {
            Ok(parts) if is_upgrade => renew(Program::from_parts(parts)?),
            Ok(parts) => (Program::from_parts(parts)?, Origin::Kept),
            Err(_) => (Program::load()?, Origin::New),
        })
    })?;
    let listened = listened(config);
    program.set_listeners(&listened)?;
    let hooks = hooks(config);
    if origin != Origin::Kept {
        kit.keep_forward_parts(program.parts().context("keep its descriptors")?);
        // What a node that died has left there follows roles that nobody writes any more. A new one lets everything
        // through until it knows where the other node is; a renewed one knows.
        for hook in &hooks {
            if let Some(index) = forward::index_of(&hook.interface)
                && forward::attached(index)?.is_some()
            {
                forward::attach(index, &program)?;
            }
        }
    }
    let loaded = Loaded {
        board: forward::map_state(program.state()).context("map its board")?,
        program,
        hooks,
        listened,
        looked: None,
        trouble: None,
    };
    Ok((loaded, origin))
}

/// Every address and port of a VIP that somebody listens to. Who listens on one interface alone hears nothing that comes by
/// another one.
fn listened(config: &Config) -> Vec<(SocketAddr, VipIndex)> {
    let mut listened = Vec::new();
    let hears = |of: &Option<String>| of.as_ref().is_none_or(|of| *of == config.pair.interface);
    let listeners = config.listeners.iter();
    let listeners = listeners.filter(|one| hears(&one.socket.interface));
    let binds = listeners.flat_map(|one| &one.binds);
    for address in binds.flat_map(|bind| bind.addresses()) {
        for (index, vip) in config.live_vips() {
            let ip = address.ip();
            let any = ip.is_unspecified() && ip.is_ipv4() == vip.address.is_ipv4();
            if any || ip == vip.address {
                let address = SocketAddr::new(vip.address, address.port());
                listened.push((address, index));
            }
        }
    }
    listened
}

/// Where the other node is, once it was heard; or what is missing.
fn peer_of(vrrp: &VrrpBoard) -> Result<[u8; 6], &'static str> {
    if vrrp.tells_forwarding.get() == 0 {
        return Err("vrrp has no board of the TC program");
    }
    if vrrp.peer.heartbeat.get().is_none() {
        return Err("no heartbeat of the other node yet");
    }
    match vrrp.peer_mac.get().to_be_bytes() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Err("the other node's hardware address is not known yet"),
        [_, _, a, b, c, d, e, f] => Ok([a, b, c, d, e, f]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;

    #[test]
    fn the_other_node_is_known_once_everything_is_said() {
        let memory = memory::create::<VrrpBoard>("test").expect("memfd");
        let vrrp = memory::map_writable::<VrrpBoard>(&memory).expect("mapped");
        assert!(peer_of(vrrp).is_err());
        vrrp.tells_forwarding.set(1);
        vrrp.peer_mac.set(0x0200_0000_0012);
        assert_eq!(peer_of(vrrp), Err("no heartbeat of the other node yet"));
        vrrp.peer.heartbeat.set(Moment::from_nanos(1));
        assert_eq!(peer_of(vrrp), Ok([2, 0, 0, 0, 0, 0x12]));
        vrrp.peer_mac.set(0);
        assert!(peer_of(vrrp).is_err());
    }
}
