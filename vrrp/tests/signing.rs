//! Signed adverts on a network: nobody without the key moves a VIP, whatever he has recorded. Needs
//! root.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the test forges packets at its own pace"
)]

mod lan;

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use common::addr::Vrid;
use common::board::DropReason;
use common::board::VipState::{Active, Backup};
use common::config::{ChecksumForm, Config, NodeIndex, Signing, VipIndex};
use lan::node::{KEY_FILE, Running, signing_config};
use lan::{Lan, VIP, wait_for};
use socket2::{Domain, Protocol, Socket, Type};
use vrrp::packet::{Addresses, Advert, Envelope, GROUP, MAX_DATAGRAM, Packet, Version, encode};
use vrrp::release::{Left, Will};
use vrrp::signature::{Keys, Stamp};

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_millis(100);
/// Three intervals and the skew of priority 240.
const ACTIVE_DOWN: Duration = Duration::from_micros(306_250);
const LB1: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const LB2: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

/// A third host, which hears everything and may say anything.
struct Stranger {
    ears: Socket,
    mouth: Socket,
}

impl Stranger {
    fn on(lan: &Lan, host: u8) -> Self {
        lan.inside(host, || {
            let raw = |protocol: i32| {
                let protocol = Some(Protocol::from(protocol));
                let socket = Socket::new(Domain::IPV4, Type::RAW, protocol);
                let socket = socket.expect("root may open it");
                socket.bind_device(Some(b"eth0")).expect("it is there");
                socket
            };
            let (ears, mouth) = (raw(112), raw(255));
            let own = Ipv4Addr::new(192, 0, 2, host);
            ears.join_multicast_v4(&GROUP, &own).expect("joined");
            ears.set_read_timeout(Some(SECOND)).expect("set");
            mouth.set_header_included_v4(true).expect("a raw socket");
            Self { ears, mouth }
        })
    }

    /// The next advert of a node, with its IP header.
    fn hear(&self, from: IpAddr) -> Vec<u8> {
        loop {
            let mut heard = vec![0; 2_000];
            let length = (&self.ears).read(&mut heard);
            heard.truncate(length.expect("somebody sends adverts"));
            if Packet::read(&heard).is_ok_and(|packet| packet.source == from) {
                return heard;
            }
        }
    }

    fn say(&self, datagram: &[u8]) {
        self.mouth
            .send_to(datagram, &SocketAddrV4::new(GROUP, 0).into())
            .expect("the network is up");
    }
}

/// An advert of node 2 for the first VIP, above node 1's priority, or to resign.
fn advert(priority: u8, signature: Option<(&Keys, Stamp)>) -> Vec<u8> {
    let advert = Advert {
        vrid: Vrid::new(51).expect("not 0"),
        priority,
        interval: INTERVAL,
        addresses: Addresses::V4(&[VIP]),
    };
    let envelope = Envelope {
        source: LB2,
        destination: GROUP.into(),
        version: Version::V3(ChecksumForm::Pseudo),
    };
    let mut bytes = [0; MAX_DATAGRAM];
    let length = encode(&advert, &envelope, signature, &mut bytes).expect("it can be written");
    bytes[..length].to_vec()
}

fn key(id: u8, byte: u8) -> Keys {
    Keys::new(&[(id, [byte; 32])]).expect("a key")
}

/// What the nodes have.
fn pair_key() -> Keys {
    Keys::new(&[(
        1,
        std::array::from_fn(|n| u8::try_from(n).expect("32 bytes")),
    )])
    .expect("a key")
}

fn now() -> Stamp {
    let wall = std::time::SystemTime::UNIX_EPOCH.elapsed();
    Stamp::at(wall.expect("after 1970"))
}

fn dropped(node: &Running, reason: DropReason) -> u64 {
    node.board.drops[reason as usize].get()
}

/// Node 1 is active, node 2 its backup.
fn elected(lan: &Lan, config: &Config) -> (Running, Running) {
    let one = Running::start(lan, 1, config);
    wait_for("node 1 is active", SECOND * 5, || one.all(Active));
    let two = Running::start(lan, 2, config);
    wait_for("node 2 is up", SECOND * 5, || two.all(Backup));
    (one, two)
}

#[test]
fn two_nodes_elect_fail_and_return_with_signed_adverts() {
    let lan = Lan::new(3);
    let config = signing_config(INTERVAL, Signing::Enforce);
    let stranger = Stranger::on(&lan, 3);
    let (one, two) = elected(&lan, &config);
    let datagram = stranger.hear(LB1);
    assert_eq!(datagram.len(), 20 + 12 + 28);
    assert_eq!(
        usize::from(datagram[3]),
        datagram.len(),
        "the length counts the trailer"
    );
    let (message, trailer) = datagram[20..].split_at(12);
    let trailer = trailer.try_into().expect("28 bytes");
    let verified = pair_key().verify((LB1, message), trailer, |_| true);
    assert!(verified.is_ok_and(|stamp| stamp <= now()));
    // A stop is believed: no active-down interval passes.
    let start = Instant::now();
    drop(one);
    wait_for("node 2 takes over", SECOND, || two.all(Active));
    assert!(start.elapsed() < INTERVAL * 2, "{:?}", start.elapsed());
    let drops: u64 = two.board.drops.iter().map(|cell| cell.get()).sum();
    assert_eq!(drops, 0);
    // It comes back with the stamps that its clock gives.
    let one = Running::start(&lan, 1, &config);
    wait_for("node 1 hears node 2", SECOND, || {
        one.board.vips[0].adverts_received.get() > 3
    });
    assert!(one.all(Backup), "it waits for preempt_delay");
}

