//! The thread that makes lines and writes them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use arc_swap::ArcSwap;
use common::board::SessionLogSlot;
use common::time::Moment;

use super::file::LogFile;
use super::line::Line;
use super::{Plan, ProcessLog, lose};
use crate::clock;

/// Lines that are written at once.
const BATCH: usize = 256;

/// What the thread works with.
#[derive(Debug)]
pub(super) struct Writer {
    lines: Receiver<Box<Line>>,
    /// What is to be written by.
    wanted: Arc<ArcSwap<Plan>>,
    /// What is written by.
    plan: Arc<Plan>,
    /// In the order of its files.
    targets: Vec<Target>,
    slot: &'static SessionLogSlot,
    process: ProcessLog,
}

/// Where lines go.
#[derive(Debug)]
pub(super) enum Output {
    Process(ProcessLog),
    File(LogFile),
}

/// Where lines go, and those that are to be written next.
#[derive(Debug)]
pub(super) struct Target {
    output: Output,
    batch: Vec<u8>,
    /// The last write ended within a line.
    torn: bool,
    /// What is wrong with it, in words.
    problem: Option<String>,
}

impl Writer {
    pub(super) fn new(
        lines: Receiver<Box<Line>>,
        wanted: Arc<ArcSwap<Plan>>,
        (slot, process): (&'static SessionLogSlot, ProcessLog),
    ) -> Self {
        let plan = wanted.load_full();
        let outputs = plan
            .files
            .iter()
            .map(|file| Output::new(file.clone(), process));
        Self {
            targets: outputs.map(Target::new).collect(),
            lines,
            wanted,
            plan,
            slot,
            process,
        }
    }

    /// Writes until nobody can send a line any more.
    pub(super) fn run(mut self) {
        // A file that cannot be opened is told before the first line is lost.
        let now = clock::now();
        self.targets.iter_mut().for_each(|target| target.open(now));
        self.show_problem();
        while let Ok(first) = self.lines.recv() {
            self.take(&first);
            for _ in 1..BATCH {
                match self.lines.try_recv() {
                    Ok(line) => self.take(&line),
                    Err(_) => break,
                }
            }
            self.write(clock::now());
        }
    }

    /// Writes by another plan from now on; files that both have stay open.
    fn follow(&mut self, wanted: Arc<Plan>) {
        self.write(clock::now());
        let mut known: Vec<_> = self.plan.files.iter().zip(self.targets.drain(..)).collect();
        let (process, now) = (self.process, clock::now());
        let targets = wanted.files.iter().map(|file| {
            match known.iter().position(|(known, _)| *known == file) {
                Some(place) => known.swap_remove(place).1,
                None => {
                    let mut target = Target::new(Output::new(file.clone(), process));
                    target.open(now);
                    target
                }
            }
        });
        self.targets = targets.collect();
        drop(known);
        self.plan = wanted;
        self.show_problem();
    }

    fn take(&mut self, line: &Line) {
        if !Arc::ptr_eq(&self.wanted.load(), &self.plan) {
            self.follow(self.wanted.load_full());
        }
        let route = self.plan.routes.get(line.listener).copied().flatten();
        if let Some((format, target)) = route {
            line.write(format, &self.plan.names, &mut self.targets[target].batch);
        }
    }

    fn write(&mut self, now: Moment) {
        for target in &mut self.targets {
            let (written, lost) = target.write(now);
            self.slot.written.add(written);
            if lost > 0 {
                lose(self.slot, lost, now);
            }
        }
        self.show_problem();
    }

    /// The first one of those that there are.
    fn show_problem(&self) {
        let problems = self.targets.iter();
        let problem = problems
            .filter_map(|target| target.problem.as_deref())
            .next();
        let problem = problem.unwrap_or_default();
        if self.slot.problem.get() != problem {
            self.slot.problem.set(problem);
        }
    }
}

impl Output {
    /// `None` = where the process logs.
    pub(super) fn new(file: Option<PathBuf>, process: ProcessLog) -> Self {
        match file {
            Some(path) => Self::File(LogFile::new(path)),
            None => Self::Process(process),
        }
    }
}

impl Target {
    pub(super) fn new(output: Output) -> Self {
        Self {
            output,
            batch: Vec::new(),
            torn: false,
            problem: None,
        }
    }

