//! Files that may change while the node runs: lists of networks, certificates.
//!
//! A thread of its own looks at them each second, so that a disk that hangs holds up nobody. Files
//! that are only used together, as a certificate and its key, are one [`Group`]. A group is read
//! when a file of it has become another one, or has another size or time (written in place, renamed
//! over the old one, reached by a symlink that points elsewhere now), and everything in it was the
//! same at two looks in a row: what is being written is left alone. New contents are judged before
//! anybody hears of them. Contents that are bad or gone are told as a refusal; what is in use stays.

#![expect(
    clippy::disallowed_methods,
    reason = "the thread looks at the files, and rests between two looks"
)]

mod state;

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::time::Duration;

use self::state::{Digest, Found, Stamp, State};
use crate::check::{MAX_NAMED_BYTES, read_text};
use crate::memory;

/// Time between two looks.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// How long files of a group may not fit together before that is told: whoever renews a certificate
/// replaces it and its key one after the other.
const PATIENCE: Duration = Duration::from_secs(10);
/// News that wait for the supervisor's loop; it takes them within milliseconds.
const WAITING: usize = 16;

/// Why contents cannot be used, in words; gets the text of each file in the order of the group.
pub(super) type Judge = Box<dyn Fn(&[String]) -> Result<(), String> + Send>;

/// Files that are used together.
pub(super) struct Group {
    pub(super) paths: Vec<PathBuf>,
    /// What of them is in use, in the same order. What is on disk may be newer already.
    pub(super) in_use: Vec<Vec<u8>>,
    pub(super) judge: Judge,
}

/// What has become of a group.
#[derive(Debug)]
pub(super) struct News {
    /// Which groups it speaks of: how often they were replaced before.
    pub(super) edition: u64,
    /// Its place among the groups.
    pub(super) group: usize,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// New contents, found good: all files of the group, sealed.
    Changed(Vec<(PathBuf, OwnedFd)>),
    /// What is on disk cannot be used, and why; told once for each new content.
    Refused(String),
    /// After a refusal: what is on disk is what is in use.
    InUse,
}

/// The thread, as the supervisor's loop sees it.
#[derive(Debug)]
pub(super) struct Watcher {
    news: Receiver<News>,
    groups: Sender<Vec<Group>>,
    /// Of the groups that are looked at, or soon will be.
    edition: u64,
}

/// The thread has ended: nobody looks any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the thread that looks at changed files has ended")]
pub(super) struct Ended;

impl Watcher {
    /// Starts to look. `looked` is called after every look. The thread has the scheduling of its
    /// maker, so it is to be made before that has real-time priority.
    pub(super) fn start(
        groups: Vec<Group>,
        looked: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        Self::start_each((LOOK, PATIENCE), groups, looked)
    }

    fn start_each(
        (interval, patience): (Duration, Duration),
        groups: Vec<Group>,
        looked: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, news) = sync_channel(WAITING);
        let (replace, replaced) = channel();
        let watch = move |groups: Vec<Group>| -> Vec<Watched> {
            let groups = groups.into_iter();
            groups.map(|group| Watched::new(group, patience)).collect()
        };
        let mut watched = watch(groups);
        std::thread::Builder::new()
            .name("files".to_owned())
            .spawn(move || {
                let mut edition = 0;
                while look_at_all(&mut watched, (edition, &sender)).is_some() {
                    looked();
                    std::thread::sleep(interval);
                    for groups in replaced.try_iter() {
                        watched = watch(groups);
                        edition += 1;
                    }
                }
            })?;
        Ok(Self {
            news,
            groups: replace,
            edition: 0,
        })
    }

    /// Looks at these from now on; what is still told of the others is not taken for theirs.
    pub(super) fn replace(&mut self, groups: Vec<Group>) {
        // Whoever waits for news hears that the thread has ended.
        let _ended = self.groups.send(groups);
        self.edition += 1;
    }

    /// The next news; never waits.
    ///
    /// # Errors
    /// There will be none any more.
    pub(super) fn next(&self) -> Result<Option<News>, Ended> {
        loop {
            match self.news.try_recv() {
                Ok(news) if news.edition == self.edition => return Ok(Some(news)),
                Ok(_) => {}
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => return Err(Ended),
            }
        }
    }
}

/// `None` = nobody listens any more.
fn look_at_all(watched: &mut [Watched], (edition, sender): (u64, &SyncSender<News>)) -> Option<()> {
    for (group, one) in watched.iter_mut().enumerate() {
        if let Some(what) = one.look() {
            let news = News {
                edition,
                group,
                what,
            };
            sender.send(news).ok()?;
        }
    }
    Some(())
}

/// A group, and what was seen of it.
struct Watched {
    paths: Vec<PathBuf>,
    judge: Judge,
    state: State,
}

impl Watched {
    fn new(group: Group, patience: Duration) -> Self {
        let in_use = group.in_use.iter().map(|bytes| Digest::of(bytes));
        let patience = match group.paths.len() {
            1 => Duration::ZERO,
            _ => patience,
        };
        Self {
            state: State::new(in_use.collect(), patience),
            paths: group.paths,
            judge: group.judge,
        }
    }

    fn look(&mut self) -> Option<What> {
        let (seen, now) = (self.stamps(), vrrp::now());
        if !self.state.is_due(&seen, now) {
            return None;
        }
        let texts = self.read();
        if self.stamps() != seen {
            // It has changed under our hands: the next looks tell.
            return None;
        }
        let digests = texts.as_ref().map_err(Clone::clone).map(|texts| {
            let bytes = texts.iter().map(String::as_bytes);
            bytes.map(Digest::of).collect()
        });
        let judge = || (self.judge)(texts.as_deref().unwrap_or_default());
        match self.state.handle_read((seen, now), digests, judge)? {
            Found::InUse => Some(What::InUse),
            Found::Refused(why) => Some(What::Refused(why)),
            Found::Good => Some(match self.seal(texts.as_deref().unwrap_or_default()) {
                Ok(sealed) => What::Changed(sealed),
                Err(error) => {
                    self.state.look_again();
                    What::Refused(format!("it cannot be kept: {error}"))
                }
            }),
        }
    }

    fn stamps(&self) -> Vec<Stamp> {
        self.paths.iter().map(|path| stamp(path)).collect()
    }

    /// The texts of all files, or what is wrong with the first that cannot be read.
    fn read(&self) -> Result<Vec<String>, String> {
        let read = |path: &PathBuf| match read_text(path, MAX_NAMED_BYTES) {
            Ok((_, text)) => Ok(text),
            Err(error) if self.paths.len() == 1 => Err(error.to_string()),
            Err(error) => Err(format!("{}: {error}", path.display())),
        };
        self.paths.iter().map(read).collect()
    }

    fn seal(&self, texts: &[String]) -> io::Result<Vec<(PathBuf, OwnedFd)>> {
        let seal = |(path, text): (&PathBuf, &String)| {
            let sealed = memory::sealed_text("fmc-lb-file", text.as_bytes())?;
            Ok((path.clone(), sealed))
        };
        self.paths.iter().zip(texts).map(seal).collect()
    }
}

/// What tells one state of a file from another, without reading it.
fn stamp(path: &Path) -> Stamp {
    match fs::metadata(path) {
        Ok(metadata) => Stamp::File {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        },
        Err(error) => Stamp::Absent(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
