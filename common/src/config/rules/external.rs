//! Programs that probe.

use std::time::Duration;

use crate::config::diagnostic::Findings;
use crate::config::draft::ProbeDraft;
use crate::config::kind::show_duration;
use crate::config::placeholders::unknown;

/// A process is not started more often for each server.
const SHORTEST: Duration = Duration::from_millis(100);

pub(super) fn check(probe: &ProbeDraft, findings: &mut Findings) {
    let kind = probe.kind.as_ref().map_or(probe.span, |kind| kind.span);
    // One that could not be read has been reported.
    if probe.program.is_none() && !findings.has_errors_in(probe.span) {
        findings.error(
            kind,
            "a probe of kind \"external\" has no program to run",
            "add `program`, for example program = \"/usr/local/bin/is-well\"",
        );
    }
    let mut given = probe.given.iter();
    if let Some(key) = given.find(|key| key.value == "send_proxy") {
        findings.error(
            key.span,
            "`send_proxy` does nothing in a probe of kind \"external\": the program connects, if it does",
            "remove it",
        );
    }
    for argument in probe.arguments.iter().flat_map(|list| &list.value) {
        if let Some(unknown) = unknown(&argument.value) {
            findings.error(
                argument.span,
                format!("`{unknown}` is nothing of a server"),
                "use {backend}, {address} or {port}",
            );
        }
        if argument.value.contains('\0') {
            findings.error(
                argument.span,
                "an argument of a program cannot have a zero byte",
                "remove it",
            );
        }
    }
    let times = [&probe.interval, &probe.fast_interval, &probe.down_interval];
    for time in times.into_iter().flatten() {
        if time.value < SHORTEST {
            findings.error(
                time.span,
                format!(
                    "a process for each server every {} is more than it is worth",
                    show_duration(time.value)
                ),
                format!("use \"{}\" or more", show_duration(SHORTEST)),
            );
        }
    }
}
