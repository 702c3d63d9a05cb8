use std::net::Ipv6Addr;

use super::*;
use crate::limit::Refusal;
use crate::registry::Cut;
use crate::session::NoSession;

fn names() -> Names {
    let config = Config::from_running(
        r#"
[nodes.lb1]
address = "192.168.0.11"
[pair]
interface = "eth0"
[listeners.fnt]
bind = ["192.168.0.11:443"]
backend = "bck"
[backends.other]
servers = ["10.0.0.1:80"]
[backends.bck]
servers = ["10.0.0.2:80", "10.0.0.3:80"]
"#,
    );
    Names::new(Arc::new(config.expect("it is valid")))
}

/// The example of HAProxy's manual: accepted on the 6th of February 2009, 12:12:51.443.
fn example() -> Line {
    let ends = (
        ([10, 0, 1, 2], 33_313).into(),
        Some(([192, 168, 0, 11], 443).into()),
    );
    Line {
        total: Duration::from_micros(5_007_999),
        id: Some("2a".parse().expect("an identity")),
        backend: Some(BackendIndex(1)),
        server: Some(([10, 0, 0, 3], 80).into()),
        source: Some(([192, 168, 0, 11], 40_001).into()),
        queue: Some(Duration::ZERO),
        connect: Some(Duration::from_micros(1_900)),
        bytes_in: 100,
        bytes_out: 212,
        counts: Counts {
            process: 4,
            listener: 3,
            backend: 2,
            server: 1,
        },
        retries: 3,
        ..Line::new(0, ends, Duration::from_millis(1_233_922_371_443))
    }
}

/// Refused before anything was known.
fn refused() -> Line {
    let ends = ((Ipv6Addr::LOCALHOST, 9).into(), None);
    let line = Line::new(0, ends, example().accepted);
    line.ended(&Ending::Limited(Refusal::Rate), Phase::Opening)
}

fn written(line: &Line, format: LogFormat) -> String {
    let mut out = b"before\n".to_vec();
    line.write(format, &names(), &mut out);
    let text = String::from_utf8(out).expect("text");
    let line = text.strip_prefix("before\n").expect("appended");
    line.strip_suffix('\n').expect("a whole line").to_owned()
}

#[test]
fn tcplog_is_haproxys() {
    assert_eq!(
        written(&example(), LogFormat::Tcplog),
        "10.0.1.2:33313 [06/Feb/2009:12:12:51.443] fnt bck/10.0.0.3:80 0/1/5007 212 -- 4/3/2/1/3 0/0"
    );
    let queued = Line {
        queue: Some(Duration::from_millis(17)),
        ahead: 5,
        retries: 1,
        redispatched: true,
        ..example()
    };
    let text = written(&queued, LogFormat::Tcplog);
    assert!(text.ends_with(" 17/1/5007 212 -- 4/3/2/1/+1 0/5"), "{text}");
    // IPv6 without brackets, as HAProxy has it.
    assert_eq!(
        written(&refused(), LogFormat::Tcplog),
        "::1:9 [06/Feb/2009:12:12:51.443] fnt fnt/<NOSRV> -1/-1/0 0 PR 0/0/0/0/0 0/0"
    );
}

