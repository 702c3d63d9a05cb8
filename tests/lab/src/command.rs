//! Short-lived programs (`ip`, `tc`), with their words in the error.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs a program to its end and returns what it printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {program}"))?;
    if !output.status.success() {
        bail!(
            "{program} {}: {} {}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `ip` commands, one a line, in a namespace with one process.
pub(crate) fn ip_batch(namespace: &str, lines: &[String]) -> Result<()> {
    let mut child = Command::new("ip")
        .args(["-n", namespace, "-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("start ip (package iproute2)")?;
    let mut input = child.stdin.take().context("ip has no standard input")?;
    let mut text = lines.join("\n");
    text.push('\n');
    // A broken pipe means that ip stopped at an earlier line; its words say more.
    let written = input.write_all(text.as_bytes());
    drop(input);
    let output = child.wait_with_output().context("wait for ip")?;
    if !output.status.success() || written.is_err() {
        bail!(
            "ip -n {namespace} -batch: {}\n{text}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
