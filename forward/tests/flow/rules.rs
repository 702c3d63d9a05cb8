//! Each rule, with what the program counted on both nodes.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use common::time::Moment;
use forward::Cause;
use lab::Node::{Client, LanSwitch, Lb1, Lb2};

use crate::frame::{ACK, FIN, RST, SYN, Segment, frame, tagged, too_big};
use crate::site::{FAMILIES, PORT, Site, VIPS, mac};

pub(crate) const DIRECT: (lab::Node, lab::Node) = (Lb1, Lb1);
/// Sent to lb1, lb2 has it.
pub(crate) const AROUND: (lab::Node, lab::Node) = (Lb1, Lb2);
/// Further than any window.
const FAR: u32 = 1 << 28;

/// Both directions, a byte each.
#[track_caller]
fn ping_pong(near: &mut TcpStream, far: &mut TcpStream) {
    let mut byte = [0];
    near.write_all(&[7]).expect("written");
    far.read_exact(&mut byte).expect("read at the server");
    far.write_all(&byte).expect("answered");
    near.read_exact(&mut byte).expect("read at the client");
}

/// What was counted since, on lb1 and lb2.
pub(crate) fn changes<T>(site: &Site, work: impl FnOnce() -> T) -> (T, [Vec<(Cause, u64)>; 2]) {
    let counts = || [site.lb1.counts(), site.lb2.counts()];
    let before = counts();
    let result = work();
    let mut after = counts();
    for (now, then) in after.iter_mut().zip(before) {
        for (cause, packets) in now.iter_mut() {
            let earlier = then.iter().find(|(one, _)| one == cause);
            *packets -= earlier.map_or(0, |(_, packets)| *packets);
        }
        now.retain(|(_, packets)| *packets > 0);
    }
    (result, after)
}

#[test]
fn connections_live_on_while_a_vip_moves_and_a_stale_client_is_served() {
    let site = Site::new();
    for vip in FAMILIES {
        site.move_to(Lb1);
        let mut held = site.connect(vip);
        let mut at_lb1 = site.lb1.accept(vip);
        ping_pong(&mut held, &mut at_lb1);
        site.move_to(Lb2);
        let ((), [lb1, lb2]) = changes(&site, || ping_pong(&mut held, &mut at_lb1));
        assert!(
            lb1.iter().all(|(cause, _)| *cause == Cause::FromPeer),
            "{lb1:?}"
        );
        assert!(
            lb2.iter().all(|(cause, _)| *cause == Cause::Unknown),
            "{lb2:?}"
        );
        assert!(!lb1.is_empty() && !lb2.is_empty());
        let mut new = site.connect(vip);
        let mut at_lb2 = site.lb2.accept(vip);
        ping_pong(&mut new, &mut at_lb2);
        // It was told nothing of the move.
        site.resolve_to(Lb1);
        let mut stale = site.connect(vip);
        let mut from_stale = site.lb2.accept(vip);
        ping_pong(&mut stale, &mut from_stale);
        ping_pong(&mut new, &mut at_lb2);
        ping_pong(&mut held, &mut at_lb1);
    }
    assert_eq!(site.lb1.count(Cause::SynThere), 2);
    assert_eq!(site.lb2.count(Cause::SynHere), 2);
}

#[test]
fn a_segment_that_nobody_knows_goes_round_once() {
    let mut site = Site::new();
    for vip in FAMILIES {
        let ghost = site.ghost(vip);
        let stray = ghost.segment(ACK);
        let ((), counted) = changes(&site, || site.expect_reset(&ghost, AROUND, &stray));
        assert_eq!(
            counted,
            [vec![(Cause::Unknown, 1)], vec![(Cause::FromPeer, 1)]]
        );
    }
}

