//! Packets that a node must never obey change nothing, not even a timer; each is counted by its
//! reason. Needs root.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the test forges packets at its own pace"
)]

mod lan;

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use common::addr::Vrid;
use common::board::VipState::{Active, Backup};
use common::board::{DropReason, PairDrop};
use common::config::{ChecksumForm, Transport};
use lan::node::{Running, config, paired_config};
use lan::{Lan, VIP, wait_for};
use socket2::{Domain, Protocol, Socket, Type};
use vrrp::packet::{Addresses, Advert, Envelope, GROUP, MAX_DATAGRAM, Version, encode};

const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);
const INTERVAL: Duration = TENTH;

/// Offsets in a datagram: IP header of 20 bytes, then the advert.
const TTL: usize = 8;
const SOURCE: std::ops::Range<usize> = 12..16;
const DESTINATION: std::ops::Range<usize> = 16..20;
const VRID: usize = 21;
const MAX_ADVERT_INTERVAL: std::ops::Range<usize> = 24..26;
const CHECKSUM: std::ops::Range<usize> = 26..28;

/// The other node, as far as the wire goes.
struct Forger(Socket);

impl Forger {
    fn on(lan: &Lan, host: u8) -> Self {
        lan.inside(host, || {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255)))
                .expect("root may open it");
            socket.bind_device(Some(b"eth0")).expect("it is there");
            socket.set_header_included_v4(true).expect("a raw socket");
            Self(socket)
        })
    }

    fn send(&self, datagram: &[u8]) {
        let destination = <[u8; 4]>::try_from(&datagram[DESTINATION]).expect("four bytes");
        self.0
            .send_to(datagram, &SocketAddrV4::new(destination.into(), 0).into())
            .expect("the network is up");
    }
}

/// A good advert of host 2 for the first VIP, with a priority above that of host 1.
fn advert(priority: u8) -> Vec<u8> {
    let advert = Advert {
        vrid: Vrid::new(51).expect("not 0"),
        priority,
        interval: INTERVAL,
        addresses: Addresses::V4(&[VIP]),
    };
    let envelope = Envelope {
        source: IpAddr::from([192, 0, 2, 2]),
        destination: GROUP.into(),
        // Without the pseudo-header a new source leaves the checksum right.
        version: Version::V3(ChecksumForm::Message),
    };
    let mut bytes = [0; MAX_DATAGRAM];
    let length = encode(&advert, &envelope, None, &mut bytes).expect("it can be written");
    bytes[..length].to_vec()
}

