//! What is no hello, and hellos that are wrong.

use super::build::*;
use super::*;

fn refusal(bytes: &[u8]) -> Refusal {
    inspect(bytes, DEFAULT_LIMIT).expect_err("refused")
}

fn malformed(extensions: &[Vec<u8>]) -> Malformed {
    match refusal(&hello_of(extensions)) {
        Refusal::Malformed(reason) => reason,
        other @ (Refusal::NotTls(_) | Refusal::TooLong) => panic!("{other}"),
    }
}

#[test]
fn other_protocols_are_told_at_the_first_byte_that_differs() {
    let ssl2 = [0x80, 0x2e, 1, 0, 2, 0, 0x15];
    for bytes in [
        &ssl2[..],
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-x",
        b"PROXY ",
        &[0; 9],
    ] {
        let not_tls = Refusal::NotTls(RecordFault::ContentType);
        assert_eq!(refusal(bytes), not_tls);
        assert_eq!(refusal(&bytes[..1]), not_tls);
    }
    // An alert, application data, change_cipher_spec.
    for kind in [21, 23, 20] {
        assert_eq!(refusal(&[kind, 3, 1, 0, 2]), {
            Refusal::NotTls(RecordFault::ContentType)
        });
    }
    for bytes in [&[22, 2][..], &[22, 4], &[22, 0xfe, 0xff], &[22, 0]] {
        assert_eq!(refusal(bytes), Refusal::NotTls(RecordFault::Version));
    }
    for bytes in [
        &[22, 3, 1, 0x41][..],
        &[22, 3, 1, 0x40, 1],
        &[22, 3, 1, 0, 0],
    ] {
        assert_eq!(refusal(bytes), Refusal::NotTls(RecordFault::Length));
    }
    assert_eq!(inspect(&[22, 3, 1, 0x40, 0], DEFAULT_LIMIT), {
        Ok(Inspection::Incomplete)
    });
}

#[test]
fn another_message_is_no_client_hello() {
    for kind in [0, 2, 11, 255] {
        let not_hello = Refusal::Malformed(Malformed::NotClientHello(kind));
        let bytes = record(1, &message(kind, &fixed_part()));
        assert_eq!(refusal(&bytes), not_hello);
        assert_eq!(refusal(&bytes[..6]), not_hello);
    }
}

#[test]
fn nothing_comes_between_the_records_of_a_hello() {
    let first = record(1, &hello_message(&browser_extensions())[..50]);
    for (next, fault) in [
        (&[20, 3, 3, 0, 1][..], RecordFault::ContentType),
        (&[21], RecordFault::ContentType),
        (&[22, 9], RecordFault::Version),
        (&[22, 3, 3, 0x40, 9], RecordFault::Length),
        (&[22, 3, 3, 0, 0], RecordFault::Length),
    ] {
        assert_eq!(
            refusal(&[&first, next].concat()),
            Refusal::Malformed(Malformed::Record(fault))
        );
    }
}

#[test]
fn fixed_fields_are_checked() {
    let with = |session: &[u8], suites: &[u8], compression: &[u8], rest: &[u8]| {
        let start = [vec![3, 3], vec![7; 32], vector_u8(session)].concat();
        let lists = [vector_u16(suites), vector_u8(compression)].concat();
        let body = [&start, &lists, rest].concat();
        refusal(&record(1, &message(1, &body)))
    };
    for (found, reason) in [
        (
            with(&[0; 33], &[0, 1], &[0], &[]),
            Malformed::Length("session id"),
        ),
        (
            with(&[], &[], &[0], &[]),
            Malformed::Length("list of cipher suites"),
        ),
        (
            with(&[], &[0, 1, 2], &[0], &[]),
            Malformed::Length("list of cipher suites"),
        ),
        (
            with(&[], &[0, 1], &[], &[]),
            Malformed::Length("list of compression methods"),
        ),
        (with(&[], &[0, 1], &[0], &[0]), Malformed::Overrun),
        (with(&[], &[0, 1], &[0], &[0, 1]), Malformed::Overrun),
        (
            with(&[], &[0, 1], &[0], &[0, 3, 0, 0, 0]),
            Malformed::Overrun,
        ),
        (
            with(&[], &[0, 1], &[0], &[0, 0, 9]),
            Malformed::TrailingBytes("the extensions"),
        ),
    ] {
        assert_eq!(found, Refusal::Malformed(reason));
    }
}

