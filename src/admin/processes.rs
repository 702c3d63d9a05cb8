//! Which of the node's processes run, judged by their boards. Pure.

use std::time::Duration;

use common::board::{Child, Header, MomentCell};
use common::config::MAX_THREADS;
use common::status::ProcessStatus;
use common::time::Moment;

use super::Boards;

/// A child without a heartbeat for so long is shown as hung. The supervisor acts on 100 ms if it woke on time itself;
/// twice that keeps one late turn on a busy machine from being shown.
const CHILD_HUNG: Duration = Duration::from_millis(200);
/// The same for the supervisor: vrrp hands its VIPs over when it has had none for so long.
const SUPERVISOR_HUNG: Duration = Duration::from_secs(2);
/// Three deaths within this time are a crash loop.
const CRASH_LOOP: Duration = Duration::from_secs(10);

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessState {
    Running,
    /// It lives and its loop does not turn.
    Hung,
    Dead,
    /// It died three times in ten seconds, whether or not it runs at this moment.
    CrashLoop,
    /// It ends because the node stops; a proxy once its sessions have ended.
    Stopping,
    /// It has.
    Stopped,
}

impl ProcessState {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Hung => "hung",
            Self::Dead => "dead",
            Self::CrashLoop => "crash-loop",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// The processes of the node, as their boards show them at one moment.
#[derive(Debug)]
pub(crate) struct Processes {
    pub(crate) supervisor: Process,
    pub(crate) vrrp: Process,
    pub(crate) proxy: Process,
    pub(crate) admin: Process,
}

impl Processes {
    pub(crate) fn read(boards: &Boards, now: Moment) -> Self {
        Self {
            supervisor: supervisor(boards, now),
            vrrp: child(Child::Vrrp, boards, now),
            proxy: child(Child::Proxy, boards, now),
            admin: child(Child::Admin, boards, now),
        }
    }

    pub(crate) fn all(&self) -> [&Process; 4] {
        [&self.supervisor, &self.vrrp, &self.proxy, &self.admin]
    }
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) name: &'static str,
    pub(crate) pid: u64,
    /// Of its software; empty = not known.
    pub(crate) version: String,
    pub(crate) state: ProcessState,
    /// Its loop turns: what its board says holds.
    pub(crate) alive: bool,
    /// Last turn of its slowest loop; `None` = never.
    pub(crate) heartbeat: Option<Moment>,
    pub(crate) deaths: u64,
    pub(crate) last_end: String,
}

impl Process {
    /// As `status` shows it.
    pub(crate) fn status(&self, now: Moment) -> ProcessStatus {
        ProcessStatus {
            name: self.name.to_owned(),
            pid: self.pid,
            version: self.version.clone(),
            state: self.state.word().to_owned(),
            heartbeat_ms_ago: self.heartbeat.map(|at| super::view::millis(now, at)),
            deaths: self.deaths,
            last_end: self.last_end.clone(),
        }
    }
}

/// The supervisor. Nobody records its deaths: the boards outlive it.
pub(crate) fn supervisor(boards: &Boards, now: Moment) -> Process {
    let header = &boards.supervisor.header;
    let heartbeat = header.heartbeat.get();
    let alive = fresh(heartbeat, now, SUPERVISOR_HUNG);
    Process {
        name: "supervisor",
        pid: pid(header),
        version: boards.supervisor.version.get(),
        state: if alive {
            ProcessState::Running
        } else {
            ProcessState::Hung
        },
        alive,
        heartbeat,
        deaths: 0,
        last_end: String::new(),
    }
}

/// One of the supervisor's children.
pub(crate) fn child(child: Child, boards: &Boards, now: Moment) -> Process {
    let slot = &boards.supervisor.children[child as usize];
    let heartbeat = match child {
        Child::Vrrp => boards.vrrp.header.heartbeat.get(),
        Child::Proxy => slowest_accept_loop(boards),
        Child::Admin => boards.admin.header.heartbeat.get(),
    };
    let alive = slot.pid.get() != 0 && fresh(heartbeat, now, CHILD_HUNG);
    let node_stops = boards.supervisor.stop.since.get().is_some();
    let state = match (slot.pid.get(), node_stops) {
        (0, true) => ProcessState::Stopped,
        _ if crash_loop(&slot.last_deaths, now) => ProcessState::CrashLoop,
        _ if alive => ProcessState::Running,
        // The supervisor kills one that takes too long.
        (_, true) => ProcessState::Stopping,
        (0, false) => ProcessState::Dead,
        (_, false) => ProcessState::Hung,
    };
    Process {
        name: child.word(),
        pid: slot.pid.get(),
        version: boards.supervisor.versions[child as usize].get(),
        state,
        alive,
        heartbeat,
        deaths: slot.deaths.get(),
        last_end: slot.last_end.get(),
    }
}

