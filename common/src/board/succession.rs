//! One process of a node after another: upgrades in place, and proxies that have retired.

use super::{
    BackendSlot, Cell, LAYOUT, ListenerSlot, MomentCell, ProxyBoard, ServerSlot, Text, TlsSlot,
};

/// The oldest layout whose boards this version can share; those before had no room.
pub const OLDEST: u32 = 14;
/// Since this layout proxies that have retired obey commands about their sessions.
pub const OBEY_RETIRED: u32 = 16;
/// Room behind a board for what later versions add, in bytes. It costs nothing until it is used.
pub const ROOM: u64 = 256 * 1024;

/// Whether this version and another one, which says the same two numbers of itself, can share boards.
pub const fn can_share(layout: u32, oldest: u32) -> bool {
    layout >= OLDEST && oldest <= LAYOUT
}

/// Proxies that may have sessions beside the one that accepts.
pub const MAX_RETIRED: usize = 8;

board_enum! {
    /// How far an upgrade has come.
    UpgradeStage {
        /// There was none.
        None = 0 => "none",
        /// The new version proves itself: nothing of it is in use.
        Proving = 1 => "proving",
        Proxy = 2 => "proxy",
        Admin = 3 => "admin",
        Vrrp = 4 => "vrrp",
        /// All children are of the new version, and have to live for a moment.
        Trial = 5 => "trial",
        /// It is being executed in the supervisor's place.
        Supervisor = 6 => "supervisor",
        /// Something has failed: the old version comes back.
        RollingBack = 7 => "rolling-back",
        Done = 8 => "done",
        /// The old version runs.
        Failed = 9 => "failed",
        /// The supervisor died meanwhile: the processes may be of two versions.
        CutShort = 10 => "cut-short",
    }
}

/// The last upgrade in place, as the supervisor knows it.
#[repr(C)]
#[derive(Debug, Default)]
pub struct UpgradeSlot {
    /// How many there were since the node started, those that failed too.
    pub number: Cell,
    /// [`UpgradeStage`]
    pub stage: Cell,
    /// When it began.
    pub began: MomentCell,
    /// When it ended, either way.
    pub ended: MomentCell,
    /// The version that it is to, once that has said so.
    pub version: Text,
    /// Why it has failed; empty = it has not.
    pub why: Text,
    /// How many have failed.
    pub failures: Cell,
}

impl UpgradeSlot {
    /// How far it has come.
    pub fn stage(&self) -> UpgradeStage {
        UpgradeStage::from_board(self.stage.get())
    }

    /// Whether one is under way.
    pub fn is_under_way(&self) -> bool {
        match self.stage() {
            UpgradeStage::None
            | UpgradeStage::Done
            | UpgradeStage::Failed
            | UpgradeStage::CutShort => false,
            UpgradeStage::Proving
            | UpgradeStage::Proxy
            | UpgradeStage::Admin
            | UpgradeStage::Vrrp
            | UpgradeStage::Trial
            | UpgradeStage::Supervisor
            | UpgradeStage::RollingBack => true,
        }
    }
}

/// A proxy that accepts nothing any more and has sessions that go on.
#[repr(C)]
#[derive(Debug, Default)]
pub struct RetiredSlot {
    /// 0 = the place is free, or the process has ended.
    pub pid: Cell,
    /// Since when it accepts nothing.
    pub since: MomentCell,
    /// Of its software.
    pub version: Text,
    /// Where it writes its sessions, see [`super::SessionTable::lane`].
    pub lane: Cell,
}

impl ProxyBoard {
    /// Everything that is only ever added to, in an order of its own: several proxies of a node count together.
    pub fn counters(&self) -> impl Iterator<Item = &Cell> {
        let listeners = self.listeners.iter().flat_map(ListenerSlot::counters);
        let backends = self.backends.iter().flat_map(BackendSlot::counters);
        let servers = self.servers.iter().flat_map(ServerSlot::counters);
        let tls = self.server_tls.iter().flat_map(TlsSlot::counters);
        let names = self.names.iter();
        let names = names.flat_map(|one| [&one.queries, &one.failures]);
        let log = [&self.session_log.written, &self.session_log.lost];
        let drain = [&self.drain.closed, &self.drain_reset];
        let own = log.into_iter().chain(drain);
        listeners
            .chain(backends)
            .chain(servers)
            .chain(tls)
            .chain(names)
            .chain(own)
    }

    /// The sessions that a proxy has, and who waits for one: they count together while it lives.
    pub fn sessions(&self) -> impl Iterator<Item = &Cell> {
        let listeners = self.listeners.iter().map(|one| &one.sessions);
        let queued = self.backends.iter().map(|one| &one.queued);
        let servers = self.servers.iter().map(|one| &one.sessions);
        let ages = self.ages.iter().flat_map(|one| &one.counts);
        listeners.chain(queued).chain(servers).chain(ages)
    }

