//! Connections that are open and say nothing.

use anyhow::Result;

use super::{Talk, Target, settle};

/// Opens so many, one round trip each, and calls while all of them are held.
///
/// # Errors
/// When one cannot be opened, or with what the call says.
pub(crate) async fn run<T>(
    target: Target,
    count: u32,
    held: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let _open = Talk::open_many(target, count).await?;
    settle().await;
    held()
}
