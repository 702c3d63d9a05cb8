//! The watched files of the configuration: what has become of them goes to the board, the log and
//! the children that use them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use common::board::{FileSlot, SupervisorBoard};
use common::config::{Config, Watched};
use common::time::Moment;

use super::judge::judge;
use super::kit::Kit;
use super::process::Process;
use super::watcher::{Group, News, Watcher, What};
use crate::check::unix_time;
use crate::control::{Body, Handle};
use crate::memory;

/// What is watched, and what is still to be told.
#[derive(Debug)]
pub(super) struct Files {
    watched: Vec<Watched>,
    /// `None` = it has failed.
    watcher: Option<Watcher>,
    /// Groups whose new contents the proxy has not been sent yet.
    unsent: Vec<usize>,
}

impl Files {
    /// Starts to watch what is in use. To be called before the supervisor has real-time priority.
    pub(super) fn start(
        config: &Config,
        kit: &Kit,
        board: &'static SupervisorBoard,
    ) -> io::Result<Self> {
        let watched = config.watched();
        let looked = || board.files_looked.set(vrrp::now());
        let watcher = Some(Watcher::start(groups(&watched, kit)?, looked)?);
        for slot in board.files.iter().take(watched.len()) {
            // An earlier supervisor has said it, and the survivors have used them since.
            if slot.since.get().is_none() {
                slot.since.set(vrrp::now());
            }
            // What was refused will be refused again if it is still there.
            slot.refused.set("");
        }
        Ok(Self {
            watched,
            watcher,
            unsent: Vec::new(),
        })
    }

    /// Takes the news and passes them on; to be called often.
    pub(super) fn look(
        &mut self,
        (kit, proxy): (&mut Kit, Option<&Process>),
        slots: &[FileSlot],
        now: Moment,
    ) {
        while let Some(watcher) = &self.watcher {
            match watcher.next() {
                Ok(Some(news)) => self.handle(news, (kit, slots), now),
                Ok(None) => break,
                Err(error) => {
                    tracing::error!("changed files stay unseen: {error}");
                    self.watcher = None;
                }
            }
        }
        self.unsent.retain(|group| {
            let sent = proxy.is_some_and(|proxy| send(&self.watched[*group], kit, proxy));
            !sent
        });
    }

    /// Another proxy serves, which was given everything a while ago.
    pub(super) fn send_all(&mut self) {
        self.unsent = (0..self.watched.len()).collect();
    }

    /// Watches what the next kit has instead. What is said of a file that stays is said of it at its new
    /// place.
    pub(super) fn go_over(
        &mut self,
        (config, kit): (&Config, &Kit),
        slots: &[FileSlot],
        now: Moment,
    ) -> io::Result<()> {
        let next = config.watched();
        let groups = groups(&next, kit)?;
        let before = self.watched.iter().zip(slots);
        let said: Vec<_> = before
            .map(|(one, slot)| (one.names(), Said::of(slot)))
            .collect();
        for (one, slot) in next.iter().zip(slots) {
            let known = said.iter().find(|(names, _)| *names == one.names());
            let said = known.map_or(Said::new(now), |(_, said)| *said);
            said.set(slot);
        }
        self.watched = next;
        self.unsent.clear();
        if let Some(watcher) = &mut self.watcher {
            watcher.replace(groups);
        }
        Ok(())
    }

    /// A new proxy was given everything as it is now.
    pub(super) fn proxy_started(&mut self) {
        self.unsent.clear();
    }

    fn handle(&mut self, news: News, (kit, slots): (&mut Kit, &[FileSlot]), now: Moment) {
        let group = news.group;
        let slot = &slots[group];
        let file = self.watched[group].names();
        match news.what {
            What::Changed(contents) => {
                tracing::info!(file, "a file has changed, and is used from now on");
                kit.replace_files(contents);
                slot.since.set(now);
                slot.changes.add(1);
                slot.refused.set("");
                if !self.unsent.contains(&group) {
                    self.unsent.push(group);
                }
            }
            What::Refused(why) => {
                tracing::warn!(
                    file,
                    why,
                    "a changed file is refused, the old contents stay in use"
                );
                slot.refusals.add(1);
                slot.refused.set(&why);
            }
            What::InUse => {
                tracing::info!(file, "the file on disk is the one in use again");
                slot.refused.set("");
            }
        }
    }
}

/// What stands of a file on the board; whether its new contents were refused is found out anew.
#[derive(Debug, Clone, Copy)]
struct Said {
    since: Option<Moment>,
    changes: u64,
    refusals: u64,
}

impl Said {
    const fn new(now: Moment) -> Self {
        Self {
            since: Some(now),
            changes: 0,
            refusals: 0,
        }
    }

    fn of(slot: &FileSlot) -> Self {
        Self {
            since: slot.since.get(),
            changes: slot.changes.get(),
            refusals: slot.refusals.get(),
        }
    }

    fn set(self, slot: &FileSlot) {
        match self.since {
            Some(since) => slot.since.set(since),
            None => slot.since.clear(),
        }
        slot.changes.set(self.changes);
        slot.refusals.set(self.refusals);
        slot.refused.set("");
    }
}

fn groups(watched: &[Watched], kit: &Kit) -> io::Result<Vec<Group>> {
    watched.iter().map(|one| group(one, kit)).collect()
}

fn group(watched: &Watched, kit: &Kit) -> io::Result<Group> {
    let in_use = |path: &PathBuf| {
        let (_, content) = kit.file(path)?;
        memory::read_text(content)
    };
    let judged = watched.clone();
    Ok(Group {
        paths: watched.paths.clone(),
        in_use: watched
            .paths
            .iter()
            .map(in_use)
            .collect::<io::Result<_>>()?,
        judge: Box::new(move |texts| judge(&judged, texts, Some(unix_time()))),
    })
}

/// All files of a group in one message. `false` = the proxy's queue is full: later.
fn send(watched: &Watched, kit: &Kit, proxy: &Process) -> bool {
    let files = watched.paths.iter().filter_map(|path| kit.file(path).ok());
    let (handles, descriptors): (Vec<Handle>, Vec<BorrowedFd<'_>>) = files
        .map(|(handle, content)| (handle.clone(), content.as_fd()))
        .unzip();
    let sent = proxy.channel.send(Body::Files { handles }, &descriptors);
    if let Err(error) = &sent {
        tracing::debug!(%error, "changed files are passed on later");
    }
    sent.is_ok()
}
