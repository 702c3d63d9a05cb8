//! A file that lines are appended to, and that may be rotated away at any time.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::time::Moment;
use nix::fcntl::OFlag;

/// The path is looked at at most this often.
const LOOK: Duration = Duration::from_secs(1);
const MODE: u32 = 0o640;

/// The file at a path. While a new one cannot be opened the old one goes on.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    open: Option<(File, Identity)>,
    looked: Option<Moment>,
    /// Why the path is not the open file.
    problem: Option<io::Error>,
}

/// Device and inode.
type Identity = (u64, u64);

impl LogFile {
    /// Opens nothing yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: None,
            looked: None,
            problem: None,
        }
    }

    /// To be called before something is written: opens the path anew if another file, or none, is
    /// there now.
    pub(super) fn look(&mut self, now: Moment) {
        if self.looked.is_some_and(|at| now.since(at) < LOOK) {
            return;
        }
        self.looked = Some(now);
        let there = std::fs::metadata(&self.path).map(|there| identity(&there));
        if let (Some((_, open)), Ok(there)) = (&self.open, &there)
            && open == there
        {
            self.problem = None;
            return;
        }
        match self.open_anew() {
            Ok(open) => {
                self.open = Some(open);
                self.problem = None;
            }
            Err(error) => self.problem = Some(error),
        }
    }

    /// The file, or why there is none.
    pub(super) fn file(&mut self) -> Option<&mut File> {
        self.open.as_mut().map(|(file, _)| file)
    }

    /// What is wrong with the path, also while an older file is written.
    pub(super) fn problem(&self) -> Option<&io::Error> {
        self.problem.as_ref()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn open_anew(&self) -> io::Result<(File, Identity)> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(MODE)
            // A pipe without a reader must not hold the thread up.
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(&self.path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        Ok((file, identity(&metadata)))
    }
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_nanos(1 + millis * 1_000_000)
    }

    fn write(log: &mut LogFile, text: &str) {
        let file = log.file().expect("it is open");
        file.write_all(text.as_bytes()).expect("written");
    }

    #[test]
    fn a_rotated_file_is_left_within_a_second() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sessions.log");
        let read = |path: &PathBuf| std::fs::read_to_string(path).expect("it is there");
        std::fs::write(&path, "before\n").expect("written");
        let mut log = LogFile::new(path.clone());
        log.look(at(0));
        write(&mut log, "one\n");
        let rotated = folder.path().join("sessions.log.1");
        std::fs::rename(&path, &rotated).expect("renamed");
        log.look(at(999));
        write(&mut log, "two\n");
        log.look(at(1_000));
        write(&mut log, "three\n");
        assert_eq!(read(&rotated), "before\none\ntwo\n");
        assert_eq!(read(&path), "three\n");
        // Copied and cut, as logrotate's copytruncate does.
        std::fs::write(&path, "").expect("cut");
        log.look(at(2_000));
        write(&mut log, "four\n");
        assert_eq!(read(&path), "four\n");
        assert!(log.problem().is_none());
    }

    #[test]
    fn while_the_path_cannot_be_opened_the_old_file_goes_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sessions.log");
        let mut log = LogFile::new(path.clone());
        log.look(at(0));
        let rotated = folder.path().join("sessions.log.1");
        std::fs::rename(&path, &rotated).expect("renamed");
        std::fs::create_dir(&path).expect("made");
        log.look(at(1_000));
        assert!(log.problem().is_some());
        write(&mut log, "one\n");
        assert_eq!(std::fs::read_to_string(&rotated).expect("there"), "one\n");
        std::fs::remove_dir(&path).expect("removed");
        log.look(at(2_000));
        assert!(log.problem().is_none());
        write(&mut log, "two\n");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "two\n");
    }

    #[test]
    fn what_is_no_file_is_not_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        for (path, why) in [
            (path, "No such device"),
            ("/dev/null".into(), "no regular file"),
            (folder.path().to_owned(), "directory"),
        ] {
            let mut log = LogFile::new(path);
            log.look(at(0));
            assert!(log.file().is_none());
            let problem = log.problem().expect("a problem").to_string();
            assert!(problem.contains(why), "{problem}");
        }
    }
}
