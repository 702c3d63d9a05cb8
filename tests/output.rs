//! Standard output and standard error that cannot be written: the exit code still tells, and nothing panics.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Every write to it fails with "no space left on device".
fn full() -> Stdio {
    let full = File::options().write(true).open("/dev/full");
    full.expect("Linux has it").into()
}

/// Runs `fmc-lb ARGUMENTS FILE` with a standard error that takes nothing.
fn code(arguments: &[&str], file: &Path) -> Option<i32> {
    let status = Command::new(env!("CARGO_BIN_EXE_fmc-lb"))
        .args(arguments)
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(full())
        .status();
    status.expect("the binary starts").code()
}

#[test]
fn a_complaint_that_cannot_be_written_changes_no_exit_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = folder.path().join("run");
    let runtime = runtime.to_str().expect("UTF-8");
    let bad = folder.path().join("bad.toml");
    fs::write(&bad, "[nodes.lb1]\n").expect("the folder is writable");
    let doubtful =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/w05-unused-backend.toml");
    assert_eq!(code(&["check"], &bad), Some(2));
    assert_eq!(code(&["check"], &doubtful), Some(0));
    assert_eq!(code(&["check", "--strict"], &doubtful), Some(1));
    let started = code(&["run", "--runtime-dir", runtime, "--config"], &bad);
    assert_eq!(started, Some(2));
    let released = code(&["release", "--runtime-dir", runtime, "--config"], &bad);
    assert_eq!(released, Some(2));
    // No node runs there.
    assert_eq!(code(&["status", "--runtime-dir"], folder.path()), Some(1));
}

#[test]
fn a_result_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("none.toml");
    fs::write(&file, "").expect("the folder is writable");
    let runtime = folder.path().join("run");
    let run = |arguments: &[&str]| -> Output {
        let output = Command::new(env!("CARGO_BIN_EXE_fmc-lb"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(full())
            .output();
        output.expect("the binary starts")
    };
    let (file, runtime) = (file.display().to_string(), runtime.display().to_string());
    for arguments in [
        &["keygen"] as &[&str],
        &["schema"],
        &["check", "configs/one-node.toml"],
        &["release", "--config", &file, "--runtime-dir", &runtime],
    ] {
        let output = run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("cannot write to standard output"), "{said}");
    }
}
