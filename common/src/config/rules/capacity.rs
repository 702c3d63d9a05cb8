//! What a node needs of its machine.

use crate::config::capacity::{MAX_SOCKETS, RESERVED_DESCRIPTORS};
use crate::config::diagnostic::{Findings, Span};
use crate::config::draft::{BindDraft, Draft};
use crate::config::{Capacity, MAX_THREADS};

/// What holds on every machine.
pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    let Some(proxy) = draft.proxy else { return };
    // With unknown cores one thread is the least.
    let threads = proxy.threads.unwrap_or(1);
    if let Some(too_many) = TooMany::of(draft, threads, MAX_SOCKETS) {
        let (words, remedy) = (too_many.words(), TooMany::REMEDY);
        findings.error(
            too_many.widest,
            format!("{words}, and {MAX_SOCKETS} is the most"),
            remedy,
        );
    }
}

/// What this machine cannot do, though another one may: warnings.
pub(in crate::config) fn warn(draft: &Draft, capacity: &Capacity, findings: &mut Findings) {
    let threads = draft.proxy.and_then(|proxy| proxy.threads);
    let threads = threads.unwrap_or_else(|| capacity.cores.clamp(1, MAX_THREADS));
    // Each socket has two descriptors where it is passed on and where it is accepted from.
    let possible = capacity.descriptors.saturating_sub(RESERVED_DESCRIPTORS) / 2;
    let possible = usize::try_from(possible).unwrap_or(usize::MAX);
    let known_everywhere = TooMany::of(draft, threads, MAX_SOCKETS).is_some()
        && draft.proxy.is_some_and(|proxy| proxy.threads.is_some());
    if let Some(too_many) = TooMany::of(draft, threads, possible.min(MAX_SOCKETS))
        && !known_everywhere
    {
        let (words, most) = (too_many.words(), possible.min(MAX_SOCKETS));
        findings.warn(
            too_many.widest,
            format!("{words}, and {most} is the most on this machine"),
            format!(
                "{}, or raise the limit of descriptors: LimitNOFILE of the unit",
                TooMany::REMEDY
            ),
        );
    }
    for listener in &draft.listeners {
        if let Some(backlog) = &listener.backlog
            && backlog.value > u64::from(capacity.backlog)
        {
            findings.warn(
                backlog.span,
                format!(
                    "net.core.somaxconn of this machine caps this backlog at {}",
                    capacity.backlog
                ),
                format!("sysctl -w net.core.somaxconn={}", backlog.value),
            );
        }
    }
}

/// More sockets than there may be.
struct TooMany {
    ports: usize,
    threads: usize,
    /// The bind with the most ports.
    widest: Span,
}

impl TooMany {
    const REMEDY: &str = "make the ranges of ports smaller, or say fewer `threads` in [proxy]";

    fn of(draft: &Draft, threads: usize, most: usize) -> Option<Self> {
        let binds = || draft.listeners.iter().flat_map(|listener| &listener.binds);
        let ports: usize = binds().map(|bind: &BindDraft| bind.bind.ports()).sum();
        let widest = binds().max_by_key(|bind| bind.bind.ports())?.span;
        (ports.saturating_mul(threads) > most).then_some(Self {
            ports,
            threads,
            widest,
        })
    }

    fn words(&self) -> String {
        let Self { ports, threads, .. } = self;
        match threads {
            1 => format!("{ports} ports are as many sockets"),
            _ => format!(
                "{ports} ports for each of {threads} relay threads are {} sockets",
                ports * threads
            ),
        }
    }
}
