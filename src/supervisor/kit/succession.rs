//! What a proxy gets that takes another one's place, and what is kept of those before it.
//!
//! Both have the same listening sockets, so that no connection waits for the wrong one. Everything else
//! that they would share they have apart: each writes a board of its own, which the new one begins with
//! all that was found out and said on the old one, and each has its own channel for commands.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use anyhow::Context;
use common::board::{Child, MAX_RETIRED, ProxyBoard, SessionTable, SupervisorBoard};

use super::{Inheritance, Kit};
use crate::control::{CommandEnd, Handle, Setup, Writer};
use crate::{commands, memory};

/// Proxies before the one that accepts.
#[derive(Debug, Default)]
pub(super) struct Elders {
    /// By place on the supervisor's board.
    retired: [Option<Elder>; MAX_RETIRED],
    /// The counts of those that have ended and whose places were needed.
    past: Option<OwnedFd>,
}

/// What is kept of one of them.
#[derive(Debug)]
struct Elder {
    memory: OwnedFd,
    board: &'static ProxyBoard,
    /// Where admin gives it commands; `None` = nobody has kept that.
    commands: Option<OwnedFd>,
}

impl Elder {
    fn new(memory: OwnedFd, commands: Option<OwnedFd>) -> io::Result<Self> {
        Ok(Self {
            board: memory::map_writable(&memory)?,
            memory,
            commands,
        })
    }

    fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            memory: self.memory.try_clone()?,
            board: self.board,
            commands: clone_of(self.commands.as_ref())?,
        })
    }
}

impl Elders {
    /// As the admin process has them.
    pub(super) fn inherited(inherited: &[Inheritance]) -> Self {
        let mut elders = Self::default();
        let of_admin = inherited.iter().filter(|one| one.child == Child::Admin);
        for (handle, board) in of_admin.flat_map(|one| &one.handles) {
            // Without one, its counts are lost, as after a restart.
            if let Handle::Retired { place } = handle
                && let Some(kept) = elders.retired.get_mut(*place)
            {
                let commands = Handle::RetiredCommands { place: *place };
                let mut all = inherited.iter().flat_map(|one| &one.handles);
                let commands = all.find(|(handle, _)| *handle == commands);
                let commands = commands.and_then(|(_, end)| end.try_clone().ok());
                let memory = memory::reopen_writable(board).ok();
                *kept = memory.and_then(|memory| Elder::new(memory, commands).ok());
            } else if *handle == Handle::Past {
                elders.past = board.try_clone().ok();
            }
        }
        elders
    }

    /// The same boards, for the next kit.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        let mut elders = Self {
            past: clone_of(self.past.as_ref())?,
            ..Self::default()
        };
        for (copy, elder) in elders.retired.iter_mut().zip(&self.retired) {
            *copy = elder.as_ref().map(Elder::try_clone).transpose()?;
        }
        Ok(elders)
    }

    /// For the proxy.
    pub(super) fn boards(&self) -> io::Result<Vec<(Handle, OwnedFd)>> {
        let all = self.retired.iter().enumerate();
        let all = all.filter_map(|(place, elder)| Some((place, elder.as_ref()?)));
        let board = |(place, elder): (usize, &Elder)| {
            let board = memory::reopen_read_only(&elder.memory)?;
            Ok((Handle::Retired { place }, board))
        };
        all.map(board).collect()
    }

    /// For admin.
    pub(super) fn handles(&self) -> io::Result<Vec<(Handle, OwnedFd)>> {
        let mut handles = self.boards()?;
        for (place, elder) in self.retired.iter().enumerate() {
            let Some(elder) = elder else { continue };
            if let Some(commands) = clone_of(elder.commands.as_ref())? {
                handles.push((Handle::RetiredCommands { place }, commands));
            }
        }
        if let Some(past) = &self.past {
            handles.push((Handle::Past, memory::reopen_read_only(past)?));
        }
        Ok(handles)
    }

    /// Frees the places of those that have ended, and keeps their counts.
    fn bury(&mut self, supervisor: &SupervisorBoard) -> io::Result<()> {
        for (place, elder) in self.retired.iter_mut().enumerate() {
            if supervisor.retired[place].pid.get() != 0 {
                continue;
            }
            let Some(ended) = elder.take() else { continue };
            // A new one each time: who has the one before it has the board itself too.
            let past = memory::create::<ProxyBoard>("fmc-lb-past")?;
            let sum: &ProxyBoard = memory::map_writable(&past)?;
            if let Some(past) = &self.past {
                sum.add_counters(memory::map_read_only(past)?);
            }
            sum.add_counters(ended.board);
            self.past = Some(past);
        }
        Ok(())
    }
}

