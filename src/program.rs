//! What `fmc-lb check` says of a program that is a probe.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::config::{Objection, Severity};

/// Somebody may execute it.
const EXECUTE: u32 = 0o111;
/// Anybody may change it.
const OPEN: u32 = 0o002;

/// Why the program at `path` could not be run, or should not be, as far as its mode tells.
pub(crate) fn objection(path: &Path) -> Option<Objection> {
    let (why, remedy) = match std::fs::metadata(path) {
        Err(error) => {
            let words = error.raw_os_error().map(nix::errno::Errno::from_raw);
            let words = words.map_or_else(|| error.to_string(), |one| one.desc().to_lowercase());
            (
                words,
                "put it there, where every user may enter its folder".to_owned(),
            )
        }
        Ok(facts) if !facts.is_file() => ("it is no file".to_owned(), "name a program".to_owned()),
        Ok(facts) if facts.permissions().mode() & EXECUTE == 0 => (
            "nobody may execute it".to_owned(),
            format!("chmod a+x {}", path.display()),
        ),
        Ok(facts) if facts.permissions().mode() & OPEN != 0 => (
            "anybody may change it".to_owned(),
            format!("chmod o-w {}", path.display()),
        ),
        Ok(_) => return None,
    };
    Some(Objection {
        path: path.to_owned(),
        severity: Severity::Warning,
        why,
        remedy,
    })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    #[test]
    fn a_program_has_to_be_there_and_executable_and_not_open_to_all() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("program");
        let why = |path: &Path| objection(path).map(|one| one.why);
        assert_eq!(why(&path).as_deref(), Some("no such file or directory"));
        assert_eq!(why(folder.path()).as_deref(), Some("it is no file"));
        std::fs::write(&path, "#!/bin/sh\n").expect("the folder is writable");
        for (mode, wanted) in [
            (0o644, Some("nobody may execute it")),
            (0o757, Some("anybody may change it")),
            (0o755, None),
        ] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
            assert_eq!(why(&path).as_deref(), wanted, "{mode:o}");
        }
    }
}
