//! Dialogues of probes.

use crate::config::diagnostic::Findings;
use crate::config::draft::{ProbeDraft, StepDraft};
use crate::config::value::At;

/// Most steps of a dialogue.
const MAX_STEPS: usize = 64;

pub(super) fn check(probe: &ProbeDraft, findings: &mut Findings) {
    let Some(steps) = &probe.steps else {
        return;
    };
    // What follows from a step that could not be read is not told too.
    if findings.has_errors_in(steps.span) {
        return;
    }
    if steps.value.is_empty() {
        let place = probe.kind.as_ref().map_or(probe.span, |kind| kind.span);
        findings.error(
            if steps.given { steps.span } else { place },
            "a dialogue without steps says nothing",
            r#"add `steps`, for example steps = [{ send = "PING\r\n" }, { expect = "+PONG" }]"#,
        );
        return;
    }
    if steps.value.len() > MAX_STEPS {
        findings.error(
            steps.span,
            format!("{} steps are more than a probe takes", steps.value.len()),
            format!("use {MAX_STEPS} or fewer"),
        );
    }
    if steps.value.iter().all(|step| step.value.expect.is_none()) {
        findings.error(
            steps.span,
            "no step expects an answer, so every server that accepts a connection is good",
            "add a step with `expect`, or say kind = \"tcp\" or \"tls\"",
        );
    }
    for step in &steps.value {
        one(step, findings);
    }
}

fn one(step: &At<StepDraft>, findings: &mut Findings) {
    let StepDraft {
        send, expect, fail, ..
    } = &step.value;
    match (send, expect, fail) {
        (Some(_), Some(expect), _) => findings.error(
            expect.span,
            "a step sends or expects, not both",
            "make two steps of it: { send = … }, { expect = … }",
        ),
        (Some(_), None, Some(fail)) => findings.error(
            fail.span,
            "`fail` does nothing in a step that sends",
            "write it beside the `expect` that follows",
        ),
        (None, None, _) => findings.error(
            step.span,
            "a step that neither sends nor expects does nothing",
            "add `send` or `expect`, or remove it",
        ),
        (None, Some(expect), Some(fail)) if fail.value == expect.value => findings.error(
            fail.span,
            "the same text cannot be good and bad",
            "remove `fail`, or write another text",
        ),
        (Some(_), None, None) | (None, Some(_), Some(_) | None) => {}
    }
}
