//! Where sessions are logged.

use crate::config::diagnostic::Findings;
use crate::config::draft::{Draft, ListenerDraft};

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for (index, listener) in draft.listeners.iter().enumerate() {
        useless(listener, findings);
        shared(listener, &draft.listeners[..index], findings);
    }
}

fn useless(listener: &ListenerDraft, findings: &mut Findings) {
    if let (Some(None), Some(file)) = (listener.session_log, &listener.session_log_file) {
        findings.error(
            file.span,
            "`session_log_file` does nothing while `session_log` is off",
            "say session_log = \"json\" or \"tcplog\", or remove it",
        );
    }
}

/// Whoever reads a file expects lines of one form.
fn shared(listener: &ListenerDraft, earlier: &[ListenerDraft], findings: &mut Findings) {
    let (Some(Some(format)), Some(file)) = (listener.session_log, &listener.session_log_file)
    else {
        return;
    };
    let same_file = earlier.iter().filter(|other| {
        let theirs = other.session_log_file.as_ref();
        theirs.is_some_and(|theirs| theirs.value == file.value)
    });
    for other in same_file {
        if let Some(Some(theirs)) = other.session_log
            && theirs != format
        {
            findings.error(
                file.span,
                format!(
                    "lines of two formats for one file: listener `{}` writes \"{}\", `{}` \"{}\"",
                    other.name.value,
                    theirs.word(),
                    listener.name.value,
                    format.word()
                ),
                "name a file for each format, or use one format",
            );
            return;
        }
    }
}
