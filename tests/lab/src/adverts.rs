//! The adverts on the wire, seen at a load balancer's switch port: when the last one came, so that a fault can be timed
//! within the advert interval.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use socket2::SockFilter;

use crate::packet::PacketSocket;
use crate::{Lab, Node, limits};

/// IP protocol number of VRRP.
const VRRP: u32 = 112;
/// A fresh advert is looked for this often: a fiftieth of the shortest interval.
const LOOK: Duration = Duration::from_micros(200);
/// Offsets in an Ethernet frame with an IPv4 header without options.
const IP_HEADER: usize = 14;
const IP_SOURCE: usize = IP_HEADER + 12;
const VRRP_HEADER: usize = IP_HEADER + 20;

/// One advert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advert {
    /// When it was seen at the switch port.
    pub at: Instant,
    /// Source address.
    pub from: Ipv4Addr,
    /// Virtual router id.
    pub vrid: u8,
    /// Priority; 0 = the sender gives up.
    pub priority: u8,
}

/// Watches the adverts that a load balancer sends. Dropping it stops it.
#[derive(Debug)]
pub struct AdvertWatch {
    seen: Arc<Mutex<Vec<Advert>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl AdvertWatch {
    /// Starts watching a load balancer's switch port.
    ///
    /// # Errors
    /// When the packet socket cannot be opened.
    pub fn start(lab: &Lab, node: Node) -> Result<Self> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, ending) = (Arc::clone(&seen), Arc::clone(&stop));
        let (ready, opened) = std::sync::mpsc::channel();
        let thread = lab.spawn_in(Node::LanSwitch, "adverts", move || {
            limits::real_time();
            let socket = PacketSocket::open(node.name(), &filter());
            let socket = match socket {
                Ok(socket) => {
                    drop(ready.send(Ok(())));
                    socket
                }
                Err(error) => {
                    drop(ready.send(Err(error)));
                    return Ok(());
                }
            };
            watch(&socket, &shared, &ending)
        })?;
        let watch = Self {
            seen,
            stop,
            thread: Some(thread),
        };
        opened
            .recv()
            .context("the thread that watches adverts ended")??;
        Ok(watch)
    }

    /// Every advert so far.
    pub fn all(&self) -> Vec<Advert> {
        self.seen
            .lock()
            .expect("nothing panics while it holds the list")
            .clone()
    }

    /// The last advert of a virtual router.
    pub fn last(&self, vrid: u8) -> Option<Advert> {
        let seen = self
            .seen
            .lock()
            .expect("nothing panics while it holds the list");
        seen.iter()
            .rev()
            .find(|advert| advert.vrid == vrid)
            .copied()
    }

    /// Waits for a fresh advert and then `tenths` tenths of the interval more. Returns the advert's time.
    ///
    /// # Errors
    /// When no advert comes within five intervals and a second.
    pub fn wait_for_phase(&self, vrid: u8, interval: Duration, tenths: u32) -> Result<Instant> {
        let begun = Instant::now();
        let limit = interval * 5 + Duration::from_secs(1);
        let fresh = || self.last(vrid).is_some_and(|advert| advert.at > begun);
        while !fresh() {
            if begun.elapsed() > limit {
                bail!("no advert of VRID {vrid} within {limit:?}");
            }
            std::thread::sleep(LOOK);
        }
        let Some(advert) = self.last(vrid) else {
            bail!("the advert of VRID {vrid} is gone from the list");
        };
        let due = advert.at + interval * tenths / 10;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        Ok(advert.at)
    }
}

impl Drop for AdvertWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A watch that failed shows as adverts that do not come.
            drop(thread.join());
        }
    }
}

fn watch(socket: &PacketSocket, seen: &Mutex<Vec<Advert>>, stop: &AtomicBool) -> Result<()> {
    let mut buffer = [0; 128];
    while !stop.load(Ordering::Relaxed) {
        let Some(frame) = socket.receive(&mut buffer, Duration::from_millis(100))? else {
            continue;
        };
        let at = Instant::now();
        // At the switch port, what the machine sends comes in.
        if frame.outgoing {
            continue;
        }
        if let Some(advert) = decode(&buffer[..frame.kept], at) {
            seen.lock()
                .expect("nothing panics while it holds the list")
                .push(advert);
        }
    }
    Ok(())
}

fn decode(frame: &[u8], at: Instant) -> Option<Advert> {
    let source: [u8; 4] = frame.get(IP_SOURCE..IP_SOURCE + 4)?.try_into().ok()?;
    let vrid = *frame.get(VRRP_HEADER + 1)?;
    let priority = *frame.get(VRRP_HEADER + 2)?;
    Some(Advert {
        at,
        from: Ipv4Addr::from(source),
        vrid,
        priority,
    })
}

/// IPv4 with protocol 112; the kernel passes nothing else up.
fn filter() -> [SockFilter; 6] {
    const LOAD_HALF: u16 = 0x28;
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(LOAD_HALF, 0, 0, 12),
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, 0x0800),
        SockFilter::new(LOAD_BYTE, 0, 0, 23),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, VRRP),
        SockFilter::new(RETURN, 0, 0, 0xffff),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}
