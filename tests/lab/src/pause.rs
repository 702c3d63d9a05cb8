//! A paused machine: its processes are stopped and its link buffers, both ways, as the hypervisor does with a guest that
//! does not run.
//!
//! The kernel of a namespace cannot be stopped, so a token bucket at both ends of the cable holds every frame: a filler
//! of full size empties the bucket, a second one waits at the head of the queue for more than two minutes. What remains
//! unlike a real pause: the kernel's timers run on, so the lifetime of an address may end during the pause.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::packet::PacketSocket;
use crate::process::{processes, signal_all};
use crate::{Lab, Node};

/// Eight bytes a second: the queue's head, of full size, waits for three minutes.
const HOLDING: [&str; 6] = ["rate", "64bit", "burst", "1600", "limit", "4mb"];
/// Faster than anything in the lab.
const FLOWING: [&str; 6] = ["rate", "10gbit", "burst", "1mb", "limit", "4mb"];
/// `tc` runs and has its first line.
const ARMED: Duration = Duration::from_millis(200);
/// It has executed a line.
const TOLD: Duration = Duration::from_millis(2);
/// Ethernet frame of full size.
const FULL_FRAME: usize = 1_514;
/// A group address that no bridge forwards (802.1Q, table 8-1), with the EtherType for experiments.
const FILLER_HEAD: [u8; 14] = [
    0x01, 0x80, 0xc2, 0, 0, 0x0e, 0x02, 0, 0, 0, 0, 0xff, 0x88, 0xb5,
];

/// One end of the machine's cable: a `tc` that already runs and waits for its lines, and a socket for fillers. So a pause
/// begins and ends within a millisecond or two of the moment that is meant.
#[derive(Debug)]
struct End {
    device: &'static str,
    tc: Child,
    /// `None` = it was told to end.
    lines: Option<ChildStdin>,
    filler: PacketSocket,
}

impl End {
    fn arm(lab: &Lab, node: Node, device: &'static str) -> Result<Self> {
        let mut tc = Command::new("tc")
            .args(["-n", lab.node(node).name(), "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start tc")?;
        let lines = tc.stdin.take().context("tc has no standard input")?;
        let filler = lab.run_in(node, || PacketSocket::open(device, &[]))?;
        let mut end = Self {
            device,
            tc,
            lines: Some(lines),
            filler,
        };
        end.tell(&["add", &bucket(FLOWING)])?;
        Ok(end)
    }

    /// `qdisc WORDS` on the device's root.
    fn tell(&mut self, words: &[&str]) -> Result<()> {
        let (verb, rest) = words.split_first().context("tc wants a verb")?;
        let line = format!("qdisc {verb} dev {} root {}\n", self.device, rest.join(" "));
        let lines = self.lines.as_mut().context("tc was told to end")?;
        lines.write_all(line.as_bytes()).context("tell tc")
    }

    fn fill(&self, count: usize) -> Result<()> {
        let mut frame = vec![0; FULL_FRAME];
        frame[..FILLER_HEAD.len()].copy_from_slice(&FILLER_HEAD);
        (0..count).try_for_each(|_| self.filler.send(&frame))
    }

    fn finish(&mut self) -> Result<()> {
        self.tell(&["del"])?;
        self.lines = None;
        let status = self.tc.wait().context("wait for tc")?;
        if !status.success() {
            bail!("tc did not hold the link with a token bucket (sch_tbf): {status}");
        }
        Ok(())
    }
}

fn bucket(of: [&str; 6]) -> String {
    format!("tbf {}", of.join(" "))
}

/// A paused machine; [`Paused::resume`] or dropping it lets it run.
#[derive(Debug)]
pub(crate) struct Paused {
    ends: Vec<End>,
    pids: Vec<Pid>,
    begun: Instant,
    /// How long it was, once it is over.
    pub(crate) lasted: Option<Duration>,
}

impl Paused {
    pub(crate) fn pause(lab: &Lab, node: Node) -> Result<Self> {
        let mut ends = vec![
            End::arm(lab, node.switch(), node.name())?,
            End::arm(lab, node, "eth0")?,
        ];
        // The buckets are there before the pause begins.
        std::thread::sleep(ARMED);
        let found = processes(lab, node).into_iter().map(|seen| seen.pid);
        let pids: Vec<Pid> = found.collect();
        let begun = Instant::now();
        signal_all(&pids, Signal::SIGSTOP);
        for end in &mut ends {
            end.tell(&["change", &bucket(HOLDING)])?;
        }
        std::thread::sleep(TOLD);
        for end in &ends {
            end.fill(2)?;
        }
        Ok(Self {
            ends,
            pids,
            begun,
            lasted: None,
        })
    }

    /// Waits until it has lasted so long, and ends it.
    pub(crate) fn resume_after(&mut self, length: Duration) -> Result<Duration> {
        let left = length.saturating_sub(self.begun.elapsed() + TOLD);
        std::thread::sleep(left);
        self.resume()?;
        self.lasted.context("it is over")
    }

    pub(crate) fn resume(&mut self) -> Result<()> {
        if self.lasted.is_some() {
            return Ok(());
        }
        self.lasted = Some(self.begun.elapsed());
        for end in &mut self.ends {
            end.tell(&["change", &bucket(FLOWING)])?;
        }
        std::thread::sleep(TOLD);
        for end in &self.ends {
            // The next frame wakes the queue.
            end.fill(1)?;
        }
        signal_all(&self.pids, Signal::SIGCONT);
        self.lasted = Some(self.begun.elapsed());
        // The backlog leaves in the same moment; only then may the bucket go (with what it holds).
        std::thread::sleep(Duration::from_millis(20));
        self.ends.iter_mut().try_for_each(End::finish)
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        // What cannot be mended goes away with the namespaces; nobody may stay stopped.
        drop(self.resume());
        signal_all(&self.pids, Signal::SIGCONT);
    }
}
