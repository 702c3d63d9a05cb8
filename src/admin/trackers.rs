//! Looks at the trackers that may have to be waited for: files, processes, programs. vrrp, which
//! waits for nothing, reads the verdicts on our board. Each has a task of its own, and at most one
//! look at a time on a thread, so that a disk that hangs holds up nothing but its own tracker.

mod look;
pub(super) mod status;

use std::convert::Infallible;
use std::io::{self, PipeReader, PipeWriter};
use std::sync::Arc;
use std::time::Duration;

use common::board::{AdminBoard, TrackerState};
use common::config::{Config, Tracker, TrackerKind};
use common::tracker::Tally;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, timeout};
use tracing::{info, warn};

use self::look::{Look, Seen};
use super::clock;
use super::external::end_abandoned;

/// A killed program takes so long to be gone, at most.
const GONE: Duration = Duration::from_secs(1);

/// Ends the looks when it is dropped, and the programs.
#[derive(Debug)]
pub(super) struct Watching {
    config: Arc<Config>,
    node: String,
    board: &'static AdminBoard,
    /// By place.
    watchers: Vec<Option<Running>>,
}

/// One tracker is looked at.
#[derive(Debug)]
struct Running {
    task: JoinHandle<Infallible>,
    /// Its programs end with it.
    _stop: PipeWriter,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts looking, and ends what an earlier process has left. Inside a runtime.
///
/// # Errors
/// This machine has no more descriptors.
pub(super) fn start(
    config: &Arc<Config>,
    node: &str,
    board: &'static AdminBoard,
) -> io::Result<Watching> {
    end_abandoned(&board.tracker_groups);
    let mut watching = Watching {
        config: Arc::clone(config),
        node: node.to_owned(),
        board,
        watchers: Vec::new(),
    };
    for place in 0..config.trackers.len() {
        let running = watching.watch(place)?;
        watching.watchers.push(running);
    }
    Ok(watching)
}

impl Watching {
    /// The trackers are these from now on. Those that are as they were are not disturbed.
    pub(super) fn go_over(&mut self, config: &Arc<Config>) {
        let before = std::mem::replace(&mut self.config, Arc::clone(config));
        let places = config.trackers.len().max(before.trackers.len());
        self.watchers.resize_with(places, || None);
        for place in 0..places {
            let (old, new) = (before.trackers.get(place), config.trackers.get(place));
            if old == new {
                continue;
            }
            // First this: two would write one slot.
            self.watchers[place] = None;
            end_abandoned(&self.board.tracker_groups[place..=place]);
            let goes_on = old.is_some_and(|old| new.is_some_and(|new| new.looks_like(old)));
            if !goes_on {
                self.board.trackers[place].forget();
            }
            match self.watch(place) {
                Ok(running) => self.watchers[place] = running,
                Err(error) => {
                    let name = new.map_or("", |one| &one.name);
                    tracing::error!(tracker = name, %error, "a tracker cannot be looked at");
                }
            }
        }
    }