    /// Adds what another proxy has counted. Only the board's writer may call it.
    pub fn add_counters(&self, other: &Self) {
        add(self.counters(), other.counters());
    }

    /// Adds the sessions of another proxy. Only the board's writer may call it.
    pub fn add_sessions(&self, other: &Self) {
        add(self.sessions(), other.sessions());
        for (own, other) in self.ages.iter().zip(&other.ages) {
            let both = [own.oldest.get(), other.oldest.get()];
            if let Some(oldest) = both.into_iter().flatten().min() {
                own.oldest.set(oldest);
            }
        }
    }

    /// A board that a proxy inherits from one that lives on: the counts and the sessions stay the other one's, all that
    /// was found out and said counts on. Before anybody else has it.
    pub fn begin_anew(&self) {
        self.counters()
            .chain(self.sessions())
            .for_each(|cell| cell.set(0));
        self.accepting.iter().for_each(MomentCell::clear);
        self.ages.iter().for_each(|one| one.oldest.clear());
        self.drain.until.clear();
    }
}

fn add<'a>(to: impl Iterator<Item = &'a Cell>, from: impl Iterator<Item = &'a Cell>) {
    for (to, from) in to.zip(from) {
        to.add(from.get());
    }
}

impl ListenerSlot {
    fn counters(&self) -> impl Iterator<Item = &Cell> {
        [
            &self.accepted,
            &self.denied,
            &self.failed,
            &self.accept_errors,
            &self.bytes_in,
            &self.bytes_out,
            &self.idle_closed,
            &self.lifetime_closed,
            &self.aborted,
            &self.dropped,
            &self.limited_sessions,
            &self.limited_rate,
            &self.bad_headers,
            &self.not_tls,
            &self.hello_timeouts,
            &self.holds,
            &self.killed,
        ]
        .into_iter()
        .chain(self.tls.counters())
    }
}

impl BackendSlot {
    fn counters(&self) -> impl Iterator<Item = &Cell> {
        [
            &self.waited,
            &self.queue_full,
            &self.queue_timeouts,
            &self.fail_open_sessions,
        ]
        .into_iter()
    }
}

impl ServerSlot {
    fn counters(&self) -> impl Iterator<Item = &Cell> {
        [
            &self.connected,
            &self.connect_errors,
            &self.probes,
            &self.probe_failures,
            &self.downs,
            &self.cut,
            &self.error_limits,
            &self.agent.asked,
            &self.agent.failures,
        ]
        .into_iter()
    }
}

impl TlsSlot {
    fn counters(&self) -> impl Iterator<Item = &Cell> {
        let counted = self.handshakes.iter().chain(&self.failures);
        counted.chain([&self.truncated])
    }
}

#[cfg(test)]
mod tests {
    use super::super::SupervisorBoard;
    use super::*;
    use crate::time::Moment;

    fn board() -> Box<ProxyBoard> {
        Box::default()
    }

    #[test]
    fn two_proxies_count_together_and_a_successor_begins_with_nothing_but_what_was_found() {
        let (old, new) = (board(), board());
        let both = [&old, &new];
        for (place, board) in both.into_iter().enumerate() {
            let cells = board.counters().chain(board.sessions());
            for (number, cell) in cells.enumerate() {
                cell.set((number * 10 + place + 1) as u64);
            }
        }
        new.add_counters(&old);
        new.add_sessions(&old);
        for (number, cell) in new.counters().chain(new.sessions()).enumerate() {
            assert_eq!(cell.get(), (number * 20 + 3) as u64);
        }
        new.servers[3].state.set(2);
        new.accepting[0].set(Moment::from_nanos(1));
        new.begin_anew();
        assert!(
            new.counters()
                .chain(new.sessions())
                .all(|cell| cell.get() == 0)
        );
        assert_eq!(
            (new.servers[3].state.get(), new.accepting[0].get()),
            (2, None)
        );
    }

    #[test]
    fn the_places_of_proxies_that_have_ended_unseen_are_free() {
        let board: Box<SupervisorBoard> = Box::default();
        for (place, slot) in board.retired.iter().take(3).enumerate() {
            slot.pid.set(4_711);
            slot.lane.set(place as u64 + 1);
        }
        board.keep_retired(&[1]);
        let pids = board.retired.each_ref().map(|slot| slot.pid.get());
        assert_eq!(pids, [0, 4_711, 0, 0, 0, 0, 0, 0]);
        assert_eq!(board.taken_lanes(), [2, 0]);
    }

    #[test]
    fn no_cell_counts_twice() {
        let board = board();
        let mut cells: Vec<*const Cell> = board
            .counters()
            .chain(board.sessions())
            .map(std::ptr::from_ref)
            .collect();
        let all = cells.len();
        cells.sort_unstable();
        cells.dedup();
        assert_eq!(cells.len(), all);
    }
}
