//! What the sockets answer from: the view of the boards, and the samples of the last seconds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::board::AdminBoard;
use common::config::Config;
use common::status::Status;

use super::clock::Clocks;
use super::metrics;
use super::proxies::Proxies;
use super::rates::{Rates, Totals};
use super::stalls::{CpuTimes, Steal};
use super::view::View;

/// Answers every question about this node; shared by all connections.
#[derive(Debug)]
pub(crate) struct Answers {
    view: Mutex<Arc<View>>,
    counters: &'static AdminBoard,
    kept: Mutex<Kept>,
    /// `None` = the view has the board of the only proxy.
    proxies: Option<Proxies>,
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
            counters: view.boards.admin,
            view: Mutex::new(Arc::new(view)),
            kept: Mutex::new(Kept {
                rates: Rates::default(),
                steal: Steal::default(),
                clocks,
            }),
            proxies: None,
        }
    }

    /// The same for a node with several proxies, whose sum the view has.
    pub(crate) fn adding_up(self, proxies: Proxies) -> Self {
        Self {
            proxies: Some(proxies),
            ..self
        }
    }

    /// Takes a sample of the listeners' counters and of the machine's CPU time; called each second.
    pub(crate) fn sample(&self, clocks: Clocks, cpu: Option<CpuTimes>) {
        self.add_up();
        let view = self.view();
        let slots = &view.boards.proxy.listeners[..view.config.listeners.len()];
        let totals = slots.iter().map(Totals::of).collect();
        let mut kept = self.kept();
        kept.clocks = clocks.with_epoch_of(kept.clocks);
        kept.rates.record(clocks.now, totals);
        if let Some(cpu) = cpu {
            kept.steal.take(cpu, view.boards.admin);
        }
    }

    /// The same, as all proxies count now.
    pub(crate) fn summed_up(&self) -> Arc<View> {
        self.add_up();
        self.view()
    }

    /// What is answered from.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.current())
    }

    /// The node runs by this configuration from now on.
    pub(crate) fn go_over(&self, config: Arc<Config>, config_hash: u64) {
        let view = View {
            config,
            config_hash,
            ..View::clone(&self.view())
        };
        *self.current() = Arc::new(view);
    }

    fn current(&self) -> MutexGuard<'_, Arc<View>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where admin counts what it refuses.
    pub(crate) fn counters(&self) -> &'static AdminBoard {
        self.counters
    }

    /// The node's state.
    pub(crate) fn status(&self, clocks: Clocks) -> Status {
        self.add_up();
        let kept = self.kept();
        self.view()
            .status(&kept.rates, clocks.with_epoch_of(kept.clocks))
    }

    /// The page of metrics, in Prometheus' text format 0.0.4.
    pub(crate) fn metrics(&self, clocks: Clocks) -> String {
        metrics::page(&self.view(), &self.status(clocks), clocks)
    }

    fn add_up(&self) {
        if let Some(proxies) = &self.proxies {
            proxies.add_up(self.view().boards.supervisor);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Rates and clocks are whole after every statement, so a panic elsewhere spoilt nothing.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
