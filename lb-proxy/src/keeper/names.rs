//! Servers that come and go as the DNS says.

use std::net::SocketAddr;
use std::sync::Arc;

use common::board::{Entrant, NameRecord, NameSlot, Presence};
use common::config::{BackendIndex, Config, NamedServers};
use common::roster::{Member, Roster};
use common::time::Moment;
use tokio::sync::watch;
use tracing::{info, warn};

use super::Keeper;
use crate::context::Proxy;
use crate::names::resolver::Outcome;
use crate::names::{Answer, Found, plan};

impl Keeper {
    /// The configuration whose names are to be asked for.
    pub(crate) fn names_wanted(&self) -> watch::Receiver<Arc<Config>> {
        self.names.subscribe()
    }

    /// Goes over to other names, if the next configuration has others: what is known of one that stays is
    /// known of it at its new place, and who stands for one that is gone leaves.
    pub(super) fn change_names(
        &mut self,
        (before, next): (&Proxy, &Proxy),
        roster: &Roster,
        now: Moment,
    ) {
        let (old, new): (Vec<_>, Vec<_>) = (
            before.config.names().collect(),
            next.config.names().collect(),
        );
        if old == new && before.config.dns == next.config.dns {
            return;
        }
        let place_of = |index: usize| {
            let (backend, named) = old.get(index)?;
            let same =
                |(of, one): &(BackendIndex, &NamedServers)| of == backend && one.name == named.name;
            new.iter().position(same)
        };
        for member in roster.all() {
            let Some(index) = member.name else { continue };
            let slot = &next.board.roster[member.place];
            let stays = place_of(index);
            if stays.is_none() && member.is_present() {
                slot.say(Presence::Leaving, (now, None));
            }
            slot.rename(stays);
        }
        let known: Vec<_> = next.board.names[..old.len()]
            .iter()
            .map(NameSlot::record)
            .collect();
        let mut records = vec![NameRecord::default(); new.len()];
        for (index, record) in known.into_iter().enumerate() {
            if let Some(place) = place_of(index) {
                records[place] = record;
            }
        }
        for (slot, record) in next.board.names.iter().zip(&records) {
            slot.put(record);
        }
        self.names.send_replace(Arc::clone(&next.config));
    }

    /// Takes what was found of a name. Who is not named any more leaves; a name of which nothing was
    /// found keeps its servers.
    pub(crate) fn handle_names(&mut self, outcome: Outcome, now: Moment) {
        let proxy = self.proxy();
        // It was asked before a reload brought other names.
        if !Arc::ptr_eq(&outcome.config, &self.names.borrow()) {
            return;
        }
        let Some((backend, wanted)) = proxy.config.names().nth(outcome.name) else {
            return;
        };
        let slot = &proxy.board.names[outcome.name];
        let of = &proxy.config.backends[backend.0].name;
        slot.queries.add(1);
        let (answer, trouble) = match outcome.found {
            Ok(answer) => (Some(answer.clone()), answer.missing),
            Err(why) => (None, Some(why)),
        };
        if let Some(answer) = answer {
            slot.answered.set(now);
            self.take_answer((outcome.name, backend, wanted), &answer, now);
        }
        let before = slot.failing.get();
        match (&trouble, before) {
            (Some(why), _) => {
                slot.failures.add(1);
                if before.is_none() {
                    warn!(backend = of, name = %wanted.name, reason = why, "a name cannot be resolved, its servers stay");
                    slot.failing.set(now);
                }
                slot.reason.set(why);
            }
            (None, Some(since)) => {
                info!(backend = of, name = %wanted.name, after = ?now.since(since), "a name is resolved again");
                slot.failing.clear();
                slot.reason.set("");
            }
            (None, None) => {}
        }
    }

    fn take_answer(
        &mut self,
        (name, backend, wanted): (usize, BackendIndex, &NamedServers),
        answer: &Answer,
        now: Moment,
    ) {
        let proxy = self.proxy();
        let roster = self.roster();
        let of_name = |one: &&Member| one.name == Some(name) && one.is_present();
        let there: Vec<SocketAddr> = roster
            .of(backend)
            .iter()
            .filter(of_name)
            .map(|one| one.server.address)
            .collect();
        let plan = plan(&there, answer, wanted.max_addresses);
        let more = |address: &SocketAddr| format!("{address}: more than max_addresses");
        let mut left_out: Vec<String> = plan.left_out.iter().map(more).collect();
        for found in plan.stay {
            if let Err(why) = self.place_found((name, backend, wanted), found, now) {
                left_out.push(format!("{}: {why}", found.address));
            }
        }
        let backend_name = &proxy.config.backends[backend.0].name;
        for address in plan.leave {
            if let Some(member) = roster.find(backend, address) {
                info!(backend = backend_name, server = %address, name = %wanted.name, "the DNS names a server no more, it leaves");
                self.leave(member.place, (now, None));
            }
        }
        let slot = &proxy.board.names[name];
        slot.left_out.set(left_out.len() as u64);
        slot.left_out_reason
            .set(left_out.first().map_or("", String::as_str));
    }

    /// Gives a server that was found its place, or what is new of it.
    fn place_found(
        &mut self,
        (name, backend, wanted): (usize, BackendIndex, &NamedServers),
        found: Found,
        now: Moment,
    ) -> Result<(), String> {
        let proxy = self.proxy();
        let who = Entrant {
            backend: backend.0,
            address: found.address.to_string(),
            weight: wanted.weight.or(found.weight).unwrap_or(1),
            backup: wanted.backup || found.backup,
            max_sessions: wanted.max_sessions,
            follows: None,
            replaces: None,
            name: Some(name),
        };
        let roster = self.roster();
        let known = roster.find(backend, found.address);
        match known {
            Some(member) if member.is_present() && member.name == Some(name) => {
                let same = (member.server.weight, member.server.backup) == (who.weight, who.backup);
                if !same {
                    self.change_found((member.place, &who), now);
                }
                Ok(())
            }
            Some(member) if member.is_present() => Err("it is a server already".to_owned()),
            Some(member) if member.is_configured(&proxy.config) => {
                Err("it was removed at run time".to_owned())
            }
            Some(member) => {
                self.come_back((member.place, Some(&who)), (now, None));
                Ok(())
            }
            None => {
                if let Some(why) = proxy.config.own_address(found.address) {
                    return Err(why);
                }
                let place = self.spare_place();
                let place = place.ok_or("no place is free: sessions of servers that left go on")?;
                let of = &proxy.config.backends[backend.0].name;
                info!(backend = of, server = %found.address, name = %wanted.name, "the DNS names a server");
                self.enter((place, &who), None, (now, None));
                Ok(())
            }
        }
    }

    /// Other words of the DNS for a server that is there.
    fn change_found(&mut self, (place, who): (usize, &Entrant), now: Moment) {
        let proxy = Arc::clone(&self.proxy);
        proxy.board.roster[place].enter(who, (now, None));
        self.read_roster();
        self.publish(now);
    }
}
