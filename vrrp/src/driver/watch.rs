//! Keeping up with what others change: interfaces, own addresses, leases deleted by hand.

use std::time::Duration;

use common::time::Moment;

use super::Driver;
use super::port::Port;
use super::succession::Inherited;
use super::unit::Unit;
use crate::link::{Address, Event, LinkError};

/// Most events that one turn reads.
const EVENTS: usize = 64;
/// Index of `lo` in every network namespace.
const LOOPBACK: u32 = 1;
/// When the kernel gave no answer, or refused a socket, it is asked again.
const RETRY: Duration = Duration::from_secs(1);

impl Driver {
    /// Reads events and looks where they point. Says whether another turn should follow at once.
    pub(super) fn watch(&mut self, now: Moment) -> bool {
        let mut look = self.look_again.is_some_and(|at| at <= now);
        for _ in 0..EVENTS {
            match self.events.poll() {
                Some(event) => {
                    look |= self.concerns_us(event);
                    self.trackers.heed(event, &self.config, now);
                }
                None => break,
            }
        }
        if !look {
            return false;
        }
        match self.route.addresses() {
            Ok(addresses) => {
                // Interfaces first: a lease that went with its interface is not to be installed
                // again.
                let mut changed = self.look_at_ports(&addresses, now);
                changed |= self.look_elsewhere(&addresses);
                if changed {
                    for group in 0..self.groups.len() {
                        self.judge(group, now);
                    }
                }
                self.check_leases(&addresses, now);
                changed
            }
            Err(error) => {
                tracing::warn!(
                    cause = error.cause(),
                    "the kernel gives no list of addresses"
                );
                self.look_again = Some(now + RETRY);
                false
            }
        }
    }

    fn concerns_us(&self, event: Event) -> bool {
        match event {
            // Our own renewals come back as events; an address matters where one is missing, or where it
            // is not expected.
            Event::AddressAdded { interface, address } => {
                let mut ports = self.ports.iter();
                let mut units = self.units.all();
                ports.any(|port| port.fault.is_some() && port.is_concerned(interface))
                    || units.any(|unit| {
                        unit.address == address
                            && is_elsewhere(interface, unit, &self.ports[unit.port])
                    })
            }
            Event::AddressRemoved { interface, .. } => {
                self.ports.iter().any(|port| port.is_concerned(interface))
                    || self.units.all().any(|unit| {
                        unit.elsewhere == Some(interface) || unit.is_concerned(interface)
                    })
            }
            Event::LinkChanged { interface } => {
                let (mut ports, mut units) = (self.ports.iter(), self.units.all());
                ports.any(|port| port.is_concerned(interface))
                    || units.any(|unit| unit.is_concerned(interface))
                    || self
                        .questions
                        .as_ref()
                        .is_some_and(|one| one.is_concerned(interface))
            }
            Event::Overrun => {
                tracing::warn!("network events were lost: looking at everything");
                true
            }
        }
    }

    /// Looks at every port. Says whether a fault came or went.
    pub(super) fn look_at_ports(&mut self, addresses: &[Address], now: Moment) -> bool {
        self.look_again = None;
        let mut changed = false;
        for (place, port) in self.ports.iter_mut().enumerate() {
            let looked = port.look((&mut self.route, &self.wake), addresses, now);
            for group in &mut self.groups {
                if self.units[group.members.first()].port == place {
                    group.router.handle_own_address(port.own);
                }
            }
            match looked {
                Ok(one) => changed |= one,
                Err(error) => {
                    tracing::warn!(cause = error.cause(), "the kernel gives no answer");
                    self.look_again = Some(now + RETRY);
                }
            }
            if port.fault.is_some() {
                let at = port.look_at.unwrap_or(now + RETRY);
                self.look_again = Some(self.look_again.map_or(at, |other| other.min(at)));
            }
        }
        if let Some(questions) = &mut self.questions
            && let Err(error) = questions.look(&mut self.route, &self.wake)
        {
            tracing::warn!(cause = error.cause(), "the kernel gives no answer");
            self.look_again = Some(now + RETRY);
        }
        if let Err(error) = self.look_at_macvlans(now) {
            tracing::warn!(cause = error.cause(), "a virtual router's interface");
            self.look_again = Some(now + RETRY);
        }
        changed
    }

    /// Looks whether something else has put a VIP on an interface that is not its own, where this node
    /// would answer for it always. Says whether that has changed.
    pub(super) fn look_elsewhere(&mut self, addresses: &[Address]) -> bool {
        let mut changed = false;
        for unit in self.units.all_mut() {
            let port = &self.ports[unit.port];
            let mut others = addresses.iter();
            let other = others.find(|found| {
                found.address == unit.address && is_elsewhere(found.interface, unit, port)
            });
            let elsewhere = other.map(|found| found.interface);
            changed |= elsewhere != unit.elsewhere;
            unit.elsewhere = elsewhere;
        }
        changed
    }

    /// Tells the routers whose lease is gone, each once however many of its VIPs have none. An event
    /// alone proves nothing: it may be older than the lease.
    fn check_leases(&mut self, addresses: &[Address], now: Moment) {
        for group in 0..self.groups.len() {
            let mut gone = false;
            for place in self.groups[group].members.iter() {
                let unit = &mut self.units[place];
                let there = addresses.iter().any(|found| {
                    found.address == unit.address && Some(found.interface) == unit.leased_on
                });
                if unit.leased && !there {
                    unit.leased = false;
                    gone = true;
                    let vip = &self.config.vips[place].name;
                    tracing::warn!(vip, address = %unit.address, "another program removed the VIP from its interface");
                }
            }
            if gone {
                self.groups[group].router.handle_lease_removed(now);
                self.perform(group, now);
            }
        }
    }

    /// Removes VIPs that an earlier run, or somebody else, left on their interfaces, but for those that
    /// were left to this one. Nobody is Active yet.
    pub(super) fn remove_stale(
        &mut self,
        addresses: &[Address],
        left: &[Inherited],
    ) -> Result<(), LinkError> {
        let is_stale = |unit: &&Unit| !left.iter().any(|one| one.group == unit.group);
        for unit in self.units.all().filter(is_stale) {
            let port = &self.ports[unit.port];
            let stale = addresses.iter().filter(|found| {
                found.address == unit.address && unit.is_seat(found.interface, port)
            });
            for found in stale {
                match found.lifetime {
                    Some(_) => {
                        tracing::info!(address = %found.address, "lease of an earlier run removed")
                    }
                    None => {
                        tracing::warn!(address = %found.address, "a VIP that something else had configured for ever was removed from its interface")
                    }
                }
                self.route.remove(found)?;
            }
        }
        Ok(())
    }
}

/// Neither an interface that the VIP's lease may be on nor the one of the shadows.
fn is_elsewhere(interface: u32, unit: &Unit, port: &Port) -> bool {
    interface != LOOPBACK && !unit.is_seat(interface, port)
}
