//! What the adverts on the wire tell of both nodes and of others: warnings. Pure.

use std::time::Duration;

use common::board::{AdvertWarning, VipState};
use common::config::{ChecksumForm, VipIndex};
use common::time::Moment;

use super::peer::Channel;
use super::view::View;
use crate::status::human;

/// Adverts may be this much later than three intervals before their absence is worth a warning.
const GRACE: Duration = Duration::from_secs(1);
/// Both nodes may be active for so long, in a handover, without a warning. Whoever looks sees it within a second then.
const BOTH_ACTIVE: Duration = Duration::from_millis(500);
/// What was seen once is told for so long.
const RECENT: Duration = Duration::from_secs(60);

/// One VIP, at a time.
struct Look<'a> {
    view: &'a View,
    vip: VipIndex,
    now: Moment,
}

/// What strangers say of a VIP.
pub(crate) fn of_others(view: &View, vip: VipIndex, now: Moment) -> Vec<String> {
    let look = Look { view, vip, now };
    let config = &view.config.vips[vip.0];
    let source = view.boards.vrrp.wire[vip.0].source.get();
    let mut found = Vec::new();
    if look.warned(AdvertWarning::Stranger) {
        found.push(format!(
            "VIP {}: {source} sends adverts for VRID {} too, and is no node of this file: is the VRID used twice?",
            config.name, config.vrid
        ));
    }
    if look.warned(AdvertWarning::AddrList) {
        found.push(format!(
            "VIP {}: adverts of {source} for VRID {} name other addresses than {}: is the VRID used twice, or its file another?",
            config.name, config.vrid, config.address
        ));
    }
    found
}

/// What the other node's adverts tell of a VIP, and their absence.
pub(crate) fn of_peer(
    view: &View,
    (peer, channel): (&str, Channel),
    vip: VipIndex,
    now: Moment,
) -> Vec<String> {
    let look = Look { view, vip, now };
    let both = look.dual_active(peer, channel);
    let firewalled = look.stopped_by_firewall(peer);
    let is_told = both.is_some() || firewalled.is_some() || channel != Channel::On;
    let lost = (!is_told && look.beats_active()).then(|| look.lost(peer));
    let sums = look.checksums(peer);
    [both, firewalled, lost.flatten(), sums, look.dropped(peer)]
        .into_iter()
        .flatten()
        .collect()
}

