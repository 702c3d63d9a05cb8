//! The other node in the status. Pure.

use std::time::Duration;

use common::board::VipState;
use common::config::{Config, NodeIndex, Runs, VipIndex};
use common::status::{PeerStatus, PeerVipStatus};
use common::time::Moment;

use super::rescue;
use super::view::{View, hash_word, millis};

/// The pair channel is shown as silent after three heartbeats, and never sooner than this.
const SHORTEST_SILENCE: Duration = Duration::from_millis(200);

/// The pair channel, as the configuration and the board have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    On,
    Silent,
    /// This node stops, and its vrrp has ended.
    Off,
    /// The other one does, as its admin says.
    PeerStops,
    /// It has, as its admin said last.
    PeerStopped,
    NoKey,
    NoHeartbeat,
    /// The other node runs Keepalived.
    Keepalived,
}

impl Channel {
    /// As it is at `now`.
    pub(crate) fn of(view: &View, peer: NodeIndex, now: Moment) -> Self {
        let config = &view.config;
        if config.nodes[peer.0].runs == Runs::Keepalived {
            return Self::Keepalived;
        }
        let Some(interval) = config.pair.heartbeat else {
            return Self::NoHeartbeat;
        };
        if config.pair.key_file.is_none() {
            return Self::NoKey;
        }
        let limit = (interval * 3).max(SHORTEST_SILENCE);
        let heard = view.boards.vrrp.peer.heartbeat.get();
        let link = &view.boards.admin.link;
        if heard.is_some_and(|at| now.since(at) < limit) {
            Self::On
        } else if view.boards.supervisor.stop.since.get().is_some() {
            Self::Off
        } else if link.peer_drain_until.get().is_some() {
            Self::PeerStops
        } else if link.peer_stopped.get().is_some() {
            Self::PeerStopped
        } else {
            Self::Silent
        }
    }

    fn words(self, peer: &str) -> String {
        match self {
            Self::On => "on".to_owned(),
            Self::Silent => "silent".to_owned(),
            Self::Off => "off: this node stops".to_owned(),
            Self::PeerStops => format!("off: {peer} stops"),
            Self::PeerStopped => format!("off: {peer} has stopped"),
            Self::NoKey => "off: no key".to_owned(),
            Self::NoHeartbeat => "off: heartbeat = off".to_owned(),
            Self::Keepalived => format!("off: {peer} runs keepalived"),
        }
    }
}

/// The other node; `None` if there is none.
pub(crate) fn status(view: &View, now: Moment) -> Option<PeerStatus> {
    let peer = view.config.peer_of(view.node)?;
    let node = &view.config.nodes[peer.0];
    let board = &view.boards.vrrp.peer;
    let channel = Channel::of(view, peer, now);
    let vips = view.config.live_vips();
    let vips = vips
        .map(|(vip, _)| vip_status(view, vip, channel))
        .collect();
    Some(PeerStatus {
        name: node.name.clone(),
        address: node.address.to_string(),
        heard_ms_ago: board.heard.get().map(|at| millis(now, at)),
        heartbeat_ms_ago: board.heartbeat.get().map(|at| millis(now, at)),
        pair_channel: channel.words(&node.name),
        signing: view.config.pair.signing.word().to_owned(),
        silent_takeover: view.config.pair.silent_takeover.word().to_owned(),
        questions: view.boards.vrrp.questions.get(),
        silences: view.boards.vrrp.silences.get(),
        silences_averted: view.boards.vrrp.silences_averted.get(),
        version: version(board.version.get()),
        config_hash: Some(board.config_hash.get())
            .filter(|hash| *hash != 0)
            .map(hash_word),
        maintenance: (channel == Channel::On).then(|| view.boards.vrrp.peer_maintenance.get() == 1),
        link: rescue::link(view, now),
        vips,
    })
}

fn vip_status(view: &View, vip: VipIndex, channel: Channel) -> PeerVipStatus {
    let board = &view.boards.vrrp;
    let fresh = channel == Channel::On;
    let said = |value: u64| fresh.then_some(value);
    PeerVipStatus {
        name: view.config.vips[vip.0].name.clone(),
        priority: priority(view, vip, fresh),
        state: said(board.peer.vip_state[vip.0].get())
            .map(|state| VipState::from_board(state).word().to_owned()),
        // 255 = it has not probed all its servers yet.
        health: said(board.peer.vip_health[vip.0].get()).filter(|health| *health <= 100),
    }
}

/// What was heard; a backup sends no adverts, so before the first one it is what the file says, if the other node
/// says that it runs the same file.
fn priority(view: &View, vip: VipIndex, fresh: bool) -> Option<u64> {
    let board = &view.boards.vrrp;
    match board.vips[vip.0].peer_priority.get() {
        0 if fresh && board.peer.config_hash.get() == view.config_hash => {
            configured(&view.config, view.config.peer_of(view.node)?, vip)
        }
        0 => None,
        heard => Some(heard),
    }
}

fn configured(config: &Config, node: NodeIndex, vip: VipIndex) -> Option<u64> {
    let priorities = &config.vips[vip.0].priorities;
    priorities.get(node.0).map(|one| u64::from(one.value()))
}

pub(super) fn version(word: u64) -> Option<String> {
    (word != 0).then(|| format!("{}.{}.{}", word >> 32, word >> 16 & 0xffff, word & 0xffff))
}
