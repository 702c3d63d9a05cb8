//! `GET /metrics`: the boards as Prometheus reads them. Pure.
//!
//! Each file below describes its metrics once, as [`Family`] values; the page and `docs/metrics.md` come from them.
//! The boards count, so a page is built anew for each question and nothing is kept here.

mod agents;
mod drain;
mod files;
mod forwarding;
mod names;
mod node;
mod proxy;
mod reload;
mod rescue;
mod routes;
mod session_log;
mod succession;
mod tls;
mod trackers;
mod vrrp;

use std::collections::BTreeMap;
use std::time::Duration;

use common::status::Status;
use prometheus::{CounterVec, GaugeVec, Opts, Registry, TextEncoder};

use super::clock::Clocks;
use super::view::View;

/// Description of one metric.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family {
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    /// One sentence, also the meaning in `docs/metrics.md`.
    help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

impl Family {
    const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self {
            name,
            kind: Kind::Counter,
            labels,
            help,
        }
    }

    const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self {
            name,
            kind: Kind::Gauge,
            labels,
            help,
        }
    }

    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help)
    }
}

/// The whole page, in the text format 0.0.4.
pub(crate) fn page(view: &View, status: &Status, clocks: Clocks) -> String {
    let mut page = Page::default();
    node::fill(&mut page, view, status, clocks);
    reload::fill(&mut page, status);
    vrrp::fill(&mut page, view, status);
    forwarding::fill(&mut page, status);
    rescue::fill(&mut page, status);
    trackers::fill(&mut page, status);
    routes::fill(&mut page, status);
    proxy::fill(&mut page, status);
    agents::fill(&mut page, status);
    names::fill(&mut page, status);
    files::fill(&mut page, status);
    tls::fill(&mut page, status);
    session_log::fill(&mut page, status);
    drain::fill(&mut page, status);
    succession::fill(&mut page, status);
    page.text()
}

/// A page while it is filled.
#[derive(Debug, Default)]
struct Page {
    counters: BTreeMap<&'static str, CounterVec>,
    gauges: BTreeMap<&'static str, GaugeVec>,
}

impl Page {
    /// Adds one line of a counter.
    fn count(&mut self, family: &Family, labels: &[&str], value: u64) {
        self.line(family, labels, value as f64);
    }

    /// Adds one line of a gauge.
    fn gauge(&mut self, family: &Family, labels: &[&str], value: f64) {
        self.line(family, labels, value);
    }

    /// Adds one line of what the family is described as.
    fn line(&mut self, family: &Family, labels: &[&str], value: f64) {
        match family.kind {
            Kind::Counter => self
                .counters
                .entry(family.name)
                .or_insert_with(|| {
                    CounterVec::new(family.opts(), family.labels)
                        .expect("the tests build every family")
                })
                .with_label_values(labels)
                .inc_by(value),
            Kind::Gauge => self
                .gauges
                .entry(family.name)
                .or_insert_with(|| {
                    GaugeVec::new(family.opts(), family.labels)
                        .expect("the tests build every family")
                })
                .with_label_values(labels)
                .set(value),
        }
    }

    /// Adds a gauge that is there only when the value is known.
    fn gauge_if_known(&mut self, family: &Family, labels: &[&str], value: Option<f64>) {
        if let Some(value) = value {
            self.gauge(family, labels, value);
        }
    }

    /// Adds a line for each possible state: 1 for the present one, 0 for the others.
    fn one_of<'a>(
        &mut self,
        family: &Family,
        labels: &[&'a str],
        states: (&str, impl Iterator<Item = &'a str>),
    ) {
        let (present, all) = states;
        for state in all {
            let labels: Vec<&str> = labels.iter().copied().chain([state]).collect();
            self.gauge(family, &labels, flag(state == present));
        }
    }

    fn text(self) -> String {
        let registry = Registry::new();
        for vector in self.counters.into_values() {
            registry
                .register(Box::new(vector))
                .expect("each name is on the page once");
        }
        for vector in self.gauges.into_values() {
            registry
                .register(Box::new(vector))
                .expect("each name is on the page once");
        }
        TextEncoder::new()
            .encode_to_string(&registry.gather())
            .expect("a gathered family has a name and lines")
    }
}

fn flag(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

fn seconds(millis: u64) -> f64 {
    Duration::from_millis(millis).as_secs_f64()
}

#[cfg(test)]
mod tests;