#[test]
fn json_has_the_same_keys_always() {
    let parse = |line: &Line| -> serde_json::Map<String, serde_json::Value> {
        serde_json::from_str(&written(line, LogFormat::Json)).expect("JSON")
    };
    let line = Line {
        sni: Some("a\"b\n\u{1}.example.org".into()),
        client_cn: Some("worker \"1\"".into()),
        via: Some(([10, 7, 0, 1], 1).into()),
        ..example()
    };
    let full = parse(&line);
    assert_eq!(full["time"], "2009-02-06T12:12:56.450Z");
    assert_eq!(full["accepted"], "2009-02-06T12:12:51.443Z");
    assert_eq!(full["id"], "2a");
    assert_eq!(full["client"], "10.0.1.2:33313");
    assert_eq!(full["via"], "10.7.0.1:1");
    assert_eq!(full["listener"], "fnt");
    assert_eq!(full["bind"], "192.168.0.11:443");
    assert_eq!(full["backend"], "bck");
    assert_eq!(full["server"], "10.0.0.3:80");
    assert_eq!(full["source"], "192.168.0.11:40001");
    assert_eq!(
        (&full["queue_ms"], &full["connect_ms"]),
        (&0.into(), &1.into())
    );
    assert_eq!(full["total_ms"], 5_007);
    assert_eq!(
        (&full["bytes_in"], &full["bytes_out"]),
        (&100.into(), &212.into())
    );
    assert_eq!(
        full["sessions"],
        serde_json::json!({ "process": 4, "listener": 3, "backend": 2, "server": 1 })
    );
    assert_eq!(
        (&full["retries"], &full["redispatched"]),
        (&3.into(), &false.into())
    );
    assert_eq!(full["sni"], "a\"b\n\u{1}.example.org");
    assert_eq!(full["client_cn"], "worker \"1\"");
    assert_eq!(full["termination"], "--");
    assert!(full["reason"].is_null());
    let bare = parse(&refused());
    assert_eq!(
        full.keys().collect::<Vec<_>>(),
        bare.keys().collect::<Vec<_>>()
    );
    assert_eq!(bare["termination"], "PR");
    assert_eq!(bare["reason"], "the client comes faster than it may");
    for unknown in [
        "id",
        "backend",
        "server",
        "source",
        "queue_ms",
        "connect_ms",
    ] {
        assert!(bare[unknown].is_null(), "{unknown}");
    }
}

#[test]
fn the_documentation_has_every_key_and_every_letter() {
    let page = include_str!("../../../../docs/session-log.md");
    let line: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&written(&example(), LogFormat::Json)).expect("JSON");
    for key in line.keys() {
        let row = format!("\n| `{key}` | ");
        assert_eq!(page.matches(&row).count(), 1, "{key}");
    }
    let (_, tables) = page.split_once("## Termination").expect("a chapter");
    let (causes, phases) = tables
        .split_once("what it was about |")
        .expect("two tables");
    for (table, letters) in [(causes, "CScsPRIDUK"), (phases, "RQCD")] {
        let rows = table.lines().filter(|line| line.starts_with("| `"));
        let found: String = rows.filter_map(|row| row.chars().nth(3)).collect();
        assert_eq!(found, letters);
    }
}

#[test]
fn a_line_is_one_line_whatever_a_client_says() {
    let line = Line {
        sni: Some("a\r\nb\u{2028}".into()),
        ..example()
    };
    for format in [LogFormat::Json, LogFormat::Tcplog] {
        let text = written(&line, format);
        assert!(!text.contains(['\n', '\r']), "{text:?}");
    }
}

#[test]
fn no_date_of_a_wrong_clock_panics() {
    for since_1970 in [Duration::ZERO, Duration::MAX, Duration::from_secs(1 << 38)] {
        assert_eq!(rfc3339(since_1970).len(), 24, "{since_1970:?}");
        assert_eq!(haproxy_date(since_1970).len(), 24, "{since_1970:?}");
    }
}

/// What loopback cannot bring about, or only in one phase.
#[test]
fn the_letters_of_what_ends_a_session_in_any_phase() {
    let phases = [Phase::Opening, Phase::Queue, Phase::Connect, Phase::Data];
    let letters = |ending: &Ending<'_>| -> Vec<String> {
        let each = phases.map(|phase| Termination::of(ending, phase).to_string());
        each.to_vec()
    };
    let killed = NoSession::Cut(Cut::Administrator);
    assert_eq!(
        letters(&Ending::NoSession(&killed)),
        ["KR", "KQ", "KC", "KD"]
    );
    let down = NoSession::Cut(Cut::ServerDown);
    assert_eq!(letters(&Ending::NoSession(&down)), ["DR", "DQ", "DC", "DD"]);
    let gone = NoSession::ClientGone;
    assert_eq!(letters(&Ending::NoSession(&gone)), ["CR", "CQ", "CC", "CD"]);
    assert_eq!(letters(&Ending::Stopped), ["KR", "KQ", "KC", "KD"]);
    assert_eq!(letters(&Ending::Panicked), ["IR", "IQ", "IC", "ID"]);
}
