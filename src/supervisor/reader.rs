//! The configuration file: read and judged on a thread of its own, since a disk may hang and a list
//! may be long, and the supervisor's loop looks at heartbeats. The thread also looks each second whether
//! the file still says what the node runs by.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::Duration;

use anyhow::Context;
use common::board::{Child, ReloadSlot};
use common::config::{Config, Difference, NodeIndex, Paint};

use super::judge::judge;
use super::kit::files_of;
use crate::check::{self, LoadError, MAX_FILE_BYTES, MAX_NAMED_BYTES, Purpose, read_text};
use crate::memory;

/// Time between two looks at the file.
const LOOK: Duration = Duration::from_secs(1);

/// Where the configuration comes from.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// The node that runs here; a reload makes no other one of it.
    pub(super) node: String,
}

/// What the file says now, found good.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) text: Arc<str>,
    pub(super) config: Config,
    pub(super) node: NodeIndex,
    /// From what runs.
    pub(super) difference: Difference,
    /// Rendered; empty = none.
    pub(super) warnings: String,
    /// What becomes of the pair's keys, once somebody has compared them.
    pub(super) keys: Option<String>,
    /// Contents of the files that it names, sealed, and who needs them.
    pub(super) files: Vec<(Child, PathBuf, OwnedFd)>,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The whole report.
    Invalid(String),
    Failed(String),
}

/// What has become of a reading.
pub(super) type Outcome = Result<Box<Next>, Trouble>;

#[derive(Debug)]
enum Job {
    Read,
    /// The node runs by this from now on.
    Running(Arc<str>),
}

/// The thread, as the supervisor's loop sees it.
#[derive(Debug)]
pub(super) struct Reader {
    jobs: Sender<Job>,
    outcomes: Receiver<Outcome>,
}

impl Reader {
    /// Starts the thread; `running` is what the node runs by. It has the scheduling of its maker, so it is
    /// to be made before that has real-time priority.
    pub(super) fn start(
        source: Source,
        running: Arc<str>,
        slot: &'static ReloadSlot,
    ) -> io::Result<Self> {
        let (jobs, to_do) = channel();
        let (done, outcomes) = channel();
        std::thread::Builder::new()
            .name("configuration".to_owned())
            .spawn(move || serve(&source, running, slot, (&to_do, &done)))?;
        Ok(Self { jobs, outcomes })
    }

    /// Begins to read.
    ///
    /// # Errors
    /// The thread has ended.
    pub(super) fn read(&self) -> Result<(), Ended> {
        self.jobs.send(Job::Read).map_err(|_| Ended)
    }

    /// The node runs by this from now on.
    pub(super) fn runs_by(&self, text: &Arc<str>) {
        // Whoever asks next hears that the thread has ended.
        let _ended = self.jobs.send(Job::Running(Arc::clone(text)));
    }

    /// What has been read, if it has been; never waits.
    ///
    /// # Errors
    /// The thread has ended.
    pub(super) fn outcome(&self) -> Result<Option<Outcome>, Ended> {
        match self.outcomes.try_recv() {
            Ok(outcome) => Ok(Some(outcome)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Ended),
        }
    }
}

/// Nobody reads any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the thread that reads the configuration file has ended; restart this node")]
pub(super) struct Ended;

