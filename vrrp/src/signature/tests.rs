//! The recorded vectors, and every rung of the ladder.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::packet::hex::hex;
use common::addr::Vrid;
use common::time::Moment;

const LB1: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 0, 11));
const V6: &str = "31336e0200643db6c0a8000ac0a8000e";
const V17: &str = "010100006a00000080000000bef1f6517d29e0bce50e07740f2ffe58";
const V14: &str =
    "31336e020064170dfe800000000000000000000000000033fd000000000000010000000000000010";
const V18: &str = "010100006a000000800000006f573f9c09c9aa40c15cdd7baa617285";
/// Seconds 6a000000, fraction 8000.
const SIGNED_AT: Duration = Duration::from_millis(0x6a00_0000 * 1_000 + 500);

/// Key 1 = bytes 00 to 1f, as the vectors have it.
fn keys() -> Keys {
    Keys::new(&[(1, recorded())]).expect("a key")
}

fn recorded() -> [u8; 32] {
    std::array::from_fn(|n| u8::try_from(n).expect("32 bytes"))
}

fn trailer(text: &str) -> [u8; TRAILER_LEN] {
    hex(text).try_into().expect("28 bytes")
}

fn verify(keys: &Keys, message: &[u8], trailer: &[u8; TRAILER_LEN]) -> Result<Stamp, DropReason> {
    keys.verify((LB1, message), trailer, |_| true)
}

#[test]
fn cod_02_v17_signs_and_verifies() {
    let message = hex(V6);
    let stamp = Stamp::at(SIGNED_AT);
    assert_eq!(keys().sign(LB1, &message, stamp), trailer(V17));
    assert_eq!(verify(&keys(), &message, &trailer(V17)), Ok(stamp));
    assert_eq!(stamp.wall(), SIGNED_AT);
}

#[test]
fn cod_02_v18_signs_and_verifies_over_ipv6() {
    let source = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0xff, 0xfe00, 0x11));
    let message = hex(V14);
    let stamp = Stamp::at(SIGNED_AT);
    assert_eq!(keys().sign(source, &message, stamp), trailer(V18));
    let verified = keys().verify((source, &message), &trailer(V18), |_| true);
    assert_eq!(verified, Ok(stamp));
    // The same bytes as an advert over IPv4.
    let verified = keys().verify((LB1, &message), &trailer(V18), |_| true);
    assert_eq!(verified, Err(DropReason::HmacBad));
}

#[test]
fn cod_03_one_bit_and_it_is_another_advert() {
    let (message, good) = (hex(V6), trailer(V17));
    for bit in 0..message.len() * 8 {
        let mut forged = message.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        // The checksum has a rung of its own.
        let expected = if CHECKSUM.contains(&(bit / 8)) {
            Ok(Stamp::at(SIGNED_AT))
        } else {
            Err(DropReason::HmacBad)
        };
        assert_eq!(verify(&keys(), &forged, &good), expected, "bit {bit}");
    }
    for bit in 0..TRAILER_LEN * 8 {
        let mut forged = good;
        forged[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            0 | 2 | 3 => DropReason::HmacMalformed,
            // Key 0 does not exist.
            1 if bit == 8 => DropReason::HmacMalformed,
            1 => DropReason::HmacKey,
            _ => DropReason::HmacBad,
        };
        assert_eq!(
            verify(&keys(), &message, &forged),
            Err(expected),
            "bit {bit}"
        );
    }
}

#[test]
fn a_signature_is_for_its_sender() {
    let message = hex(V6);
    let other = IpAddr::from([192, 168, 0, 12]);
    let verified = keys().verify((other, &message), &trailer(V17), |_| true);
    assert_eq!(verified, Err(DropReason::HmacBad));
}

#[test]
fn an_advert_of_another_time_costs_no_computing() {
    let bad = [&trailer(V17)[..12], &[0; 16]].concat();
    let bad = bad.try_into().expect("28 bytes");
    let verified = keys().verify((LB1, &hex(V6)), &bad, |_| false);
    assert_eq!(verified, Err(DropReason::HmacStale));
}

#[test]
fn keys_are_rotated_one_node_after_the_other() {
    let (old, new) = ((1, recorded()), (2, [7; 32]));
    let keys = |list: &[(u8, [u8; 32])]| Keys::new(list).expect("a key");
    let message = hex(V6);
    // Both nodes know the new key before one of them signs with it, and the old one until none does.
    let steps = [
        keys(&[old]),
        keys(&[old, new]),
        keys(&[new, old]),
        keys(&[new]),
    ];
    for pair in steps.windows(2) {
        for (sender, receiver) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
            let signed = sender.sign(LB1, &message, Stamp::at(SIGNED_AT));
            assert!(verify(receiver, &message, &signed).is_ok());
        }
    }
    let signed = steps[3].sign(LB1, &message, Stamp::at(SIGNED_AT));
    assert_eq!(
        verify(&steps[0], &message, &signed),
        Err(DropReason::HmacKey)
    );
    assert!(Keys::new(&[]).is_none());
}

#[test]
fn stamps_rise_whatever_the_clock_does() {
    let clock = [10, 10, 11, 3, 3, 12].map(Duration::from_secs);
    let mut last = Stamp::default();
    for wall in clock {
        let stamp = Stamp::at(wall).after(last);
        assert!(stamp > last, "{wall:?}");
        assert!(stamp.wall() >= wall);
        last = stamp;
    }
    assert_eq!(last.wall(), Duration::from_secs(12));
}

const VRID: u8 = 51;

