//! The admins of the two nodes speak with each other: TCP, port of the pair channel, TLS 1.3 with raw public keys.
//!
//! Each node connects to the other and tells over the connection that it has made; what comes to it, it only hears. So
//! there is one order of events in each direction, and nobody has to decide which of two connections counts. What is told:
//! the sessions that came to this node's VIPs, in full at first, then what has changed, so that the other node can speak
//! to their clients when this machine is lost (`crate::rescue`); and each second how the node's drain goes on.
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

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use common::board::{DrainSlot, LinkSlot, SessionTable};
use common::config::key::parse_key_file;
use common::config::{Config, NodeIndex};

pub(crate) use self::ask::Peer;
use self::ask::Servant;
use self::identity::Identity;
use crate::commands::Asker;

/// Something is said at least this often.
const ALIVE: Duration = Duration::from_secs(1);
/// Who says nothing for so long, or takes nothing, is gone.
const SILENCE: Duration = Duration::from_secs(5);
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
    /// Addresses of the VIPs, in the order of the configuration.
    vips: Vec<IpAddr>,
    identity: Identity,
    own_sessions: &'static SessionTable,
    peer_sessions: &'static SessionTable,
    slot: &'static LinkSlot,
    /// How this node's stop goes on.
    drain: &'static DrainSlot,
    servant: Servant,
}

#[derive(Debug)]
struct Node {
    name: String,
    address: IpAddr,
}

/// Starts both directions on the runtime of the caller. The other node, for who wants something of it.
///
/// # Errors
/// The key is none, or the socket cannot be used.
pub(super) fn start(
    inputs: Inputs,
    (config, node): (&Config, NodeIndex),
    (slot, drain): (&'static LinkSlot, &'static DrainSlot),
) -> anyhow::Result<Peer> {
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
        vips: config.vips.iter().map(|vip| vip.address).collect(),
        own_sessions: inputs.own,
        peer_sessions: inputs.peers,
        slot,
        drain,
        servant: Servant::new(inputs.supervisor),
    });
    let (asking, asks) = Peer::new(link.peer.name.clone(), slot);
    // Connections of an earlier admin process have ended with it; what it was told stays true until it is told anew.
    slot.telling.clear();
    slot.hearing.clear();
    slot.peer_drain_until.clear();
    slot.told.set(0);
    slot.heard.set(inputs.peers.sessions().count() as u64);
    let listening = hear::listener(inputs.socket).context("take over the socket for the peer")?;
    tokio::spawn(hear::serve(listening, Arc::clone(&link)));
    tokio::spawn(tell::tell_for_ever(link, asks));
    Ok(asking)
}

#[cfg(test)]
mod tests;
