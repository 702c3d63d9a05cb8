//! Whether this machine lets vrrp run in time: how late it wakes up, and the CPU time that a hypervisor takes. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use common::board::AdminBoard;
use common::status::MachineStatus;
use common::time::Moment;

use super::view::{View, millis};
use crate::status::human;

/// A slip is told for so long, and so far back the share of stolen time looks.
const RECENT: Duration = Duration::from_secs(60);
/// One sample is taken each second.
const SAMPLES: usize = 60;
/// Percent of the CPU time that a hypervisor has to take before it is blamed for a slip, and before it is worth a warning
/// of its own.
const BLAMED: f64 = 2.0;
const MUCH: f64 = 10.0;
/// Ticks of `/proc/stat` in a second (USER_HZ), on every architecture that Linux runs on today but Alpha.
const TICKS: u64 = 100;

/// CPU time of all processors since the boot, in ticks (proc_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuTimes {
    total: u64,
    stolen: u64,
}

impl CpuTimes {
    /// The first line of `/proc/stat`; `None` if it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut words = text.lines().next()?.split_ascii_whitespace();
        if words.next() != Some("cpu") {
            return None;
        }
        let ticks: Option<Vec<u64>> = words.map(|word| word.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are in the first two.
        let ticks = ticks.filter(|ticks| ticks.len() >= 8)?;
        let total = ticks[..8]
            .iter()
            .try_fold(0_u64, |sum, one| sum.checked_add(*one))?;
        Some(Self {
            total,
            stolen: ticks[7],
        })
    }
}

/// The samples of the last minute, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Steal {
    samples: VecDeque<CpuTimes>,
}

impl Steal {
    /// Takes a sample, and puts on the board what comes of it.
    pub(crate) fn take(&mut self, times: CpuTimes, board: &AdminBoard) {
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(times);
        board.stolen_ms.set(times.stolen * (1_000 / TICKS));
        let oldest = self.samples.front().copied().unwrap_or(times);
        let total = times.total.saturating_sub(oldest.total);
        let stolen = times.stolen.saturating_sub(oldest.stolen);
        if let Some(share) = (stolen * 1_000).checked_div(total) {
            board.stolen_permille.set(share.min(1_000));
        }
    }
}

/// What the machine does to vrrp.
pub(crate) fn status(view: &View, now: Moment) -> MachineStatus {
    let (vrrp, admin) = (view.boards.vrrp, view.boards.admin);
    let as_millis = |nanos: u64| nanos as f64 / 1e6;
    MachineStatus {
        worst_lateness_ms: as_millis(vrrp.worst_lateness.get()),
        patience_ms: view.config.patience_with(view.node).as_secs_f64() * 1e3,
        slips: vrrp.lateness.slips.get(),
        slip_ms_ago: vrrp.lateness.slipped.get().map(|at| millis(now, at)),
        stolen_percent: admin.stolen_permille.get() as f64 / 10.0,
        stolen_ms: admin.stolen_ms.get(),
    }
}

