//! What stands between the IP header and a segment, and segments that come in pieces.

use std::io::Read;

use common::time::Moment;
use forward::Cause;
use lab::Node::{Lb1, Lb2};

use crate::frame::{ACK, frame};
use crate::rules::{DIRECT, changes};
use crate::site::{FAMILIES, Site, mac};

#[test]
fn fragments_follow_their_first_one() {
    let mut site = Site::new();
    for (id, vip) in FAMILIES.into_iter().enumerate() {
        let mut ghost = site.ghost(vip);
        let mut at_lb1 = site.handshake(&mut ghost, DIRECT);
        let mut data = ghost.segment(ACK);
        data.payload = vec![7; 64];
        let id = u16::try_from(id).expect("small") + 700;
        let mut read = [0; 64];
        let ((), counted) = changes(&site, || {
            data.fragments(id, 40)
                .iter()
                .for_each(|one| site.send(Lb2, one));
            at_lb1
                .read_exact(&mut read)
                .expect("lb1 has put them together");
        });
        assert_eq!(counted[1], [(Cause::Unknown, 1), (Cause::Fragment, 1)]);
        // At the connection's own node.
        data.seq += 64;
        data.fragments(id, 40)
            .iter()
            .for_each(|one| site.send(Lb1, one));
        at_lb1.read_exact(&mut read).expect("its own");
        assert_eq!(site.lb1.count(Cause::Fragment), 0);
        // The same id again, and another verdict about its first one.
        let ((), counted) = changes(&site, || {
            let [first, later] = data.fragments(id, 40);
            site.lb2.board.dead_as_of.set(Moment::from_nanos(u64::MAX));
            site.send_packet_and_settle(Lb2, &first);
            site.lb2.board.dead_as_of.clear();
            site.send_packet_and_settle(Lb2, &later);
        });
        assert_eq!(counted, [vec![], vec![(Cause::PeerDead, 1)]]);
        // What decides before any connection does decides for later ones, too: the other node is dead, or sends it.
        let ((), counted) = changes(&site, || {
            let [first, later] = data.fragments(id + 20, 40);
            site.send_packet_and_settle(Lb2, &first);
            site.lb2.board.dead_as_of.set(Moment::from_nanos(u64::MAX));
            site.send_packet_and_settle(Lb2, &later);
            site.lb2.board.dead_as_of.clear();
        });
        let there = [vec![(Cause::FromPeer, 1)], vec![(Cause::Unknown, 1)]];
        assert_eq!(counted, there);
        let ((), counted) = changes(&site, || {
            let [first, later] = data.fragments(id + 30, 40);
            site.send_packet_and_settle(Lb2, &first);
            site.send_frame(&frame(mac(Lb2), mac(Lb1), &later));
            // The switch learns again where lb1 is.
            site.speak(Lb1, Lb2);
        });
        assert_eq!(counted, there);
        // A later fragment whose first one was never seen is the kernel's.
        let ((), counted) = changes(&site, || {
            site.send_packet_and_settle(Lb2, &data.fragments(id + 9, 40)[1])
        });
        assert_eq!(counted, [vec![], vec![]]);
        let ((), counted) = changes(&site, || {
            site.send_packet_and_settle(Lb2, &data.fragments(id + 10, 16)[0])
        });
        assert_eq!(counted, [vec![], vec![(Cause::Unreadable, 1)]]);
    }
}

/// Of any length, and several of them (RFC 8200, section 4.6).
#[test]
fn segments_behind_extension_headers_are_found() {
    let mut site = Site::new();
    let mut ghost = site.ghost(2);
    let mut at_lb1 = site.handshake(&mut ghost, DIRECT);
    let mut read = [0; 3];
    for longer_by in [&[0][..], &[1], &[2, 0]] {
        let mut data = ghost.segment(ACK);
        data.payload = vec![7; read.len()];
        let ((), counted) = changes(&site, || {
            site.send(Lb2, &data.behind_options(longer_by));
            at_lb1.read_exact(&mut read).expect("lb1 has it");
        });
        assert_eq!(
            counted,
            [vec![(Cause::FromPeer, 1)], vec![(Cause::Unknown, 1)]],
            "{longer_by:?}"
        );
        ghost.seq += 3;
    }
}
