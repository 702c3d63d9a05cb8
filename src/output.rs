//! Standard output and standard error of the commands.
//!
//! A reader of the output that goes away (`| head`) is no failure. What is said on standard error never ends a
//! command in its place: where it cannot be written the exit code still tells.

use std::io::{self, ErrorKind, Write};

use anyhow::Context;

/// What became of a text for standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Printed {
    /// It was written whole.
    Whole,
    /// Nobody reads any more, and nobody will.
    ReaderGone,
}

/// Writes the text whole to standard output.
pub(crate) fn print(text: &str) -> anyhow::Result<Printed> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Printed::Whole),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Printed::ReaderGone),
        Err(error) => Err(error).context("cannot write to standard output"),
    }
}

/// Writes the text to standard error, as far as that goes: `eprint!` would panic where it is full or closed.
pub(crate) fn complain(text: &str) {
    // Nothing is left to say it on.
    drop(io::stderr().lock().write_all(text.as_bytes()));
}
