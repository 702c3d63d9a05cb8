//! One look at a tracker; it may block for as long as a disk does.

use std::fs::{self, File};
use std::io::{ErrorKind, PipeReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use common::board::{ExternalGroup, ProbeStatus};
use common::config::{Tracker, TrackerKind};
use rustix::fs::OFlags;

use crate::admin::external::{Job, PATH};

/// Good or bad, in words.
pub(super) type Seen = Result<String, String>;

/// Bytes of a file that count.
const FILE_BYTES: u64 = 64;
/// The kernel keeps so many bytes of a process's name.
const COMM_BYTES: usize = 15;
/// Bytes of a command line in which its program has to end.
const COMMAND_BYTES: u64 = 4096;

/// What is done to look.
#[derive(Debug)]
pub(super) enum Look {
    File(PathBuf),
    Process(String),
    Script(Job),
}

impl Look {
    /// `None` = it is vrrp that looks.
    pub(super) fn of(tracker: &Tracker, node: &str) -> Option<Self> {
        match &tracker.kind {
            TrackerKind::File { path } => Some(Self::File(path.clone())),
            TrackerKind::Process { process } => Some(Self::Process(process.clone())),
            TrackerKind::Script { program, arguments } => {
                let environment = [
                    ("PATH", PATH.to_owned()),
                    ("FMC_LB_NODE", node.to_owned()),
                    ("FMC_LB_TRACKER", tracker.name.clone()),
                    ("FMC_LB_TIMEOUT_MS", tracker.timeout.as_millis().to_string()),
                ];
                Some(Self::Script(Job {
                    program: program.clone(),
                    arguments: arguments.clone(),
                    environment: environment.map(|(key, value)| (key, value.into())).into(),
                    timeout: tracker.timeout,
                }))
            }
            TrackerKind::Interface { .. }
            | TrackerKind::Gateway { .. }
            | TrackerKind::Servers { .. } => None,
        }
    }

    /// Looks. A program is ended when `stop` is hung up; `group` says that it runs.
    pub(super) fn once(&self, stop: &PipeReader, group: &ExternalGroup) -> Seen {
        match self {
            Self::File(path) => file(path),
            Self::Process(name) => process(name, Path::new("/proc")),
            Self::Script(job) => {
                let end = job.run(stop, group).end;
                if end.status == ProbeStatus::ProcOk {
                    Ok(end.words)
                } else {
                    Err(end.words)
                }
            }
        }
    }
}

/// Keepalived's track_file: 0 is well, and so is a file that is not there.
fn file(path: &Path) -> Seen {
    // A pipe that nobody writes to must not hold us.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let opened = File::options()
        .read(true)
        .custom_flags(nonblocking)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok("there is no file".to_owned());
        }
        Err(error) => return Err(format!("it cannot be opened: {error}")),
    };
    match file.metadata() {
        Ok(facts) if facts.is_file() => {}
        Ok(_) => return Err("it is not a regular file".to_owned()),
        Err(error) => return Err(format!("it cannot be looked at: {error}")),
    }
    let mut bytes = Vec::new();
    if let Err(error) = file.take(FILE_BYTES).read_to_end(&mut bytes) {
        return Err(format!("it cannot be read: {error}"));
    }
    judge_file(&bytes)
}

fn judge_file(bytes: &[u8]) -> Seen {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    match text.parse::<i64>() {
        _ if text.is_empty() => Ok("it is empty".to_owned()),
        Ok(0) => Ok("it says 0".to_owned()),
        Ok(_) | Err(_) => {
            let first = text.lines().next().unwrap_or_default();
            let plain = first.chars().map(|c| if c.is_control() { ' ' } else { c });
            Err(format!("it says {}", plain.collect::<String>()))
        }
    }
}

/// Whether a process of this name runs, by a folder with a folder for each.
fn process(name: &str, processes: &Path) -> Seen {
    let entries = match fs::read_dir(processes) {
        Ok(entries) => entries,
        Err(error) => return Err(format!("processes cannot be seen: {error}")),
    };
    let numbers = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut numbers = numbers.filter(|path| {
        let number = path.file_name().and_then(|name| name.to_str());
        number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let found = numbers.find(|path| is_named(path, name));
    match found.as_deref().and_then(Path::file_name) {
        Some(number) => Ok(format!("process {} runs", number.display())),
        None => Err("no process of this name runs".to_owned()),
    }
}

/// One that is dead and not yet collected has no command line.
fn is_named(process: &Path, name: &str) -> bool {
    let read = |file: &str| {
        let mut bytes = Vec::new();
        let file = File::open(process.join(file)).ok()?;
        file.take(COMMAND_BYTES).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    };
    let Some(command) = read("cmdline").filter(|command| !command.is_empty()) else {
        return false;
    };
    let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
    let program = program.rsplit(|byte| *byte == b'/').next();
    let cut = &name.as_bytes()[..name.len().min(COMM_BYTES)];
    program == Some(name.as_bytes())
        || read("comm").is_some_and(|comm| comm.trim_ascii_end() == cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_bad_when_it_says_anything_but_zero() {
        for (text, seen) in [
            ("", Ok("it is empty")),
            (" \n", Ok("it is empty")),
            ("0", Ok("it says 0")),
            (" 0\n", Ok("it says 0")),
            ("-0\n", Ok("it says 0")),
            ("1\n", Err("it says 1")),
            ("-20", Err("it says -20")),
            ("update\nof the kernel", Err("it says update")),
            ("a\u{1b}[31mb", Err("it says a [31mb")),
        ] {
            let seen = seen.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(judge_file(text.as_bytes()), seen, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_file_is_bad_and_holds_nobody() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(file(folder.path()), Err("it is not a regular file".into()));
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("coreutils are here").success());
        assert_eq!(file(&pipe), Err("it is not a regular file".into()));
        let none = file(&folder.path().join("none"));
        assert_eq!(none, Ok("there is no file".into()));
    }

    #[test]
    fn a_process_is_known_by_its_program_or_its_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let add = |number: &str, command: &str, comm: &str| {
            let process = folder.path().join(number);
            fs::create_dir(&process).expect("the folder is writable");
            fs::write(process.join("cmdline"), command).expect("the folder is writable");
            fs::write(process.join("comm"), comm).expect("the folder is writable");
        };
        add("1", "/sbin/init\0", "systemd\n");
        add(
            "20",
            "/usr/bin/python3\0/opt/agent-of-the-site\0",
            "agent-of-the-si\n",
        );
        add("30", "", "gone\n");
        add("self", "/usr/sbin/named\0", "named\n");
        let seen = |name: &str| process(name, folder.path());
        assert_eq!(seen("init"), Ok("process 1 runs".into()));
        assert_eq!(seen("systemd"), Ok("process 1 runs".into()));
        assert_eq!(seen("agent-of-the-site"), Ok("process 20 runs".into()));
        for name in ["gone", "named", "agent", "python"] {
            assert_eq!(
                seen(name),
                Err("no process of this name runs".into()),
                "{name}"
            );
        }
    }
}