/// The message says it is complete, but its fields are not.
#[test]
fn a_message_cut_anywhere_is_never_a_hello() {
    let whole = hello_message(&browser_extensions());
    let body = &whole[4..];
    for length in 0..body.len() {
        let cut = inspect(&record(1, &message(1, &body[..length])), DEFAULT_LIMIT);
        // Where the extensions begin it is a hello of TLS 1.2 without any.
        match length == fixed_part().len() {
            true => assert!(matches!(cut, Ok(Inspection::Hello(_)))),
            false => assert_eq!(cut, Err(Refusal::Malformed(Malformed::Overrun))),
        }
    }
}

#[test]
fn a_hello_without_extensions_is_one_of_tls_1_2() {
    for body in [fixed_part(), [fixed_part(), vec![0, 0]].concat()] {
        let hello = hello(&record(1, &message(1, &body)));
        assert_eq!(hello.server_name, ServerName::Absent);
        assert_eq!(hello.alpn.iter().count(), 0);
    }
}

#[test]
fn names_are_normalized_and_what_is_no_name_is_told() {
    let named = |text: &[u8]| hello(&hello_of(&[sni(&[(0, text)])])).server_name;
    assert_eq!(named(b"API.example.org."), name("api.example.org"));
    for (text, reason) in [
        (&b"192.0.2.1"[..], InvalidName::IpAddress),
        (b"[2001:db8::1]", InvalidName::IpAddress),
        (b"*.example.org", InvalidName::Character),
        (b"a\0.example.org", InvalidName::Character),
        (b"\xff\xfe", InvalidName::Character),
        (b".", InvalidName::LabelLength),
        (&[b'a'; 300], InvalidName::TooLong),
    ] {
        let found = named(text);
        assert_eq!(found.as_dns(), None);
        assert_eq!(found, ServerName::Invalid(reason));
    }
}

#[test]
fn names_of_other_types_are_skipped() {
    let only = hello_of(&[sni(&[(7, b"what")])]);
    assert_eq!(hello(&only).server_name, ServerName::Absent);
    let both = hello_of(&[sni(&[(7, b""), (0, b"a.example.org"), (8, b"x")])]);
    assert_eq!(hello(&both).server_name, name("a.example.org"));
}

#[test]
fn a_name_that_is_there_twice_is_refused() {
    let one = (0, &b"a.example.org"[..]);
    let other = (0, &b"b.example.org"[..]);
    assert_eq!(
        malformed(&[sni(&[one, other])]),
        Malformed::Duplicate("host name")
    );
    for second in [one, other] {
        let extensions = [sni(&[one]), extension(5, &[0]), sni(&[second])];
        assert_eq!(malformed(&extensions), {
            Malformed::Duplicate("server_name extension")
        });
    }
    let twice = [alpn(&[b"h2"]), alpn(&[b"h2"])];
    assert_eq!(malformed(&twice), Malformed::Duplicate("ALPN extension"));
}

#[test]
fn extensions_that_are_read_are_checked() {
    for (kind, data, reason) in [
        (SERVER_NAME, &[][..], Malformed::Overrun),
        (
            SERVER_NAME,
            &[0, 0],
            Malformed::Length("list of server names"),
        ),
        (
            SERVER_NAME,
            &[0, 3, 0, 0, 0],
            Malformed::Length("host name"),
        ),
        (SERVER_NAME, &[0, 4, 0, 0, 2, b'a'], Malformed::Overrun),
        (SERVER_NAME, &[0, 9, 0, 0, 1, b'a'], Malformed::Overrun),
        (
            SERVER_NAME,
            &[0, 4, 0, 0, 1, b'a', 0],
            Malformed::TrailingBytes("the list of server names"),
        ),
        (ALPN, &[], Malformed::Overrun),
        (ALPN, &[0, 0], Malformed::Length("list of protocols")),
        (ALPN, &[0, 1, 0], Malformed::Length("name of a protocol")),
        (ALPN, &[0, 2, 2, b'h'], Malformed::Overrun),
        (
            ALPN,
            &[0, 2, 1, b'h', 0],
            Malformed::TrailingBytes("the list of protocols"),
        ),
    ] {
        assert_eq!(
            malformed(&[extension(kind, data)]),
            reason,
            "{kind} {data:?}"
        );
    }
}

#[test]
fn thousands_of_protocols_take_no_more_than_they_came_in() {
    let names = vec![&b"x"[..]; 8000];
    let hello = hello(&hello_of(&[alpn(&names)]));
    assert_eq!(hello.alpn.iter().count(), 8000);
}
