//! Half-open connections: SYNs from addresses that never answer.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{Lab, Node};

/// SYNs that are sent in one go.
const BATCH: u64 = 20;
/// Hosts of the cluster's network that nobody has: the router asks for them in vain.
const SOURCES: std::ops::Range<u8> = 100..250;

/// SYNs to an address until it is dropped.
#[derive(Debug)]
pub struct SynFlood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl SynFlood {
    /// So many a second, from a machine of the LAN.
    ///
    /// # Errors
    /// When its thread cannot be made.
    pub fn start(lab: &Lab, to: SocketAddrV4, rate: u64) -> Result<Self> {
        let (stop, sent) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (ending, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let thread = lab.spawn_in(Node::Client, "syn-flood", move || {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)))
                .context("open a raw socket (CAP_NET_RAW)")?;
            let target = SockAddr::from(SocketAddrV4::new(*to.ip(), 0));
            let began = Instant::now();
            let mut number = 0;
            while !ending.load(Ordering::Relaxed) {
                for _ in 0..BATCH {
                    // A full queue of the interface: as fast as it goes.
                    if socket.send_to(&syn(number, to), &target).is_ok() {
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    number += 1;
                }
                let due = Duration::from_secs_f64(number as f64 / rate as f64);
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
            Ok(())
        })?;
        Ok(Self {
            stop,
            sent,
            thread: Some(thread),
        })
    }

    /// SYNs so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for SynFlood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its error was seen as SYNs that are missing.
            drop(thread.join());
        }
    }
}

/// The SYN with a number, IP header included; each has another source.
fn syn(number: u64, to: SocketAddrV4) -> Vec<u8> {
    let hosts = u64::from(SOURCES.end - SOURCES.start);
    let host = SOURCES.start + u8::try_from(number % hosts).expect("below the hosts");
    let port = u16::try_from(1_024 + number / hosts % 60_000).expect("a port");
    let from = Ipv4Addr::new(10, 17, 4, host);
    let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    packet.extend_from_slice(&from.octets());
    packet.extend_from_slice(&to.ip().octets());
    let mut segment = [0_u8; 20];
    segment[0..2].copy_from_slice(&port.to_be_bytes());
    segment[2..4].copy_from_slice(&to.port().to_be_bytes());
    let sequence = u32::try_from(number & 0xffff_ffff).expect("32 bits");
    segment[4..8].copy_from_slice(&sequence.wrapping_mul(0x9e37_79b9).to_be_bytes());
    segment[12..16].copy_from_slice(&[0x50, 0x02, 0xff, 0xff]);
    let sum = checksum(from, *to.ip(), &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(&segment);
    packet
}

/// Of a TCP segment, with its pseudo header (RFC 9293, section 3.1).
fn checksum(from: Ipv4Addr, to: Ipv4Addr, segment: &[u8]) -> u16 {
    let mut bytes = Vec::from(segment);
    bytes.extend_from_slice(&from.octets());
    bytes.extend_from_slice(&to.octets());
    let length = u16::try_from(segment.len()).expect("a short segment");
    bytes.extend_from_slice(&[0, 6]);
    bytes.extend_from_slice(&length.to_be_bytes());
    let (pairs, _) = bytes.as_chunks::<2>();
    let mut sum: u32 = pairs
        .iter()
        .map(|pair| u32::from(u16::from_be_bytes(*pair)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}
