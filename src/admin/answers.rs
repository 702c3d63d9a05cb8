//! What the sockets answer from: the view of the boards, and the samples of the last seconds.

use std::sync::{Mutex, MutexGuard, PoisonError};

use common::board::AdminBoard;
use common::status::Status;

use super::clock::Clocks;
use super::metrics;
use super::rates::{Rates, Totals};
use super::stalls::{CpuTimes, Steal};
use super::view::View;

/// Answers every question about this node; shared by all connections.
#[derive(Debug)]
pub(crate) struct Answers {
    view: View,
    kept: Mutex<Kept>,
}

/// What lives from one answer to the next.
#[derive(Debug)]
struct Kept {
    rates: Rates,
    steal: Steal,
    clocks: Clocks,
}

impl Answers {
    pub(crate) fn new(view: View, clocks: Clocks) -> Self {
        Self {
            view,
            kept: Mutex::new(Kept {
                rates: Rates::default(),
                steal: Steal::default(),
                clocks,
            }),
        }
    }

    /// Takes a sample of the listeners' counters and of the machine's CPU time; called each second.
    pub(crate) fn sample(&self, clocks: Clocks, cpu: Option<CpuTimes>) {
        let slots = &self.view.boards.proxy.listeners[..self.view.config.listeners.len()];
        let totals = slots.iter().map(Totals::of).collect();
        let mut kept = self.kept();
        kept.clocks = clocks.with_epoch_of(kept.clocks);
        kept.rates.record(clocks.now, totals);
        if let Some(cpu) = cpu {
            kept.steal.take(cpu, self.view.boards.admin);
        }
    }

    /// What is answered from.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// Where admin counts what it refuses.
    pub(crate) fn counters(&self) -> &'static AdminBoard {
        self.view.boards.admin
    }

    /// The node's state.
    pub(crate) fn status(&self, clocks: Clocks) -> Status {
        let kept = self.kept();
        self.view
            .status(&kept.rates, clocks.with_epoch_of(kept.clocks))
    }

    /// The page of metrics, in Prometheus' text format 0.0.4.
    pub(crate) fn metrics(&self, clocks: Clocks) -> String {
        metrics::page(&self.view, &self.status(clocks), clocks)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Rates and clocks are whole after every statement, so a panic elsewhere spoilt nothing.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