    fn open(&mut self, now: Moment) {
        if let Output::File(log) = &mut self.output {
            log.look(now);
            let problem = problem_of(log);
            self.tell(problem);
        }
    }

    /// Writes the batch: lines that were written, and lines that were lost.
    fn write(&mut self, now: Moment) -> (u64, u64) {
        if self.batch.is_empty() {
            return (0, 0);
        }
        let lines = count_lines(&self.batch);
        let (written, problem) = match &mut self.output {
            Output::Process(write) => match write(&self.batch) {
                Ok(()) => (lines, None),
                Err(error) => (0, Some(format!("standard error: {error}"))),
            },
            Output::File(log) => write_file(log, &self.batch, &mut self.torn, now),
        };
        self.batch.clear();
        self.tell(problem);
        (written, lines - written)
    }

    /// Once when it begins, and once when it is over.
    fn tell(&mut self, problem: Option<String>) {
        match (&self.problem, &problem) {
            (None, Some(problem)) => {
                tracing::warn!(problem, "a session log cannot be written as it should");
            }
            (Some(_), None) => tracing::info!("the session log is written again"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        self.problem = problem;
    }
}

/// How many lines of the batch were written whole, and what is wrong.
fn write_file(
    log: &mut LogFile,
    batch: &[u8],
    torn: &mut bool,
    now: Moment,
) -> (u64, Option<String>) {
    log.look(now);
    let problem = problem_of(log);
    let path = log.path().to_owned();
    let Some(file) = log.file() else {
        return (0, problem);
    };
    // What is left of a line that was cut must not run into the next one.
    if *torn && file.write_all(b"\n").is_ok() {
        *torn = false;
    }
    let (bytes, result) = write_all(file, batch);
    let whole = &batch[..bytes];
    if bytes > 0 {
        *torn = !whole.ends_with(b"\n");
    }
    let failed = result.err().map(|error| at(&path, &error));
    (count_lines(whole), failed.or(problem))
}

fn problem_of(log: &LogFile) -> Option<String> {
    log.problem().map(|error| at(log.path(), error))
}

fn at(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

/// How many bytes were written, whether it was all of them or not.
fn write_all(out: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// A target for the file at `path` that is open already.
    fn target(path: &Path) -> Target {
        let mut target = Target::new(Output::new(Some(path.to_owned()), |_| Ok(())));
        target.open(Moment::from_nanos(1));
        target
    }

    #[test]
    fn lines_that_were_written_whole_are_told_from_those_that_were_lost() {
        // Takes so many bytes and no more: a disk that is full.
        struct Full(usize, Vec<u8>);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let n = bytes.len().min(self.0 - self.1.len()).min(3);
                if n == 0 {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.1.extend_from_slice(&bytes[..n]);
                Ok(n)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut disk = Full(7, Vec::new());
        let (bytes, result) = write_all(&mut disk, b"one\ntwo\nthree\n");
        assert_eq!((bytes, disk.1.as_slice()), (7, &b"one\ntwo"[..]));
        assert_eq!(count_lines(&disk.1), 1);
        assert!(result.is_err());
        let mut disk = Full(8, Vec::new());
        assert_eq!(write_all(&mut disk, b"one\ntwo\n").0, 8);
    }

    #[test]
    fn a_line_after_one_that_was_cut_begins_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sessions.log");
        let mut target = target(&path);
        std::fs::write(&path, "cut in the mid").expect("written");
        target.torn = true;
        target.batch = b"whole\n".to_vec();
        assert_eq!(target.write(Moment::from_nanos(2)), (1, 0));
        let text = std::fs::read_to_string(&path).expect("read");
        assert_eq!(text, "cut in the mid\nwhole\n");
        assert!(!target.torn && target.problem.is_none());
    }

    #[test]
    fn a_file_that_takes_nothing_loses_its_lines_and_says_why() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sessions.log");
        let mut target = target(&path);
        if let Output::File(log) = &mut target.output {
            // Every write to it fails: it is open for reading only.
            *log.file().expect("open") = File::open(&path).expect("there");
        }
        target.batch = b"one\ntwo\n".to_vec();
        assert_eq!(target.write(Moment::from_nanos(2)), (0, 2));
        let problem = target.problem.clone().expect("it is told");
        assert!(
            problem.starts_with(&path.display().to_string()),
            "{problem}"
        );
        assert!(target.batch.is_empty());
    }
}