#[test]
fn forged_adverts_are_dropped_by_their_reasons_and_move_nothing() {
    let lan = Lan::new(3);
    let config = signing_config(INTERVAL, Signing::Enforce);
    let stranger = Stranger::on(&lan, 3);
    let one = Running::start(&lan, 1, &config);
    wait_for("node 1 is active", SECOND * 5, || one.all(Active));
    let changes = one.board.vips[0].became_active.get();
    let good = advert(253, Some((&pair_key(), now())));
    let mut malformed = good.clone();
    malformed[20 + 12 + 2] = 1;
    let mut cut = good.clone();
    cut.truncate(good.len() - 1);
    cut[3] -= 1;
    let forged = [
        (DropReason::HmacMissing, advert(253, None)),
        (DropReason::HmacMissing, advert(0, None)),
        (DropReason::HmacBad, advert(253, Some((&key(1, 7), now())))),
        (DropReason::HmacKey, advert(253, Some((&key(2, 7), now())))),
        (DropReason::HmacMalformed, malformed),
        (DropReason::Length, cut),
    ];
    for (reason, datagram) in &forged {
        let before = dropped(&one, *reason);
        for _ in 0..5 {
            stranger.say(datagram);
        }
        wait_for(reason.word(), SECOND, || {
            dropped(&one, *reason) == before + 5
        });
    }
    assert_eq!(one.board.vips[0].adverts_received.get(), 0);
    assert!(one.all(Active));
    assert_eq!(one.board.vips[0].became_active.get(), changes);
    // The same with the key is heard: nothing else kept them out.
    stranger.say(&good);
    wait_for("a higher priority", SECOND, || one.state(0) == Backup);
}

#[test]
fn recorded_adverts_do_not_keep_a_dead_node_alive() {
    let lan = Lan::new(3);
    let config = signing_config(INTERVAL, Signing::Enforce);
    let stranger = Stranger::on(&lan, 3);
    let (_one, two) = elected(&lan, &config);
    let recorded: Vec<_> = (0..10).map(|_| stranger.hear(LB1)).collect();
    wait_for("node 2 has heard them", SECOND * 3, || {
        two.board.vips[0].adverts_received.get() > 5
    });
    lan::ip(&["-n", &lan.bridge(), "link", "set", "p1", "down"]);
    let start = Instant::now();
    while two.state(0) != Active && start.elapsed() < SECOND * 3 {
        for datagram in &recorded {
            stranger.say(datagram);
        }
        std::thread::sleep(INTERVAL / 4);
    }
    let took = start.elapsed();
    assert!(took < ACTIVE_DOWN + INTERVAL, "{took:?}");
    assert!(dropped(&two, DropReason::HmacReplay) >= 10);
}

#[test]
fn a_node_in_permissive_mode_hears_both_and_signs() {
    let lan = Lan::new(3);
    let stranger = Stranger::on(&lan, 3);
    let config = signing_config(INTERVAL, Signing::Permissive);
    let one = Running::start(&lan, 1, &config);
    wait_for("node 1 is active", SECOND * 5, || one.all(Active));
    assert_eq!(stranger.hear(LB1).len(), 20 + 12 + 28);
    stranger.say(&advert(100, Some((&key(1, 7), now()))));
    wait_for("a bad signature", SECOND, || {
        dropped(&one, DropReason::HmacBad) == 1
    });
    stranger.say(&advert(253, None));
    wait_for("an unsigned advert", SECOND, || one.state(0) == Backup);
}

#[test]
fn signing_is_switched_on_step_by_step_without_two_actives() {
    let lan = Lan::new(3);
    let steps = [Signing::ReceiveOnly, Signing::Permissive, Signing::Enforce];
    for pair in steps.windows(2) {
        for (older, newer) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            let one = Running::start(&lan, 1, &signing_config(INTERVAL, older));
            wait_for("node 1 is active", SECOND * 5, || one.all(Active));
            let two = Running::start(&lan, 2, &signing_config(INTERVAL, newer));
            let length = Stranger::on(&lan, 3).hear(LB1).len();
            assert_eq!(length == 20 + 12 + 28, older.signs(), "{older:?}");
            std::thread::sleep(ACTIVE_DOWN * 2);
            assert!(two.all(Backup), "{older:?} and {newer:?}");
            drop((one, two));
        }
    }
}

#[test]
fn the_last_will_is_signed_and_newer_than_what_vrrp_signed() {
    let lan = Lan::new(2);
    let config = signing_config(SECOND, Signing::Enforce);
    let other = Running::start(&lan, 2, &config);
    wait_for("the other node is up", SECOND, || other.all(Backup));
    let will = |key| {
        let prepared = lan.inside(1, || Will::prepare(&config, NodeIndex(0), key));
        prepared.expect("root may prepare it")
    };
    let held = |stamp| Left {
        was_leased: |vip| vip == VipIndex(0),
        stamp,
    };
    will(None).execute(held(None)).expect("the kernel answers");
    wait_for("unsigned ones", SECOND, || {
        dropped(&other, DropReason::HmacMissing) == 2
    });
    assert_eq!(other.state(0), Backup);
    // The clock was set back by two seconds after vrrp had signed its last advert.
    let ahead = Stamp::at(now().wall() + SECOND * 2);
    let mut signed = will(Some(KEY_FILE));
    let start = Instant::now();
    signed
        .execute(held(Some(ahead)))
        .expect("the kernel answers");
    wait_for("the other node takes over", SECOND, || {
        other.state(0) == Active
    });
    assert!(start.elapsed() < INTERVAL, "{:?}", start.elapsed());
    wait_for("both copies", SECOND, || {
        other.board.vips[0].priority_zero_received.get() == 2
    });
    assert_eq!(dropped(&other, DropReason::HmacReplay), 0);
}
