use super::super::{Accept, decode as decode_any};
use super::*;

fn decoded(bytes: &[u8]) -> Result<Decoded<'_>, HeaderError> {
    decode_any(bytes, Accept::V1)
}

fn header(bytes: &[u8]) -> Header<'_> {
    match decoded(bytes) {
        Ok(Decoded::Header(header)) => header,
        other => panic!("no header: {other:?}"),
    }
}

fn refusal(line: &str) -> HeaderError {
    decoded(line.as_bytes()).expect_err(line)
}

fn between(source: &str, destination: &str) -> Option<Endpoints> {
    Some(Endpoints {
        source: source.parse().expect("an endpoint"),
        destination: destination.parse().expect("an endpoint"),
    })
}

const LONGEST_TCP4: &str = "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n";
const LONGEST_TCP6: &str = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                            ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
const LONGEST_UNKNOWN: &str = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                               ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";

#[test]
fn tcp4_and_tcp6_name_the_endpoints() {
    let line = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET /";
    let found = header(line);
    assert_eq!(found.version, Version::V1);
    assert_eq!(
        found.endpoints,
        between("192.168.0.1:56324", "192.168.0.11:443")
    );
    assert_eq!(&line[found.length..], b"GET /");
    assert_eq!(found.tlvs, Tlvs::default());
    let found = header(b"PROXY TCP6 2001:DB8::1 2001:0db8:0:0:0:0:0:2 0 65535\r\n");
    assert_eq!(
        found.endpoints,
        between("[2001:db8::1]:0", "[2001:db8::2]:65535")
    );
    for zeros in ["::", "0:0:0:0:0:0:0:0"] {
        let line = format!("PROXY TCP6 {zeros} ::1 1 2\r\n");
        let found = header(line.as_bytes());
        assert_eq!(found.endpoints, between("[::]:1", "[::1]:2"));
    }
}

#[test]
fn unknown_means_the_addresses_of_the_socket() {
    for line in [
        "PROXY UNKNOWN\r\n",
        "PROXY UNKNOWN \r\n",
        "PROXY UNKNOWN 1.2.3.4 1.2.3.5 1 2\r\n",
        "PROXY UNKNOWN  what  ever\u{fe} 99999\r\n",
        LONGEST_UNKNOWN,
    ] {
        let found = header(line.as_bytes());
        assert_eq!(found.endpoints, None, "{line}");
        assert_eq!(found.length, line.len());
    }
}

#[test]
fn the_longest_lines_are_accepted_and_no_longer_one() {
    for (line, length) in [
        (LONGEST_TCP4, 56),
        (LONGEST_TCP6, 104),
        (LONGEST_UNKNOWN, 107),
    ] {
        assert_eq!(line.len(), length);
        assert_eq!(header(line.as_bytes()).length, length);
    }
    let longer = LONGEST_UNKNOWN.replace("\r\n", "5\r\n");
    assert_eq!(longer.len(), 108);
    assert_eq!(refusal(&longer), HeaderError::LineTooLong);
    // Decided at the 107th byte, be it a CR.
    assert_eq!(refusal(&longer[..107]), HeaderError::LineTooLong);
    assert_eq!(decoded(&longer.as_bytes()[..106]), Ok(Decoded::Incomplete));
    assert_eq!(refusal(&format!("PROXY UNKNOWN {}", "x".repeat(94))), {
        HeaderError::LineTooLong
    });
    assert_eq!(refusal(&format!("PROXY TCP4 {}", "1".repeat(97))), {
        HeaderError::LineTooLong
    });
}

#[test]
fn cr_or_lf_alone_ends_nothing() {
    for line in [
        "PROXY TCP4 1.2.3.4 1.2.3.5 1 2\n",
        "PROXY TCP4 1.2.3.4 1.2.3.5 1 2\n\r",
        "PROXY TCP4 1.2.3.4 1.2.3.5 1 2\r1",
        "PROXY TCP4 1.2.3.4 1.2.3.5 1 2\r\r\n",
        "PROXY TCP4 1.2.3.4\n1.2.3.5 1 2\r\n",
        "PROXY UNKNOWN\r1\r\n",
        "PROXY UNKNOWN 1\n2\r\n",
    ] {
        assert_eq!(refusal(line), HeaderError::LineEnd, "{line:?}");
    }
    assert_eq!(refusal("PROXY UNKNOWN\n"), HeaderError::Keyword);
}

#[test]
fn fields_have_one_space_between_them() {
    for line in [
        "PROXY TCP4  1.2.3.4 1.2.3.5 1 2\r\n",
        "PROXY TCP4 1.2.3.4  1.2.3.5 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.5  1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.5 1  2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.5 1 2 \r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.5 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.5 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.5\r\n",
        "PROXY TCP4 1.2.3.4\r\n",
        "PROXY TCP4 \r\n",
    ] {
        assert_eq!(refusal(line), HeaderError::Fields, "{line:?}");
    }
    assert_eq!(
        refusal("PROXY  TCP4 1.2.3.4 1.2.3.5 1 2\r\n"),
        HeaderError::Keyword
    );
    assert_eq!(
        refusal("PROXY TCP4 1.2.3.4\t1.2.3.5 1 2 3\r\n"),
        HeaderError::Address
    );
    let not_text = b"PROXY TCP4 \xff 1.2.3.5 1 2\r\n";
    assert_eq!(decoded(not_text), Err(HeaderError::Fields));
}

