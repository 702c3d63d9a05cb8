//! The files of the session logs, before the proxy opens them. It has no rights and runs as a user of
//! its own: the supervisor makes files that are not there and gives them to it, `fmc-lb check` says
//! which ones it could not write.

use std::collections::BTreeSet;
use std::fs::{Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use common::board::Child;
use common::config::{Config, Objection, Severity};

use crate::control::Identity;
use crate::rights;

const MODE: u32 = 0o640;

/// Makes the files that are not there, for the proxy's user. What goes wrong the proxy tells when it
/// opens them: its status is where a human looks.
pub(crate) fn prepare(config: &Config, proxy: Option<&Identity>) {
    let logs = config
        .listeners
        .iter()
        .map(|listener| &listener.session_log);
    let files: BTreeSet<_> = logs.flatten().filter_map(|log| log.file.as_ref()).collect();
    for path in files {
        match make(path, proxy) {
            Ok(()) => tracing::info!(path = %path.display(), "a file for a session log was made"),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "a session log's file was not made");
            }
        }
    }
}

/// A new file only: whose a file is that is there already is its owner's matter.
fn make(path: &Path, proxy: Option<&Identity>) -> io::Result<()> {
    let file = OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(MODE)
        .open(path)?;
    match proxy {
        Some(user) => fchown(&file, Some(user.uid), Some(user.gid)),
        None => Ok(()),
    }
}

/// Who writes a file.
#[derive(Debug, Clone, Copy)]
struct User<'a> {
    uid: u32,
    gid: u32,
    name: &'a str,
}

const ENTER: u32 = 0o1;
const WRITE: u32 = 0o2;

/// Why the proxy could not append to the file at `path`, as far as owners and modes tell.
pub(crate) fn objection(path: &Path) -> Option<Objection> {
    let user = rights::looked_up(Child::Proxy);
    let (uid, gid, name) = match &user {
        Some(user) => (user.uid.as_raw(), user.gid.as_raw(), user.name.as_str()),
        None => (
            nix::unistd::geteuid().as_raw(),
            nix::unistd::getegid().as_raw(),
            "of the proxy",
        ),
    };
    let (why, remedy) = judge(path, User { uid, gid, name }).err()?;
    Some(Objection {
        path: path.to_owned(),
        severity: Severity::Warning,
        why,
        remedy,
    })
}

/// What is wrong, and what to do about it.
type Fault = (String, String);

fn judge(path: &Path, user: User<'_>) -> Result<(), Fault> {
    let Some(folder) = path.parent() else {
        return Err(("it is a folder".to_owned(), "name a file in it".to_owned()));
    };
    let name = user.name;
    let in_folder = look(folder)?;
    if !in_folder.is_dir() {
        let why = format!("{} is no folder", folder.display());
        return Err((why, "name a file in a folder".to_owned()));
    }
    for above in folder.ancestors() {
        if !user.may(ENTER, &look(above)?) {
            let above = above.display();
            return Err((
                format!("user {name} may not enter {above}"),
                format!("chmod o+x {above}, or name a file elsewhere"),
            ));
        }
    }
    match std::fs::metadata(path) {
        Ok(there) if !there.is_file() => Err((
            "it is no regular file".to_owned(),
            "name a file, or leave the key out to log where the process does".to_owned(),
        )),
        Ok(there) if !user.may(WRITE, &there) => Err((
            format!("user {name} may not write it"),
            format!("chown {name} {}", path.display()),
        )),
        Ok(_) => Ok(()),
        // The supervisor makes it, as root, or the proxy itself.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let root = User {
                uid: 0,
                gid: 0,
                name: "root",
            };
            let may_make = |user: User<'_>| user.may(WRITE | ENTER, &in_folder);
            if may_make(user) || may_make(root) {
                return Ok(());
            }
            let folder = folder.display();
            Err((
                format!("neither root nor {name} may make files in {folder}"),
                format!("chown {name} {folder}"),
            ))
        }
        Err(error) => Err(unknown(path, &error)),
    }
}

