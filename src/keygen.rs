//! `fmc-lb keygen`: a new key for the pair channel.

use std::process::ExitCode;

use anyhow::anyhow;
use ring::rand::{SecureRandom, SystemRandom};

use crate::output;

/// Length of a key in bytes.
const KEY_BYTES: usize = 32;

/// Prints one line `ID HEX`, the form of a key file. The first key of a file signs, all of them are accepted.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let mut key = [0_u8; KEY_BYTES];
    SystemRandom::new()
        .fill(&mut key)
        .map_err(|_| anyhow!("the system gives no random bytes"))?;
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    output::print(&format!("1 {hex}\n"))?;
    Ok(ExitCode::SUCCESS)
}
