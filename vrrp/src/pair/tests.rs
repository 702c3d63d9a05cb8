//! Two ends of a channel, and somebody between them.

use std::net::IpAddr;
use std::time::Duration;

use common::addr::{Family, Vrid};
use common::board::{Refusal, VipState};
use common::config::MAX_VIPS;
use proptest::prelude::*;

use super::*;
use crate::handover::{Answer, Request};

const KEY: (u8, [u8; 32]) = (1, [7; 32]);

fn channel(epoch: u64) -> Channel {
    Channel::new(&[KEY], epoch).expect("there is a key")
}

fn summary(vips: u8) -> Summary {
    let mut summary = Summary::new(1 << 32, 0x1234_5678_9abc_def0);
    summary.handover = Handover {
        is_understood: true,
        maintenance: vips % 2 == 1,
        request: (vips > 1).then_some(Request {
            id: u64::MAX - 1,
            vips: 0x8003,
            pins: vips.is_multiple_of(2),
            forced: vips % 2 == 1,
        }),
        answer: (vips > 2).then_some(Answer {
            id: 1 << 63,
            verdict: if vips.is_multiple_of(2) {
                Ok(())
            } else {
                Err((Refusal::Unprobed, vips))
            },
        }),
    };
    for vrid in 1..=vips {
        // Every third one is IPv6.
        let family = if vrid % 3 == 0 {
            Family::V6
        } else {
            Family::V4
        };
        let source = match family {
            Family::V4 => IpAddr::from([192, 0, 2, vrid]),
            Family::V6 => IpAddr::from([0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe00, vrid.into()]),
        };
        summary.push(VipRecord {
            family,
            vrid: Vrid::new(vrid).expect("not zero"),
            source: (vrid != 2).then_some(source),
            state: VipState::Active,
            priority: 250,
            health: vrid,
            interval: Duration::from_millis(100),
            faults: vrid % 3,
        });
    }
    summary
}

fn sealed(channel: &mut Channel) -> Vec<u8> {
    let mut out = [0xaa; MAX_DATAGRAM];
    let length = channel.seal(&summary(2), &mut out);
    out[..length].to_vec()
}

/// Both have heard each other.
fn pair() -> (Channel, Channel) {
    let (mut a, mut b) = (channel(0xa), channel(0xb));
    let first = sealed(&mut a);
    assert_eq!(b.open(&first), Err(PairDrop::Replay), "nothing proven yet");
    assert_eq!(a.open(&sealed(&mut b)), Ok(summary(2)));
    assert_eq!(b.open(&sealed(&mut a)), Ok(summary(2)));
    (a, b)
}

/// Signed again after a change, as somebody with the key could.
fn resigned(mut signed: Vec<u8>) -> Vec<u8> {
    let tag = hmac::sign(&derive(&KEY.1), &signed);
    signed.extend_from_slice(tag.as_ref());
    signed
}

fn unsigned(mut datagram: Vec<u8>) -> Vec<u8> {
    datagram.truncate(datagram.len() - TAG_LEN);
    datagram
}

#[test]
fn two_nodes_hear_each_other_after_one_round_trip() {
    let (mut a, mut b) = pair();
    for _ in 0..100 {
        assert_eq!(a.open(&sealed(&mut b)), Ok(summary(2)));
        assert_eq!(b.open(&sealed(&mut a)), Ok(summary(2)));
    }
}

#[test]
fn a_summary_with_every_number_of_vips_comes_back() {
    let (mut a, mut b) = pair();
    for vips in 0..=MAX_VIPS as u8 {
        let mut out = [0; MAX_DATAGRAM];
        let length = a.seal(&summary(vips), &mut out);
        assert_eq!(b.open(&out[..length]), Ok(summary(vips)), "{vips} VIPs");
    }
    let mut full = summary(MAX_VIPS as u8);
    full.push(*summary(1).vips().next().expect("one VIP"));
    assert_eq!(full, summary(MAX_VIPS as u8), "what is beyond is left out");
}

#[test]
fn a_datagram_counts_once_and_never_backwards() {
    let (mut a, mut b) = pair();
    let (first, second) = (sealed(&mut a), sealed(&mut a));
    assert_eq!(b.open(&second), Ok(summary(2)));
    assert_eq!(b.open(&second), Err(PairDrop::Replay));
    assert_eq!(b.open(&first), Err(PairDrop::Replay), "overtaken");
}

#[test]
fn a_restarted_node_is_heard_again_and_its_old_epoch_is_retired() {
    let (mut a, mut b) = pair();
    let old = sealed(&mut a);
    let mut a = channel(0xaa);
    assert_eq!(b.open(&sealed(&mut a)), Err(PairDrop::Replay));
    // B still talks in its epoch, which is new to A, and echoes A's.
    assert_eq!(a.open(&sealed(&mut b)), Ok(summary(2)));
    assert_eq!(b.open(&sealed(&mut a)), Ok(summary(2)));
    assert_eq!(b.open(&old), Err(PairDrop::Replay));
    assert_eq!(a.open(&sealed(&mut b)), Ok(summary(2)), "nothing unsettled");
}

