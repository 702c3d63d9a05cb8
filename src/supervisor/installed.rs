//! The binary from which this process was started, as its file is now, and what runs.

use std::ffi::{CString, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use nix::unistd::{execve, fexecve};

use super::process::Binary;

/// What this process is, also when its file is gone.
const RUNNING: &str = "/proc/self/exe";
/// What the kernel says behind the name of a file that is gone (proc_pid_exe(5)).
const GONE: &[u8] = b" (deleted)";
/// Somebody else than its owner may change it.
const OPEN: u32 = 0o022;

/// A file that was opened once: whatever becomes of its name, this is what is meant.
#[derive(Debug)]
pub(super) struct Installed {
    path: PathBuf,
    file: Arc<OwnedFd>,
}

impl Installed {
    /// What stands now at the place from which this process was started.
    ///
    /// # Errors
    /// It is what runs already, or nothing that root should execute.
    pub(super) fn open() -> anyhow::Result<Self> {
        let path = path().context("find this process's own binary")?;
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        let facts = file
            .metadata()
            .with_context(|| format!("look at {}", path.display()))?;
        let running = std::fs::metadata(RUNNING).context("look at what runs")?;
        if is_same(&facts, &running) {
            bail!(
                "{} is what runs already: put the new version in its place first",
                path.display()
            );
        }
        if !facts.is_file() || facts.permissions().mode() & 0o111 == 0 {
            bail!("{} is no program", path.display());
        }
        if facts.permissions().mode() & OPEN != 0 {
            bail!(
                "{} may be changed by others than its owner: chmod go-w {0}",
                path.display()
            );
        }
        Ok(Self {
            path,
            file: Arc::new(file.into()),
        })
    }

    /// For the processes that this one starts.
    pub(super) fn binary(&self) -> Binary {
        Binary::File(Arc::clone(&self.file))
    }

    /// Becomes it, with these arguments; returns why not.
    pub(super) fn execute(&self, environment: &[CString]) -> anyhow::Error {
        let arguments = match arguments() {
            Ok(arguments) => arguments,
            Err(error) => return error.into(),
        };
        // By its name, if that still means it: the process is then called after it.
        let is_there = std::fs::metadata(&self.path).is_ok_and(|there| {
            let file = File::from(match self.file.try_clone() {
                Ok(file) => file,
                Err(_) => return false,
            });
            file.metadata().is_ok_and(|facts| is_same(&facts, &there))
        });
        let path = CString::new(self.path.as_os_str().as_bytes());
        let executed = match path {
            Ok(path) if is_there => execve(&path, &arguments, environment),
            Ok(_) | Err(_) => fexecve(self.file.as_fd(), &arguments, environment),
        };
        let Err(error) = executed;
        anyhow::Error::from(error).context(format!("execute {}", self.path.display()))
    }
}

/// Whether another file stands where this process was started from.
pub(super) fn is_replaced() -> bool {
    let there = path().and_then(std::fs::metadata);
    let running = std::fs::metadata(RUNNING);
    matches!((there, running), (Ok(there), Ok(running)) if !is_same(&there, &running))
}

/// Becomes what is open, with this process's own arguments; returns why not.
pub(super) fn execute(file: BorrowedFd<'_>, environment: &[CString]) -> anyhow::Error {
    match arguments() {
        Ok(arguments) => {
            let Err(error) = fexecve(file, &arguments, environment);
            error.into()
        }
        Err(error) => error.into(),
    }
}

/// The environment without these names and with these values.
pub(super) fn environment(without: &[&str], with: &[(&str, String)]) -> Vec<CString> {
    let kept = std::env::vars_os().filter(|(name, _)| {
        let name = name.as_os_str();
        !without.iter().any(|one| name == *one) && !with.iter().any(|(one, _)| name == *one)
    });
    let with = with
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    kept.chain(with)
        .filter_map(|(name, value)| {
            let mut line = name.into_vec();
            line.push(b'=');
            line.extend(value.into_vec());
            CString::new(line).ok()
        })
        .collect()
}

/// Those of this process.
pub(super) fn arguments() -> Result<Vec<CString>, std::ffi::NulError> {
    let all = std::env::args_os();
    all.map(|one| CString::new(one.into_vec())).collect()
}

fn path() -> io::Result<PathBuf> {
    let link = std::fs::read_link(RUNNING)?.into_os_string().into_vec();
    let path = link.strip_suffix(GONE).unwrap_or(&link).to_vec();
    Ok(PathBuf::from(OsString::from_vec(path)))
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_is_not_replaced_by_itself() {
        assert!(!is_replaced());
        let error = Installed::open().expect_err("it runs").to_string();
        assert!(error.contains("is what runs already"), "{error}");
    }

    #[test]
    fn the_environment_is_kept_but_for_what_is_named() {
        let all = environment(&["PATH"], &[("FMC_LB_TEST", "1".to_owned())]);
        let has = |start: &[u8]| all.iter().any(|line| line.as_bytes().starts_with(start));
        assert!(has(b"FMC_LB_TEST=1"));
        assert!(!has(b"PATH="));
        assert_eq!(all.len(), std::env::vars_os().count());
    }
}
