//! Routes and rules that follow the VIPs: installed once a lease is, removed behind it, put back when
//! somebody else removes them. They decide nothing: a VIP whose route the kernel refuses is held all the
//! same, and status says what is missing.

use std::time::Duration;

use common::board::{RouteSlot, RouteState, VrrpBoard};
use common::config::{Config, Follower, VipIndex};
use common::time::Moment;

use super::Driver;
use super::succession::Inherited;
use crate::link::{Installed, LinkError, RouteKey, RouteWatch};

/// Time between two looks at all of them: the kernel does not tell of routes that went with the state of
/// an interface, and one that it refused may be possible by now.
const LOOK: Duration = Duration::from_secs(1);

/// What the loop knows of them.
#[derive(Debug)]
pub(super) struct Routes {
    /// `None` = no VIP has any.
    watch: Option<RouteWatch>,
    look_at: Moment,
    /// By [`VipIndex`]: they are in the kernel, or should be.
    follow: Vec<bool>,
    slots: &'static [RouteSlot],
}

impl Routes {
    /// Knows of none yet.
    ///
    /// # Errors
    /// If the kernel gives no socket.
    pub(super) fn new(
        config: &Config,
        board: &'static VrrpBoard,
        now: Moment,
    ) -> Result<Self, LinkError> {
        let any = config.vips.iter().any(|vip| !vip.followers.is_empty());
        Ok(Self {
            watch: any.then(RouteWatch::open).transpose()?,
            look_at: now,
            follow: vec![false; config.vips.len()],
            slots: &board.routes,
        })
    }
}

/// What an attempt to install one says of it.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Installed,
    /// It was gone, and is back.
    Restored,
    Refused(String),
}

/// What is so after an attempt. One that is there although we did not put it there is somebody else's.
fn judge(before: RouteState, result: Result<Installed, String>, follower: &Follower) -> Found {
    match (before, result) {
        (RouteState::Installed, Ok(Installed::Added)) => Found::Restored,
        (RouteState::Absent | RouteState::Refused, Ok(Installed::Added))
        | (RouteState::Installed, Ok(Installed::WasThere)) => Found::Installed,
        (RouteState::Absent | RouteState::Refused, Ok(Installed::WasThere)) => {
            Found::Refused(match follower {
                Follower::Route(_) => {
                    "another route to there with the same metric is in its table".to_owned()
                }
                Follower::Rule(_) => "something else has the same rule".to_owned(),
            })
        }
        (_, Err(cause)) => Found::Refused(cause),
    }
}

/// What has this place in the kernel now is not ours any more: it is left alone, and taken again when it is free. Says
/// whether something of ours was there.
fn disown(config: &Config, slots: &[RouteSlot], key: &RouteKey) -> bool {
    let mut was_ours = false;
    let vips = config.live_vips();
    for (number, follower) in vips.flat_map(|(vip, _)| config.followers(vip)) {
        let slot = &slots[number];
        let is_it = matches!(follower, Follower::Route(route) if RouteKey::of(route) == *key);
        if is_it && RouteState::from_board(slot.state.get()) == RouteState::Installed {
            slot.state.set(RouteState::Absent.on_board());
            was_ours = true;
        }
    }
    was_ours
}

