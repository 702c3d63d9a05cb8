//! Routes and rules that follow a VIP.
//!
//! They carry the protocol number [`ORIGIN`], so that what an earlier run has left is known without any
//! memory: [`RouteSocket::remove_our_routes`]. The kernel does not drop a route by itself when we die, as
//! it does with a lease: the supervisor's last will does, and the next start.
//!
//! Nothing of others is replaced: both are installed with `NLM_F_EXCL`, so the kernel refuses a route to
//! a destination that has one of the same metric in the same table.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use common::addr::Family;
use common::config::{Follower, RouteScope as Scope, VipRoute, VipRule};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Parseable};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
    RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::address::family;
use super::{LinkError, Removal, RouteSocket, failed};

/// Who made a route or a rule, `rtm_protocol` and `FRA_PROTOCOL`: VRRP's IP protocol. Not registered by
/// anybody (rtnetlink.h).
const ORIGIN: RouteProtocol = RouteProtocol::Other(112);

/// Metric of an IPv6 route that names none (`IP6_RT_PRIO_USER`, ipv6_route.h).
const IPV6_METRIC: u32 = 1024;

/// What the kernel knows a route by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteKey {
    to: (IpAddr, u8),
    table: u32,
    metric: u32,
}

impl RouteKey {
    /// Of a route that follows a VIP.
    pub fn of(route: &VipRoute) -> Self {
        let without = match route.to.addr() {
            IpAddr::V4(_) => 0,
            IpAddr::V6(_) => IPV6_METRIC,
        };
        Self {
            to: (route.to.trunc().addr(), route.to.prefix_len()),
            table: route.table,
            metric: route.metric.filter(|metric| *metric > 0).unwrap_or(without),
        }
    }
}

/// What an installation found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    Added,
    /// One like it is there; whose, the kernel does not say.
    WasThere,
}

impl RouteSocket {
    /// Installs a route or a rule; one that is there stays.
    ///
    /// # Errors
    /// What the kernel says against it: `ENETUNREACH` of a next hop that cannot be reached, `ENODEV`,
    /// `EINVAL`.
    pub fn put_follower(&mut self, follower: &Follower) -> Result<Installed, LinkError> {
        let request = match follower {
            Follower::Route(route) => {
                let index = self.index_of(&route.interface, follower)?;
                RouteNetlinkMessage::NewRoute(route_message(route, index, Use::Install))
            }
            Follower::Rule(rule) => RouteNetlinkMessage::NewRule(rule_message(rule)),
        };
        match self.requests.change(request, NLM_F_CREATE | NLM_F_EXCL) {
            Ok(()) => Ok(Installed::Added),
            Err(error) if error.raw_os_error() == Some(nix::libc::EEXIST) => {
                Ok(Installed::WasThere)
            }
            Err(error) => Err(failed(format!("install {} {follower}", follower.kind()))(
                error,
            )),
        }
    }

    /// Removes a route or a rule of ours.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn remove_follower(&mut self, follower: &Follower) -> Result<Removal, LinkError> {
        let request = match follower {
            Follower::Route(route) => match self.index_of(&route.interface, follower) {
                Ok(index) => {
                    RouteNetlinkMessage::DelRoute(route_message(route, index, Use::Remove))
                }
                // It went with its interface.
                Err(_) => return Ok(Removal::WasGone),
            },
            Follower::Rule(rule) => RouteNetlinkMessage::DelRule(rule_message(rule)),
        };
        self.take_away(request)
            .map_err(failed(format!("remove {} {follower}", follower.kind())))
    }

    /// Removes every route and rule that carries our protocol number, of both families. Returns how many
    /// there were. The kernel looks through all its tables for them: not for a loop that must not wait.
    ///
    /// # Errors
    /// The first that the kernel does not remove, or a list that it does not give.
    pub fn remove_our_routes(&mut self) -> Result<usize, LinkError> {
        let mut ours = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            // The kernel filters by it (NETLINK_GET_STRICT_CHK); one that is too old lists all.
            message.header.protocol = ORIGIN;
            self.requests
                .dump(RouteNetlinkMessage::GetRoute(message), |payload| {
                    ours.extend(our_route(payload).map(RouteNetlinkMessage::DelRoute));
                })
                .map_err(failed("list the routes"))?;
            let mut message = RuleMessage::default();
            message.header.family = family;
            self.requests
                .dump(RouteNetlinkMessage::GetRule(message), |payload| {
                    ours.extend(our_rule(payload).map(RouteNetlinkMessage::DelRule));
                })
                .map_err(failed("list the rules of routing"))?;
        }
        let count = ours.len();
        for request in ours {
            self.take_away(request)
                .map_err(failed("remove a route of an earlier run"))?;
        }
        Ok(count)
    }

    fn take_away(&mut self, request: RouteNetlinkMessage) -> io::Result<Removal> {
        match self.requests.change(request, 0) {
            Ok(()) => Ok(Removal::Removed),
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(nix::libc::ESRCH | nix::libc::ENOENT | nix::libc::ENODEV)
                ) =>
            {
                Ok(Removal::WasGone)
            }
            Err(error) => Err(error),
        }
    }

    fn index_of(&mut self, interface: &str, follower: &Follower) -> Result<u32, LinkError> {
        let gone = || io::Error::from_raw_os_error(nix::libc::ENODEV);
        let found = self.interface(interface)?;
        let found = found.ok_or_else(|| failed(format!("install {follower}"))(gone()))?;
        Ok(found.index)
    }
}

