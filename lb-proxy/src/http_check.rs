//! What an HTTP probe asks, and what an answer says of the server. Pure.

use std::net::SocketAddr;

use common::board::ProbeStatus;
use common::config::{HttpProbe, HttpVersion, StatusRange};

use crate::finding::Finding;
use crate::health::Verdict;
use crate::http_answer::{Answer, Input, Progress, parse};

/// One server's question, and what is expected.
#[derive(Debug)]
pub(crate) struct HttpCheck {
    pub(crate) request: Vec<u8>,
    /// Most bytes of an answer that are read.
    pub(crate) most: usize,
    expected: Expected,
}

#[derive(Debug)]
struct Expected {
    status: Vec<StatusRange>,
    drain: Vec<StatusRange>,
    body: Option<String>,
    /// Bytes of the body in which it is looked for.
    limit: usize,
    /// An answer to HEAD has no body.
    is_head: bool,
}

/// Room for the head of an answer, above the body.
const HEAD: usize = 16 * 1024;

impl HttpCheck {
    /// For the server whose probes go to this address.
    pub(crate) fn new(probe: &HttpProbe, address: SocketAddr) -> Self {
        Self {
            request: request(probe, address).into_bytes(),
            most: HEAD + probe.body_limit,
            expected: Expected {
                status: probe.expect_status.clone(),
                drain: probe.drain_status.clone(),
                body: probe.expect_body.clone(),
                limit: probe.body_limit,
                is_head: probe.method == "HEAD",
            },
        }
    }

    /// What the bytes so far say of the server; `None` = more is needed.
    pub(crate) fn verdict(&self, bytes: &[u8], input: Input) -> Option<Verdict> {
        let expected = &self.expected;
        match parse(bytes, input, |status| expected.looks_into(status)) {
            Progress::NeedMore => None,
            Progress::Answer(answer) => expected.judge(&answer, input),
            Progress::Malformed(words) => {
                Some(Verdict::Failed(Finding::new(ProbeStatus::L7Rsp, words)))
            }
        }
    }
}

impl Expected {
    /// Whether the body of an answer with this number matters.
    fn looks_into(&self, status: u16) -> bool {
        self.body.is_some() && !self.is_head && any(&self.status, status)
    }

    fn judge(&self, answer: &Answer, input: Input) -> Option<Verdict> {
        let status = answer.status;
        let found = |how, words: String| Finding::new(how, words).with_code(status);
        let answers = format!("answers {status}");
        if any(&self.drain, status) {
            return Some(Verdict::NotReady(found(ProbeStatus::L7Okc, answers)));
        }
        if !any(&self.status, status) {
            return Some(Verdict::Failed(found(ProbeStatus::L7Sts, answers)));
        }
        let Some(text) = &self.body else {
            return Some(Verdict::Good(found(ProbeStatus::L7Ok, answers)));
        };
        let body = answer.body.get(..self.limit).unwrap_or(&answer.body);
        if contains(body, text.as_bytes()) {
            let words = format!("{answers} with the expected text");
            return Some(Verdict::Good(found(ProbeStatus::L7Ok, words)));
        }
        let may_come = !answer.is_whole && answer.body.len() < self.limit;
        match input {
            Input::Open if may_come => None,
            Input::Late if may_come => Some(Verdict::Failed(found(
                ProbeStatus::L7Tout,
                format!("{answers}, the expected text did not come in time"),
            ))),
            Input::Open | Input::Ended | Input::Late => Some(Verdict::Failed(found(
                ProbeStatus::L7Rsp,
                format!("{answers} without the expected text"),
            ))),
        }
    }
}

fn any(ranges: &[StatusRange], status: u16) -> bool {
    ranges.iter().any(|range| range.contains(status))
}

/// Both are short: the text a line at most, the body within its limit.
fn contains(body: &[u8], text: &[u8]) -> bool {
    body.windows(text.len()).any(|window| window == text)
}

