//! What follows from probes, and what tells of a server beside them.

use crate::config::diagnostic::Findings;
use crate::config::draft::{BackendDraft, Draft};
use crate::config::{AllDown, OnMarkedDown};

pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    for backend in &draft.backends {
        let unprobed = matches!(backend.probe, Some(None));
        if unprobed {
            without_probe(backend, findings);
        }
        observe(backend, findings);
    }
}

/// Only a probe marks a server down, and up again.
fn without_probe(backend: &BackendDraft, findings: &mut Findings) {
    let on_marked_down = backend.on_marked_down.as_ref();
    let all_down = backend.all_down.as_ref();
    let observe = backend.observe.as_ref();
    let never = "no server is ever marked down";
    let named = [
        on_marked_down
            .filter(|at| at.value == OnMarkedDown::Cut)
            .map(|at| ("on_marked_down", at.span, never)),
        all_down
            .filter(|at| at.value == AllDown::TryAll)
            .map(|at| ("all_down", at.span, never)),
        observe.filter(|at| at.value).map(|at| {
            let why = "nothing would bring a server up again";
            ("observe", at.span, why)
        }),
    ];
    for (key, span, why) in named.into_iter().flatten() {
        findings.error(
            span,
            format!("`{key}` does nothing with probe = \"off\": {why}"),
            "remove it, or probe the servers",
        );
    }
}

fn observe(backend: &BackendDraft, findings: &mut Findings) {
    if backend.observe.as_ref().is_none_or(|observe| observe.value) {
        return;
    }
    let limit = backend.error_limit.as_ref().filter(|at| at.given);
    let action = backend.on_error.as_ref().filter(|at| at.given);
    let named = [
        limit.map(|at| ("error_limit", at.span)),
        action.map(|at| ("on_error", at.span)),
    ];
    for (key, span) in named.into_iter().flatten() {
        findings.error(
            span,
            format!("`{key}` does nothing without `observe`"),
            "add observe = \"connect\", or remove it",
        );
    }
}
