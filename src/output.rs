//! Standard output, where a reader that goes away (`| head`) is no failure.

use std::io::{self, ErrorKind, Write};

use anyhow::Context;

/// Writes the text whole.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}