/// What a proxy has for itself that is started beside another one.
#[derive(Debug)]
pub(in crate::supervisor) struct Successor {
    memory: OwnedFd,
    pub(in crate::supervisor) board: &'static ProxyBoard,
    /// Ends of the channel for commands: admin's, its own.
    commands: (OwnedFd, OwnedFd),
    /// Where it writes its sessions.
    lane: usize,
}

impl Kit {
    /// Whether a proxy may retire, and on the way back of an upgrade that fails its successor too: places are
    /// freed by those that have ended.
    pub(in crate::supervisor) fn has_room_for_upgrade(board: &SupervisorBoard) -> bool {
        let mut free = board.retired.iter().filter(|slot| slot.pid.get() == 0);
        free.nth(1).is_some()
    }

    /// Prepares for a proxy beside the one that runs.
    pub(in crate::supervisor) fn prepare_successor(&self) -> anyhow::Result<Successor> {
        let memory = memory::create::<ProxyBoard>("fmc-lb-proxy").context("make its board")?;
        memory::copy(&self.boards[Writer::Proxy as usize], &memory)
            .context("copy what was found out")?;
        let board: &ProxyBoard = memory::map_writable(&memory).context("map its board")?;
        board.begin_anew();
        board.header.heartbeat.clear();
        // Not 0: what stands there is an earlier proxy's.
        board
            .header
            .pid
            .store(std::process::id(), Ordering::Release);
        Ok(Successor {
            memory,
            board,
            commands: commands::pair().context("make its channel for commands")?,
            lane: SessionTable::free_lane(&self.board.taken_lanes())
                .context("all lanes of the table of sessions are taken")?,
        })
    }

    /// What a child is given that is started beside the one that runs.
    pub(in crate::supervisor) fn for_successor(
        &self,
        child: Child,
        successor: Option<&Successor>,
    ) -> io::Result<(Setup, Vec<(Handle, OwnedFd)>)> {
        let (mut setup, mut handles) = self.for_child(child)?;
        setup.beside = true;
        let Some(successor) = successor else {
            return Ok((setup, handles));
        };
        setup.lane = successor.lane;
        let about_to_retire = memory::reopen_read_only(&self.boards[Writer::Proxy as usize])?;
        let place = MAX_RETIRED;
        handles.push((Handle::Retired { place }, about_to_retire));
        setup.handles = handles.len();
        let (asking, serving) = &successor.commands;
        for (handle, own) in [
            (of_proxy(), &successor.memory),
            (of_commands(CommandEnd::Asking), asking),
            (of_commands(CommandEnd::Serving), serving),
        ] {
            for (_, descriptor) in handles.iter_mut().filter(|(held, _)| *held == handle) {
                *descriptor = own.try_clone()?;
            }
        }
        Ok((setup, handles))
    }

    /// What a new version is given that proves itself: nothing that it could change.
    pub(in crate::supervisor) fn for_prover(&self) -> io::Result<(Setup, Vec<(Handle, OwnedFd)>)> {
        let (mut setup, handles) = self.for_child(Child::Proxy)?;
        setup.user = None;
        let mut handles: Vec<_> = handles
            .into_iter()
            .filter(|(handle, _)| {
                let of_proxy = *handle == of_proxy();
                !of_proxy
                    && matches!(
                        handle,
                        Handle::Config
                            | Handle::Arrangement
                            | Handle::Board { .. }
                            | Handle::File { .. }
                    )
            })
            .collect();
        let board = memory::reopen_read_only(&self.boards[Writer::Proxy as usize])?;
        handles.push((of_proxy(), board));
        handles.extend(self.program()?);
        Ok((setup, handles))
    }