/// What a message is for: a removal names what the kernel knows the route by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Install,
    Remove,
}

fn route_message(route: &VipRoute, index: u32, what: Use) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family(route.to.addr());
    header.destination_prefix_length = route.to.prefix_len();
    header.table = short_table(route.table);
    header.protocol = ORIGIN;
    header.kind = RouteType::Unicast;
    header.scope = match (route.to.addr(), route.scope) {
        (IpAddr::V4(_), Scope::Link) => RouteScope::Link,
        (IpAddr::V4(_), Scope::Global) | (IpAddr::V6(_), _) => RouteScope::Universe,
    };
    if route.on_link {
        header.flags = RouteFlags::Onlink;
    }
    message.attributes = vec![
        RouteAttribute::Destination(route.to.addr().into()),
        RouteAttribute::Oif(index),
        RouteAttribute::Table(route.table),
    ];
    let via = route.via.map(|via| RouteAttribute::Gateway(via.into()));
    let metric = route.metric.map(RouteAttribute::Priority);
    message.attributes.extend(via);
    message.attributes.extend(metric);
    if let (Use::Install, Some(source)) = (what, route.source) {
        message
            .attributes
            .push(RouteAttribute::PrefSource(source.into()));
    }
    message
}

/// The header has a byte for the table, the attribute all of it.
fn short_table(table: u32) -> u8 {
    u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC)
}

fn rule_message(rule: &VipRule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.table = short_table(rule.table);
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Table(rule.table),
        RuleAttribute::Priority(rule.priority),
        RuleAttribute::Protocol(ORIGIN),
    ];
    if let Some(from) = rule.from {
        message.header.src_len = from.prefix_len();
        message.attributes.push(RuleAttribute::Source(from.addr()));
    }
    if let Some(to) = rule.to {
        message.header.dst_len = to.prefix_len();
        message
            .attributes
            .push(RuleAttribute::Destination(to.addr()));
    }
    message.header.family = match rule.family {
        Family::V4 => AddressFamily::Inet,
        Family::V6 => AddressFamily::Inet6,
    };
    let iif = rule.iif.clone().map(RuleAttribute::Iifname);
    let mark = rule.fwmark.map(RuleAttribute::FwMark);
    message.attributes.extend(iif);
    message.attributes.extend(mark);
    message
}

/// A route of ours in a list, as a request to remove it.
pub(super) fn our_route(payload: &[u8]) -> Option<RouteMessage> {
    // Most routes of a machine are not ours: the header says it.
    let header = RouteHeader::parse(payload).ok()?;
    if header.protocol != ORIGIN {
        return None;
    }
    let mut message = RouteMessage::parse(payload).ok()?;
    message.header.flags = RouteFlags::empty();
    message.attributes.retain(|attribute| {
        matches!(
            attribute,
            RouteAttribute::Destination(_)
                | RouteAttribute::Gateway(_)
                | RouteAttribute::Oif(_)
                | RouteAttribute::Table(_)
                | RouteAttribute::Priority(_)
        )
    });
    Some(message)
}

/// A rule of ours in a list, as a request to remove it.
pub(super) fn our_rule(payload: &[u8]) -> Option<RuleMessage> {
    let message = RuleMessage::parse(payload).ok()?;
    let ours = message
        .attributes
        .contains(&RuleAttribute::Protocol(ORIGIN));
    ours.then_some(message)
}

/// Whether somebody has removed a route or a rule of ours: the datagram of an event.
pub(super) fn tells_of_ours(kind: u16, payload: &[u8]) -> bool {
    match kind {
        nix::libc::RTM_DELROUTE => our_route(payload).is_some(),
        nix::libc::RTM_DELRULE => our_rule(payload).is_some(),
        _ => false,
    }
}

