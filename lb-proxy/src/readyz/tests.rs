use proptest::prelude::*;

use super::*;

const NOT_READY: &str = "[+]ping ok\n[+]log ok\n[-]etcd failed: reason withheld\n[+]informer-sync ok\n\
    [-]shutdown failed: reason withheld\nreadyz check failed\n";
const NOT_READY_REASON: &str =
    "[-]etcd failed: reason withheld; [-]shutdown failed: reason withheld";

/// A good answer of this number.
fn good(code: u16, words: &str) -> Verdict {
    Verdict::Good(Finding::new(ProbeStatus::L7Ok, words).with_code(code))
}

fn failed(code: u16, words: &str) -> Verdict {
    Verdict::Failed(Finding::new(ProbeStatus::L7Sts, words).with_code(code))
}

fn not_ready(code: u16, words: &str) -> Verdict {
    Verdict::NotReady(Finding::new(ProbeStatus::L7Okc, words).with_code(code))
}

fn verdict(bytes: &str, input: Input, credentials: Credentials) -> Verdict {
    match parse(bytes.as_bytes(), input) {
        Progress::Answer(answer) => judge(&answer, credentials),
        Progress::NeedMore => panic!("{bytes:?} is whole"),
        Progress::Malformed(words) => panic!("{words}: {bytes:?}"),
    }
}

fn with_length(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nCache-Control: no-cache, private\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn ready_is_good() {
    let answer = with_length("200 OK", "ok");
    assert_eq!(
        verdict(&answer, Input::Open, Credentials::None),
        good(200, "answers 200")
    );
}

#[test]
fn without_credentials_a_refusal_is_a_sign_of_life() {
    for (code, status) in [(401, "401 Unauthorized"), (403, "403 Forbidden")] {
        let answer = with_length(status, "{\"kind\":\"Status\"}");
        assert_eq!(
            verdict(&answer, Input::Open, Credentials::None),
            good(
                code,
                &format!("answers {code}: alive, readiness not visible")
            )
        );
        assert_eq!(
            verdict(&answer, Input::Open, Credentials::Shown),
            failed(code, &format!("answers {code} to the client certificate"))
        );
    }
}

#[test]
fn not_ready_names_the_checks_that_failed() {
    for (code, status) in [
        (500, "500 Internal Server Error"),
        (503, "503 Service Unavailable"),
    ] {
        let answer = with_length(status, NOT_READY);
        for credentials in [Credentials::None, Credentials::Shown] {
            assert_eq!(
                verdict(&answer, Input::Open, credentials),
                not_ready(code, NOT_READY_REASON)
            );
        }
    }
}

#[test]
fn not_ready_without_lines_says_its_number() {
    let answer = with_length("503 Service Unavailable", "starting\n");
    assert_eq!(
        verdict(&answer, Input::Open, Credentials::None),
        not_ready(503, "answers 503")
    );
}

#[test]
fn a_chunked_body_is_put_together() {
    let (a, b) = NOT_READY.split_at(45);
    let answer = format!(
        "HTTP/1.1 500 Internal Server Error\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{a}\r\n{:x};ext=1\r\n{b}\r\n0\r\n\r\n",
        a.len(),
        b.len()
    );
    assert_eq!(
        verdict(&answer, Input::Open, Credentials::None),
        not_ready(500, NOT_READY_REASON)
    );
    let cut = &answer[..answer.len() - 60];
    assert_eq!(parse(cut.as_bytes(), Input::Open), Progress::NeedMore);
}

#[test]
fn a_body_that_is_cut_off_still_counts_as_not_ready() {
    let answer = with_length("500 Internal Server Error", NOT_READY);
    let cut = &answer[..answer.len() - 60];
    assert_eq!(parse(cut.as_bytes(), Input::Open), Progress::NeedMore);
    assert!(matches!(
        verdict(cut, Input::Ended, Credentials::None),
        Verdict::NotReady(finding) if finding.words.starts_with("[-]etcd failed")
    ));
}

#[test]
fn a_body_without_length_goes_to_the_end() {
    let answer = format!("HTTP/1.0 500 Internal Server Error\r\n\r\n{NOT_READY}");
    assert_eq!(parse(answer.as_bytes(), Input::Open), Progress::NeedMore);
    assert_eq!(
        verdict(&answer, Input::Ended, Credentials::None),
        not_ready(500, NOT_READY_REASON)
    );
}

#[test]
fn other_numbers_are_failures() {
    for (code, status) in [
        (404, "404 Not Found"),
        (302, "302 Found"),
        (100, "100 Continue"),
        (599, "599"),
        (201, "201 Created"),
    ] {
        let answer = format!("HTTP/1.1 {status}\r\n\r\n");
        assert_eq!(
            verdict(&answer, Input::Open, Credentials::None),
            failed(code, &format!("answers {code}"))
        );
    }
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
        assert_eq!(
            parse(bytes.as_bytes(), input),
            Progress::Malformed(words),
            "{bytes:?}"
        );
    }
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(MAX_HEAD));
    assert_eq!(
        parse(endless.as_bytes(), Input::Open),
        Progress::Malformed("header too long")
    );
    assert_eq!(parse(b"", Input::Open), Progress::NeedMore);
    assert_eq!(
        parse(b"HTTP/1.1 200 OK\r\n", Input::Open),
        Progress::NeedMore
    );
}

#[test]
fn a_reason_is_short_and_printable() {
    let body = format!("[-]a\u{7}\u{1b}[31mb\n{}", "[-]ü failed\n".repeat(100));
    let Verdict::NotReady(Finding { words: reason, .. }) = verdict(
        &with_length("500 Internal Server Error", &body),
        Input::Open,
        Credentials::None,
    ) else {
        panic!("500 is not ready");
    };
    assert!(reason.starts_with("[-]a  [31mb; [-]ü"), "{reason}");
    assert!(reason.len() <= MAX_REASON + '…'.len_utf8());
    assert!(!reason.contains(char::is_control));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), head in any::<bool>()) {
        let mut input = if head { b"HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec() } else { vec![] };
        input.extend(bytes);
        parse(&input, Input::Open);
        if let Progress::Answer(answer) = parse(&input, Input::Ended) {
            judge(&answer, Credentials::None);
        }
    }

    /// However the answer is cut into segments, no prefix is taken for something else.
    #[test]
    fn every_prefix_waits_or_agrees(cut in 0_usize..300) {
        let answer = with_length("500 Internal Server Error", NOT_READY);
        let prefix = &answer.as_bytes()[..cut.min(answer.len())];
        match parse(prefix, Input::Open) {
            Progress::NeedMore => {}
            whole @ (Progress::Answer(_) | Progress::Malformed(_)) => prop_assert_eq!(whole, parse(answer.as_bytes(), Input::Open)),
        }
    }
}
