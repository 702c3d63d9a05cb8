//! Doing what the routers decide.

use std::time::Duration;

use common::addr::Mac;
use common::board::VipState;
use common::time::Moment;

use super::Driver;
use crate::link::Placement;
use crate::ports;
use crate::router::{Action, Cause};

impl Driver {
    /// Performs all that a router has decided, in its order, each for every VIP of its group.
    pub(super) fn perform(&mut self, group: usize, now: Moment) {
        let members = self.groups[group].members;
        self.tell_roles(group);
        while let Some(action) = self.groups[group].router.poll_action() {
            match action {
                Action::Advertise { priority } => {
                    for place in members.iter() {
                        self.advertise(place, priority, now);
                    }
                }
                Action::InstallLease { lifetime } | Action::RenewLease { lifetime } => {
                    let result = self.put_leases(group, lifetime, now);
                    if result.is_err() {
                        self.look_at_refusal(group, now);
                    }
                    self.groups[group].router.handle_lease_result(result, now);
                }
                Action::RemoveLease => {
                    members
                        .iter()
                        .for_each(|place| self.remove_lease(place, now));
                }
                Action::Announce => members.iter().for_each(|place| self.announce(place)),
                Action::Changed { from, to, reason } => {
                    for place in members.iter() {
                        self.units[place].publish_change((from, to), now);
                        self.log_change(place, from, to, &reason);
                    }
                    self.heartbeat_at_once = true;
                }
            }
        }
        self.tell_roles(group);
        for place in members.iter() {
            let router = &self.groups[group].router;
            self.units[place].publish(router);
            self.board.pinned[place].set(u64::from(router.is_pinned()));
            self.settle_routes(place);
        }
    }

    /// The first refusal, if there is one; the router takes back what was not refused.
    fn put_leases(&mut self, group: usize, lifetime: Duration, now: Moment) -> Result<(), String> {
        let mut all = Ok(());
        for place in self.groups[group].members.iter() {
            let result = self.put_lease(place, lifetime, now);
            match &result {
                Ok(()) => self.units[place].leased = true,
                // One that is not renewed is there until it lapses.
                Err(cause) => {
                    self.board.leases_refused[place].add(1);
                    let vip = &self.config.vips[place].name;
                    tracing::warn!(vip, cause, "the kernel did not take a lease");
                }
            }
            all = all.and(result);
        }
        all
    }

    fn advertise(&mut self, place: usize, priority: u8, now: Moment) {
        let vip = &self.config.vips[place];
        let unit = &mut self.units[place];
        let port = &self.ports[unit.port];
        let signature = self.signing.as_mut().and_then(|it| it.next(self.wall));
        if let Some((_, stamp)) = signature {
            self.board.advert_stamp.set(stamp.to_bits());
        }
        let sent = match ports::advert(vip, priority, port.own, port.plan.peer, signature) {
            Ok(Some(advert)) => port.send(&advert, unit.own_mac(port)),
            Ok(None) => return,
            Err(error) => Err(std::io::Error::other(error)),
        };
        if sent.is_ok() {
            unit.slot().adverts_sent.add(1);
            if priority == 0 {
                unit.slot().priority_zero_sent.add(1);
            }
        }
        let first = unit.unheard.note(sent.is_ok(), now);
        if let (Err(error), true) = (sent, first) {
            tracing::warn!(vip = vip.name, %error, "adverts cannot be sent");
        }
    }

    /// Where it belongs now. A lease that has to be on another interface than before is there before it is gone here.
    fn put_lease(&mut self, place: usize, lifetime: Duration, now: Moment) -> Result<(), String> {
        let seat = self.seat(place)?;
        let address = self.units[place].address;
        let placement = Placement {
            interface: seat.interface,
            interface_name: &seat.name,
            address,
        };
        let unit = &mut self.units[place];
        let earlier = unit.leased_on.replace(seat.interface);
        if let Err(error) = self.route.put_lease(placement, lifetime) {
            // Where it is, if it is anywhere.
            unit.leased_on = earlier.or(unit.leased_on);
            return Err(error.cause());
        }
        if let Some(left) = earlier.filter(|left| *left != seat.interface) {
            self.remove_from(place, left, now);
        }
        let mac = Mac(seat.mac).to_bits();
        let known = self.board.macs[place].get();
        self.board.macs[place].set(mac);
        if known != 0 && known != mac {
            let vip = &self.config.vips[place].name;
            tracing::warn!(vip, mac = %Mac(seat.mac), "the VIP has another hardware address");
            self.announce(place);
        }
        Ok(())
    }

    /// A lease that could not be installed because its interface has just gone is no refusal: the
    /// router hears of the interface first.
    fn look_at_refusal(&mut self, group: usize, now: Moment) {
        let Ok(addresses) = self.route.addresses() else {
            return;
        };
        self.look_at_ports(&addresses, now);
        let group = &mut self.groups[group];
        let faulty = group.members.iter().find_map(|place| {
            let fault = self.ports[self.units[place].port].fault.as_ref()?;
            Some((place, Cause::Interface(fault.clone())))
        });
        if let Some((place, cause)) = faulty {
            let cause = group.cause(&self.config.vips[place].name, cause);
            group.router.handle_fitness(Err(cause), now);
        }
    }

    pub(super) fn remove_lease(&mut self, place: usize, now: Moment) {
        let unit = &mut self.units[place];
        unit.leased = false;
        self.board.macs[place].set(0);
        let leased_on = unit.leased_on.take();
        let interface = leased_on.or_else(|| self.ports[unit.port].index());
        if let Some(interface) = interface {
            self.remove_from(place, interface, now);
        }
    }

    fn remove_from(&mut self, place: usize, interface: u32, now: Moment) {
        let address = self.units[place].address;
        if let Err(error) = self.route.remove_host(interface, address) {
            let vip = &self.config.vips[place].name;
            tracing::warn!(vip, cause = error.cause(), "a lease stays until it lapses");
        }
        self.leave_seat(place, interface, now);
    }

    pub(super) fn announce(&mut self, place: usize) {
        let unit = &self.units[place];
        let port = &self.ports[unit.port];
        if let Err(error) = port.announce(unit.address, unit.own_mac(port)) {
            let vip = &self.config.vips[place].name;
            tracing::warn!(vip, %error, "the virtual IP was not announced");
        }
    }

    fn log_change(&self, place: usize, from: VipState, to: VipState, reason: &str) {
        let vip = &self.config.vips[place];
        tracing::info!(
            vip = vip.name,
            vrid = vip.vrid.value(),
            from = from.word(),
            to = to.word(),
            reason,
            "virtual IP changed its state"
        );
    }
}