fn request(probe: &HttpProbe, address: SocketAddr) -> String {
    let name = probe.tls.as_ref().and_then(|tls| tls.server_name.clone());
    let host = probe.host.clone().or(name);
    let host = host.unwrap_or_else(|| address.to_string());
    let version = match probe.version {
        HttpVersion::Http10 => "1.0",
        HttpVersion::Http11 => "1.1",
    };
    let (method, path) = (&probe.method, &probe.path);
    let mut request = format!("{method} {path} HTTP/{version}\r\nHost: {host}\r\n");
    let names = |name: &str| {
        let mut headers = probe.headers.iter();
        headers.any(|(given, _)| given.eq_ignore_ascii_case(name))
    };
    if !names("User-Agent") {
        request += &format!("User-Agent: fmc-lb/{}\r\n", env!("CARGO_PKG_VERSION"));
    }
    if !names("Accept") {
        request += "Accept: */*\r\n";
    }
    for (name, value) in &probe.headers {
        request += &format!("{name}: {value}\r\n");
    }
    request + "Connection: close\r\n\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe() -> HttpProbe {
        HttpProbe {
            tls: None,
            method: "GET".into(),
            path: "/healthz".into(),
            host: None,
            headers: Vec::new(),
            version: HttpVersion::Http11,
            expect_status: vec![StatusRange::new(200, 399)],
            drain_status: Vec::new(),
            expect_body: None,
            body_limit: 32,
        }
    }

    fn verdict(probe: &HttpProbe, answer: &str, input: Input) -> Option<Verdict> {
        let check = HttpCheck::new(probe, "10.17.4.24:80".parse().expect("an address"));
        check.verdict(answer.as_bytes(), input)
    }

    fn found(how: ProbeStatus, code: u16, words: &str) -> Finding {
        Finding::new(how, words).with_code(code)
    }

    #[test]
    fn the_question_says_whom_it_is_for() {
        let text = |probe: &HttpProbe| {
            let check = HttpCheck::new(probe, "10.17.4.24:80".parse().expect("an address"));
            String::from_utf8(check.request).expect("text")
        };
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            text(&probe()),
            format!(
                "GET /healthz HTTP/1.1\r\nHost: 10.17.4.24:80\r\nUser-Agent: fmc-lb/{version}\r\n\
                 Accept: */*\r\nConnection: close\r\n\r\n"
            )
        );
        let own = HttpProbe {
            method: "HEAD".into(),
            host: Some("web.example.org".into()),
            headers: vec![
                ("X-Probe".into(), "1".into()),
                ("user-agent".into(), "me".into()),
                ("accept".into(), "text/plain".into()),
            ],
            version: HttpVersion::Http10,
            ..probe()
        };
        assert_eq!(
            text(&own),
            "HEAD /healthz HTTP/1.0\r\nHost: web.example.org\r\nX-Probe: 1\r\nuser-agent: me\r\n\
             accept: text/plain\r\nConnection: close\r\n\r\n"
        );
    }

    #[test]
    fn the_number_decides() {
        let with = HttpProbe {
            expect_status: vec![StatusRange::new(200, 299), StatusRange::new(401, 401)],
            drain_status: vec![StatusRange::new(404, 404)],
            ..probe()
        };
        let said = |status: u16| {
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 100\r\n\r\n");
            verdict(&with, &answer, Input::Open).expect("the number is enough")
        };
        for status in [200, 204, 299, 401] {
            let words = format!("answers {status}");
            let good = found(ProbeStatus::L7Ok, status, &words);
            assert_eq!(said(status), Verdict::Good(good));
        }
        for status in [101, 300, 400, 402, 503] {
            let words = format!("answers {status}");
            let bad = found(ProbeStatus::L7Sts, status, &words);
            assert_eq!(said(status), Verdict::Failed(bad));
        }
        let drains = found(ProbeStatus::L7Okc, 404, "answers 404");
        assert_eq!(said(404), Verdict::NotReady(drains));
    }

    #[test]
    fn a_text_is_looked_for_as_far_as_the_body_has_come() {
        let with = HttpProbe {
            expect_body: Some("ready".into()),
            ..probe()
        };
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n";
        let said = |body: &str, input| verdict(&with, &format!("{head}{body}"), input);
        let good = found(ProbeStatus::L7Ok, 200, "answers 200 with the expected text");
        assert_eq!(said("I am ready", Input::Open), Some(Verdict::Good(good)));
        assert_eq!(said("I am re", Input::Open), None);
        let late = found(
            ProbeStatus::L7Tout,
            200,
            "answers 200, the expected text did not come in time",
        );
        assert_eq!(said("I am re", Input::Late), Some(Verdict::Failed(late)));
        let without = Verdict::Failed(found(
            ProbeStatus::L7Rsp,
            200,
            "answers 200 without the expected text",
        ));
        assert_eq!(said("I am re", Input::Ended), Some(without.clone()));
        assert_eq!(said("I am not there", Input::Open), Some(without.clone()));
        let long = format!("HTTP/1.1 200 OK\r\n\r\n{}ready", "x".repeat(28));
        assert_eq!(verdict(&with, &long, Input::Open), Some(without));
        let bad = Verdict::Failed(found(ProbeStatus::L7Sts, 500, "answers 500"));
        let answer = "HTTP/1.1 500 X\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(verdict(&with, answer, Input::Open), Some(bad));
    }
}