fn serve(
    source: &Source,
    mut running: Arc<str>,
    slot: &ReloadSlot,
    (jobs, outcomes): (&Receiver<Job>, &Sender<Outcome>),
) {
    let mut seen = None;
    loop {
        look((&source.path, &running), slot, &mut seen);
        match jobs.recv_timeout(LOOK) {
            Ok(Job::Read) => {
                if outcomes.send(read(source, &running)).is_err() {
                    return;
                }
            }
            Ok(Job::Running(text)) => {
                running = text;
                seen = None;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn read(source: &Source, running: &str) -> Outcome {
    let wanted = Some(source.node.as_str());
    // What is wrong with time alone, as a certificate that has expired, keeps no node from its start, and no
    // change from a node that runs.
    let loaded = check::load_for_node(&source.path, wanted, Purpose::Start);
    let (loaded, node) = loaded.map_err(|error| match error {
        LoadError::Unreadable { .. } => Trouble::Failed(error.to_string()),
        LoadError::Invalid(report) => Trouble::Invalid(report.render(Paint::Plain)),
    })?;
    let failed = |error: anyhow::Error| Trouble::Failed(format!("{error:#}"));
    let files = contents(&loaded.config).map_err(failed)?;
    let running = Config::from_running(running)
        .context("parse the running configuration")
        .map_err(failed)?;
    Ok(Box::new(Next {
        difference: Difference::between(&running, &loaded.config),
        text: loaded.text.into(),
        config: loaded.config,
        node,
        warnings: loaded.warnings.render(Paint::Plain),
        keys: None,
        files,
    }))
}

/// The files that a configuration names, as they are now: they may have changed since it was checked.
fn contents(config: &Config) -> anyhow::Result<Vec<(Child, PathBuf, OwnedFd)>> {
    let mut texts: Vec<(Child, PathBuf, String)> = Vec::new();
    for (child, path) in files_of(config) {
        let (_, text) = read_text(&path, MAX_NAMED_BYTES)
            .with_context(|| format!("read {}", path.display()))?;
        texts.push((child, path, text));
    }
    for watched in config.watched() {
        let of = |path: &PathBuf| {
            let mut all = texts.iter();
            let found = all.find(|(child, known, _)| *child == Child::Proxy && known == path);
            found.map_or_else(String::new, |(_, _, text)| text.clone())
        };
        let of_group: Vec<String> = watched.paths.iter().map(of).collect();
        judge(&watched, &of_group, None)
            .map_err(anyhow::Error::msg)
            .with_context(|| format!("use {}", watched.names()))?;
    }
    let seal = |(child, path, text): (Child, PathBuf, String)| {
        let sealed = memory::sealed_text("fmc-lb-file", text.as_bytes())
            .with_context(|| format!("keep {}", path.display()))?;
        Ok((child, path, sealed))
    };
    texts.into_iter().map(seal).collect()
}

/// What tells one state of the file from another; `None` = it cannot be seen.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// Whether the file says what runs, on the board. It is read only when it was touched.
fn look((path, running): (&Path, &str), slot: &ReloadSlot, seen: &mut Option<Stamp>) {
    let stamp = fs::metadata(path).ok().map(|file| {
        let (modified, changed) = (file.mtime(), file.ctime_nsec() ^ file.mtime_nsec());
        (file.dev(), file.ino(), file.size(), modified, changed)
    });
    if *seen != Some(stamp) {
        *seen = Some(stamp);
        slot.differs.set(u64::from(differs(path, running)));
    }
    slot.looked.set(vrrp::now());
}

/// Comments and the order of keys make no difference.
fn differs(path: &Path, running: &str) -> bool {
    let Ok((_, text)) = read_text(path, MAX_FILE_BYTES) else {
        return true;
    };
    let hash = |text: &str| Config::from_running(text).map(|config| config.effective_hash());
    text != running
        && match (hash(&text), hash(running)) {
            (Ok(there), Ok(here)) => there != here,
            (Err(_), _) | (_, Err(_)) => true,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
[nodes.lb1]
address = "127.0.0.1"
[pair]
interface = "lo"
[listeners.web]
bind = ["127.0.0.1:80"]
backend = "web"
[backends.web]
servers = ["10.0.0.1:80"]
"#;

    fn source(folder: &tempfile::TempDir) -> Source {
        Source {
            path: folder.path().join("fmc-lb.toml"),
            node: "lb1".to_owned(),
        }
    }

    #[test]
    fn what_the_file_says_is_compared_with_what_runs() {
        let folder = tempfile::tempdir().expect("folder");
        let source = source(&folder);
        fs::write(&source.path, CONFIG.replace("0.1:80\"]\nb", "0.1:81\"]\nb")).expect("written");
        let next = read(&source, CONFIG).expect("it is valid");
        let lines = next.difference.to_string();
        assert!(
            lines.contains("listeners.web.bind: \"127.0.0.1:81\""),
            "{lines}"
        );
        assert!(next.files.is_empty());
        fs::write(&source.path, "[nodes.lb1\n").expect("written");
        assert!(matches!(read(&source, CONFIG), Err(Trouble::Invalid(_))));
        fs::write(&source.path, CONFIG.replace("lb1", "lb9")).expect("written");
        let other = read(&source, CONFIG);
        assert!(matches!(other, Err(Trouble::Invalid(_))), "{other:?}");
        fs::remove_file(&source.path).expect("it was there");
        assert!(matches!(read(&source, CONFIG), Err(Trouble::Failed(_))));
    }

    #[test]
    fn the_board_says_whether_the_file_is_what_runs() {
        let folder = tempfile::tempdir().expect("folder");
        let (source, slot) = (source(&folder), ReloadSlot::default());
        let mut seen = None;
        let mut differs = |text: Option<&str>, running: &str| {
            match text {
                Some(text) => fs::write(&source.path, text).expect("written"),
                None => fs::remove_file(&source.path).expect("it was there"),
            }
            look((&source.path, running), &slot, &mut seen);
            slot.differs.get() == 1
        };
        assert!(!differs(Some(CONFIG), CONFIG));
        assert!(!differs(Some(&format!("# a comment\n{CONFIG}")), CONFIG));
        assert!(differs(Some(&CONFIG.replace("0.1:80", "0.1:8080")), CONFIG));
        assert!(differs(Some("[nodes.lb1\n"), CONFIG));
        assert!(differs(None, CONFIG));
        assert!(slot.looked.get().is_some());
    }
}
