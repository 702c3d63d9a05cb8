//! The runtime folder: where the processes of a node find each other, and what outlives them. What
//! keeps the same node from running with a second folder is no file: see `presence`.
//!
//! | file | what |
//! |---|---|
//! | `supervisor.lock` | locked (flock(2)) by the living supervisor, holds its process id |
//! | `vrrp.ctl`, `proxy.ctl`, `admin.ctl` | control sockets of the children |
//! | `vrrp.pid`, … | process id and start time of each child, to find one that does not answer |
//! | `admin.sock` | the admin socket |
//! | `sysctls.json` | kernel settings as they were before us, and which VIPs have shadows |

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use common::board::Child;
use nix::fcntl::{Flock, FlockArg};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The paths in a runtime folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// The folder, held by this supervisor until it ends.
#[derive(Debug)]
pub(crate) struct Claim {
    _lock: Flock<File>,
}

impl Folder {
    /// Touches nothing yet.
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The child's control socket.
    pub(crate) fn control_socket(&self, child: Child) -> PathBuf {
        self.path.join(format!("{}.ctl", child.word()))
    }

    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.path.join("admin.sock")
    }

    pub(crate) fn sysctls(&self) -> PathBuf {
        self.path.join("sysctls.json")
    }

    /// Makes the folder and takes it for this process.
    ///
    /// # Errors
    /// A living supervisor has it, or it cannot be made.
    pub(crate) fn claim(&self) -> anyhow::Result<Claim> {
        std::fs::create_dir_all(&self.path)
            .with_context(|| format!("make the runtime folder {}", self.path.display()))?;
        std::fs::set_permissions(&self.path, PermissionsExt::from_mode(0o755))
            .with_context(|| format!("set the mode of {}", self.path.display()))?;
        let path = self.path.join("supervisor.lock");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                lock.set_len(0)
                    .and_then(|()| lock.write_all(std::process::id().to_string().as_bytes()))
                    .with_context(|| format!("write {}", path.display()))?;
                Ok(Claim { _lock: lock })
            }
            Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
                let mut holder = String::new();
                file.rewind()
                    .and_then(|()| file.read_to_string(&mut holder))
                    .ok();
                bail!(
                    "another fmc-lb runs with the runtime folder {} (process {}); a second node on this machine \
                     takes one of its own: --runtime-dir DIR",
                    self.path.display(),
                    holder.trim()
                )
            }
            Err((_, error)) => Err(error).with_context(|| format!("lock {}", path.display())),
        }
    }

    /// Remembers which process a child is.
    pub(crate) fn remember(&self, child: Child, pid: u32) -> io::Result<()> {
        std::fs::write(
            self.pid_file(child),
            format!("{pid} {}", start_time(pid).unwrap_or_default()),
        )
    }

    /// The process that was remembered and its number, if it still lives.
    pub(crate) fn remembered(&self, child: Child) -> Option<(u32, OwnedFd)> {
        let text = std::fs::read_to_string(self.pid_file(child)).ok()?;
        let (pid, started) = text.split_once(' ')?;
        let pid: u32 = pid.parse().ok()?;
        let process = pidfd_open(Pid::from_raw(pid.try_into().ok()?)?, PidfdFlags::empty()).ok()?;
        // Asked after the descriptor was opened: it is the same process, not one that was given the
        // number since.
        (start_time(pid)? == started).then_some((pid, process))
    }

    /// Removes what the child's processes left here.
    pub(crate) fn forget(&self, child: Child) {
        for path in [self.pid_file(child), self.control_socket(child)] {
            remove(&path);
        }
    }

    /// Removes what all of them left here; the lock's file stays, so that nobody ever locks two
    /// different ones.
    pub(crate) fn clear(&self) {
        for child in Child::ALL {
            self.forget(child);
        }
        remove(&self.admin_socket());
    }

    fn pid_file(&self, child: Child) -> PathBuf {
        self.path.join(format!("{}.pid", child.word()))
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a file of the runtime folder stays");
    }
}

/// When a process started, in clock ticks since boot (proc_pid_stat(5), field 22).
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses and may hold anything.
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_supervisor() {
        let folder = tempfile::tempdir().expect("folder");
        let folder = Folder::new(&folder.path().join("a/b"));
        let claim = folder.claim().expect("the first one");
        let error = folder.claim().expect_err("the second one").to_string();
        let own = format!("(process {})", std::process::id());
        assert!(error.contains(&own), "{error}");
        drop(claim);
        folder.claim().expect("after the first one has ended");
    }

    #[test]
    fn a_process_is_known_by_its_number_and_its_start() {
        let folder = tempfile::tempdir().expect("folder");
        let folder = Folder::new(folder.path());
        assert!(folder.remembered(Child::Vrrp).is_none());
        folder
            .remember(Child::Vrrp, std::process::id())
            .expect("write");
        assert!(folder.remembered(Child::Vrrp).is_some());
        let other_start = format!("{} 1", std::process::id());
        std::fs::write(folder.pid_file(Child::Vrrp), other_start).expect("write");
        assert!(folder.remembered(Child::Vrrp).is_none());
        folder.forget(Child::Vrrp);
        assert!(folder.remembered(Child::Vrrp).is_none());
    }
}