    /// The successor is the proxy from now on. The place of the one before it, and the board of the new one
    /// for those that read it.
    pub(in crate::supervisor) fn succeed(
        &mut self,
        successor: Successor,
        board: &SupervisorBoard,
    ) -> anyhow::Result<(usize, OwnedFd)> {
        self.elders.bury(board).context("keep what was counted")?;
        let place = self.elders.retired.iter().position(Option::is_none);
        let place = place.with_context(|| format!("{MAX_RETIRED} proxies have retired already"))?;
        let shown = memory::reopen_read_only(&successor.memory).context("show its board")?;
        let asking_of_old = self.held(&of_commands(CommandEnd::Asking));
        let commands = asking_of_old.context("keep the channel of the old one")?;
        let old = self.boards[Writer::Proxy as usize].try_clone();
        let elder = old.and_then(|old| Elder::new(old, commands));
        let elder = elder.context("keep the board of the old one")?;
        let (asking, serving) = &successor.commands;
        for (_, handle, socket) in &mut self.own {
            if let Handle::Commands { end } = handle {
                let own = match end {
                    CommandEnd::Asking => asking,
                    CommandEnd::Serving => serving,
                };
                *socket = own.try_clone().context("keep its channel for commands")?;
            }
        }
        self.boards[Writer::Proxy as usize] = successor.memory;
        self.elders.retired[place] = Some(elder);
        let lane = u64::try_from(successor.lane).expect("there are few");
        self.board.retired[place].lane.set(self.board.lane.get());
        self.board.lane.set(lane);
        Ok((place, shown))
    }

    /// Forgets the sessions of proxies that are gone. `beside` lives and has not taken its place yet.
    pub(in crate::supervisor) fn forget_sessions(&self, beside: Option<&Successor>) {
        for (slot, elder) in self.board.retired.iter().zip(&self.elders.retired) {
            if let (0, Some(elder)) = (slot.pid.get(), elder) {
                elder.board.sessions().for_each(|cell| cell.set(0));
            }
        }
        if let Some(sessions) = self.sessions {
            let mut living = self.board.taken_lanes();
            living.extend(beside.map(|one| one.lane));
            sessions.clear_lanes_but(&living);
        }
    }

    /// A proxy has ended in a stop, the one that accepted or that of a place: what it still had was reset with it.
    pub(in crate::supervisor) fn count_reset(&self, place: Option<usize>) -> io::Result<()> {
        let board: &ProxyBoard = match place.map(|place| &self.elders.retired[place]) {
            Some(Some(elder)) => elder.board,
            Some(None) => return Ok(()),
            None => memory::map_writable(&self.boards[Writer::Proxy as usize])?,
        };
        let left = board.listeners.iter().map(|one| one.sessions.get()).sum();
        board.drain_reset.add(left);
        board.sessions().for_each(|cell| cell.set(0));
        if let (None, Some(sessions)) = (place, self.sessions) {
            // So that the other node hears of their end.
            let mut living = self.board.taken_lanes();
            living.retain(|lane| u64::try_from(*lane) != Ok(self.board.lane.get()));
            sessions.clear_lanes_but(&living);
        }
        Ok(())
    }

    /// How many sessions a stop has closed at a quiet moment, and reset at the end of its drain.
    pub(in crate::supervisor) fn drained(&self) -> (u64, u64) {
        let current = memory::map_read_only::<ProxyBoard>(&self.boards[Writer::Proxy as usize]);
        let elders = self.elders.retired.iter().flatten().map(|one| one.board);
        elders
            .chain(current.ok())
            .fold((0, 0), |(closed, reset), board| {
                (
                    closed + board.drain.closed.get(),
                    reset + board.drain_reset.get(),
                )
            })
    }

    /// The board of the proxy that accepts, for those that have retired.
    pub(in crate::supervisor) fn successor_board(&self) -> io::Result<OwnedFd> {
        memory::reopen_read_only(&self.boards[Writer::Proxy as usize])
    }

