//! Round trips on open connections, while others may be open and idle.

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

use super::{Clock, Failures, Spent, Talk, Target};

/// How many connections, and who of them plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Table {
    /// Connections that play.
    pub(crate) players: u32,
    /// Connections that are open and idle.
    pub(crate) idle: u32,
    /// Round trips of all players together.
    pub(crate) trips: u32,
}

/// Plays.
///
/// # Errors
/// When a connection cannot be opened, or too many fail.
pub(crate) async fn run(target: Target, table: Table, clock: Clock<'_>) -> Result<Spent> {
    let _idle = Talk::open_many(target, table.idle).await?;
    let players = Talk::open_many(target, table.players).await?;
    let each = table.trips / table.players;
    let before = clock()?;
    let mut tasks = JoinSet::new();
    for player in players {
        tasks.spawn_local(play(player, each));
    }
    let mut done = 0;
    let mut failures = Failures::default();
    // Who has finished stays open until all have: no connection's end is in the figure.
    let mut finished = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let (player, made, failure) = ended.context("join a task")?;
        finished.push(player);
        done += u64::from(made);
        if let Some(error) = failure {
            failures.note(&error)?;
        }
    }
    Ok(Spent {
        cpu: clock()? - before,
        done,
        failures,
    })
}

async fn play(mut talk: Talk, trips: u32) -> (Talk, u32, Option<anyhow::Error>) {
    for made in 0..trips {
        if let Err(error) = talk.trip().await {
            return (talk, made, Some(error));
        }
    }
    (talk, trips, None)
}