impl Driver {
    /// Takes away what an earlier run has left, but for what follows VIPs that were left to this one.
    /// Nobody is Active yet.
    pub(super) fn remove_stale_routes(&mut self, left: &[Inherited]) {
        if !left.is_empty() {
            for place in self.units.places().iter() {
                let group = self.units[place].group;
                if !left.iter().any(|one| one.group == group) {
                    self.remove_routes(place);
                }
            }
            return;
        }
        for slot in self.routes.slots {
            slot.state.set(RouteState::Absent.on_board());
            slot.reason.set("");
        }
        match self.route.remove_our_routes() {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "routes and rules of an earlier run removed"),
            Err(error) => tracing::warn!(
                cause = error.cause(),
                "routes of an earlier run may be left"
            ),
        }
    }

    /// For a successor that runs by another configuration: what follows VIPs that stay is left to it, by its numbers; what
    /// follows them no more is removed.
    pub(super) fn renumber_routes(&mut self, next: &Config) {
        let mut known = Vec::new();
        for (vip, _) in self.config.live_vips() {
            let router = &self.config.vips[vip.0];
            let then = next.vips.get(vip.0).filter(|one| !one.retired);
            let then = then.filter(|one| one.is_same_router(router));
            let then = then.map_or(&[][..], |one| &one.followers);
            for (number, follower) in self.config.followers(vip) {
                let slot = &self.routes.slots[number];
                if RouteState::from_board(slot.state.get()) != RouteState::Installed {
                    continue;
                }
                if then.contains(follower) {
                    known.push((vip, follower, slot.restored.get()));
                } else if let Err(error) = self.route.remove_follower(follower) {
                    let vip = &router.name;
                    tracing::warn!(
                        vip,
                        cause = error.cause(),
                        "what followed a VIP stays behind it"
                    );
                }
            }
        }
        for slot in self.routes.slots {
            slot.state.set(RouteState::Absent.on_board());
            slot.reason.set("");
            slot.restored.set(0);
        }
        for (vip, follower, restored) in known {
            let mut numbered = next.followers(vip);
            if let Some((number, _)) = numbered.find(|(_, one)| *one == follower) {
                let slot = &self.routes.slots[number];
                slot.state.set(RouteState::Installed.on_board());
                slot.restored.set(restored);
            }
        }
    }

    /// Installs what follows a VIP that has just been leased, removes what follows one that is not held
    /// any more. Behind everything else: an announcement does not wait for a route.
    pub(super) fn settle_routes(&mut self, place: usize) {
        let unit = &self.units[place];
        let (held, given_up) = (unit.leased, unit.leased_on.is_none());
        if held && !self.routes.follow[place] {
            self.routes.follow[place] = true;
            self.put_routes(place);
        } else if given_up && self.routes.follow[place] {
            self.routes.follow[place] = false;
            self.remove_routes(place);
        }
    }

    /// Puts back what is gone, each second and when somebody was heard to remove something.
    pub(super) fn keep_routes(&mut self, now: Moment) {
        let Some(watch) = &mut self.routes.watch else {
            return;
        };
        let (config, slots) = (&self.config, self.routes.slots);
        let lost = watch.lost_any(|key| disown(config, slots, key));
        if !lost && now < self.routes.look_at {
            return;
        }
        self.routes.look_at = now + LOOK;
        for place in self.units.places().iter() {
            if self.routes.follow[place] && self.units[place].leased {
                self.put_routes(place);
            }
        }
    }

    fn put_routes(&mut self, place: usize) {
        let vip = &self.config.vips[place].name;
        for (number, follower) in self.config.followers(VipIndex(place)) {
            let slot = &self.routes.slots[number];
            let before = RouteState::from_board(slot.state.get());
            let result = self.route.put_follower(follower);
            match judge(before, result.map_err(|error| error.cause()), follower) {
                Found::Installed => {}
                Found::Restored => {
                    slot.restored.add(1);
                    tracing::warn!(vip, what = %follower, "something else removed what follows a VIP: it is back");
                }
                Found::Refused(cause) => {
                    if before != RouteState::Refused {
                        tracing::warn!(vip, what = %follower, cause, "what follows a VIP cannot be installed");
                    }
                    slot.reason.set(&cause);
                    slot.state.set(RouteState::Refused.on_board());
                    continue;
                }
            }
            slot.reason.set("");
            slot.state.set(RouteState::Installed.on_board());
        }
    }

    /// In the reverse order, so that no rule leads into a table that is empty already.
    fn remove_routes(&mut self, place: usize) {
        let vip = &self.config.vips[place].name;
        let followers: Vec<_> = self.config.followers(VipIndex(place)).collect();
        for (number, follower) in followers.into_iter().rev() {
            let slot = &self.routes.slots[number];
            let before = RouteState::from_board(slot.state.get());
            slot.state.set(RouteState::Absent.on_board());
            slot.reason.set("");
            // One that was refused is not ours.
            if before == RouteState::Installed
                && let Err(error) = self.route.remove_follower(follower)
            {
                tracing::warn!(
                    vip,
                    cause = error.cause(),
                    "what follows a VIP stays behind it"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use common::addr::Family;
    use common::config::VipRule;

    use super::*;

    #[test]
    fn what_is_there_without_us_is_in_the_way_and_what_was_ours_is_restored() {
        let rule = Follower::Rule(VipRule {
            family: Family::V4,
            from: None,
            to: None,
            iif: None,
            fwmark: None,
            table: 100,
            priority: 1,
        });
        let judge = |before, result| judge(before, result, &rule);
        for before in [RouteState::Absent, RouteState::Refused] {
            assert_eq!(judge(before, Ok(Installed::Added)), Found::Installed);
            assert!(matches!(
                judge(before, Ok(Installed::WasThere)),
                Found::Refused(_)
            ));
        }
        let installed = RouteState::Installed;
        assert_eq!(judge(installed, Ok(Installed::WasThere)), Found::Installed);
        assert_eq!(judge(installed, Ok(Installed::Added)), Found::Restored);
        let gone = Err("Network is down".to_owned());
        assert_eq!(
            judge(installed, gone),
            Found::Refused("Network is down".to_owned())
        );
    }
}
