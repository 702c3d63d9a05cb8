//! The runtime folder: where the processes of a node find each other, and what outlives them. What
//! keeps the same node from running with a second folder is no file: see `presence`.
//!
//! | file | what |
//! |---|---|
//! | `supervisor.lock` | locked (flock(2)) by the living supervisor, holds its process id |
//! | `vrrp.ctl`, `proxy.ctl`, `admin.ctl` | control sockets of the children |
//! | `vrrp.pid`, … | process id and start time of each child, to find one that does not answer |
//! | `vrrp-next.ctl`, `proxy-next.ctl`, … | of one that is to take a child's place |
//! | `proxy-4711.ctl`, … | of a proxy that has retired, by its process id |
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

/// Where a process stands, and what its files are called after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seat {
    /// A child in charge.
    Of(Child),
    /// Beside it, to take its place.
    Next(Child),
    /// A proxy that has retired, with this process id.
    Retired(u32),
}

impl Seat {
    fn word(self) -> String {
        match self {
            Self::Of(child) => child.word().to_owned(),
            Self::Next(child) => format!("{}-next", child.word()),
            Self::Retired(pid) => format!("{}-{pid}", Child::Proxy.word()),
        }
    }
}

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

    /// The control socket of the process that stands there.
    pub(crate) fn control_socket(&self, seat: Seat) -> PathBuf {
        self.path.join(format!("{}.ctl", seat.word()))
    }

    /// Proxies that have retired, as far as they have left their sockets here.
    pub(crate) fn retired(&self) -> Vec<Seat> {
        let Ok(entries) = std::fs::read_dir(&self.path) else {
            return Vec::new();
        };
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        let pid = |name: String| {
            let pid = name.strip_prefix("proxy-")?.strip_suffix(".ctl")?;
            pid.parse().ok()
        };
        names.filter_map(pid).map(Seat::Retired).collect()
    }

    /// Calls what a process has left here after where it stands now. That it is not there is no error: a
    /// next supervisor finds it by what is.
    pub(crate) fn rename(&self, from: Seat, to: Seat) {
        if let Err(error) = self.try_rename(from, to) {
            tracing::warn!(from = from.word(), to = to.word(), %error, "files of the runtime folder keep their names");
        }
    }

    /// Wherever it is cut short, the control socket has the process id of whom it belongs to beside it.
    fn try_rename(&self, from: Seat, to: Seat) -> io::Result<()> {
        let (pid, new_pid) = (self.pid_file(from), self.pid_file(to));
        let text = std::fs::read(&pid)?;
        let whole = new_pid.with_extension("pid-new");
        std::fs::write(&whole, text)?;
        std::fs::rename(&whole, &new_pid)?;
        std::fs::rename(self.control_socket(from), self.control_socket(to))?;
        std::fs::remove_file(pid)
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
    pub(crate) fn remember(&self, seat: Seat, pid: u32) -> io::Result<()> {
        std::fs::write(
            self.pid_file(seat),
            format!("{pid} {}", start_time(pid).unwrap_or_default()),
        )
    }

    /// The process that was remembered and its number, if it still lives.
    pub(crate) fn remembered(&self, seat: Seat) -> Option<(u32, OwnedFd)> {
        let text = std::fs::read_to_string(self.pid_file(seat)).ok()?;
        let (pid, started) = text.split_once(' ')?;
        let pid: u32 = pid.parse().ok()?;
        let process = pidfd_open(Pid::from_raw(pid.try_into().ok()?)?, PidfdFlags::empty()).ok()?;
        // Asked after the descriptor was opened: it is the same process, not one that was given the
        // number since.
        (start_time(pid)? == started).then_some((pid, process))
    }

    /// Removes what the child's processes left here.
    pub(crate) fn forget(&self, seat: Seat) {
        for path in [self.pid_file(seat), self.control_socket(seat)] {
            remove(&path);
        }
    }

    /// Removes what all of them left here; the lock's file stays, so that nobody ever locks two
    /// different ones.
    pub(crate) fn clear(&self) {
        for child in Child::ALL {
            self.forget(Seat::Of(child));
            self.forget(Seat::Next(child));
        }
        for retired in self.retired() {
            self.forget(retired);
        }
        remove(&self.admin_socket());
    }

    fn pid_file(&self, seat: Seat) -> PathBuf {
        self.path.join(format!("{}.pid", seat.word()))
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
        let vrrp = Seat::Of(Child::Vrrp);
        assert!(folder.remembered(vrrp).is_none());
        folder.remember(vrrp, std::process::id()).expect("write");
        assert!(folder.remembered(vrrp).is_some());
        let other_start = format!("{} 1", std::process::id());
        std::fs::write(folder.pid_file(vrrp), other_start).expect("write");
        assert!(folder.remembered(vrrp).is_none());
        folder.forget(vrrp);
        assert!(folder.remembered(vrrp).is_none());
    }

    #[test]
    fn who_takes_a_place_is_called_after_it_and_who_has_left_it_is_found() {
        let folder = tempfile::tempdir().expect("folder");
        let folder = Folder::new(folder.path());
        let (proxy, next) = (Seat::Of(Child::Proxy), Seat::Next(Child::Proxy));
        for (seat, pid) in [(proxy, std::process::id()), (next, 1)] {
            folder.remember(seat, pid).expect("write");
            std::fs::write(folder.control_socket(seat), "").expect("write");
        }
        assert_eq!(folder.retired(), []);
        folder.rename(proxy, Seat::Retired(4_711));
        folder.rename(next, proxy);
        assert_eq!(folder.retired(), [Seat::Retired(4_711)]);
        let left = std::fs::read_dir(folder.path()).expect("read").count();
        assert_eq!(left, 4, "two sockets and two process ids");
        let pid = |seat| folder.remembered(seat).map(|(pid, _)| pid);
        assert_eq!(pid(Seat::Retired(4_711)), Some(std::process::id()));
        assert_eq!((pid(proxy), pid(next)), (Some(1), None));
        folder.clear();
        assert_eq!(folder.retired(), []);
    }
}