    /// Whether a proxy that has retired has sessions of the listener at a place.
    pub(in crate::supervisor) fn has_elder_sessions(&self, listener: usize) -> bool {
        let mut elders = self.elders.retired.iter().flatten();
        elders.any(|elder| elder.board.listeners[listener].sessions.get() > 0)
    }

    /// The parts of the TC program.
    pub(in crate::supervisor) fn program(&self) -> io::Result<Vec<(Handle, OwnedFd)>> {
        let parts = self.forward_parts()?.into_iter().enumerate();
        Ok(parts
            .map(|(part, descriptor)| (Handle::Forward { part }, descriptor))
            .collect())
    }

    /// Keeps the board of a proxy that an earlier supervisor has let retire; its place.
    pub(in crate::supervisor) fn adopt_retired(
        &mut self,
        inheritance: Inheritance,
        (pid, board): (u32, &SupervisorBoard),
    ) -> Option<usize> {
        let mut slots = board.retired.iter();
        let known = slots.position(|slot| slot.pid.get() == u64::from(pid));
        let free = || self.elders.retired.iter().position(Option::is_none);
        let place = known.or_else(free)?;
        let lane = u64::try_from(inheritance.setup.lane).unwrap_or_default();
        board.retired[place].lane.set(lane);
        let mut handles = inheritance.handles;
        let mut take = |wanted: &Handle| {
            let at = handles.iter().position(|(handle, _)| handle == wanted)?;
            Some(handles.swap_remove(at).1)
        };
        let (memory, commands) = (take(&of_proxy())?, take(&of_commands(CommandEnd::Asking)));
        self.elders.retired[place] = Some(Elder::new(memory, commands).ok()?);
        Some(place)
    }
}

fn clone_of(descriptor: Option<&OwnedFd>) -> io::Result<Option<OwnedFd>> {
    descriptor.map(OwnedFd::try_clone).transpose()
}

fn of_proxy() -> Handle {
    Handle::Board {
        writer: Writer::Proxy,
    }
}

fn of_commands(end: CommandEnd) -> Handle {
    Handle::Commands { end }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_begins_only_where_its_way_back_has_a_place_too() {
        let supervisor: Box<SupervisorBoard> = Box::default();
        for (place, slot) in supervisor.retired.iter().enumerate() {
            assert_eq!(
                Kit::has_room_for_upgrade(&supervisor),
                place < MAX_RETIRED - 1
            );
            slot.pid.set(1);
        }
    }

    #[test]
    fn the_counts_of_the_dead_are_kept_and_their_places_are_free() {
        let supervisor: Box<SupervisorBoard> = Box::default();
        let board = |accepted| {
            let memory = memory::create::<ProxyBoard>("test").expect("memfd");
            let board: &ProxyBoard = memory::map_writable(&memory).expect("mapped");
            board.listeners[0].accepted.set(accepted);
            memory
        };
        let mut elders = Elders::default();
        for (place, accepted) in [(0, 1), (1, 10), (2, 100)] {
            elders.retired[place] = Some(Elder::new(board(accepted), None).expect("mapped"));
        }
        supervisor.retired[1].pid.set(4_711);
        elders.bury(&supervisor).expect("there is memory");
        let living: Vec<bool> = elders.retired.iter().map(Option::is_some).collect();
        assert_eq!(living[..4], [false, true, false, false]);
        let past = |elders: &Elders| {
            let past = elders.past.as_ref().expect("some have ended");
            let past: &ProxyBoard = memory::map_read_only(past).expect("mapped");
            past.listeners[0].accepted.get()
        };
        assert_eq!(past(&elders), 101);
        supervisor.retired[1].pid.set(0);
        elders.bury(&supervisor).expect("there is memory");
        assert_eq!(past(&elders), 111);
        elders.bury(&supervisor).expect("there is memory");
        let handles = elders.handles().expect("dup");
        assert_eq!((past(&elders), handles.len()), (111, 1));
    }
}
