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
    /// `None` = there is nothing to watch.
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
        let groups = watched.iter().map(|one| group(one, kit));
        let groups = groups.collect::<io::Result<Vec<Group>>>()?;
        let watcher = if groups.is_empty() {
            None
        } else {
            let looked = || board.files_looked.set(vrrp::now());
            Some(Watcher::start(groups, looked)?)
        };
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
