//! What follows when the state of a server changes, whoever has found it: a probe, a connection, its
//! agent, the server that it follows, or an administrator.

use common::board::ServerState;
use common::config::{OnMarkedDown, OnMarkedUp};
use common::time::Moment;
use tracing::info;

use super::Keeper;
use crate::health::usable;
use crate::registry::{Cut, Withdrawn};

impl Keeper {
    /// A server is in another state than before.
    pub(super) fn handle_change(
        &mut self,
        place: usize,
        (before, state): (ServerState, ServerState),
        now: Moment,
    ) {
        let proxy = self.proxy();
        match (usable(before), usable(state)) {
            (true, false) => {
                proxy.board.servers[place].downs.add(1);
                self.servers[place].came_up = None;
            }
            (false, true) => self.servers[place].came_up = Some(now),
            (true, true) | (false, false) => {}
        }
        let is_marked_down = state == ServerState::Down && before != ServerState::Down;
        self.publish(now);
        let Some(member) = self.roster.at(place) else {
            return;
        };
        let (backend, server) = (
            &proxy.config.backends[member.backend.0],
            member.server.address,
        );
        if is_marked_down && backend.on_marked_down == OnMarkedDown::Cut {
            let Withdrawn { ended, moved } = proxy.withdraw(place, Cut::ServerDown, now);
            info!(backend = backend.name, %server, ended, moved, "its sessions are ended");
        }
        if !usable(before) && usable(state) {
            self.relieve_backups(place, now);
        }
    }

    /// As [`Self::relieve_backups`], for a server and those that follow it.
    pub(super) fn relieve_backups_for(&self, place: usize, now: Moment) {
        for place in std::iter::once(place).chain(self.followers.of_place(place)) {
            self.relieve_backups(place, now);
        }
    }

    /// Where a server that is no backup serves again and `on_marked_up` says so, the sessions of its
    /// backend's backups end.
    fn relieve_backups(&self, place: usize, now: Moment) {
        let proxy = &self.proxy;
        let Some(member) = self.roster.at(place).filter(|one| one.is_present()) else {
            return;
        };
        let backend = &proxy.config.backends[member.backend.0];
        let cuts = backend.on_marked_up == OnMarkedUp::CutBackups && !member.server.backup;
        if !cuts || !self.serves(member, now) {
            return;
        }
        for backup in self.roster.of(member.backend) {
            if !backup.server.backup {
                continue;
            }
            let Withdrawn { ended, moved } = proxy.withdraw(backup.place, Cut::ActiveUp, now);
            if ended + moved > 0 {
                let server = backup.server.address;
                info!(
                    backend = backend.name, %server, ended, moved,
                    "the sessions of a backup are ended: another server is up"
                );
            }
        }
    }
}
