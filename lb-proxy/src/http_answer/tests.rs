use proptest::prelude::*;

use super::*;

fn whole(status: u16, body: &str) -> Progress {
    Progress::Answer(Answer {
        status,
        body: body.as_bytes().to_vec(),
        is_whole: true,
    })
}

fn read(bytes: &str, input: Input) -> Progress {
    parse(bytes.as_bytes(), input, |_| true)
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
    5\r\nready\r\n4;ext=1\r\n: ye\r\n1\r\ns\r\n0\r\n\r\n";

#[test]
fn a_body_ends_where_its_framing_says() {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more";
    assert_eq!(read(length, Input::Open), whole(200, "ok"));
    assert_eq!(read(CHUNKED, Input::Open), whole(200, "ready: yes"));
    let close = "HTTP/1.0 500 X\r\n\r\nuntil the end";
    assert_eq!(read(close, Input::Ended), whole(500, "until the end"));
    let Progress::Answer(so_far) = read(close, Input::Open) else {
        panic!("its number is known");
    };
    assert_eq!((so_far.status, so_far.is_whole), (500, false));
}

#[test]
fn a_body_that_nobody_wants_or_that_there_is_none_of_is_not_waited_for() {
    let long = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
    let parsed = parse(long.as_bytes(), Input::Open, |_| false);
    assert_eq!(parsed, whole(200, ""));
    for bodiless in ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 304\r\n\r\n"] {
        assert!(matches!(read(bodiless, Input::Open), Progress::Answer(one) if one.is_whole));
    }
}

#[test]
fn what_comes_before_the_answer_proper_is_passed_over() {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n\
        Content-Length: 0\r\n\r\n";
    assert_eq!(read(hints, Input::Open), whole(200, ""));
    assert_eq!(
        read("HTTP/1.1 100 Continue\r\n\r\n", Input::Open),
        Progress::NeedMore
    );
    assert_eq!(
        read("HTTP/1.1 100 Continue\r\n\r\n", Input::Ended),
        Progress::Malformed("closed without an answer")
    );
}

#[test]
fn what_is_no_answer_is_malformed() {
    let cases = [
        ("SSH-2.0-OpenSSH\r\n", Input::Open, "no HTTP answer"),
        ("HTTP/2 200\r\n\r\n", Input::Open, "no HTTP answer"),
        ("HTTP/1.1 2000 OK\r\n\r\n", Input::Open, "no HTTP answer"),
        ("HTTP/1.1 abc OK\r\n\r\n", Input::Open, "no HTTP answer"),
        ("HTTP/1.1 099 OK\r\n\r\n", Input::Open, "no HTTP answer"),
        ("HTTP/1.x 200 OK\r\n\r\n", Input::Open, "no HTTP answer"),
        ("HTTP/1.1\r\n\r\n", Input::Open, "no HTTP answer"),
        ("", Input::Ended, "closed without an answer"),
        ("HTTP/1.1 200 OK\r\n", Input::Ended, "answer is incomplete"),
    ];
    for (bytes, input, words) in cases {
        assert_eq!(read(bytes, input), Progress::Malformed(words), "{bytes:?}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(MAX_HEAD));
    assert_eq!(
        read(&endless, Input::Open),
        Progress::Malformed("header too long")
    );
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101));
    assert_eq!(
        read(&many, Input::Open),
        Progress::Malformed("more headers than are read")
    );
    assert_eq!(read("", Input::Open), Progress::NeedMore);
    assert_eq!(read("HTTP/1.1 200 OK\r\n", Input::Late), Progress::NeedMore);
}

#[test]
fn a_header_that_breaks_the_rules_is_passed_over() {
    let odd = "HTTP/1.1 200 OK\r\nA B: c\r\nContent-Length: 2\r\n\r\nok";
    assert_eq!(read(odd, Input::Open), whole(200, "ok"));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), head in any::<bool>()) {
        let mut input = if head { b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec() } else { vec![] };
        input.extend(bytes);
        for end in [Input::Open, Input::Ended, Input::Late] {
            parse(&input, end, |_| true);
        }
    }

    /// However the answer is cut into segments, no prefix is taken for something else.
    #[test]
    fn every_prefix_waits_or_agrees(cut in 0_usize..CHUNKED.len()) {
        match read(&CHUNKED[..cut], Input::Open) {
            Progress::NeedMore => {}
            Progress::Answer(answer) => {
                prop_assert_eq!(answer.status, 200);
                prop_assert!(b"ready: yes".starts_with(&answer.body));
            }
            Progress::Malformed(words) => prop_assert!(false, "{}", words),
        }
    }
}