#[test]
fn the_kernel_answers_for_a_dead_node_until_it_is_heard_again() {
    let mut site = Site::new();
    for vip in FAMILIES {
        site.move_to(Lb1);
        site.speak(Lb2, Lb1);
        let heard = site.lb1.board.peer_frame.get().expect("a frame of lb2");
        site.lb1.board.dead_as_of.set(heard);
        assert!(site.lb1.board.is_peer_dead());
        let ghost = site.ghost(vip);
        site.expect_reset(&ghost, DIRECT, &ghost.segment(ACK));
        // Also where it is not active: there is nobody else.
        site.lb1.set_active(false);
        let mut ghost = site.ghost(vip);
        drop(site.handshake(&mut ghost, DIRECT));
        std::thread::sleep(Duration::from_millis(2));
        site.speak(Lb2, Lb1);
        assert!(
            !site.lb1.board.is_peer_dead(),
            "a frame takes the verdict back"
        );
        let ghost = site.ghost(vip);
        site.expect_reset(&ghost, AROUND, &ghost.segment(ACK));
        assert_eq!(site.lb1.board.dead_as_of.get(), Some(heard));
    }
    assert!(site.lb1.count(Cause::PeerDead) >= 6);
}

#[test]
fn the_stamp_is_of_the_other_node_and_of_nobody_else() {
    let site = Site::new();
    let stamp = || site.lb1.board.peer_frame.get();
    let speak = |from| site.speak(from, Lb1);
    speak(Lb2);
    let first = stamp().expect("a frame of lb2");
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("a clock");
    let age = Moment::from_nanos(Duration::from(now).as_nanos() as u64).since(first);
    assert!(age < Duration::from_secs(1), "{age:?}");
    // lb2 may say something by itself, as it joins multicast groups.
    let unmoved = (0..20).any(|_| {
        let before = stamp();
        std::thread::sleep(Duration::from_millis(2));
        speak(Client);
        stamp() == before
    });
    assert!(unmoved, "a frame of the client moves the stamp");
    // Older than the stamp is exact, whoever of lb2 has spoken last.
    let before = stamp();
    std::thread::sleep(Duration::from_millis(2));
    speak(Lb2);
    assert!(stamp() > before);
}

#[test]
fn a_new_connection_goes_where_it_is_listened_to_by_the_role_of_its_vip() {
    let mut site = Site::new();
    site.lb1.board.active[1].set(0);
    // The same ports, another VIP: another role.
    for (vip, way) in [(0, DIRECT), (1, AROUND), (2, DIRECT)] {
        let mut ghost = site.ghost(vip);
        drop(site.handshake(&mut ghost, way));
    }
    for vip in FAMILIES {
        site.lb1.listeners[vip] = None;
        let mut ghost = site.ghost(vip);
        drop(site.handshake(&mut ghost, AROUND));
        // A port that nobody has configured is none of the program's business.
        let mut ghost = site.ghost(vip);
        ghost.vip.set_port(PORT + 1);
        let ((), counted) = changes(&site, || {
            site.expect_reset(&ghost, DIRECT, &ghost.segment(SYN));
            site.expect_reset(&ghost, DIRECT, &ghost.segment(ACK));
        });
        assert_eq!(counted, [vec![], vec![]]);
    }
}

#[test]
fn segments_of_another_connection_of_the_same_addresses_go_there() {
    let mut site = Site::new();
    for vip in FAMILIES {
        let mut ghost = site.ghost(vip);
        let at_lb1 = site.handshake(&mut ghost, DIRECT);
        let mut segment = ghost.segment(ACK);
        let ((), counted) = changes(&site, || {
            for (seq, ack) in [(FAR, 0), (0, FAR), (0_u32.wrapping_sub(FAR), 0)] {
                segment.seq = ghost.seq.wrapping_add(seq);
                segment.ack = ghost.ack.wrapping_add(ack);
                site.expect_reset(&ghost, AROUND, &segment);
            }
        });
        assert_eq!(
            counted,
            [vec![(Cause::Foreign, 3)], vec![(Cause::FromPeer, 3)]]
        );
        let mut near = ghost.segment(ACK);
        near.payload = vec![1];
        let (answer, counted) = changes(&site, || {
            site.send(Lb1, &near.packet());
            site.answer(&ghost).expect("an acknowledgement")
        });
        assert_eq!((answer.from, answer.segment.ack), (Lb1, ghost.seq + 1));
        assert_eq!(counted, [vec![(Cause::Socket, 1)], vec![]]);
        ghost.seq += 1;

        // lb1 closes first, so it has the TIME_WAIT.
        drop(at_lb1);
        let last = site.answer(&ghost).expect("a FIN or an RST").segment;
        assert_eq!(
            last.flags & (FIN | RST),
            RST,
            "what it has not read makes an RST of it"
        );
    }
}

