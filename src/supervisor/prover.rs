//! A process of a new version that proves itself: it is given what runs, tries all that an upgrade needs,
//! says what it has found and ends.

use std::os::unix::process::CommandExt;
use std::process::{Child as Started, Command, Stdio};

use anyhow::{Context, bail};
use common::board::can_share;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::kit::Kit;
use super::process::Binary;
use crate::control::{Body, Channel, Proof, ReceiveError, Received, Wait};

/// One that was started.
#[derive(Debug)]
pub(super) struct Prover {
    process: Started,
    pub(super) channel: Channel,
}

impl Prover {
    pub(super) fn start(binary: &Binary, kit: &Kit) -> anyhow::Result<Self> {
        let (near, far) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .context("make a socket pair")?;
        let channel = Channel::roomy(near).context("make room for its set-up")?;
        let (setup, handles) = kit.for_prover().context("collect its descriptors")?;
        channel
            .send_setup(setup, &handles)
            .context("send its set-up")?;
        let process = Command::new(binary.path())
            .arg0("fmc-lb")
            .arg("prove")
            .arg("--")
            .args(std::env::args_os().skip(1))
            .stdin(Stdio::from(far))
            .process_group(0)
            .spawn()
            .context("start the new version")?;
        Ok(Self { process, channel })
    }

    /// What it says, once it has.
    ///
    /// # Errors
    /// It has ended without a word, or says what it cannot do.
    pub(super) fn hear(&self) -> anyhow::Result<Option<Proof>> {
        let proof = match self.channel.receive(Wait::No) {
            Ok(Received::Nothing) => return Ok(None),
            Ok(Received::Message(Body::Proof(proof), _)) => proof,
            Ok(Received::Closed) | Err(ReceiveError::Receive(_)) => {
                bail!(
                    "the new version ends without proving itself: is it fmc-lb, and does it run here?"
                )
            }
            Ok(Received::Message(..)) | Err(ReceiveError::Cut | ReceiveError::Decode(_)) => {
                bail!("the new version says what this one does not understand")
            }
        };
        if !can_share(proof.layout, proof.oldest) {
            bail!(
                "version {} cannot share memory with this one (layout {}): the node has to be restarted for it",
                proof.software,
                proof.layout
            );
        }
        if let [first, more @ ..] = &proof.obstacles[..] {
            let more = match more.len() {
                0 => String::new(),
                count => format!(", and {count} more"),
            };
            bail!("version {}: {first}{more}", proof.software);
        }
        Ok(Some(proof))
    }

    /// Its end, whatever it does; to be asked for until it is true.
    pub(super) fn has_ended(&mut self) -> bool {
        // It has said what it had to say.
        drop(self.process.kill());
        !matches!(self.process.try_wait(), Ok(None))
    }
}
