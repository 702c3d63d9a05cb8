//! The last packets of both load balancers, written as pcap files when a test fails.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use crate::packet::PacketSocket;
use crate::{Lab, Node};

/// Bytes kept of each packet: headers and the begin of the payload.
const SNAP: usize = 256;
/// Bytes kept per node; older packets are forgotten.
const KEPT: usize = 16 << 20;
/// Begin of a pcap file with times in nanoseconds, this machine's byte order.
const MAGIC: u32 = 0xa1b2_3c4d;
/// `LINKTYPE_ETHERNET`.
const ETHERNET: u32 = 1;

#[derive(Debug)]
struct Packet {
    at: Duration,
    length: usize,
    bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Ring {
    packets: VecDeque<Packet>,
    size: usize,
}

impl Ring {
    fn push(&mut self, packet: Packet) {
        self.size += packet.bytes.len();
        self.packets.push_back(packet);
        while self.size > KEPT {
            let Some(oldest) = self.packets.pop_front() else {
                break;
            };
            self.size -= oldest.bytes.len();
        }
    }

    fn pcap(&self) -> Result<Vec<u8>> {
        let mut file = Vec::with_capacity(self.size + 24 + self.packets.len() * 16);
        let snap = u32::try_from(SNAP).context("the snap length fits")?;
        file.extend(MAGIC.to_ne_bytes());
        file.extend(2_u16.to_ne_bytes());
        file.extend(4_u16.to_ne_bytes());
        for word in [0, 0, snap, ETHERNET] {
            file.extend(u32::to_ne_bytes(word));
        }
        for packet in &self.packets {
            let seconds = u32::try_from(packet.at.as_secs()).context("a time before 2106")?;
            let kept = u32::try_from(packet.bytes.len()).context("a kept length fits")?;
            let length = u32::try_from(packet.length).context("a frame's length fits")?;
            for word in [seconds, packet.at.subsec_nanos(), kept, length] {
                file.extend(word.to_ne_bytes());
            }
            file.extend(&packet.bytes);
        }
        Ok(file)
    }
}

/// A running capture of `eth0` of both load balancers. When it is dropped by a panic it saves what it has.
#[derive(Debug)]
pub struct Capture {
    lab: Lab,
    name: String,
    rings: Vec<(Node, Arc<Mutex<Ring>>)>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Capture {
    /// Starts it; `name` names the folder of a failure.
    ///
    /// # Errors
    /// When a packet socket cannot be opened.
    pub fn start(lab: &Lab, name: &str) -> Result<Self> {
        let mut capture = Self {
            lab: lab.clone(),
            name: name.to_owned(),
            rings: Vec::new(),
            stop: Arc::new(AtomicBool::new(false)),
            threads: Vec::new(),
        };
        for node in Node::LBS {
            let ring = Arc::new(Mutex::new(Ring::default()));
            let (shared, ending) = (Arc::clone(&ring), Arc::clone(&capture.stop));
            let socket = lab.run_in(node, || PacketSocket::open("eth0", &[]))?;
            let thread =
                lab.spawn_in(node, "capture", move || record(&socket, &shared, &ending))?;
            capture.rings.push((node, ring));
            capture.threads.push(thread);
        }
        Ok(capture)
    }

    /// Writes the packets of both nodes, every log and the evidence into `lab-failures/NAME` of the target folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self) -> Result<PathBuf> {
        let folder = target_folder().join("lab-failures").join(&self.name);
        std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        for (node, ring) in &self.rings {
            let pcap = ring
                .lock()
                .expect("nothing panics while it holds the ring")
                .pcap()?;
            write(&folder.join(format!("{node}.pcap")), &pcap)?;
        }
        let logs = self.lab.evidence().logs().to_vec();
        for (name, path) in logs {
            // A process that never started has no log.
            if let Ok(text) = std::fs::read(path) {
                write(
                    &folder.join(format!("{}.log", name.replace(' ', "-"))),
                    &text,
                )?;
            }
        }
        write(
            &folder.join("evidence.txt"),
            self.lab.show_evidence().as_bytes(),
        )?;
        Ok(folder)
    }

    #[expect(clippy::print_stderr, reason = "where the evidence of a failure lies")]
    fn save_and_say(&self) {
        match self.save() {
            Ok(folder) => eprintln!("{}: packets and logs in {}", self.name, folder.display()),
            Err(error) => eprintln!("{}: packets and logs are lost: {error:#}", self.name),
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.save_and_say();
        }
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A capture that failed shows as packets that are missing.
            drop(thread.join());
        }
    }
}

/// Runs a test's body with a capture; on an error or a panic the packets, logs and the evidence are saved.
///
/// # Errors
/// The body's own, or when the capture cannot start.
pub fn around<T>(lab: &Lab, name: &str, body: impl FnOnce() -> Result<T>) -> Result<T> {
    let capture = Capture::start(lab, name)?;
    let result = body();
    if result.is_err() {
        capture.save_and_say();
    }
    result
}

fn record(socket: &PacketSocket, ring: &Mutex<Ring>, stop: &AtomicBool) -> Result<()> {
    let mut buffer = [0; SNAP];
    while !stop.load(Ordering::Relaxed) {
        let Some(frame) = socket.receive(&mut buffer, Duration::from_millis(100))? else {
            continue;
        };
        let at = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let bytes = buffer[..frame.kept].to_vec();
        let packet = Packet {
            at,
            length: frame.length,
            bytes,
        };
        ring.lock()
            .expect("nothing panics while it holds the ring")
            .push(packet);
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}

fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        PathBuf::from,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pcap_has_its_header_and_each_packet() {
        let mut ring = Ring::default();
        ring.push(Packet {
            at: Duration::new(5, 7),
            length: 60,
            bytes: vec![1, 2, 3],
        });
        let file = ring.pcap().unwrap();
        assert_eq!(file.len(), 24 + 16 + 3);
        assert_eq!(file[..4], MAGIC.to_ne_bytes());
        assert_eq!(file[24..28], 5_u32.to_ne_bytes());
        assert_eq!(file[32..36], 3_u32.to_ne_bytes());
        assert_eq!(file[36..40], 60_u32.to_ne_bytes());
    }

    #[test]
    fn the_ring_forgets_the_oldest() {
        let mut ring = Ring::default();
        for _ in 0..=KEPT / 100 {
            ring.push(Packet {
                at: Duration::ZERO,
                length: 100,
                bytes: vec![0; 100],
            });
        }
        assert!(ring.size <= KEPT);
        assert_eq!(ring.packets.len(), KEPT / 100);
    }
}
