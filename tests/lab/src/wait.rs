//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(2);

/// Whether the condition became true before the deadline.
pub fn within(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(STEP);
    }
}

/// Waits for a condition.
///
/// # Errors
/// When it was not true at the deadline; `what` names it. [`crate::Lab::wait_until`] adds evidence.
pub fn wait_until(deadline: Duration, what: &str, condition: impl FnMut() -> bool) -> Result<()> {
    if !within(deadline, condition) {
        bail!("not within {deadline:?}: {what}");
    }
    Ok(())
}