/// The proxy is as alive as its slowest thread: the kernel spreads connections over all of them.
fn slowest_accept_loop(boards: &Boards) -> Option<Moment> {
    let threads = usize::try_from(boards.proxy.threads.get()).unwrap_or(MAX_THREADS);
    let loops = &boards.proxy.accepting[..threads.min(MAX_THREADS)];
    loops.iter().map(MomentCell::get).min().flatten()
}

fn fresh(heartbeat: Option<Moment>, now: Moment, limit: Duration) -> bool {
    heartbeat.is_some_and(|at| now.since(at) < limit)
}

fn crash_loop(last_deaths: &[MomentCell; 3], now: Moment) -> bool {
    last_deaths[0]
        .get()
        .is_some_and(|oldest| now.since(oldest) < CRASH_LOOP)
}

fn pid(header: &Header) -> u64 {
    u64::from(header.pid.load(std::sync::atomic::Ordering::Acquire))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fixture;

    fn state(boards: &Boards, now: Moment) -> ProcessState {
        child(Child::Proxy, boards, now).state
    }

    #[test]
    fn a_process_is_judged_by_its_slowest_loop() {
        let boards = fixture::empty_boards();
        let now = Moment::from_nanos(60_000_000_000);
        assert_eq!(state(&boards, now), ProcessState::Dead);
        boards.supervisor.children[1].pid.set(71);
        assert_eq!(state(&boards, now), ProcessState::Hung);
        boards.proxy.threads.set(2);
        boards.proxy.accepting[0].set(now);
        assert_eq!(state(&boards, now), ProcessState::Hung);
        boards.proxy.accepting[1].set(now - Duration::from_millis(199));
        assert_eq!(state(&boards, now), ProcessState::Running);
        boards.proxy.accepting[1].set(now - Duration::from_millis(200));
        assert_eq!(state(&boards, now), ProcessState::Hung);
    }

    #[test]
    fn the_third_death_in_ten_seconds_is_a_crash_loop_also_while_it_runs() {
        let boards = fixture::empty_boards();
        let now = Moment::from_nanos(60_000_000_000);
        let slot = &boards.supervisor.children[1];
        slot.pid.set(71);
        boards.proxy.threads.set(1);
        boards.proxy.accepting[0].set(now);
        slot.last_deaths[1].set(now - Duration::from_secs(2));
        slot.last_deaths[2].set(now - Duration::from_secs(1));
        assert_eq!(state(&boards, now), ProcessState::Running);
        slot.last_deaths[0].set(now - Duration::from_millis(9_999));
        assert_eq!(state(&boards, now), ProcessState::CrashLoop);
        assert!(child(Child::Proxy, &boards, now).alive);
        slot.last_deaths[0].set(now - Duration::from_secs(10));
        assert_eq!(state(&boards, now), ProcessState::Running);
    }

    #[test]
    fn on_a_node_that_stops_nobody_hangs_and_nobody_is_dead() {
        let boards = fixture::empty_boards();
        let now = Moment::from_nanos(60_000_000_000);
        let slot = &boards.supervisor.children[1];
        slot.pid.set(71);
        boards.proxy.threads.set(1);
        boards.proxy.accepting[0].set(now);
        boards.supervisor.stop.since.set(now);
        assert_eq!(state(&boards, now), ProcessState::Running);
        // It drains.
        boards.proxy.accepting[0].clear();
        assert_eq!(state(&boards, now), ProcessState::Stopping);
        slot.pid.set(0);
        slot.last_deaths[0].set(now);
        assert_eq!(state(&boards, now), ProcessState::Stopped);
        assert!(!child(Child::Proxy, &boards, now).alive);
    }

    #[test]
    fn a_board_that_names_too_many_threads_is_read_within_its_bounds() {
        let boards = fixture::empty_boards();
        boards.proxy.threads.set(u64::MAX);
        assert_eq!(
            child(Child::Proxy, &boards, Moment::from_nanos(1)).heartbeat,
            None
        );
    }

    #[test]
    fn the_supervisor_is_missed_after_two_seconds() {
        let boards = fixture::empty_boards();
        let now = Moment::from_nanos(60_000_000_000);
        boards
            .supervisor
            .header
            .heartbeat
            .set(now - Duration::from_millis(1_999));
        assert!(supervisor(&boards, now).alive);
        assert!(!supervisor(&boards, now + Duration::from_millis(1)).alive);
    }
}
