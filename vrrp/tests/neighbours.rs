//! What is asked of neighbours and heard from them over IPv6, where ARP does it over IPv4: who else has a VIP, and
//! whether the other node's machine is there. Needs root.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests talk to a real kernel by sockets, measure and print"
)]

mod lan;

use std::net::{Ipv6Addr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use common::board::VipState::{Active, Backup};
use common::config::{Config, SilentTakeover};
use lan::node::{Running, config_with_ipv6, signed};
use lan::{Lan, VIP_V6, wait_for};

const SECOND: Duration = Duration::from_secs(1);
const TENTH: Duration = Duration::from_millis(100);
/// Place of the IPv6 VIP.
const WEB: usize = 1;
/// The machine that has a VIP and should not, and a client of the VIP.
const RIVAL: u8 = 3;
const CLIENT: u8 = 4;
/// Three heartbeats without a frame, and three questions without an answer; twice that for a busy machine.
const SILENT: Duration = Duration::from_millis(140);

/// Host n's.
const fn address(host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host as u16)
}

/// The hardware address of who claimed the IPv6 VIP last.
fn rival_of(node: &Running) -> Option<u64> {
    let slot = &node.board.rivals[WEB];
    slot.seen.get().map(|_| slot.mac.get())
}

/// Both nodes, once the first one holds the VIPs and each knows the other's machine.
fn acquainted(lan: &Lan, config: &Config) -> (Running, Running) {
    let one = Running::start(lan, 1, config);
    wait_for("the first node holds both VIPs", SECOND * 6, || {
        one.all(Active)
    });
    let two = Running::start(lan, 2, config);
    for node in [&one, &two] {
        wait_for("the other one's kernel has answered", SECOND * 3, || {
            node.board.peer_answered.get().is_some()
        });
    }
    wait_for("the second node is a backup", SECOND, || two.all(Backup));
    (one, two)
}

#[test]
fn a_foreign_machine_with_an_ipv6_vip_is_named_and_answered() {
    let lan = Lan::new(4).with_ipv6();
    let config = config_with_ipv6(TENTH);
    let began = Instant::now();
    let (one, two) = acquainted(&lan, &config);
    wait_for("each has asked who has the VIP", SECOND * 3, || {
        began.elapsed() > SECOND * 2
    });
    assert_eq!((rival_of(&one), rival_of(&two)), (None, None));
    two.stop();

    // It has the VIP and says nothing: a node that starts asks soon.
    let vip = format!("{VIP_V6}/128");
    lan.ip(RIVAL, &["address", "add", &vip, "dev", "eth0", "nodad"]);
    let two = Running::start(&lan, 2, &config);
    let named = Some(u64::from_be_bytes([0, 0, 2, 0, 0, 0, 0, RIVAL]));
    let asked = wait_for("the backup names it", SECOND * 4, || {
        rival_of(&two) == named
    });
    println!("a silent rival was named {asked:?} after the start");

    // It speaks from the VIP. No announcement of the holder is due now but the answer.
    wait_for("the first announcements are over", SECOND * 5, || {
        began.elapsed() > SECOND * 5
    });
    let claims = || one.board.rivals[WEB].claims.get();
    let before = claims();
    let to_rival = ["lladdr", "02:00:00:00:00:03", "nud", "reachable"];
    let neighbour = ["neighbour", "replace", "fd00::10", "dev", "eth0"];
    lan.ip(CLIENT, &[&neighbour[..], &to_rival].concat());
    lan.ip(RIVAL, &["-6", "neighbour", "flush", "dev", "eth0"]);
    lan.inside(RIVAL, || {
        // To a neighbour that has to be asked for: the question has the VIP as its source.
        let socket = UdpSocket::bind((VIP_V6, 0)).expect("it has the VIP");
        socket.send_to(b"x", (address(1), 9)).expect("sent")
    });
    let answered = wait_for("the client goes to the holder again", SECOND * 2, || {
        let shown = lan.ip(CLIENT, &["-6", "neighbour", "show", "fd00::10"]);
        shown.contains("02:00:00:00:00:01")
    });
    println!("its claim was answered after {answered:?}");
    assert_eq!(rival_of(&one), named);
    assert!(claims() > before);
    assert!(one.all(Active) && two.all(Backup), "nothing moves");
}

/// Runs nft(8) on a host.
fn nft(lan: &Lan, host: u8, command: &str) {
    let line = ["netns", "exec", &lan.host(host), "nft", command];
    let done = Command::new("ip").args(line).status();
    assert!(done.expect("nftables is installed").success(), "{command}");
}

#[test]
fn a_machine_with_an_ipv6_address_is_asked_before_it_is_taken_for_lost() {
    let lan = Lan::new(2).with_ipv6();
    let mut config = signed(config_with_ipv6(SECOND));
    config.pair.silent_takeover = SilentTakeover::Always;
    for (host, node) in (1..).zip(&mut config.nodes) {
        node.address = address(host).into();
    }
    let (_one, two) = acquainted(&lan, &config);
    let beats = || two.board.peer.heartbeat.get();
    wait_for("heartbeats", SECOND, || beats().is_some());

    // Host 2 throws away what vrrp of host 1 says, and not what its kernel does.
    nft(&lan, 2, "add table inet deaf");
    let chain = "add chain inet deaf in { type filter hook input priority 0 ; }";
    nft(&lan, 2, chain);
    nft(
        &lan,
        2,
        "add rule inet deaf in meta l4proto { 17, 112 } drop",
    );
    wait_for("an answer saves it", SECOND, || {
        two.board.silences_averted.get() == 1
    });
    nft(&lan, 2, "delete table inet deaf");
    let last = beats();
    wait_for("heartbeats are back", SECOND, || beats() > last);
    assert_eq!(two.board.silences.get(), 0);
    assert!(two.all(Backup), "an answer is no silence");

    let bridge = lan.bridge();
    lan::ip(&["-n", &bridge, "link", "set", "p1", "down"]);
    let gap = wait_for("the second node takes over", SECOND * 3, || two.all(Active));
    println!("machine lost over IPv6 at adverts of 1 s: {gap:?}");
    assert!(gap <= SILENT, "{gap:?}");
    assert_eq!(two.board.silences.get(), 1);
    assert!(two.board.questions.get() >= 3);
}
