//! Headers that somebody has meddled with, in any segments.

use proptest::prelude::*;

use super::*;
use crate::mangled::{arrive, changes, mangle, segments};

/// A header and its TLVs as they outlive the buffer, or why there is none.
type Verdict = Result<(Header<'static>, Vec<(u8, Vec<u8>)>), HeaderError>;

fn verdict(bytes: &[u8], accept: Accept) -> Option<Verdict> {
    let header = match decode(bytes, accept) {
        Ok(Decoded::Incomplete) => return None,
        Ok(Decoded::Header(header)) => header,
        Err(error) => return Some(Err(error)),
    };
    let tlvs = header.tlvs.iter();
    let tlvs = tlvs.map(|Tlv { kind, value }| (kind, value.to_vec()));
    let bare = Header {
        version: header.version,
        length: header.length,
        endpoints: header.endpoints,
        tlvs: Tlvs::default(),
    };
    Some(Ok((bare, tlvs.collect())))
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let sample = (0..samples().len()).prop_map(|index| samples().swap_remove(index));
    let long = (sample.clone(), 0..9_000_usize).prop_map(|(mut bytes, more)| {
        bytes.extend(std::iter::repeat_n(b'x', more));
        bytes
    });
    prop_oneof![
        4 => sample,
        2 => long,
        1 => proptest::collection::vec(any::<u8>(), 0..300),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whatever_was_done_to_it_segments_change_nothing_and_the_buffer_is_bounded(
        bytes in any_bytes(),
        changes in changes(),
        segments in segments(),
        accept in prop::sample::select(BOTH.to_vec()),
    ) {
        let bytes = mangle(bytes, &changes);
        let whole = verdict(&bytes, accept);
        let (found, buffered) = arrive(&bytes, &segments, |part| verdict(part, accept));
        prop_assert_eq!(&found, &whole);
        // Who says nothing useful is not listened to for long.
        let most = segments.iter().max().copied().unwrap_or(0) + MAX_HEADER;
        prop_assert!(buffered < most, "{} bytes", buffered);
        prop_assert!(found.is_some() || bytes.len() < MAX_HEADER);
        if let Some(Ok((header, tlvs))) = found {
            prop_assert!(header.length <= bytes.len().min(MAX_HEADER));
            let kept: usize = tlvs.iter().map(|(_, value)| 3 + value.len()).sum();
            prop_assert!(kept <= header.length);
            // What is in the header decides, and nothing of the payload.
            prop_assert_eq!(verdict(&bytes[..header.length], accept), whole);
        }
    }

    #[test]
    fn what_is_accepted_can_be_said_again(
        bytes in any_bytes(),
        changes in changes(),
    ) {
        let bytes = mangle(bytes, &changes);
        if let Ok(Decoded::Header(header)) = decode(&bytes, Accept::Both) {
            let again = encode_v1(header.endpoints);
            prop_assert!(again.len() <= 107, "{:?}", String::from_utf8_lossy(&again));
            let said = verdict(&again, Accept::V1).expect("whole").expect("valid").0;
            prop_assert_eq!(said.endpoints, header.endpoints);
            let again = encode_v2(header.endpoints, &OutgoingTlvs::default()).expect("it fits");
            let said = verdict(&again, Accept::V2).expect("whole").expect("valid").0;
            prop_assert_eq!(said.endpoints, header.endpoints);
        }
    }
}
