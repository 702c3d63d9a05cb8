//! Whether this node can hold a VIP now: data plane, supervisor, interface. Pure.

use std::time::Duration;

use common::config::{BackendIndex, Config, Listener, Probe, VipIndex};
use common::time::Moment;

use crate::router::Cause;

/// What is known at this turn of the loop, for one VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts<'a> {
    pub now: Moment,
    /// Our own loop woke within 50 ms of the time it had asked for. Who slept concludes nothing
    /// from the silence of others: it counts anew from the moment at which it woke.
    pub woke_on_time: bool,
    /// Oldest accept heartbeat over the proxy's threads; `None` = one of them has none (yet).
    pub accepting: Option<Moment>,
    /// The proxy's last three deaths, oldest first (`ChildSlot::last_deaths`).
    pub proxy_deaths: [Option<Moment>; 3],
    /// This node's health byte for the VIP, at best (`ProxyBoard::vip_hope`; 0 = a required listener
    /// has no usable server); `None` = not every server was probed yet.
    pub own_health: Option<u8>,
    /// The other node's, for sure (`ProxyBoard::vip_sure`); `None` without a fresh heartbeat in
    /// which it says that it knows, and that it could hold the VIP.
    pub peer_health: Option<u8>,
    /// What is wrong with the VIP's interface, in words; `None` = nothing.
    pub interface_fault: Option<&'a str>,
    /// Since when there is no supervisor; `None` = there is one.
    pub supervisor_gone_since: Option<Moment>,
}

/// Judges one VIP from turn to turn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judge {
    /// Newest accept heartbeat seen. It outlives its proxy: the next one has the rest of the 100 ms
    /// to begin.
    accepted: Option<Moment>,
    /// Since when the accept heartbeats are fresh.
    fresh_since: Option<Moment>,
    hung: bool,
    crash_loop: bool,
    /// Our own loop woke late then; others are given their whole time again from there on.
    overslept: Option<Moment>,
    /// How long the other node may take to miss the servers that we miss: see [`patience`].
    patience: Duration,
    /// Since when we have no usable server and it has some.
    without_server_since: Option<Moment>,
}

/// Oldest accept heartbeat with which a node serves.
const ACCEPT: Duration = Duration::from_millis(100);
/// A turn of the loop takes no longer.
const TURN: Duration = Duration::from_millis(20);
/// Three deaths within this time are a crash loop, and for so long it lasts.
const CRASH_LOOP: Duration = Duration::from_secs(10);
/// How long a proxy must have accepted at the end of a crash loop.
const CALM: Duration = Duration::from_secs(1);
/// How long a node serves without a supervisor.
const SUPERVISOR: Duration = Duration::from_secs(2);

/// Heartbeats and the turns of both loops, with room.
const NEWS: Duration = Duration::from_millis(50);

/// How long the nodes' views of the same servers may differ although nothing but their probes is out
/// of step: a failure that both will see moves no VIP, and neither does its end.
///
/// One node may have the verdict (n probes in a row) when the other has not even had its first probe
/// since; after that one, the last probes speak the same language on both ([`Facts::own_health`],
/// [`Facts::peer_health`]). The first probe comes within the interval of a server that is up (or
/// down, at the end of a failure), the others follow by the interval of one that is on its way. All
/// are at most 105 % and at least 95 % of what the file says. An API server that says that it is not
/// ready needs to say so once.
pub fn patience(config: &Config, vip: VipIndex) -> Duration {
    let required = config.required_by(vip);
    let backends: Vec<BackendIndex> = required.flat_map(Listener::backends).collect();
    let probes = backends.iter().flat_map(|one| config.probes_of(*one));
    // One answer of an agent is enough, and the other node may have asked just before.
    let agents = backends.iter().flat_map(|one| config.agents_of(*one));
    let agents = agents.map(|agent| agent.interval * 105 / 100);
    let apart = probes.map(out_of_step).chain(agents).max();
    apart.unwrap_or_default() + NEWS
}