fn look(folder: &Path) -> Result<Metadata, Fault> {
    std::fs::metadata(folder).map_err(|error| {
        let name = folder.display();
        if error.kind() == ErrorKind::NotFound {
            return (
                format!("the folder {name} is not there"),
                format!("install -d -m 0755 {name}; the service makes /var/log/fmc-lb itself"),
            );
        }
        unknown(folder, &error)
    })
}

fn unknown(path: &Path, error: &io::Error) -> Fault {
    (
        format!("{}: {error}", path.display()),
        "run this as root, or name a file elsewhere".to_owned(),
    )
}

impl User<'_> {
    /// By owner, group and mode: our processes keep no capability that passes over them.
    fn may(self, need: u32, what: &Metadata) -> bool {
        let shift = if what.uid() == self.uid {
            6
        } else if what.gid() == self.gid {
            3
        } else {
            0
        };
        (what.mode() >> shift) & need == need
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn me() -> User<'static> {
        User {
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            name: "me",
        }
    }

    /// Nobody: neither the owner of anything nor in its group.
    const OTHER: User<'static> = User {
        uid: 4_294_900_001,
        gid: 4_294_900_001,
        name: "other",
    };

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
    }

    #[track_caller]
    fn assert_fault(path: &Path, user: User<'_>, why: &str, remedy: &str) {
        let fault = judge(path, user).expect_err("it cannot be written");
        assert!(fault.0.contains(why), "{fault:?}");
        assert!(fault.1.contains(remedy), "{fault:?}");
    }

    #[test]
    fn what_the_proxys_user_may_not_do_is_told_with_a_remedy() {
        let folder = tempfile::tempdir().expect("a folder");
        set_mode(folder.path(), 0o755);
        let path = folder.path().join("sessions.log");
        // The supervisor makes it.
        let owner = me();
        assert!(judge(&path, owner).is_ok());
        fs::write(&path, "").expect("written");
        set_mode(&path, 0o640);
        assert!(judge(&path, owner).is_ok());
        assert_fault(&path, OTHER, "user other may not write it", "chown other ");
        set_mode(&path, 0o662);
        assert!(judge(&path, OTHER).is_ok());
        set_mode(folder.path(), 0o700);
        assert_fault(&path, OTHER, "may not enter ", "chmod o+x ");
        set_mode(folder.path(), 0o755);
        let nowhere = folder.path().join("none/sessions.log");
        assert_fault(&nowhere, owner, "/none is not there", "install -d -m 0755");
        let within = path.join("sessions.log");
        assert_fault(&within, owner, "is no folder", "in a folder");
        assert_fault(folder.path(), owner, "no regular file", "name a file");
        assert_fault(Path::new("/"), owner, "folder", "name a file");
        assert_fault(
            Path::new("/dev/null"),
            owner,
            "no regular file",
            "leave the key out",
        );
    }

    #[test]
    fn a_new_file_is_made_and_an_old_one_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sessions.log");
        let id = me();
        let user = Identity {
            uid: id.uid,
            gid: id.gid,
            groups: Vec::new(),
        };
        make(&path, Some(&user)).expect("made");
        let there = fs::metadata(&path).expect("there");
        assert_eq!((there.uid(), there.gid()), (id.uid, id.gid));
        assert_eq!(there.mode() & 0o777 & !MODE, 0);
        if user.uid == 0 {
            // As a service: for another user.
            let theirs = Identity {
                uid: OTHER.uid,
                gid: OTHER.gid,
                groups: Vec::new(),
            };
            let path = folder.path().join("theirs.log");
            make(&path, Some(&theirs)).expect("made");
            let there = fs::metadata(&path).expect("there");
            assert_eq!((there.uid(), there.gid()), (OTHER.uid, OTHER.gid));
        }
        fs::write(&path, "line\n").expect("written");
        let error = make(&path, Some(&user)).expect_err("it is there");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).expect("read"), "line\n");
    }
}