#[test]
fn what_a_closed_connection_left_takes_no_segment_of_another_one() {
    let mut site = Site::new();
    for vip in FAMILIES {
        let mut ghost = site.ghost(vip);
        drop(site.handshake(&mut ghost, DIRECT));
        let fin = site.answer(&ghost).expect("a FIN").segment;
        assert_eq!(fin.flags & FIN, FIN);
        ghost.ack = fin.seq.wrapping_add(1);
        site.send(Lb1, &ghost.segment(ACK | FIN).packet());
        site.answer(&ghost).expect("the last acknowledgement");
        ghost.seq += 1;
        let sockets = ["ss", "-tanH", "state", "time-wait"];
        let left = site.lab.exec(Lb1, &sockets).expect("ss runs");
        assert!(left.contains(&ghost.own.port().to_string()), "{left}");

        let ((), counted) = changes(&site, || {
            let mut foreign = ghost.segment(ACK);
            foreign.seq = ghost.seq.wrapping_add(FAR);
            site.expect_reset(&ghost, AROUND, &foreign);
            foreign = ghost.segment(ACK);
            foreign.ack = ghost.ack.wrapping_sub(FAR);
            site.expect_reset(&ghost, AROUND, &foreign);
        });
        assert_eq!(
            counted,
            [vec![(Cause::Foreign, 2)], vec![(Cause::FromPeer, 2)]]
        );
        let ((), counted) = changes(&site, || {
            site.send_and_settle(Lb1, &ghost.segment(ACK | FIN))
        });
        assert_eq!(counted, [vec![(Cause::Socket, 1)], vec![]]);
    }
}

#[test]
fn a_half_open_connection_takes_the_end_of_its_own_handshake_only() {
    let mut site = Site::new();
    for vip in FAMILIES {
        let mut ghost = site.ghost(vip);
        site.begin(&mut ghost, DIRECT);
        // What it acknowledges is not what was answered, or it is far from what the SYN began with.
        let ((), counted) = changes(&site, || {
            for (seq, ack) in [(0, 5), (FAR, 0), (0_u32.wrapping_sub(FAR), 0)] {
                let mut other = ghost.segment(ACK);
                other.seq = ghost.seq.wrapping_add(seq);
                other.ack = ghost.ack.wrapping_add(ack);
                site.expect_reset(&ghost, AROUND, &other);
            }
        });
        assert_eq!(
            counted,
            [vec![(Cause::Foreign, 3)], vec![(Cause::FromPeer, 3)]]
        );
        site.send(Lb1, &ghost.segment(ACK).packet());
        drop(site.lb1.accept(vip));
    }
}