/// Warnings, each with what to do.
pub(crate) fn warnings(view: &View, machine: &MachineStatus, now: Moment) -> Vec<String> {
    let slot = &view.boards.vrrp.lateness;
    let stolen = machine.stolen_percent;
    let recent = slot.slipped.get().map(|at| now.since(at));
    let Some(age) = recent.filter(|age| *age < RECENT) else {
        let much = format!(
            "the hypervisor took {stolen:.0} % of this machine's CPU time in the last minute (steal): reserve CPUs for it"
        );
        return Vec::from_iter((stolen >= MUCH).then_some(much));
    };
    let longest = human::age(Duration::from_nanos(slot.longest.get()));
    let cause = if stolen >= BLAMED {
        format!(
            "the hypervisor took {stolen:.0} % of this machine's CPU time in the last minute (steal): reserve CPUs for it"
        )
    } else if view.boards.vrrp.realtime.get() == 0 {
        "it has no real-time priority: give it CAP_SYS_NICE".to_owned()
    } else {
        "was the machine paused, by a snapshot or a migration? Otherwise reserve CPUs for it"
            .to_owned()
    };
    vec![format!(
        "vrrp woke up to {longest} late, {} ago (slips so far: {}); after {} others take over from it: {cause}, or \
         make `heartbeat` and `advert_interval` longer",
        human::age(age),
        slot.slips.get(),
        human::age(view.config.patience_with(view.node)),
    )]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fixture::{self, CLOCKS, ago};

    fn times(total: u64, stolen: u64) -> CpuTimes {
        CpuTimes { total, stolen }
    }

    #[test]
    fn the_kernels_line_is_read_and_nothing_else() {
        let line = "cpu  10 1 5 70 4 2 3 5 9 0\ncpu0 1 2 3 4 5 6 7 8 9 0\n";
        assert_eq!(CpuTimes::parse(line), Some(times(100, 5)));
        let huge = format!("cpu {0} {0} 0 0 0 0 0 0", u64::MAX);
        for bad in [
            "",
            "cpu0 1 2 3 4 5 6 7 8",
            "cpu 1 2 3 4 5 6 7",
            "cpu a b",
            &huge,
        ] {
            assert_eq!(CpuTimes::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_share_is_of_the_last_minute() {
        let board = AdminBoard::default();
        let mut steal = Steal::default();
        steal.take(times(1_000, 500), &board);
        assert_eq!(
            board.stolen_permille.get(),
            0,
            "of what was before nothing is known"
        );
        // Ten seconds with a quarter stolen, then none.
        for second in 1..=10 {
            steal.take(times(1_000 + second * 100, 500 + second * 25), &board);
        }
        assert_eq!(board.stolen_permille.get(), 250);
        assert_eq!(board.stolen_ms.get(), 7_500);
        for second in 11..=60 {
            steal.take(times(1_000 + second * 100, 750), &board);
        }
        assert_eq!(board.stolen_permille.get(), 41);
        for second in 61..=80 {
            steal.take(times(1_000 + second * 100, 750), &board);
        }
        assert_eq!(board.stolen_permille.get(), 0);
        // A counter that went back is no share.
        steal.take(times(1, 0), &board);
        assert_eq!(board.stolen_permille.get(), 0);
    }

    fn said(view: &View) -> Vec<String> {
        warnings(view, &status(view, CLOCKS.now), CLOCKS.now)
    }

    #[test]
    fn a_slip_is_told_for_a_minute_with_its_cause_and_a_remedy() {
        let view = fixture::healthy();
        assert_eq!(said(&view), Vec::<String>::new());
        let patience = view.config.patience_with(view.node);
        let slot = &view.boards.vrrp.lateness;
        slot.take(Duration::from_millis(38), patience, ago(4_000));
        assert_eq!(
            said(&view),
            [
                "vrrp woke up to 38 ms late, 4.0 s ago (slips so far: 1); after 60 ms others take over from it: was the \
              machine paused, by a snapshot or a migration? Otherwise reserve CPUs for it, or make `heartbeat` and \
              `advert_interval` longer"
            ]
        );
        view.boards.vrrp.realtime.set(0);
        assert!(said(&view)[0].contains("CAP_SYS_NICE"));
        view.boards.admin.stolen_permille.set(125);
        assert!(said(&view)[0].contains("took 12 % of this machine's CPU time"));
        let later = CLOCKS.now + Duration::from_secs(60);
        let of_steal = warnings(&view, &status(&view, later), later);
        assert_eq!(
            of_steal,
            [
                "the hypervisor took 12 % of this machine's CPU time in the last minute (steal): reserve CPUs for it"
            ]
        );
        view.boards.admin.stolen_permille.set(99);
        let of_little = warnings(&view, &status(&view, later), later);
        assert_eq!(of_little, Vec::<String>::new());
    }
}