fn out_of_step(probe: &Probe) -> Duration {
    let apart = |first: Duration, probes: u32| {
        let verdict = probe.fast_interval * 95 / 100 * (probes - 1);
        (first * 105 / 100).saturating_sub(verdict)
    };
    let (fall, first_good) = if probe.hears_not_ready() {
        // Not ready, it is probed as one that is up.
        (1, probe.interval.max(probe.down_interval))
    } else {
        (probe.fall, probe.down_interval)
    };
    apart(probe.interval, fall).max(apart(first_good, probe.rise))
}

impl Judge {
    /// A judge who waits so long before a VIP is given up for want of servers.
    pub fn new(patience: Duration) -> Self {
        Self {
            patience,
            ..Self::default()
        }
    }

    /// From now on it waits so long.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Whether this node can hold the VIP. Call it at every turn of the loop with that turn's
    /// facts.
    ///
    /// # Errors
    /// The first cause, in the order interface, supervisor, crash loop, hung, not ready, servers.
    pub fn judge(&mut self, facts: &Facts<'_>) -> Result<(), Cause> {
        if !facts.woke_on_time {
            self.overslept = Some(facts.now);
        }
        self.watch_accepting(facts);
        self.watch_deaths(facts);
        if let Some(fault) = facts.interface_fault {
            return Err(Cause::Interface(fault.to_owned()));
        }
        if facts
            .supervisor_gone_since
            .is_some_and(|since| self.silence(facts.now, since) > SUPERVISOR)
        {
            return Err(Cause::SupervisorGone);
        }
        if self.crash_loop {
            return Err(Cause::ProxyCrashLoop);
        }
        if self.accepted.is_none() || (self.hung && facts.accepting.is_none()) {
            return Err(Cause::ProxyNotReady);
        }
        if self.hung {
            return Err(Cause::ProxyHung);
        }
        if self.is_without_server(facts) {
            return Err(Cause::NoUsableServer);
        }
        Ok(())
    }

    /// Servers that both nodes miss move nothing: the other node could not serve either.
    fn is_without_server(&mut self, facts: &Facts<'_>) -> bool {
        let without =
            facts.own_health == Some(0) && facts.peer_health.is_some_and(|health| health > 0);
        if !without {
            self.without_server_since = None;
            return false;
        }
        let since = *self.without_server_since.get_or_insert(facts.now);
        facts.now.since(since) >= self.patience
    }

    fn watch_accepting(&mut self, facts: &Facts<'_>) {
        // A moment that has not come is garbage on the board, and would count as fresh for ever; but the proxy may have
        // written it after this turn has read the clock.
        let accepting = facts.accepting;
        let honest = accepting.filter(|accepting| *accepting <= facts.now + TURN);
        let accepting = honest.map(|accepting| accepting.min(facts.now));
        self.accepted = self.accepted.max(accepting);
        let Some(accepted) = self.accepted else {
            return;
        };
        if facts.now.since(accepted) <= ACCEPT {
            self.hung = false;
            self.fresh_since.get_or_insert(facts.now);
        } else if self.silence(facts.now, accepted) > ACCEPT {
            self.hung = true;
            self.fresh_since = None;
        }
    }

    fn watch_deaths(&mut self, facts: &Facts<'_>) {
        let [Some(first), _, Some(third)] = facts.proxy_deaths else {
            self.crash_loop = false;
            return;
        };
        if third.since(first) <= CRASH_LOOP && facts.now.since(third) <= CRASH_LOOP {
            self.crash_loop = true;
        } else if self
            .fresh_since
            .is_some_and(|since| facts.now.since(since) >= CALM)
        {
            self.crash_loop = false;
        }
    }

    /// How long something has been silent while we were awake.
    fn silence(&self, now: Moment, since: Moment) -> Duration {
        now.since(self.overslept.map_or(since, |woke| woke.max(since)))
    }
}

#[cfg(test)]
mod tests;