#[test]
fn the_end_of_a_handshake_by_cookie_is_told_from_a_segment_that_nobody_knows() {
    let mut site = Site::new();
    for node in [Lb1, Lb2] {
        site.lab
            .sysctl(node, "net.ipv4.tcp_syncookies", "2")
            .expect("always");
    }
    for vip in FAMILIES {
        let mut ghost = site.ghost(vip);
        site.begin(&mut ghost, DIRECT);
        let mut forged = ghost.segment(ACK);
        forged.ack = ghost.ack.wrapping_add(FAR);
        let ((), counted) = changes(&site, || site.expect_reset(&ghost, AROUND, &forged));
        assert_eq!(
            counted,
            [vec![(Cause::Unknown, 1)], vec![(Cause::FromPeer, 1)]]
        );
        // An RST ends no handshake, whatever it acknowledges: its connection may be on the other node.
        let ((), counted) = changes(&site, || {
            site.send_and_settle(Lb1, &ghost.segment(ACK | RST));
        });
        assert_eq!(
            counted,
            [vec![(Cause::Unknown, 1)], vec![(Cause::FromPeer, 1)]]
        );
        let (accepted, counted) = changes(&site, || {
            site.send(Lb1, &ghost.segment(ACK).packet());
            site.lb1.accept(vip)
        });
        assert_eq!(counted, [vec![(Cause::Cookie, 1)], vec![]]);
        drop(accepted);
    }
}

#[test]
fn icmp_errors_go_to_the_node_whose_segment_they_quote() {
    let mut site = Site::new();
    for vip in FAMILIES {
        let mut ghost = site.ghost(vip);
        let _at_lb1 = site.handshake(&mut ghost, DIRECT);
        // What lb1 has sent, as somebody on the way quotes it.
        let mut sent = ghost.segment(ACK);
        (sent.source, sent.destination) = (ghost.vip, ghost.own);
        (sent.seq, sent.ack) = (ghost.ack, ghost.seq);
        sent.payload = vec![0; 64];
        let (from, of_ghost) = (ghost.own.ip(), ghost.own.to_string());
        let error = |sent: &Segment| too_big(from, sent, 1300);
        let learned = || {
            let sockets = site.lab.exec(Lb1, &["ss", "-tinH"]).expect("ss runs");
            let mut lines = sockets.lines().skip_while(|line| !line.contains(&of_ghost));
            lines.nth(1).is_some_and(|line| line.contains("pmtu:1300"))
        };
        assert!(!learned());
        let (_, counted) = changes(&site, || {
            site.send(Lb2, &error(&sent));
            site.lab
                .wait_until(Duration::from_secs(1), "lb1 learns the MTU", learned)
                .expect("it does");
        });
        assert_eq!(
            counted,
            [vec![(Cause::FromPeer, 1)], vec![(Cause::IcmpThere, 1)]]
        );
        let ((), counted) = changes(&site, || site.send_packet_and_settle(Lb1, &error(&sent)));
        assert_eq!(counted, [vec![(Cause::IcmpHere, 1)], vec![]]);
        // Where nobody listens, either.
        site.lb2.listeners[vip] = None;
        let ((), counted) = changes(&site, || {
            site.send_packet_and_settle(Lb2, &error(&sent));
        });
        assert_eq!(
            counted,
            [vec![(Cause::FromPeer, 1)], vec![(Cause::IcmpThere, 1)]]
        );
        // Of another incarnation, and of a port that is none of ours.
        let mut foreign = sent.clone();
        foreign.seq = foreign.seq.wrapping_add(FAR);
        let ((), counted) = changes(&site, || site.send_packet_and_settle(Lb1, &error(&foreign)));
        assert_eq!(
            counted,
            [vec![(Cause::IcmpThere, 1)], vec![(Cause::FromPeer, 1)]]
        );
        sent.source.set_port(PORT + 1);
        let ((), counted) = changes(&site, || site.send_packet_and_settle(Lb1, &error(&sent)));
        assert_eq!(counted, [vec![], vec![]]);
    }
}

