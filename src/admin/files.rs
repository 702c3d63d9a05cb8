//! The files that are watched for changes, as status shows them. Pure.

use std::time::Duration;

use common::config::{Watched, WatchedKind};
use common::status::FileStatus;
use common::time::Moment;

use super::view::{View, millis};
use crate::status::human;

/// Files are looked at each second; a disk that makes it wait longer hangs.
const LATE: Duration = Duration::from_secs(10);

/// Every watched file, those that are used together as one.
pub(super) fn status(view: &View, now: Moment) -> Vec<FileStatus> {
    let watched = view.config.watched().into_iter().enumerate();
    let of = |(place, watched): (usize, Watched)| {
        let slot = &view.boards.supervisor.files[place];
        let entries = view.boards.proxy.list_entries[place].get();
        FileStatus {
            path: watched.names(),
            holds: watched.holds.words(),
            entries: match watched.holds {
                WatchedKind::Networks { .. } => Some(entries),
                WatchedKind::Tls(_) => None,
            },
            since_ms_ago: slot.since.get().map(|at| millis(now, at)),
            changes: slot.changes.get(),
            refusals: slot.refusals.get(),
            refused: slot.refused.get(),
        }
    };
    watched.map(of).collect()
}

/// What a human should look at.
pub(super) fn warnings(view: &View, files: &[FileStatus], now: Moment) -> Vec<String> {
    let refused = files.iter().filter(|file| !file.refused.is_empty());
    let mut found: Vec<String> = refused
        .map(|file| {
            let (path, why) = (&file.path, &file.refused);
            format!("{path} is refused, its old contents are in use: {why}")
        })
        .collect();
    let looked = view.boards.supervisor.files_looked.get();
    let silent = looked.map(|at| now.since(at));
    if let Some(age) = silent.filter(|age| !files.is_empty() && *age > LATE) {
        found.push(format!(
            "changes of files have not been looked for in {}: does a disk hang?",
            human::age(age)
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fixture::{self, CLOCKS};
    use crate::admin::rates::Rates;

    #[test]
    fn a_list_shows_what_is_in_use_and_why_not_what_is_on_disk() {
        let view = fixture::healthy();
        let slot = &view.boards.supervisor.files[0];
        slot.since.set(CLOCKS.now - Duration::from_secs(90));
        slot.changes.set(2);
        slot.refusals.set(1);
        slot.refused
            .set("line 7: `ten` is neither a network nor an address");
        view.boards.proxy.list_entries[0].set(1_234);
        let status = view.status(&Rates::default(), CLOCKS);
        let file = FileStatus {
            path: "/etc/fmc-lb/deny.txt".to_owned(),
            holds: "networks".to_owned(),
            entries: Some(1_234),
            since_ms_ago: Some(90_000),
            changes: 2,
            refusals: 1,
            refused: "line 7: `ten` is neither a network nor an address".to_owned(),
        };
        assert_eq!(status.files[0], file);
        assert_eq!(status.files[1].path, "/etc/fmc-lb/tls/web.pem");
        assert_eq!(status.files[1].holds, "certificate");
        assert_eq!(status.files[1].entries, None);
        let warning = "/etc/fmc-lb/deny.txt is refused, its old contents are in use: \
                       line 7: `ten` is neither a network nor an address";
        assert!(status.warnings.iter().any(|one| one == warning));
    }

    #[test]
    fn a_disk_that_hangs_is_a_warning() {
        let view = fixture::healthy();
        let looked = &view.boards.supervisor.files_looked;
        let warned = || {
            let warnings = view.status(&Rates::default(), CLOCKS).warnings;
            warnings.iter().any(|one| one.contains("does a disk hang"))
        };
        assert!(!warned(), "it has not begun");
        looked.set(CLOCKS.now - Duration::from_secs(10));
        assert!(!warned());
        looked.set(CLOCKS.now - Duration::from_secs(11));
        assert!(warned());
    }
}
