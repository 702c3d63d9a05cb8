//! Hellos that somebody has meddled with, in any segments.

use proptest::prelude::*;

use super::build::*;
use super::*;
use crate::mangled::{arrive, changes, mangle, segments};

fn verdict(bytes: &[u8], limit: usize) -> Option<Result<ClientHello, Refusal>> {
    match inspect(bytes, limit) {
        Ok(Inspection::Incomplete) => None,
        Ok(Inspection::Hello(hello)) => Some(Ok(hello)),
        Err(refusal) => Some(Err(refusal)),
    }
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let message = hello_message(&browser_extensions());
    let samples = vec![
        real::with_everything(),
        hello_of(&browser_extensions()),
        records(&message, 1),
        records(&message, 5),
        records(&message, 700),
        hello_of(&[alpn(&[b"a".as_slice(); 500])]),
        record(3, &super::build::message(1, &fixed_part())),
    ];
    prop_oneof![
        6 => prop::sample::select(samples),
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
        limit in prop_oneof![3 => Just(DEFAULT_LIMIT), 1 => 0..4_000_usize],
    ) {
        let bytes = mangle(bytes, &changes);
        let whole = verdict(&bytes, limit);
        let (found, buffered) = arrive(&bytes, &segments, |part| verdict(part, limit));
        prop_assert_eq!(&found, &whole);
        let most = segments.iter().max().copied().unwrap_or(0) + limit;
        prop_assert!(buffered <= most, "{} bytes", buffered);
        prop_assert!(found.is_some() || bytes.len() < limit);
        if let Some(Ok(hello)) = found {
            let name = hello.server_name.as_dns().map_or(0, str::len);
            let protocols: usize = hello.alpn.iter().map(|name| 1 + name.len()).sum();
            prop_assert!(name + protocols <= bytes.len().min(limit));
        }
    }
}
