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
    super::verdict(bytes.as_bytes(), input, credentials).expect("the answer is whole")
}

fn expect_more(bytes: &str) {
    let verdict = super::verdict(bytes.as_bytes(), Input::Open, Credentials::None);
    assert_eq!(verdict, None);
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
    expect_more(cut);
}

#[test]
fn a_body_that_is_cut_off_still_counts_as_not_ready() {
    let answer = with_length("500 Internal Server Error", NOT_READY);
    let cut = &answer[..answer.len() - 60];
    expect_more(cut);
    assert!(matches!(
        verdict(cut, Input::Ended, Credentials::None),
        Verdict::NotReady(finding) if finding.words.starts_with("[-]etcd failed")
    ));
}

#[test]
fn a_body_without_length_goes_to_the_end() {
    let answer = format!("HTTP/1.0 500 Internal Server Error\r\n\r\n{NOT_READY}");
    expect_more(&answer);
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
fn what_is_no_answer_is_one_of_layer_7() {
    let failed = |words: &str| Verdict::Failed(Finding::new(ProbeStatus::L7Rsp, words));
    assert_eq!(
        verdict("SSH-2.0-OpenSSH\r\n", Input::Open, Credentials::None),
        failed("no HTTP answer")
    );
    assert_eq!(
        verdict("", Input::Ended, Credentials::None),
        failed("closed without an answer")
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

#[test]
fn reasons_that_come_too_slowly_do_not_make_a_server_ready() {
    let answer = with_length("500 Internal Server Error", NOT_READY);
    let cut = &answer[..answer.len() - 60];
    assert!(matches!(
        verdict(cut, Input::Late, Credentials::None),
        Verdict::NotReady(_)
    ));
    let head = "HTTP/1.1 500 Internal";
    let late = super::verdict(head.as_bytes(), Input::Late, Credentials::None);
    assert_eq!(late, None);
}