/// Over IPv4.
fn router() -> (Family, Vrid) {
    (Family::V4, Vrid::new(VRID).expect("not zero"))
}

fn sight(seconds: u64, wall: Option<u64>) -> Sight {
    Sight {
        now: Moment::from_nanos(seconds * 1_000_000_000),
        wall: wall.map(Duration::from_secs),
    }
}

fn of_now(fresh: &Fresh, stamp: u64, sight: Sight) -> bool {
    let stamp = Stamp::at(Duration::from_secs(stamp));
    fresh.is_of_now(stamp, Duration::from_millis(100), sight)
}

#[test]
fn without_any_clock_only_the_rising_counts() {
    let mut fresh = Fresh::default();
    assert!(of_now(&fresh, 5, sight(0, None)) && of_now(&fresh, 5_000_000, sight(0, None)));
    let stamp = |seconds| Stamp::at(Duration::from_secs(seconds));
    assert!(fresh.admit(router(), stamp(5)));
    assert!(!fresh.admit(router(), stamp(5)), "a replay");
    assert!(!fresh.admit(router(), stamp(4)));
    assert!(fresh.admit(router(), stamp(5).after(stamp(5))));
    let (family, vrid) = router();
    let another = Vrid::new(52).expect("not zero");
    assert!(fresh.admit((family, another), stamp(5)), "another router");
    assert!(fresh.admit((Family::V6, vrid), stamp(5)), "over IPv6");
}

#[test]
fn a_synchronised_clock_refuses_recordings() {
    let fresh = Fresh::default();
    for (stamp, expected) in [
        (94, false),
        (95, true),
        (100, true),
        (105, true),
        (106, false),
    ] {
        assert_eq!(
            of_now(&fresh, stamp, sight(0, Some(100))),
            expected,
            "{stamp}"
        );
    }
    let slow = Duration::from_secs(40);
    let old = Stamp::at(Duration::from_secs(1_000));
    assert!(fresh.is_of_now(old, slow, sight(0, Some(1_120))));
    assert!(!fresh.is_of_now(old, slow, sight(0, Some(1_121))));
}

#[test]
fn the_senders_own_clock_counts_once_a_heartbeat_has_told_it() {
    let mut fresh = Fresh::default();
    // A machine without a battery: 1970.
    let told = Stamp::at(Duration::from_secs(60));
    fresh.tell(told, sight(1_000, None).now);
    let own = Some(1_700_000_000);
    assert!(of_now(&fresh, 60, sight(1_000, own)) && of_now(&fresh, 68, sight(1_008, own)));
    assert!(
        !of_now(&fresh, 1_700_000_000, sight(1_000, own)),
        "recorded when it was right"
    );
    assert!(
        !of_now(&fresh, 60, sight(1_010, own)),
        "recorded ten seconds ago"
    );
    // The heartbeats ended long ago.
    assert!(!of_now(&fresh, 71, sight(1_011, own)));
    assert!(of_now(&fresh, 1_700_000_000, sight(1_011, own)));
}

#[test]
fn a_sender_that_started_anew_with_a_slow_clock_is_heard() {
    let mut fresh = Fresh::default();
    let stamp = |seconds| Stamp::at(Duration::from_secs(seconds));
    assert!(fresh.admit(router(), stamp(1_700_000_000)));
    assert!(!fresh.admit(router(), stamp(60)));
    fresh.restart(Some(stamp(60)));
    fresh.tell(stamp(60), sight(5, None).now);
    assert!(fresh.admit(router(), stamp(60)));
    assert!(
        !of_now(&fresh, 1_700_000_000, sight(5, None)),
        "a recording"
    );
}

#[test]
fn what_was_recorded_before_a_restart_of_the_sender_is_not_new_after_it() {
    let stamp = |seconds| Stamp::at(Duration::from_secs(seconds));
    for known in [false, true] {
        // The receiver may have started anew, too.
        let mut fresh = Fresh::default();
        assert!(!known || fresh.admit(router(), stamp(1_000)));
        fresh.restart(Some(stamp(1_003)));
        fresh.tell(stamp(1_003), sight(5, None).now);
        assert!(
            of_now(&fresh, 1_001, sight(5, None)),
            "by the clock it could be"
        );
        assert!(!fresh.admit(router(), stamp(1_001)), "a recording");
        assert!(fresh.admit(router(), stamp(1_003)));
    }
}

#[test]
fn a_clock_that_is_set_back_before_anything_was_signed_costs_nothing() {
    let mut fresh = Fresh::default();
    let stamp = |seconds| Stamp::at(Duration::from_secs(seconds));
    fresh.restart(Some(stamp(9_000)));
    fresh.tell(stamp(9_000), sight(5, None).now);
    fresh.tell(stamp(1_000), sight(6, None).now);
    assert!(fresh.admit(router(), stamp(1_000)));
    assert!(!fresh.admit(router(), stamp(999)));
}

proptest! {
    #[test]
    fn whatever_is_signed_verifies_and_nothing_else_does(
        message in proptest::collection::vec(any::<u8>(), 8..200),
        noise in any::<[u8; TRAILER_LEN]>(),
        seconds in 1_u32..,
    ) {
        let stamp = Stamp::at(Duration::from_secs(u64::from(seconds)));
        let signed = keys().sign(LB1, &message, stamp);
        prop_assert_eq!(verify(&keys(), &message, &signed), Ok(stamp));
        prop_assert!(verify(&keys(), &message, &noise).is_err());
        prop_assert_eq!(Stamp::from_bits(stamp.to_bits()), Some(stamp));
    }
}
