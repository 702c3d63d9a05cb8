//! `fmc-lb schema`: the JSON Schema of the configuration file.

use std::process::ExitCode;

use anyhow::Context;

use crate::output;

/// Prints the schema that follows from the table of keys.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let text = serde_json::to_string_pretty(&common::config::schema())
        .context("cannot write the schema as JSON")?;
    output::print(&format!("{text}\n"))?;
    Ok(ExitCode::SUCCESS)
}
