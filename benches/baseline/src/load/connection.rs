//! Short connections: connect, 64 bytes each way, close in good order, some at a time.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

use super::talk::PATIENCE;
use super::{Clock, Failures, Spent, Talk, Target, settle};
use crate::plan::AT_ONCE;

/// Before the measurement: the balancer has its buffers, the server its caches.
pub(crate) const WARM_UP: u32 = 200;

/// What the tasks share.
#[derive(Debug, Default)]
struct Progress {
    left: u32,
    done: u64,
    failures: Failures,
}

/// Makes so many connections.
///
/// # Errors
/// When too many of them fail.
pub(crate) async fn run(target: Target, count: u32, clock: Clock<'_>) -> Result<Spent> {
    all(target, WARM_UP).await?;
    settle().await;
    let before = clock()?;
    let (done, failures) = all(target, count).await?;
    settle().await;
    Ok(Spent {
        cpu: clock()? - before,
        done,
        failures,
    })
}

async fn all(target: Target, count: u32) -> Result<(u64, Failures)> {
    let progress = Rc::new(RefCell::new(Progress {
        left: count,
        ..Progress::default()
    }));
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        tasks.spawn_local(one_after_another(target, Rc::clone(&progress)));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("join a task")??;
    }
    let progress = progress.take();
    Ok((progress.done, progress.failures))
}

async fn one_after_another(target: Target, progress: Rc<RefCell<Progress>>) -> Result<()> {
    loop {
        {
            let mut progress = progress.borrow_mut();
            let Some(left) = progress.left.checked_sub(1) else {
                return Ok(());
            };
            progress.left = left;
        }
        let result = tokio::time::timeout(PATIENCE, one(target)).await;
        let result = result.context("finish in time").and_then(|result| result);
        let mut progress = progress.borrow_mut();
        match result {
            Ok(()) => progress.done += 1,
            Err(error) => progress.failures.note(&error)?,
        }
    }
}

async fn one(target: Target) -> Result<()> {
    let mut talk = Talk::open(target).await?;
    talk.trip().await
}