/// Changes an advert and makes its checksum right again (RFC 1071).
fn forged(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut datagram = advert(254);
    change(&mut datagram);
    if datagram.len() >= 28 {
        datagram[CHECKSUM].fill(0);
        let mut sum: u32 = datagram[20..]
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
            .sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let sum = !u16::try_from(sum).expect("it was folded");
        datagram[CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    }
    datagram
}

/// Each kind of bad packet with the reason for which it is dropped. All would win an election.
fn bad_packets() -> Vec<(DropReason, Vec<u8>)> {
    let mut bad_checksum = advert(254);
    bad_checksum[CHECKSUM.start] ^= 0x55;
    vec![
        (DropReason::Checksum, bad_checksum),
        (DropReason::Ttl, forged(|bytes| bytes[TTL] = 64)),
        (DropReason::Vrid, forged(|bytes| bytes[VRID] = 77)),
        (DropReason::Truncated, forged(|bytes| bytes.truncate(27))),
        (DropReason::Length, forged(|bytes| bytes.extend([0; 8]))),
        (
            DropReason::IntervalZero,
            forged(|bytes| bytes[MAX_ADVERT_INTERVAL].fill(0)),
        ),
        (
            DropReason::OwnSource,
            forged(|bytes| bytes[SOURCE].copy_from_slice(&[192, 0, 2, 1])),
        ),
        (
            DropReason::Source,
            forged(|bytes| bytes[SOURCE].copy_from_slice(&[192, 0, 2, 66])),
        ),
        (DropReason::Version, forged(|bytes| bytes[20] = 0x21)),
        (DropReason::Type, forged(|bytes| bytes[20] = 0x32)),
        (DropReason::CountZero, forged(|bytes| bytes[23] = 0)),
    ]
}

#[test]
fn bad_packets_neither_move_an_active_nor_slow_its_adverts() {
    let lan = Lan::new(2);
    let node = Running::start(&lan, 1, &config(INTERVAL));
    wait_for("the node is active", SECOND * 3, || node.all(Active));
    let forger = Forger::on(&lan, 2);
    let sent = node.board.vips[0].adverts_sent.get();
    let start = Instant::now();
    for _ in 0..30 {
        for (_, datagram) in bad_packets() {
            forger.send(&datagram);
        }
        std::thread::sleep(INTERVAL / 3);
    }
    let elapsed = start.elapsed();
    let sent = node.board.vips[0].adverts_sent.get() - sent;
    for (reason, _) in bad_packets() {
        assert_eq!(node.drops(reason), 30, "{}", reason.word());
    }
    assert!(node.all(Active));
    assert_eq!(node.board.vips[0].adverts_received.get(), 0);
    assert_eq!(node.board.vips[0].became_active.get(), 1);
    let expected = elapsed.as_secs_f64() / INTERVAL.as_secs_f64();
    println!("{sent} adverts in {elapsed:?} of bad packets, {expected:.1} expected");
    assert!(
        (sent as f64 - expected).abs() <= 1.5,
        "{sent} instead of {expected:.1} adverts"
    );
}

/// By unicast anybody may reach a node, also from behind a router.
#[test]
fn sec_82_unicast_of_a_stranger_and_from_afar_changes_nothing() {
    let lan = Lan::new(3);
    let mut config = config(INTERVAL);
    for vip in &mut config.vips {
        vip.transport = Transport::Unicast;
    }
    let node = Running::start(&lan, 1, &config);
    wait_for("the node is active", SECOND * 3, || node.all(Active));
    let forger = Forger::on(&lan, 3);
    let from = |source: u8, ttl: u8| {
        forged(|bytes| {
            bytes[SOURCE].copy_from_slice(&[192, 0, 2, source]);
            bytes[DESTINATION].copy_from_slice(&[192, 0, 2, 1]);
            bytes[TTL] = ttl;
        })
    };
    let sent = node.board.vips[0].adverts_sent.get();
    let start = Instant::now();
    for _ in 0..10 {
        for datagram in [from(3, 64), from(3, 255), from(2, 254)] {
            forger.send(&datagram);
        }
        std::thread::sleep(INTERVAL / 3);
    }
    let expected = start.elapsed().as_secs_f64() / INTERVAL.as_secs_f64();
    wait_for("all are counted", SECOND, || {
        node.drops(DropReason::Ttl) == 20 && node.drops(DropReason::Source) == 10
    });
    let sent = node.board.vips[0].adverts_sent.get() - sent;
    assert!(
        (sent as f64 - expected).abs() <= 1.5,
        "{sent} of {expected:.1}"
    );
    assert!(node.all(Active));
    assert_eq!(node.board.vips[0].adverts_received.get(), 0);
    // The same from the other node's address and from nearby would have been obeyed.
    forger.send(&from(2, 255));
    wait_for("it is a backup", SECOND, || node.state(0) == Backup);
}

#[test]
fn bad_packets_do_not_keep_a_backup_from_taking_over() {
    let lan = Lan::new(2);
    let node = Running::start(&lan, 1, &config(INTERVAL));
    let forger = Forger::on(&lan, 2);
    let good = advert(254);
    for _ in 0..8 {
        forger.send(&good);
        std::thread::sleep(INTERVAL / 2);
    }
    assert_eq!(node.state(0), Backup, "good adverts are obeyed");
    let before = vrrp::now();
    forger.send(&good);
    let after = vrrp::now();
    let bad = bad_packets();
    let mut next = bad.iter().cycle();
    wait_for("the takeover", SECOND * 2, || {
        let (_, datagram) = next.next().expect("it is a cycle");
        forger.send(datagram);
        std::thread::sleep(Duration::from_millis(3));
        node.state(0) == Active
    });
    // Three intervals and the skew of priority 250: (256 - 250) / 256 of one.
    let interval = INTERVAL * 3 + INTERVAL * 6 / 256;
    let since = node.board.vips[0].since.get().expect("it is active");
    println!(
        "takeover {:?} after the last good advert, {interval:?} expected",
        since.since(before)
    );
    assert!(since.since(before) >= interval);
    let machine = Duration::from_nanos(node.board.worst_lateness.get());
    let limit = interval + machine + Duration::from_millis(2);
    assert!(since.since(after) <= limit, "{limit:?}");
}

#[test]
fn a_flood_is_read_in_bounded_turns_and_delays_nothing() {
    let lan = Lan::new(2);
    let node = Running::start(&lan, 1, &config(INTERVAL));
    wait_for("the node is active", SECOND * 3, || node.all(Active));
    let forger = Forger::on(&lan, 2);
    let flood = forged(|bytes| bytes[VRID] = 77);
    let sent = node.board.vips[0].adverts_sent.get();
    let start = Instant::now();
    let mut packets = 0_u64;
    while start.elapsed() < SECOND {
        for _ in 0..100 {
            forger.send(&flood);
        }
        packets += 100;
        std::thread::sleep(Duration::from_millis(1));
    }
    let expected = start.elapsed().as_secs_f64() / INTERVAL.as_secs_f64();
    let sent = node.board.vips[0].adverts_sent.get() - sent;
    println!(
        "{packets} packets sent, {} counted, {sent} adverts of {expected:.1}, worst lateness {} us",
        node.drops(DropReason::Vrid),
        node.board.worst_lateness.get() / 1_000
    );
    assert!(node.drops(DropReason::Vrid) > 0);
    assert!((sent as f64 - expected).abs() <= 1.5, "{sent}");
    assert!(node.all(Active));
}

#[test]
fn a_flood_without_a_pause_is_no_runaway() {
    let lan = Lan::new(2);
    let node = Running::start(&lan, 1, &config(INTERVAL));
    wait_for("the node is active", SECOND * 3, || node.all(Active));
    let forger = Forger::on(&lan, 2);
    let flood = forged(|bytes| bytes[VRID] = 77);
    let sent = node.board.vips[0].adverts_sent.get();
    let (start, counted) = (Instant::now(), node.drops(DropReason::Vrid));
    while start.elapsed() < SECOND * 2 {
        forger.send(&flood);
    }
    let expected = start.elapsed().as_secs_f64() / INTERVAL.as_secs_f64();
    let sent = node.board.vips[0].adverts_sent.get() - sent;
    let counted = node.drops(DropReason::Vrid) - counted;
    println!("{counted} packets counted, {sent} adverts of {expected:.1}");
    assert!(counted > 1_000, "{counted}");
    assert!((sent as f64 - expected).abs() <= 2.0, "{sent}");
    assert!(node.all(Active));
}

#[test]
fn foreign_datagrams_of_the_pair_channel_are_counted_and_say_nothing() {
    let lan = Lan::new(3);
    let config = paired_config(INTERVAL);
    let node = Running::start(&lan, 1, &config);
    wait_for("the node is active", SECOND * 3, || node.all(Active));
    let send = |host: u8, datagram: &[u8]| {
        lan.inside(host, || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("the host is up");
            socket
                .send_to(datagram, ("192.0.2.1", config.pair.port))
                .expect("the network is up");
        });
    };
    let drops = |reason: PairDrop| node.board.pair_drops[reason as usize].get();
    send(3, b"from a third machine");
    wait_for("the source is counted", SECOND, || {
        drops(PairDrop::Source) == 1
    });
    send(2, b"x");
    wait_for("the length is counted", SECOND, || {
        drops(PairDrop::Truncated) == 1
    });
    send(2, &[0x5a; 200]);
    wait_for("the forgery is counted", SECOND, || {
        PairDrop::ALL
            .iter()
            .map(|reason| drops(*reason))
            .sum::<u64>()
            == 3
    });
    assert_eq!(node.board.peer.heartbeat.get(), None);
    assert!(node.all(Active));
}
