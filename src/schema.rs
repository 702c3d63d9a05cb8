//! `fmc-lb schema`: every key of the configuration file, as JSON Schema or as a page to read.

use std::process::ExitCode;

use anyhow::Context;

use crate::cli::Schema;
use crate::output;

/// Prints what follows from the table of keys.
pub(crate) fn run(args: &Schema) -> anyhow::Result<ExitCode> {
    if args.markdown {
        output::print(&common::config::manual())?;
    } else {
        let text = serde_json::to_string_pretty(&common::config::schema())
            .context("cannot write the schema as JSON")?;
        output::print(&format!("{text}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}