/// Whose place a route of somebody else has taken (`ip route replace`): the kind, flags and payload of an event. The
/// kernel tells of no removal then.
pub(super) fn foreign_replacement(kind: u16, flags: u16, payload: &[u8]) -> Option<RouteKey> {
    if kind != nix::libc::RTM_NEWROUTE || flags & NLM_F_REPLACE == 0 {
        return None;
    }
    let header = RouteHeader::parse(payload).ok()?;
    if header.protocol == ORIGIN {
        return None;
    }
    let everywhere = if header.address_family == AddressFamily::Inet {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else if header.address_family == AddressFamily::Inet6 {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        return None;
    };
    let message = RouteMessage::parse(payload).ok()?;
    let mut key = RouteKey {
        to: (everywhere, header.destination_prefix_length),
        table: header.table.into(),
        metric: 0,
    };
    for attribute in message.attributes {
        if let RouteAttribute::Destination(RouteAddress::Inet(to)) = attribute {
            key.to.0 = to.into();
        } else if let RouteAttribute::Destination(RouteAddress::Inet6(to)) = attribute {
            key.to.0 = to.into();
        } else if let RouteAttribute::Table(table) = attribute {
            key.table = table;
        } else if let RouteAttribute::Priority(metric) = attribute {
            key.metric = metric;
        }
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;

    use super::*;

    fn bytes(message: &impl Emitable) -> Vec<u8> {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    fn route() -> VipRoute {
        VipRoute {
            to: "10.99.0.0/16".parse().expect("a network"),
            via: Some(IpAddr::from([192, 0, 2, 1])),
            interface: "eth0".to_owned(),
            source: Some(IpAddr::from([192, 0, 2, 10])),
            table: 1000,
            metric: Some(50),
            scope: Scope::Global,
            on_link: true,
        }
    }

    #[test]
    fn what_is_removed_is_named_without_what_the_kernel_may_have_changed() {
        let install = route_message(&route(), 7, Use::Install);
        let remove = route_message(&route(), 7, Use::Remove);
        let source = RouteAttribute::PrefSource(IpAddr::from([192, 0, 2, 10]).into());
        assert!(install.attributes.contains(&source));
        assert!(!remove.attributes.contains(&source));
        // A table beyond a byte stands in its attribute alone.
        assert_eq!(install.header.table, 0);
        assert!(install.attributes.contains(&RouteAttribute::Table(1000)));
        let listed = our_route(&bytes(&install)).expect("it is ours");
        assert_eq!(listed.attributes, remove.attributes);
    }

    #[test]
    fn others_routes_and_rules_are_not_ours() {
        let mut foreign = route_message(&route(), 7, Use::Install);
        foreign.header.protocol = RouteProtocol::KeepAlived;
        assert_eq!(our_route(&bytes(&foreign)), None);
        let rule = VipRule {
            family: Family::V4,
            from: Some("192.0.2.10/32".parse().expect("a network")),
            to: None,
            iif: Some("eth1".to_owned()),
            fwmark: Some(16),
            table: 100,
            priority: 1000,
        };
        let mut message = rule_message(&rule);
        assert_eq!(our_rule(&bytes(&message)).as_ref(), Some(&message));
        assert!(tells_of_ours(nix::libc::RTM_DELRULE, &bytes(&message)));
        assert!(!tells_of_ours(nix::libc::RTM_NEWRULE, &bytes(&message)));
        message
            .attributes
            .retain(|one| *one != RuleAttribute::Protocol(ORIGIN));
        assert_eq!(our_rule(&bytes(&message)), None);
    }

    #[test]
    fn a_route_of_somebody_else_takes_the_place_of_the_one_with_its_destination_table_and_metric() {
        let new = nix::libc::RTM_NEWROUTE;
        let seen = |route: &VipRoute, protocol, kind, flags| {
            let mut message = route_message(route, 7, Use::Install);
            message.header.protocol = protocol;
            foreign_replacement(kind, flags, &bytes(&message))
        };
        let v6 = VipRoute {
            to: "fd99::/32".parse().expect("a network"),
            via: None,
            source: None,
            metric: Some(IPV6_METRIC),
            ..route()
        };
        let everything = VipRoute {
            to: "0.0.0.0/0".parse().expect("a network"),
            table: 254,
            metric: None,
            ..route()
        };
        for route in [&route(), &v6, &everything] {
            let found = seen(route, RouteProtocol::Boot, new, NLM_F_REPLACE);
            assert_eq!(found, Some(RouteKey::of(route)));
            assert_eq!(seen(route, ORIGIN, new, NLM_F_REPLACE), None, "our own");
            assert_eq!(seen(route, RouteProtocol::Boot, new, NLM_F_CREATE), None);
            let gone = nix::libc::RTM_DELROUTE;
            assert_eq!(seen(route, RouteProtocol::Boot, gone, NLM_F_REPLACE), None);
        }
        let without = VipRoute {
            metric: None,
            ..v6.clone()
        };
        assert_eq!(RouteKey::of(&without), RouteKey::of(&v6));
        let other = VipRoute {
            metric: Some(51),
            ..route()
        };
        assert_ne!(RouteKey::of(&other), RouteKey::of(&route()));
    }

    #[test]
    fn cut_messages_are_nobodys() {
        let whole = bytes(&route_message(&route(), 7, Use::Install));
        for length in 0..12 {
            assert_eq!(our_route(&whole[..length]), None);
            assert_eq!(our_rule(&whole[..length]), None);
            let new = nix::libc::RTM_NEWROUTE;
            assert_eq!(
                foreign_replacement(new, NLM_F_REPLACE, &whole[..length]),
                None
            );
        }
    }
}
