//! A small storm: no connection fails, aborted ones leave nothing behind.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use lab::process::output_within;

/// Start, five seconds of it, and what is waited for afterwards.
const LIMIT: Duration = Duration::from_secs(60);

/// Built beside our own program.
fn fmc_lb() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_baseline")).with_file_name("fmc-lb")
}

#[test]
fn a_storm_of_short_connections_fails_none_and_leaves_nothing() {
    let fmc_lb = fmc_lb();
    assert!(
        fmc_lb.exists(),
        "there is no {}: cargo build --release -p fmc-lb, or test the whole workspace",
        fmc_lb.display()
    );
    let mut storm = Command::new(env!("CARGO_BIN_EXE_baseline"));
    storm.args(["storm", "--rate", "1000", "--seconds", "5"]);
    storm.args(["--subjects", "fmc-lb", "--binary"]).arg(fmc_lb);
    let output = output_within(storm.stdin(Stdio::null()), LIMIT).unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    println!("{text}");
    assert!(output.status.success(), "{text}");
}
