//! The admins of the two nodes speak with each other: TCP, port of the pair channel, TLS 1.3 with raw public keys.
//!
//! Each node connects to the other and tells over the connection that it has made; what comes to it, it only hears. So
//! there is one order of events in each direction, and nobody has to decide which of two connections counts. What is told:
//! the sessions that came to this node's VIPs, in full at first, then what has changed, so that the other node can speak
//! to their clients when this machine is lost (`crate::rescue`); and each second how the node's stop goes on, and with its
//! last word how that has ended.
//!
//! - `identity`: whose key is whose; who has not the other node's gets no further than the handshake.
//! - `ask`: what one node asks of the other.
//! - `frame`: a kind, a length of at most 64 KiB, and the body; an unknown kind is passed over.
//! - `message`: what is in a body.
//! - `ledger` (pure): what the other node has been told, and what it has not.
//! - `mirror` (pure): the table of its sessions, filled by what it tells.
//! - `tell`, `hear`: the two connections.
//!
//! Nothing queues: what has changed is found by comparing the proxy's table with the ledger when there is room to send it,
//! so a slow or dead peer costs no memory. vrrp knows nothing of all this.

mod ask;
mod frame;
mod hear;
mod identity;
mod ledger;
mod message;
mod mirror;
mod tell;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use common::board::{LinkSlot, SessionTable};
use common::config::key::parse_key_file;
use common::config::{Config, NodeIndex, Vip};
use common::time::Moment;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(crate) use self::ask::Peer;
use self::ask::{Asks, Servant};
use self::identity::Identity;
use super::remaining::{Exchange, Left};
use crate::commands::Asker;

/// Something is said at least this often.
const ALIVE: Duration = Duration::from_secs(1);
/// Who says nothing for so long, or takes nothing, is gone.
const SILENCE: Duration = Duration::from_secs(5);
/// A link goes on for so long after a reload: what became of that may have to be told over it.
const REST: Duration = Duration::from_secs(2);
/// And so much longer while the other node still waits for something.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// For the last word of a node that stops; the supervisor waits two seconds for admin.
const LAST_WORD: Duration = Duration::from_millis(500);
/// For a connection, for its handshake, and for the first words.
const OPENING: Duration = Duration::from_secs(3);

/// What it takes to speak with the other node's admin.
#[derive(Debug)]
pub(crate) struct Inputs {
    /// The listening socket.
    pub(crate) socket: OwnedFd,
    /// The admins' keys, see [`crate::admin_key`].
    pub(crate) key: String,
    /// This node's sessions.
    pub(crate) own: &'static SessionTable,
    /// The other node's, written here.
    pub(crate) peers: &'static SessionTable,
    /// Who does what the other node asks for.
    pub(crate) supervisor: Option<Arc<Asker>>,
}

/// What both directions share.
#[derive(Debug)]
struct Link {
    own: Node,
    peer: Node,
    port: u16,
    /// Addresses of the VIPs, by place.
    vips: Vec<IpAddr>,
    identity: Identity,
    own_sessions: &'static SessionTable,
    peer_sessions: &'static SessionTable,
    slot: &'static LinkSlot,
    /// How both nodes are.
    left: &'static Exchange,
    servant: Arc<Servant>,
    farewell: Arc<Farewell>,
}

/// Where both directions write, and where they read how this node is.
type Slots = (&'static LinkSlot, &'static Exchange);

/// The last word of a node that stops.
#[derive(Debug, Default)]
struct Farewell {
    wanted: Notify,
    said: Notify,
}

#[derive(Debug)]
struct Node {
    name: String,
    address: IpAddr,
}

/// Both directions; they end when it is dropped.
#[derive(Debug)]
pub(super) struct PeerLink {
    inputs: Inputs,
    node: NodeIndex,
    slots: Slots,
    /// As the link that runs has them.
    vips: Vec<IpAddr>,
    /// Shared by one link after another, and so is the other end.
    shared: Shared,
    tasks: Vec<JoinHandle<Infallible>>,
    /// What it is to go over to, not before then, and not long after.
    next: Option<(Arc<Config>, Option<String>, Moment)>,
}

/// What outlives a link: tasks of this node for the other one, and of the other one for this.
#[derive(Debug, Clone)]
struct Shared {
    asks: Arc<tokio::sync::Mutex<Asks>>,
    servant: Arc<Servant>,
    /// As the one who asks has it.
    waiting: Arc<()>,
    farewell: Arc<Farewell>,
}

