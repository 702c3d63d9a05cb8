//! A paused machine: its processes are stopped and its link buffers, both ways, as the hypervisor does with a guest that
//! does not run.
//!
//! The kernel of a namespace cannot be stopped, so a token bucket at both ends of the cable holds every frame: a filler
//! of full size empties the bucket, a second one waits at the head of the queue for more than two minutes. What remains
//! unlike a real pause: the kernel's timers run on, so the lifetime of an address may end during the pause.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::packet::PacketSocket;
use crate::process::{processes, signal_all};
use crate::{Lab, Node, command};

/// Eight bytes a second: the queue's head, of full size, waits for three minutes.
const HOLDING: [&str; 6] = ["rate", "64bit", "burst", "1600", "limit", "4mb"];
/// Faster than anything in the lab.
const FLOWING: [&str; 6] = ["rate", "10gbit", "burst", "1mb", "limit", "4mb"];
/// Ethernet frame of full size.
const FULL_FRAME: usize = 1_514;
/// A group address that no bridge forwards (802.1Q, table 8-1), with the EtherType for experiments.
const FILLER_HEAD: [u8; 14] = [
    0x01, 0x80, 0xc2, 0, 0, 0x0e, 0x02, 0, 0, 0, 0, 0xff, 0x88, 0xb5,
];

/// One end of the machine's cable.
#[derive(Debug, Clone, Copy)]
struct End {
    node: Node,
    device: &'static str,
}

/// A paused machine; [`Paused::resume`] or dropping it lets it run.
#[derive(Debug)]
pub(crate) struct Paused {
    lab: Lab,
    ends: [End; 2],
    pids: Vec<Pid>,
    resumed: bool,
}

impl Paused {
    pub(crate) fn pause(lab: &Lab, node: Node) -> Result<Self> {
        let ends = [
            End {
                node: node.switch(),
                device: node.name(),
            },
            End {
                node,
                device: "eth0",
            },
        ];
        let pids: Vec<Pid> = processes(lab, node)
            .into_iter()
            .map(|seen| seen.pid)
            .collect();
        let paused = Self {
            lab: lab.clone(),
            ends,
            pids,
            resumed: false,
        };
        signal_all(&paused.pids, Signal::SIGSTOP);
        for end in ends {
            paused.tc("add", end, &HOLDING)?;
            paused.fill(end, 2)?;
        }
        Ok(paused)
    }

    pub(crate) fn resume(&mut self) -> Result<()> {
        if self.resumed {
            return Ok(());
        }
        self.resumed = true;
        for end in self.ends {
            self.tc("change", end, &FLOWING)?;
            // The next frame wakes the queue.
            self.fill(end, 1)?;
        }
        signal_all(&self.pids, Signal::SIGCONT);
        // The backlog leaves in the same moment; only then may the bucket go (with what it holds).
        std::thread::sleep(Duration::from_millis(20));
        for end in self.ends {
            self.tc("del", end, &[])?;
        }
        Ok(())
    }

    fn tc(&self, verb: &str, end: End, bucket: &[&str]) -> Result<()> {
        let namespace = self.lab.node(end.node).name();
        let mut line = vec!["-n", namespace, "qdisc", verb, "dev", end.device, "root"];
        if !bucket.is_empty() {
            line.push("tbf");
            line.extend(bucket);
        }
        command::run("tc", &line).context("hold the link with a token bucket (sch_tbf)")?;
        Ok(())
    }

    fn fill(&self, end: End, count: usize) -> Result<()> {
        let mut frame = vec![0; FULL_FRAME];
        frame[..FILLER_HEAD.len()].copy_from_slice(&FILLER_HEAD);
        self.lab.run_in(end.node, || {
            let socket = PacketSocket::open(end.device, &[])?;
            (0..count).try_for_each(|_| socket.send(&frame))
        })
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        // What cannot be mended goes away with the namespaces; nobody may stay stopped.
        drop(self.resume());
        signal_all(&self.pids, Signal::SIGCONT);
    }
}
