//! What a holder tells the neighbours, captured on another host: when, in which forms, and never for a VIP that it does
//! not have. Needs root.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the tests capture frames of a real kernel"
)]

mod lan;

use std::io::Read as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::addr::Priority;
use common::board::VipState::{Active, Backup};
use lan::node::{Running, config};
use lan::{Lan, VIP, enter, wait_for};
use nix::libc::ETH_P_ARP;
use socket2::{Domain, Protocol, Socket, Type};
use vrrp::link::RouteSocket;

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(100);
/// Three intervals and the skew of priority 250: (256 - 250) / 256 of one.
const ACTIVE_DOWN: Duration = Duration::from_nanos(302_343_750);
const BROADCAST: [u8; 6] = [0xff; 6];

/// One ARP frame about the first VIP.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Frame {
    at: Instant,
    /// The host that sent it had the VIP when it came.
    installed: bool,
    bytes: Vec<u8>,
}

impl Frame {
    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        self.bytes[at..at + N]
            .try_into()
            .expect("it is in the frame")
    }

    /// Offsets are those of ARP over Ethernet (RFC 826) behind the Ethernet header.
    fn operation(&self) -> u16 {
        u16::from_be_bytes(self.field(20))
    }

    /// Linux learns from a request of its sender for itself, and from a reply to itself, whoever asked.
    fn assert_gratuitous(&self) {
        let (sender, target) = (self.field::<6>(22), self.field::<6>(32));
        assert_eq!(self.field::<6>(0), BROADCAST);
        assert_eq!(self.field::<6>(6), sender, "the frame's sender is ARP's");
        assert_eq!((self.field::<4>(28), self.field::<4>(38)), (VIP, VIP));
        match self.operation() {
            1 => assert_eq!(target, [0; 6], "nobody is asked"),
            2 => assert_eq!(target, sender, "the reply is to the sender"),
            other => panic!("operation {other}"),
        }
    }
}

/// Captures on one host what another one says of the first VIP.
struct Ear {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Frame>>,
}

impl Ear {
    fn of(lan: &Lan, listener: u8, speaker: u8) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let ending = Arc::clone(&over);
        let mut kernel = lan.inside(speaker, || RouteSocket::open().expect("root may open it"));
        let name = lan.host(listener);
        let (ready, opened) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            enter(&name);
            let protocol = Protocol::from(i32::from((ETH_P_ARP as u16).to_be()));
            let mut socket =
                Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).expect("root may open it");
            socket
                .set_read_timeout(Some(INTERVAL / 10))
                .expect("a socket");
            ready.send(()).expect("the test waits");
            let mut frames = Vec::new();
            let mut buffer = [0; 128];
            while !ending.load(Ordering::Acquire) {
                let Ok(length) = socket.read(&mut buffer) else {
                    continue;
                };
                let (at, bytes) = (Instant::now(), buffer[..length].to_vec());
                if bytes[6..12] != [2, 0, 0, 0, 0, speaker] || bytes[28..32] != VIP {
                    continue;
                }
                let found = kernel.addresses().expect("the kernel answers");
                let installed = found.iter().any(|one| one.address == Ipv4Addr::from(VIP));
                frames.push(Frame {
                    at,
                    installed,
                    bytes,
                });
            }
            frames
        });
        opened.recv().expect("the socket is open");
        Self { over, thread }
    }

    fn finish(self) -> Vec<Frame> {
        self.over.store(true, Ordering::Release);
        self.thread.join().expect("no panic")
    }
}

/// Waits until a host's kernel has the VIP, or has it no more.
fn wait_installed(lan: &Lan, host: u8, there: bool) -> Instant {
    let mut kernel = lan.inside(host, || RouteSocket::open().expect("root may open it"));
    wait_for("the VIP comes or goes", SECOND * 3, || {
        let found = kernel.addresses().expect("the kernel answers");
        there == found.iter().any(|one| one.address == Ipv4Addr::from(VIP))
    });
    Instant::now()
}

#[test]
fn fo_62_announcements_are_valid_and_come_only_from_the_holder() {
    let lan = Lan::new(3);
    let ear = Ear::of(&lan, 3, 1);
    let one = Running::start(&lan, 1, &config(INTERVAL));
    wait_installed(&lan, 1, true);
    std::thread::sleep(Duration::from_millis(3_200));
    // A better node demotes it.
    let mut better = config(INTERVAL);
    for vip in &mut better.vips {
        vip.priorities[1] = Priority::new(253).expect("not 0");
        vip.preempt_delay = Duration::ZERO;
    }
    let two = Running::start(&lan, 2, &better);
    let gone = wait_installed(&lan, 1, false);
    wait_for("the better node is active", SECOND, || {
        one.all(Backup) && two.all(Active)
    });
    // As long as the last round of the schedule could be late.
    std::thread::sleep(SECOND);
    let frames = ear.finish();
    for frame in &frames {
        frame.assert_gratuitous();
        assert!(frame.installed, "announced without the VIP: {frame:?}");
        let after = frame.at.saturating_duration_since(gone);
        assert!(
            after < Duration::from_millis(2),
            "{after:?} after its removal"
        );
    }
    let (requests, replies): (Vec<_>, Vec<_>) = frames.iter().partition(|one| one.operation() == 1);
    let offsets = |frames: &[&Frame]| -> Vec<u128> {
        let first = frames.first().expect("it announced").at;
        let since = |frame: &&Frame| frame.at.duration_since(first).as_millis();
        frames.iter().map(since).collect()
    };
    for found in [offsets(&requests), offsets(&replies)] {
        println!("announced after {found:?} ms");
        let due = [0, 50, 250, 1_000, 3_000];
        assert_eq!(found.len(), due.len(), "{found:?}");
        for (found, due) in found.iter().zip(due) {
            assert!(found.abs_diff(due) <= 40, "{found} ms instead of {due}");
        }
    }
}

#[test]
fn fo_59_after_a_boot_nobody_hears_of_a_vip_before_the_active_down_interval() {
    let lan = Lan::new(3);
    let ear = Ear::of(&lan, 3, 1);
    let start = Instant::now();
    let one = Running::start(&lan, 1, &config(INTERVAL));
    let installed = wait_installed(&lan, 1, true).duration_since(start);
    wait_for("it is active", SECOND, || one.all(Active));
    // A frame that is on its way arrives.
    std::thread::sleep(INTERVAL / 5);
    let frames = ear.finish();
    let told = frames
        .first()
        .expect("it announces")
        .at
        .duration_since(start);
    println!("VIP after {installed:?}, announced after {told:?}, {ACTIVE_DOWN:?} expected");
    assert!(installed >= ACTIVE_DOWN && told >= ACTIVE_DOWN);
}
