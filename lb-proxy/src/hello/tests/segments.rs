//! The same hello, cut in every way.

use proptest::prelude::*;

use super::build::*;
use super::*;

fn samples() -> Vec<Vec<u8>> {
    let browser = hello_message(&browser_extensions());
    vec![
        real::with_everything(),
        hello_of(&browser_extensions()),
        records(&browser, 1),
        records(&browser, 3),
        records(&browser, 700),
        record(3, &message(1, &fixed_part())),
    ]
}

#[test]
fn cut_at_every_byte_it_is_incomplete_until_the_last() {
    for bytes in samples() {
        for length in 0..bytes.len() {
            let part = inspect(&bytes[..length], DEFAULT_LIMIT);
            assert_eq!(part, Ok(Inspection::Incomplete), "{length} bytes");
        }
        hello(&bytes);
    }
}

#[test]
fn what_follows_the_hello_changes_nothing() {
    for bytes in samples() {
        let alone = hello(&bytes);
        // Early data, another record of anything, garbage.
        for more in [
            &[23, 3, 3, 0, 1, 0][..],
            &[20, 3, 3, 0, 1, 1],
            b"GET /",
            &[0],
        ] {
            assert_eq!(hello(&[&bytes, more].concat()), alone);
        }
    }
}

#[test]
fn another_message_in_the_same_record_is_not_looked_at() {
    let extensions = [sni(&[(0, b"a.example.org")])];
    let both = [hello_message(&extensions), vec![99; 10]].concat();
    for bytes in [record(1, &both), records(&both, 4)] {
        assert_eq!(hello(&bytes).server_name, name("a.example.org"));
    }
}

#[test]
fn every_record_size_gives_the_same() {
    let message = hello_message(&browser_extensions());
    let expected = hello(&record(1, &message));
    assert_eq!(expected.server_name, name("web.example.org"));
    assert_eq!(protocols(&expected), [&b"h2"[..], b"http/1.1"]);
    assert!(message.len() > 1500, "more than a segment");
    for size in 1..=message.len() {
        assert_eq!(hello(&records(&message, size)), expected, "{size}");
    }
}

#[test]
fn every_record_version_of_tls_will_do() {
    let message = hello_message(&browser_extensions());
    for minor in 0..=4 {
        let hello = hello(&record(minor, &message));
        assert_eq!(hello.server_name, name("web.example.org"));
    }
}

#[test]
fn a_hello_of_16_kib_and_more_is_read_up_to_the_limit() {
    let hello_with = |padding: usize| {
        let mut extensions = browser_extensions();
        extensions.push(extension(21, &vec![0; padding]));
        records(&hello_message(&extensions), 1 << 14)
    };
    let bytes = hello_with(17_000);
    assert!(bytes.len() > 18_000);
    assert_eq!(hello(&bytes).server_name, name("web.example.org"));
    assert_eq!(inspect(&bytes, bytes.len()), {
        Ok(Inspection::Hello(hello(&bytes)))
    });
    // The head says it already.
    for length in [9, 100, bytes.len()] {
        let cut = inspect(&bytes[..length], bytes.len() - 100);
        assert_eq!(cut, Err(Refusal::TooLong), "{length} bytes");
    }
    // It is one byte too long only by its second record header.
    assert_eq!(inspect(&bytes[..9], bytes.len() - 1), {
        Ok(Inspection::Incomplete)
    });
    for more in [&[][..], b"more"] {
        let all = [&bytes, more].concat();
        assert_eq!(inspect(&all, bytes.len() - 1), Err(Refusal::TooLong));
    }
    assert_eq!(inspect(&hello_with(40_000), DEFAULT_LIMIT), {
        Err(Refusal::TooLong)
    });
}

#[test]
fn records_without_an_end_meet_the_limit() {
    // The message says 16,000 bytes and comes in 1-byte records.
    let bytes = records(&message(1, &[0; 16_000]), 1);
    assert_eq!(inspect(&bytes[..DEFAULT_LIMIT - 1], DEFAULT_LIMIT), {
        Ok(Inspection::Incomplete)
    });
    assert_eq!(inspect(&bytes, DEFAULT_LIMIT), Err(Refusal::TooLong));
    assert_eq!(inspect(&[], 0), Err(Refusal::TooLong));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        limit in 0..700_usize,
    ) {
        let _ = inspect(&bytes, limit);
        let _ = inspect(&record(1, &[1, 0, 1, 0]).into_iter().chain(bytes).collect::<Vec<_>>(), limit);
    }

    #[test]
    fn arbitrary_extensions_never_panic(
        kind in prop_oneof![Just(SERVER_NAME), Just(ALPN), Just(SUPPORTED_VERSIONS), any::<u16>()],
        data in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let bytes = hello_of(&[extension(kind, &data)]);
        if let Ok(Inspection::Hello(hello)) = inspect(&bytes, DEFAULT_LIMIT) {
            for protocol in hello.alpn.iter() {
                prop_assert!(!protocol.is_empty());
            }
        } else {
            let refusal = inspect(&bytes, DEFAULT_LIMIT);
            prop_assert!(matches!(refusal, Err(Refusal::Malformed(_))), "{refusal:?}");
        }
    }

    #[test]
    fn a_changed_byte_never_panics_and_the_verdict_is_final(
        sample in 0..6_usize,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = samples().swap_remove(sample);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let verdict = inspect(&bytes, DEFAULT_LIMIT);
        // What was refused early is refused in the end, and a hello is never found early.
        let half = inspect(&bytes[..bytes.len() / 2], DEFAULT_LIMIT);
        if let Err(refusal) = half {
            prop_assert_eq!(verdict, Err(refusal));
        }
    }

    #[test]
    fn any_segmentation_gives_the_same(
        extensions in proptest::collection::vec(
            (2000..60_000_u16, proptest::collection::vec(any::<u8>(), 0..50)), 0..10),
        cuts in proptest::collection::vec(1..90_usize, 1..40),
    ) {
        let mut all: Vec<Vec<u8>> =
            extensions.iter().map(|(kind, data)| extension(*kind, data)).collect();
        all.insert(all.len() / 2, sni(&[(0, b"a.example.org")]));
        let message = hello_message(&all);
        let mut bytes = Vec::new();
        let mut rest = message.as_slice();
        for cut in cuts.iter().cycle() {
            let (fragment, after) = rest.split_at(rest.len().min(*cut));
            bytes.extend(record(3, fragment));
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(hello(&bytes), hello(&record(1, &message)));
        prop_assert_eq!(hello(&bytes).server_name, name("a.example.org"));
    }
}
