//! Compiles the TC program with clang, for the BPF machine.

use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = "src/program.c";
const HEADER: &str = "src/packet.h";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed={HEADER}");
    println!("cargo::rerun-if-env-changed=CLANG");
    let object = PathBuf::from(variable("OUT_DIR")).join("program.o");
    if let Err(error) = compile(&object) {
        println!("cargo::error={error}");
    }
}

fn compile(object: &Path) -> Result<(), String> {
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let mut command = Command::new(&clang);
    command.args(["-target", "bpf", "-O2", "-g", "-Wall", "-Wextra", "-Werror"]);
    // Debian has the headers of the machine in a folder of their own, others have them where clang looks.
    let machine = format!(
        "/usr/include/{}-linux-gnu",
        variable("CARGO_CFG_TARGET_ARCH")
    );
    if Path::new(&machine).is_dir() {
        command.arg("-isystem").arg(machine);
    }
    command.args(["-c", SOURCE, "-o"]).arg(object);
    let output = command.output().map_err(|error| {
        format!("{clang}: {error}: flow forwarding's TC program needs it; install the package clang (scripts/install does)")
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = said
        .lines()
        .find(|line| line.contains("error:"))
        .unwrap_or("it failed");
    let remedy = if reason.contains("file not found") {
        "; install the packages libbpf-dev and linux-libc-dev (scripts/install does)"
    } else {
        ""
    };
    Err(format!(
        "{clang} could not compile forward/{SOURCE}: {reason}{remedy}"
    ))
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for every build script"))
}