#[test]
fn frames_for_others_and_of_other_networks_are_left_alone() {
    let mut site = Site::new();
    let flooded = [2, 0, 0, 0, 9, 9];
    for vip in FAMILIES {
        let ghost = site.ghost(vip);
        let stray = ghost.segment(ACK).packet();
        let ((), counted) = changes(&site, || {
            site.send_frame(&frame(flooded, mac(Client), &stray));
            let mut elsewhere = tagged(&frame(mac(Lb1), mac(Client), &stray), 5);
            site.send_frame(&elsewhere);
            elsewhere[..6].copy_from_slice(&[0xff; 6]);
            site.send_frame(&elsewhere);
            site.expect_reset(&ghost, AROUND, &ghost.segment(ACK));
        });
        assert_eq!(
            counted,
            [vec![(Cause::Unknown, 1)], vec![(Cause::FromPeer, 1)]]
        );
    }
}

#[test]
fn where_nobody_listens_is_the_kernels() {
    let mut site = Site::new();
    for vip in FAMILIES {
        let own = [Lb1.address().into(), Lb1.address_v6().into()];
        let own: IpAddr = own[usize::from(VIPS[vip].is_ipv6())];
        for elsewhere in [(VIPS[vip], 0), (own, PORT)] {
            let mut ghost = site.ghost(vip);
            ghost.vip = elsewhere.into();
            let reset = || site.expect_reset(&ghost, DIRECT, &ghost.segment(ACK));
            assert_eq!(changes(&site, reset).1, [vec![], vec![]], "{elsewhere:?}");
        }
    }
    // And where nobody does any more.
    site.lb1.program.set_listeners(&[]).expect("they are gone");
    for vip in FAMILIES {
        let ghost = site.ghost(vip);
        let reset = || site.expect_reset(&ghost, DIRECT, &ghost.segment(ACK));
        assert_eq!(changes(&site, reset).1, [vec![], vec![]]);
    }
}

/// Of a long frame from a packet socket only the Ethernet header is where a program can read it in place, as with cards
/// that write to pages.
#[test]
fn headers_that_the_kernel_has_in_pieces_are_read_all_the_same() {
    let mut site = Site::new();
    let widen = |node, port| site.lab.ip(node, &format!("link set {port} mtu 9000"));
    for node in [Client, Lb1, Lb2] {
        widen(LanSwitch, node.name()).expect("of the switch");
        widen(node, "eth0").expect("of the node");
    }
    for vip in FAMILIES {
        let mut ghost = site.ghost(vip);
        let mut at_lb1 = site.handshake(&mut ghost, DIRECT);
        let mut long = ghost.segment(ACK);
        long.payload = vec![7; 6000];
        let mut read = [0; 6000];
        let ((), counted) = changes(&site, || {
            site.send(Lb2, &long.packet());
            at_lb1.read_exact(&mut read).expect("lb1 has it");
        });
        assert_eq!(
            counted,
            [vec![(Cause::FromPeer, 1)], vec![(Cause::Unknown, 1)]]
        );
    }
}

#[test]
fn a_bulk_transfer_goes_through_whole_while_the_vip_moves() {
    const BYTES: usize = 64 << 20;
    let site = Site::new();
    let mut held = site.connect(0);
    let mut at_lb1 = site.lb1.accept(0);
    site.move_to(Lb2);
    let began = Instant::now();
    let sender = std::thread::spawn(move || {
        let chunk: Vec<u8> = (0..1 << 16).map(|at| (at % 251) as u8).collect();
        for _ in 0..BYTES / chunk.len() {
            held.write_all(&chunk).expect("written");
        }
    });
    let mut chunk = vec![0; 1 << 16];
    for _ in 0..BYTES / chunk.len() {
        at_lb1.read_exact(&mut chunk).expect("read");
        let whole = chunk
            .iter()
            .enumerate()
            .all(|(at, byte)| *byte == (at % 251) as u8);
        assert!(whole, "a chunk is corrupt");
    }
    sender.join().expect("it has sent all");
    let rate = BYTES as f64 * 8.0 / began.elapsed().as_secs_f64() / 1e9;
    println!("forwarded at {rate:.1} Gbit/s");
    let counts = site.lb2.program.counts().expect("they can be read");
    assert!(counts[Cause::Unknown as usize].1.bytes > BYTES as u64);
}