    /// `None` = vrrp looks, or nobody does.
    fn watch(&self, place: usize) -> io::Result<Option<Running>> {
        let live = self.config.trackers.get(place).filter(|one| !one.retired);
        let Some((tracker, look)) = live.and_then(|one| Some((one, Look::of(one, &self.node)?)))
        else {
            return Ok(None);
        };
        let (reader, writer) = io::pipe()?;
        let watcher = Watcher {
            tracker: tracker.clone(),
            look: Arc::new(look),
            place,
            board: self.board,
            stop: Arc::new(reader),
        };
        Ok(Some(Running {
            task: tokio::spawn(watcher.serve()),
            _stop: writer,
        }))
    }
}

/// Looks at one tracker.
struct Watcher {
    tracker: Tracker,
    look: Arc<Look>,
    place: usize,
    board: &'static AdminBoard,
    stop: Arc<PipeReader>,
}

impl Watcher {
    async fn serve(self) -> Infallible {
        let slot = &self.board.trackers[self.place];
        let times = (self.tracker.rise, self.tracker.fall);
        // What our predecessor has found goes on.
        let mut tally = Tally::new(times, slot.state());
        let mut tick = tokio::time::interval(self.tracker.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pending = None;
        loop {
            tick.tick().await;
            let seen = self.look(&mut pending).await;
            let words = seen.as_ref().map(String::as_str).map_err(String::as_str);
            if slot.take(&mut tally, words, clock::now()) {
                self.report(tally.state(), words);
            }
        }
    }

    /// One look, or a bad one for each time that the last one still has not ended.
    async fn look(&self, pending: &mut Option<JoinHandle<Seen>>) -> Seen {
        let mut job = pending.take().unwrap_or_else(|| {
            let (look, stop) = (Arc::clone(&self.look), Arc::clone(&self.stop));
            let group = &self.board.tracker_groups[self.place];
            spawn_blocking(move || look.once(&stop, group))
        });
        let limit = match self.tracker.kind {
            // It is killed at its time.
            TrackerKind::Script { .. } => self.tracker.timeout + GONE,
            TrackerKind::File { .. }
            | TrackerKind::Process { .. }
            | TrackerKind::Interface { .. }
            | TrackerKind::Gateway { .. }
            | TrackerKind::Servers { .. } => self.tracker.timeout,
        };
        match timeout(limit, &mut job).await {
            Ok(Ok(seen)) => seen,
            Ok(Err(error)) => Err(format!("the look failed: {error}")),
            Err(_) => {
                *pending = Some(job);
                Err(format!("no look has ended within {} ms", limit.as_millis()))
            }
        }
    }

    fn report(&self, state: TrackerState, words: Result<&str, &str>) {
        let (tracker, kind) = (&self.tracker.name, self.tracker.kind.word());
        let (Ok(words) | Err(words)) = words;
        match state {
            TrackerState::Down => warn!(tracker, kind, words, "a tracker is down"),
            TrackerState::Up | TrackerState::Unknown => {
                info!(tracker, kind, words, "a tracker is up");
            }
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests look at a condition again and again"
)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::admin::fixture;

    /// A node whose only tracker is this.
    fn config(tracker: &str) -> Arc<Config> {
        let text = format!(
            "[nodes.lb1]\naddress = \"192.0.2.2\"\n[pair]\ninterface = \"eth0\"\n\
             [vips.api]\naddress = \"192.0.2.10/24\"\nvrid = 51\n\
             [trackers.one]\ninterval = \"100ms\"\n{tracker}\n"
        );
        let config = Config::from_running(&text);
        Arc::new(config.unwrap_or_else(|report| panic!("{report}")))
    }

    async fn wait_for(board: &AdminBoard, state: TrackerState, words: &str) {
        let slot = &board.trackers[0];
        let is_so = || slot.state() == state && slot.reason.get().starts_with(words);
        for _ in 0..500 {
            if is_so() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}: {}", slot.state(), slot.reason.get());
    }

    #[tokio::test]
    async fn a_file_is_looked_at_again_and_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("maintenance");
        let config = config(&format!("kind = \"file\"\npath = \"{}\"", path.display()));
        let board = fixture::empty_boards().admin;
        let _watching = start(&config, "lb1", board).expect("there are descriptors left");
        wait_for(board, TrackerState::Up, "there is no file").await;
        fs::write(&path, "1\n").expect("the folder is writable");
        wait_for(board, TrackerState::Down, "it says 1").await;
        assert!(
            board.trackers[0].failures.get() >= 3,
            "three bad looks in a row"
        );
        fs::write(&path, "0\n").expect("the folder is writable");
        wait_for(board, TrackerState::Up, "it says 0").await;
        assert_eq!(board.trackers[0].downs.get(), 1);
    }

    fn script(folder: &Path, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        // Put in its place whole: a script that is just being started cannot be written to (ETXTBSY).
        let (new, path) = (folder.join("script.new"), folder.join("script"));
        fs::write(&new, format!("#!/bin/sh\n{text}\n")).expect("the folder is writable");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("it is ours");
        fs::rename(&new, &path).expect("the folder is writable");
        path.display().to_string()
    }

    #[tokio::test]
    async fn a_script_that_hangs_is_killed_and_counts_as_bad() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = script(folder.path(), "echo $FMC_LB_TRACKER of $FMC_LB_NODE, $1");
        let line = format!("kind = \"script\"\nprogram = \"{program}\"\narguments = [\"well\"]");
        let config = config(&line);
        let board = fixture::empty_boards().admin;
        let _watching = start(&config, "lb1", board).expect("there are descriptors left");
        wait_for(board, TrackerState::Up, "exit code 0: one of lb1, well").await;
        script(folder.path(), "sleep 60");
        wait_for(board, TrackerState::Down, "killed after 100 ms").await;
        script(folder.path(), "echo disk full; exit 3");
        wait_for(board, TrackerState::Down, "exit code 3: disk full").await;
    }
}