impl PeerLink {
    /// Starts both directions on the runtime of the caller.
    ///
    /// # Errors
    /// The key is none, or the socket cannot be used.
    pub(super) fn start(
        inputs: Inputs,
        (config, node): (&Config, NodeIndex),
        slots: Slots,
    ) -> anyhow::Result<(Self, Peer)> {
        let peer = config.peer_of(node).context("there is no other node")?;
        let name = config.nodes[peer.0].name.clone();
        let (asking, asks) = Peer::new(name, slots.0);
        let mut link = Self {
            shared: Shared {
                asks: Arc::new(asks.into()),
                servant: Arc::new(Servant::new(inputs.supervisor.clone())),
                waiting: Arc::clone(&asking.waiting),
                farewell: Arc::default(),
            },
            inputs,
            node,
            slots,
            vips: addresses(config),
            tasks: Vec::new(),
            next: None,
        };
        link.begin(config)?;
        Ok((link, asking))
    }

    fn begin(&mut self, config: &Config) -> anyhow::Result<()> {
        let of = (config, self.node);
        self.tasks = start(&self.inputs, of, (self.slots, &self.shared))?;
        Ok(())
    }

    /// The node runs by this configuration from now on, and by these keys: where they matter here, connections are made
    /// anew, and everything is told once more. In a moment: the other node may be waiting for what became of the reload.
    pub(super) fn go_over(&mut self, config: Arc<Config>, key: Option<String>, now: Moment) {
        self.next = Some((config, key, now + REST));
    }

    /// Goes over, if it is time and nobody waits for anything; to be called each second.
    pub(super) fn look(&mut self, now: Moment) {
        let rested = |next: &mut (_, _, Moment)| {
            // Its end here, and that of who asks.
            let asks = Arc::strong_count(&self.shared.waiting) > 2;
            let asked = asks || self.shared.servant.is_busy();
            now >= next.2 && (!asked || now >= next.2 + LONGEST_REST)
        };
        let Some((config, key, _)) = self.next.take_if(rested) else {
            return;
        };
        let vips = addresses(&config);
        let key = key.unwrap_or_else(|| self.inputs.key.clone());
        if vips == self.vips && key == self.inputs.key {
            return;
        }
        self.vips = vips;
        self.inputs.key = key;
        self.end();
        if let Err(error) = self.begin(&config) {
            tracing::error!("the other node's admin is not spoken with: {error:#}");
        }
    }

    /// Tells the other node what has changed and how this one is, for the last time. A slow one is not waited for.
    pub(super) async fn say_farewell(&self) {
        if self.slots.0.telling.get().is_none() {
            return;
        }
        self.shared.farewell.wanted.notify_one();
        if timeout(LAST_WORD, self.shared.farewell.said.notified())
            .await
            .is_err()
        {
            tracing::info!("the other node was not told that this one has stopped");
        }
    }

    fn end(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
    }
}

impl Drop for PeerLink {
    fn drop(&mut self) {
        self.end();
    }
}

/// Of the VIPs, by place; those that are gone are nobody's.
fn addresses(config: &Config) -> Vec<IpAddr> {
    let address = |vip: &Vip| match vip.retired {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => vip.address,
    };
    config.vips.iter().map(address).collect()
}

fn start(
    inputs: &Inputs,
    (config, node): (&Config, NodeIndex),
    ((slot, left), shared): (Slots, &Shared),
) -> anyhow::Result<Vec<JoinHandle<Infallible>>> {
    let peer = config.peer_of(node).context("there is no other node")?;
    let named = |index: NodeIndex| {
        let node = &config.nodes[index.0];
        Node {
            name: node.name.clone(),
            address: node.address,
        }
    };
    let (own, peer) = (named(node), named(peer));
    let keys = parse_key_file(&inputs.key).context("read the admins' keys")?;
    let link = Arc::new(Link {
        identity: Identity::new(&keys, &own.name, &peer.name).context("prepare TLS")?,
        own,
        peer,
        port: config.pair.port,
        vips: addresses(config),
        own_sessions: inputs.own,
        peer_sessions: inputs.peers,
        slot,
        left,
        servant: Arc::clone(&shared.servant),
        farewell: Arc::clone(&shared.farewell),
    });
    // Connections of an earlier admin process have ended with it; what it was told stays true until it is told anew.
    slot.telling.clear();
    slot.hearing.clear();
    slot.peer_drain_until.clear();
    slot.peer_stops.clear();
    *left.peer() = Left::default();
    slot.told.set(0);
    slot.heard.set(inputs.peers.sessions().count() as u64);
    let socket = inputs.socket.try_clone();
    let listening = socket.and_then(hear::listener);
    let listening = listening.context("take over the socket for the peer")?;
    Ok(vec![
        tokio::spawn(hear::serve(listening, Arc::clone(&link))),
        tokio::spawn(tell::tell_for_ever(link, Arc::clone(&shared.asks))),
    ])
}

#[cfg(test)]
mod tests;