#[test]
fn recordings_from_before_a_restart_of_the_receiver_are_worth_nothing() {
    let (mut a, mut b) = pair();
    let recorded: Vec<_> = (0..200)
        .map(|_| {
            a.open(&sealed(&mut b)).expect("live");
            let datagram = sealed(&mut a);
            b.open(&datagram).expect("live");
            datagram
        })
        .collect();
    let mut b = channel(0xbb);
    for datagram in &recorded {
        assert_eq!(b.open(datagram), Err(PairDrop::Replay));
        sealed(&mut b);
    }
}

#[test]
fn an_echo_older_than_64_datagrams_proves_nothing() {
    for (sent, fresh) in [(63, true), (64, false)] {
        let (mut a, mut b) = (channel(0xa), channel(0xb));
        let _ = b.open(&sealed(&mut a));
        let reply = sealed(&mut b);
        for _ in 0..sent {
            sealed(&mut a);
        }
        assert_eq!(a.open(&reply).is_ok(), fresh, "{sent} datagrams later");
    }
}

#[test]
fn our_own_datagram_reflected_is_a_replay() {
    let (mut a, mut b) = pair();
    let own = sealed(&mut a);
    assert_eq!(a.open(&own), Err(PairDrop::Replay));
    assert_eq!(b.open(&own), Ok(summary(2)));
}

#[test]
fn an_echo_of_a_counter_that_was_never_sent_proves_nothing() {
    let mut guard = Guard::new(1);
    guard.next();
    let stamp = |epoch, counter| Stamp { epoch, counter };
    assert!(!guard.admit(stamp(2, 1), stamp(1, 0)));
    assert!(!guard.admit(stamp(2, 2), stamp(1, 2)));
    assert!(!guard.admit(stamp(2, 3), stamp(3, 1)));
    assert!(guard.admit(stamp(2, 4), stamp(1, 1)));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let (mut a, mut b) = pair();
    let datagram = sealed(&mut a);
    for bit in 0..datagram.len() * 8 {
        let mut flipped = datagram.clone();
        flipped[bit / 8] ^= 0x80 >> (bit % 8);
        let reason = b.open(&flipped).expect_err("it was changed");
        let expected = match bit / 8 {
            0..=4 => PairDrop::Version,
            5 => PairDrop::Key,
            _ => PairDrop::Authentication,
        };
        assert_eq!(reason, expected, "bit {bit}");
    }
    assert_eq!(b.open(&datagram), Ok(summary(2)), "and changes nothing");
}

#[test]
fn cut_at_every_length_it_is_dropped() {
    let (mut a, mut b) = pair();
    let datagram = sealed(&mut a);
    for cut in 0..datagram.len() {
        let reason = b.open(&datagram[..cut]).expect_err("it was cut");
        let short = cut < 72 + message::TAG_LEN;
        assert_eq!(
            reason,
            if short {
                PairDrop::Truncated
            } else {
                PairDrop::Authentication
            },
            "{cut} bytes"
        );
    }
}

#[test]
fn keys_are_found_by_their_id_and_the_first_one_signs() {
    let (old, new) = ((1, [1; 32]), (2, [2; 32]));
    let mut both = Channel::new(&[new, old], 0xb).expect("keys");
    let mut only_old = Channel::new(&[old], 0xa).expect("a key");
    let mut only_new = Channel::new(&[new], 0xc).expect("a key");
    assert_eq!(both.open(&sealed(&mut only_old)), Err(PairDrop::Replay));
    let signed_new = sealed(&mut both);
    assert_eq!(only_old.open(&signed_new), Err(PairDrop::Key));
    assert_eq!(only_new.open(&signed_new), Err(PairDrop::Replay));
    let mut same_id = Channel::new(&[(2, [3; 32])], 0xd).expect("a key");
    assert_eq!(same_id.open(&signed_new), Err(PairDrop::Authentication));
    assert_eq!(Channel::new(&[], 1).expect_err("no key"), NoKey);
}

#[test]
fn the_key_of_the_file_itself_signs_nothing() {
    let (mut a, mut b) = pair();
    let mut forged = unsigned(sealed(&mut a));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &KEY.1), &forged);
    forged.extend_from_slice(tag.as_ref());
    assert_eq!(b.open(&forged), Err(PairDrop::Authentication));
}

#[test]
fn longer_headers_and_records_of_a_newer_version_are_skipped() {
    let (mut a, mut b) = pair();
    let plain = unsigned(sealed(&mut a));
    let (header, records) = plain.split_at(112);
    let mut newer = header.to_vec();
    newer[6] += 8;
    newer[7] += 3;
    newer.extend_from_slice(&[0xee; 8]);
    for record in records.chunks(24) {
        newer.extend_from_slice(record);
        newer.extend_from_slice(&[0xdd; 3]);
    }
    assert_eq!(b.open(&resigned(newer)), Ok(summary(2)));
}

