//! Ctrl-C in the middle of a run: what it has made is removed before it ends.

use std::fs;
use std::thread;

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, Signal};

use crate::namespace;

/// Exit code of a program that SIGINT has ended, as shells have it.
const INTERRUPTED: i32 = 130;

/// From now on SIGINT and SIGTERM remove the namespaces, processes and files of this process's labs and end it. To be
/// called before the first thread is made: threads inherit that these signals are blocked.
///
/// # Errors
/// When the signals cannot be blocked or the thread that waits for them cannot be made.
pub fn clean_up_on_interrupt() -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block().context("block SIGINT and SIGTERM")?;
    let wait = move || {
        if signals.wait().is_ok() {
            remove_own();
            std::process::exit(INTERRUPTED);
        }
    };
    thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(wait)
        .context("start a thread")?;
    Ok(())
}

fn remove_own() {
    let Ok(mark) = namespace::own_mark() else {
        return;
    };
    for name in namespace::names()
        .into_iter()
        .filter(|name| name.starts_with(&mark))
    {
        // What cannot be removed now is swept by the next run.
        drop(namespace::remove(&name));
    }
    let folders = fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten();
    for folder in folders {
        if folder.file_name().to_string_lossy().starts_with(&mark) {
            drop(fs::remove_dir_all(folder.path()));
        }
    }
}