impl Look<'_> {
    fn warned(&self, warning: AdvertWarning) -> bool {
        let slot = &self.view.boards.vrrp.wire[self.vip.0];
        let last = slot.warned[warning as usize].get();
        last.is_some_and(|at| self.now.since(at) < RECENT)
    }

    /// Both nodes are active, as the other one's heartbeats say, or else its adverts: who goes on sending them does not
    /// hear ours.
    fn dual_active(&self, peer: &str, channel: Channel) -> Option<String> {
        let slot = &self.view.boards.vrrp.vips[self.vip.0];
        let config = &self.view.config.vips[self.vip.0];
        let since = slot.since.get()?;
        if VipState::from_board(slot.state.get()) != VipState::Active {
            return None;
        }
        if channel == Channel::On {
            return (self.beats_active() && self.now.since(since) > BOTH_ACTIVE)
                .then(|| format!("VIP {}: both nodes are active", config.name));
        }
        let heard = slot.advert_heard.get()?;
        let is_of_now = self.now.since(heard) <= config.advert_interval * 3;
        let resigned = slot.peer_priority.get() == 0;
        (is_of_now && !resigned && heard > since + BOTH_ACTIVE).then(|| {
            format!(
                "VIP {}: both nodes are active: this one hears adverts of {peer}, which does not seem to hear its own",
                config.name
            )
        })
    }

    /// The other node is active by its last heartbeat; valid while the channel is on.
    fn beats_active(&self) -> bool {
        let state = self.view.boards.vrrp.peer.vip_state[self.vip.0].get();
        VipState::from_board(state) == VipState::Active
    }

    /// Its adverts reach this host, and not vrrp.
    fn stopped_by_firewall(&self, peer: &str) -> Option<String> {
        let board = &self.view.boards.vrrp;
        let slot = &board.wire[self.vip.0];
        let config = &self.view.config.vips[self.vip.0];
        let seen = slot.reached_host_at.get()?;
        let heard = slot.reached_us_at.get().or(board.header.started.get())?;
        let interval = config.advert_interval;
        // The second one that is missing says it, which is before a takeover.
        let missing = seen > heard + interval * 3 / 2;
        (missing && self.now.since(seen) < interval * 3 + GRACE).then(|| {
            format!(
                "VIP {}: adverts of {peer} are on the wire, but a firewall here drops them ({}): allow protocol 112 in \
                 nftables or iptables, and look at rp_filter",
                config.name,
                human::age(self.now.since(heard))
            )
        })
    }

    /// Its adverts do not come.
    fn lost(&self, peer: &str) -> Option<String> {
        let board = &self.view.boards.vrrp;
        let slot = &board.vips[self.vip.0];
        let config = &self.view.config.vips[self.vip.0];
        let listening = slot.advert_heard.get().or(board.header.started.get())?;
        let silent = self.now.since(listening);
        (silent > config.advert_interval * 3 + GRACE).then(|| {
            format!(
                "VIP {}: {peer} is active and its heartbeats come, its adverts do not ({}): is protocol 112 blocked?",
                config.name,
                human::age(silent)
            )
        })
    }

    /// This node drops its adverts, as it does this one's: each takes itself for alone. Until one was heard.
    fn dropped(&self, peer: &str) -> Option<String> {
        let board = &self.view.boards.vrrp;
        let heard = board.vips[self.vip.0].advert_heard.get();
        let is_dropped = |warning| {
            let last = board.wire[self.vip.0].warned[warning as usize].get();
            self.warned(warning) && last > heard
        };
        let config = &self.view.config.vips[self.vip.0];
        let (why, where_to_look) = if is_dropped(AdvertWarning::Version) {
            // There are two.
            let ours = config.version.number();
            let theirs = 5 - ours;
            let why = format!("it speaks version {theirs} of VRRP, this node version {ours}");
            (why, "`version` here and there")
        } else if is_dropped(AdvertWarning::Auth) {
            let why = "its authentication is another one".to_owned();
            (why, "`auth_pass` here and there")
        } else if is_dropped(AdvertWarning::Interval) {
            let interval = config.advert_interval.as_secs();
            let why = format!("its interval is another one than {interval} s");
            (why, "`advert_interval` here, advert_int there")
        } else {
            return None;
        };
        Some(format!(
            "VIP {}: adverts of {peer} are dropped, {why}, so both nodes may be active: look at {where_to_look}",
            config.name
        ))
    }

    /// It sums otherwise than this node.
    fn checksums(&self, peer: &str) -> Option<String> {
        let config = &self.view.config.vips[self.vip.0];
        let name = &config.name;
        if self.warned(AdvertWarning::GroupChecksum) {
            return Some(format!(
                "VIP {name}: adverts of {peer} are dropped, their checksum is that of multicast: remove \
                 old_unicast_checksum from its keepalived.conf"
            ));
        }
        self.warned(AdvertWarning::ChecksumForm)
            .then(|| match config.checksum {
                ChecksumForm::Message => format!(
                    "VIP {name}: {peer} sums its adverts with the pseudo-header, this node without (checksum = \
                     \"message\"): a Keepalived drops these, and both nodes are active"
                ),
                ChecksumForm::Pseudo => format!(
                    "VIP {name}: {peer} sums its adverts without the pseudo-header, this node with it (checksum = \
                     \"pseudo\"): it may drop these, and both nodes be active"
                ),
            })
    }
}

#[cfg(test)]
mod tests;