#[test]
fn keywords_are_upper_case_and_known() {
    for line in [
        "proxy TCP4 ",
        "Proxy",
        "PROXy",
        "PROXYTCP4",
        "POST / HTTP/1.1",
    ] {
        assert_eq!(refusal(line), HeaderError::NoHeader, "{line}");
    }
    for word in [
        "tcp4 ", "TCP5", "TCP4\r\n", "TCP45", "UDP4 ", "Unknown", "UNKNOWNS", "\r\n",
    ] {
        let line = format!("PROXY {word}");
        assert_eq!(refusal(&line), HeaderError::Keyword, "{line:?}");
    }
}

#[test]
fn addresses_are_canonical_and_of_the_family() {
    for (family, address, other) in [
        ("TCP4", "::1", "1.2.3.4"),
        ("TCP4", "::ffff:1.2.3.4", "1.2.3.4"),
        ("TCP6", "1.2.3.4", "::1"),
        ("TCP4", "01.2.3.4", "1.2.3.4"),
        ("TCP4", "1.2.3.004", "1.2.3.4"),
        ("TCP4", "1.2.3.256", "1.2.3.4"),
        ("TCP4", "1.2.3", "1.2.3.4"),
        ("TCP4", "1.2.3.4.5", "1.2.3.4"),
        ("TCP4", "1.2.3.+4", "1.2.3.4"),
        ("TCP4", "0x1.2.3.4", "1.2.3.4"),
        ("TCP4", "1.2.3.4:80", "1.2.3.4"),
        ("TCP4", "localhost", "1.2.3.4"),
        ("TCP6", "1:2:3:4:5:6:7", "::1"),
        ("TCP6", "1:2:3:4:5:6:7:8:9", "::1"),
        ("TCP6", "1::2::3", "::1"),
        ("TCP6", "12345::", "::1"),
        ("TCP6", "fe80::1%eth0", "::1"),
        ("TCP6", "[::1]", "::1"),
        ("TCP6", "g::", "::1"),
    ] {
        for line in [
            format!("PROXY {family} {address} {other} 1 2\r\n"),
            format!("PROXY {family} {other} {address} 1 2\r\n"),
        ] {
            assert_eq!(refusal(&line), HeaderError::Address, "{line}");
        }
    }
}

#[test]
fn ports_are_plain_numbers() {
    for port in [
        "65536",
        "99999999999",
        "-1",
        "+1",
        "01",
        "00",
        "0x1",
        "1.0",
        "http",
        "１",
    ] {
        for line in [
            format!("PROXY TCP4 1.2.3.4 1.2.3.5 {port} 2\r\n"),
            format!("PROXY TCP6 ::1 ::2 2 {port}\r\n"),
        ] {
            assert_eq!(refusal(&line), HeaderError::Port, "{line}");
        }
    }
}

#[test]
fn mapped_addresses_become_ipv4() {
    for address in [
        "::ffff:192.0.2.1",
        "::ffff:c000:201",
        "0:0:0:0:0:FFFF:c000:0201",
    ] {
        let line = format!("PROXY TCP6 {address} ::ffff:192.0.2.2 1 2\r\n");
        let found = header(line.as_bytes());
        assert_eq!(found.endpoints, between("192.0.2.1:1", "192.0.2.2:2"));
    }
    let found = header(b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n");
    assert_eq!(found.endpoints, between("192.0.2.1:1", "[2001:db8::1]:2"));
}

#[test]
fn lines_are_written_as_the_specification_has_them() {
    let line = |source: &str, destination: &str| {
        let bytes = encode(between(source, destination));
        String::from_utf8(bytes).expect("a line is text")
    };
    assert_eq!(
        line("192.168.0.1:56324", "192.168.0.11:443"),
        "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"
    );
    assert_eq!(
        line("[2001:db8::1]:1", "[::1]:0"),
        "PROXY TCP6 2001:db8::1 ::1 1 0\r\n"
    );
    assert_eq!(
        line("192.0.2.1:1", "[2001:db8::1]:2"),
        "PROXY TCP6 ::ffff:c000:201 2001:db8::1 1 2\r\n"
    );
    assert_eq!(
        line("255.255.255.255:65535", "255.255.255.255:65535"),
        LONGEST_TCP4
    );
    let most = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
    assert_eq!(line(most, most), LONGEST_TCP6);
    assert_eq!(encode(None), b"PROXY UNKNOWN\r\n");
    let mapped = Endpoints::new(
        "[::ffff:192.0.2.1]:1".parse().expect("an endpoint"),
        "[::ffff:192.0.2.2]:2".parse().expect("an endpoint"),
    );
    assert_eq!(
        encode(Some(mapped)),
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
    );
}