#[test]
fn what_an_older_version_does_not_tell_is_zero() {
    let (mut a, mut b) = pair();
    let plain = unsigned(sealed(&mut a));
    let mut older = plain[..72].to_vec();
    older[6] = 72;
    older.extend_from_slice(&plain[112..]);
    let told = b.open(&resigned(older)).expect("authentic");
    assert_eq!(told.handover, Handover::default(), "it asks for nothing");
    assert_eq!(told.vips().count(), 2);
    for (got, sent) in told.vips().zip(summary(2).vips()) {
        assert_eq!(*got, VipRecord { faults: 0, ..*sent });
        assert_ne!(sent.faults, 0);
    }
}

#[test]
fn a_reason_that_a_newer_version_has_added_is_a_refusal_all_the_same() {
    let (mut a, mut b) = pair();
    let mut out = [0; MAX_DATAGRAM];
    let length = a.seal(&summary(3), &mut out);
    let mut newer = unsigned(out[..length].to_vec());
    newer[100] = 255;
    let told = b.open(&resigned(newer)).expect("authentic");
    let answer = told.handover.answer.expect("an answer");
    assert_eq!(answer.verdict, Err((Refusal::Unknown, 3)));
}

#[test]
fn an_older_version_tells_no_addresses() {
    let (mut a, mut b) = pair();
    let plain = unsigned(sealed(&mut a));
    let (header, records) = plain.split_at(112);
    let mut older = header.to_vec();
    older[7] = 8;
    for record in records.chunks(24) {
        older.extend_from_slice(&record[..8]);
    }
    let heard = b.open(&resigned(older)).expect("authentic");
    let of = |summary: &Summary| -> Vec<_> { summary.vips().map(|vip| vip.vrid).collect() };
    assert_eq!(of(&heard), of(&summary(2)));
    assert!(heard.vips().all(|vip| vip.source.is_none()));
}

/// It knows VIPs by their VRID alone, in the first byte, and skips those with VRID 0.
#[test]
fn an_older_version_skips_ipv6_vips() {
    let (mut a, _) = pair();
    let mut out = [0; MAX_DATAGRAM];
    a.seal(&summary(3), &mut out);
    let vrids = [0, 1, 2].map(|record| out[112 + record * 24]);
    assert_eq!(vrids, [1, 2, 0]);
}

#[test]
fn lengths_that_do_not_fit_are_truncated_even_if_signed() {
    let (mut a, mut b) = pair();
    for (at, byte) in [
        (6, 71),
        (6, 0),
        (6, 255),
        (7, 7),
        (7, 9),
        (7, 0),
        (8, 1),
        (8, 3),
    ] {
        let mut wrong = unsigned(sealed(&mut a));
        wrong[at] = byte;
        assert_eq!(
            b.open(&resigned(wrong)),
            Err(PairDrop::Truncated),
            "byte {at} = {byte}"
        );
    }
}

#[test]
fn records_that_cannot_be_are_left_out_and_unknown_states_are_init() {
    let (mut a, mut b) = pair();
    let mut odd = unsigned(sealed(&mut a));
    odd[112] = 0;
    odd[137] = 99;
    let got = b.open(&resigned(odd)).expect("authentic");
    let vips: Vec<_> = got.vips().collect();
    assert_eq!(vips.len(), 1);
    assert_eq!(vips[0].state, VipState::Init);
    for interval in [[0, 0], [0x10, 0]] {
        let mut odd = unsigned(sealed(&mut a));
        odd[116..118].copy_from_slice(&interval);
        let got = b.open(&resigned(odd)).expect("authentic");
        assert_eq!(got.vips().count(), 1, "{interval:?}");
    }
}

/// A request for a handover names VIPs by the numbers of their records.
#[test]
fn a_record_that_is_left_out_keeps_its_number() {
    let (mut a, mut b) = pair();
    let mut newer = unsigned(sealed(&mut a));
    newer[112] = 0;
    let told = b.open(&resigned(newer)).expect("authentic");
    let mut vrids = told
        .records()
        .iter()
        .map(|one| one.map(|vip| vip.vrid.value()));
    assert_eq!([vrids.next(), vrids.next()], [Some(None), Some(Some(2))]);
    assert_eq!(
        told.vips().next().map(|vip| vip.faults),
        Some(2),
        "and its byte of faults"
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
        let mut b = channel(0xb);
        prop_assert!(b.open(&bytes).is_err());
    }

    #[test]
    fn no_signed_bytes_make_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 67..400),
        lengths in (60..130_u8, 0..20_u8, 0..20_u8),
    ) {
        let mut signed = b"fmcP\x01\x01".to_vec();
        signed.extend_from_slice(&[lengths.0, lengths.1, lengths.2]);
        signed.extend_from_slice(&bytes);
        let _ = channel(0xb).open(&resigned(signed));
    }
}
