//! Lists of networks in files of their own.

use std::path::PathBuf;

use crate::config::diagnostic::Findings;
use crate::config::draft::{Draft, ListenerDraft};
use crate::config::value::At;

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for listener in &draft.listeners {
        same_twice(listener, findings);
    }
}

/// One file cannot say two things of a client: the first list that knows it decides.
fn same_twice(listener: &ListenerDraft, findings: &mut Findings) {
    let files = &listener.files;
    let in_order: [(&str, &Option<At<PathBuf>>); 3] = [
        ("drop_file", &files.drop),
        ("deny_file", &files.deny),
        ("allow_file", &files.allow),
    ];
    for (place, (key, file)) in in_order.iter().enumerate() {
        let Some(file) = file else { continue };
        let mut earlier = in_order[..place].iter();
        let same = earlier.find(|(_, other)| {
            let other = other.as_ref();
            other.is_some_and(|other| other.value == file.value)
        });
        if let Some((other, _)) = same {
            findings.error(
                file.span,
                format!("`{key}` is the same file as `{other}`, which is looked at first"),
                "name another file, or remove one of the two",
            );
        }
    }
}
