//! Routes and rules that follow a VIP while they are checked.

use std::net::IpAddr;

use ipnet::IpNet;

use super::number;
use crate::addr::Family;
use crate::config::diagnostic::Span;
use crate::config::value::{At, Values};
use crate::config::{Follower, RouteScope, VipRoute, VipRule};

#[derive(Debug)]
pub(in crate::config) struct RoutesDraft {
    pub(in crate::config) routes: Vec<At<VipRouteDraft>>,
    pub(in crate::config) rules: Vec<At<VipRuleDraft>>,
}

#[derive(Debug)]
pub(in crate::config) struct VipRouteDraft {
    pub(in crate::config) to: Option<At<IpNet>>,
    pub(in crate::config) via: Option<At<IpAddr>>,
    pub(in crate::config) dev: Option<At<String>>,
    pub(in crate::config) source: Option<At<IpAddr>>,
    pub(in crate::config) table: Option<u32>,
    pub(in crate::config) metric: Option<u32>,
    pub(in crate::config) scope: Option<At<RouteScope>>,
    pub(in crate::config) on_link: Option<At<bool>>,
}

#[derive(Debug)]
pub(in crate::config) struct VipRuleDraft {
    pub(in crate::config) from: Option<At<IpNet>>,
    pub(in crate::config) to: Option<At<IpNet>>,
    pub(in crate::config) iif: Option<String>,
    pub(in crate::config) fwmark: Option<u32>,
    pub(in crate::config) table: Option<u32>,
    pub(in crate::config) priority: Option<u32>,
}

impl RoutesDraft {
    pub(super) fn of(values: &Values) -> Self {
        let tables = |key| {
            values
                .list::<Values>(key)
                .map_or_else(Vec::new, |at| at.value)
        };
        let route = |at: &At<Values>| at.with(VipRouteDraft::of(&at.value));
        let rule = |at: &At<Values>| at.with(VipRuleDraft::of(&at.value));
        Self {
            routes: tables("routes").iter().map(route).collect(),
            rules: tables("rules").iter().map(rule).collect(),
        }
    }

    /// Where each of them stands.
    pub(in crate::config) fn spans(&self) -> impl Iterator<Item = Span> {
        let routes = self.routes.iter().map(|at| at.span);
        routes.chain(self.rules.iter().map(|at| at.span))
    }

    /// The validated ones, routes first; `None` if something was wrong.
    pub(in crate::config) fn build(
        &self,
        family: Family,
        interface: &str,
    ) -> Option<Vec<Follower>> {
        let routes = self.routes.iter().map(|at| at.value.build(interface));
        let rules = self.rules.iter().map(|at| at.value.build(family));
        routes
            .map(|route| route.map(Follower::Route))
            .chain(rules.map(|rule| rule.map(Follower::Rule)))
            .collect()
    }
}

impl VipRouteDraft {
    fn of(values: &Values) -> Self {
        Self {
            to: values.get("to"),
            via: values.get("via"),
            dev: values.get("dev"),
            source: values.get("src"),
            table: number(values, "table"),
            metric: number(values, "metric"),
            scope: values.get::<&str>("scope").and_then(|word| {
                let mut words = RouteScope::WORDS.iter();
                let (_, scope) = words.find(|(name, _)| *name == word.value)?;
                Some(word.with(*scope))
            }),
            on_link: values.get("onlink"),
        }
    }

    fn build(&self, interface: &str) -> Option<VipRoute> {
        Some(VipRoute {
            to: self.to.as_ref()?.value,
            via: self.via.as_ref().map(|at| at.value),
            interface: self
                .dev
                .as_ref()
                .map_or_else(|| interface.to_owned(), |at| at.value.clone()),
            source: self.source.as_ref().map(|at| at.value),
            table: self.table?,
            metric: self.metric,
            scope: match (&self.scope, &self.via) {
                (Some(scope), _) => scope.value,
                (None, Some(_)) => RouteScope::Global,
                (None, None) => RouteScope::Link,
            },
            on_link: self.on_link.as_ref()?.value,
        })
    }
}

impl VipRuleDraft {
    fn of(values: &Values) -> Self {
        Self {
            from: values.get("from"),
            to: values.get("to"),
            iif: values.get("iif").map(|at: At<String>| at.value),
            fwmark: number(values, "fwmark"),
            table: number(values, "table"),
            priority: number(values, "priority"),
        }
    }

    fn build(&self, family: Family) -> Option<VipRule> {
        Some(VipRule {
            family,
            from: self.from.as_ref().map(|at| at.value),
            to: self.to.as_ref().map(|at| at.value),
            iif: self.iif.clone(),
            fwmark: self.fwmark,
            table: self.table?,
            priority: self.priority?,
        })
    }
}
