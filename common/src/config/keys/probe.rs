//! The keys of a probe.

use super::step::STEP;
use super::{HOUR, PORT, TEN_MS};
use crate::config::kind::{
    Choice, Default, DurationRange, Form, IntegerRange, Key, Kind, Section, Shape,
};

const PROBE_TIME: DurationRange = DurationRange::new(TEN_MS, HOUR);

pub(in crate::config) const PROBE: Section = Section {
    name: "probe",
    shape: Shape::Inline,
    doc: "A periodic check of each server of a backend.",
    example: r#"{ kind = "send-expect", interval = "1s", steps = [{ send = "PING\r\n" }, "+PONG"] }"#,
    keys: &[
        Key {
            name: "kind",
            kind: Kind::Choice(Choice {
                values: &[
                    "tcp",
                    "tls",
                    "http",
                    "https",
                    "kube-apiserver",
                    "send-expect",
                    "send-expect-tls",
                    "external",
                ],
                later: &[],
            }),
            default: Default::Toml("\"tcp\""),
            doc: "\"tcp\": a connection can be made; \"tls\": a TLS handshake can be made; \
                  \"http\" and \"https\": a request is answered as expected; \"kube-apiserver\": TLS and GET /readyz; \
                  \"send-expect\" and \"send-expect-tls\": a dialogue goes as `steps` say; \
                  \"external\": a program ends with exit code 0",
        },
        Key {
            name: "interval",
            kind: Kind::Duration(PROBE_TIME),
            default: Default::Toml("\"2s\""),
            doc: "Time between the starts of two probes of a server, give or take 5 %",
        },
        Key {
            name: "fast_interval",
            kind: Kind::Duration(PROBE_TIME),
            default: Default::Unset("as interval"),
            doc: "The same while a server is on its way up or down (some of `rise` or `fall` probes \
                  are done), or before its first probe; never before the probe before has ended",
        },
        Key {
            name: "down_interval",
            kind: Kind::Duration(PROBE_TIME),
            default: Default::Unset("as interval"),
            doc: "The same while a server is down; never before the probe before has ended",
        },
        Key {
            name: "timeout",
            kind: Kind::Duration(PROBE_TIME),
            default: Default::Unset("the smaller of the interval and 2s"),
            doc: "Limit of one probe, at most the interval",
        },
        Key {
            name: "rise",
            kind: Kind::Integer(IntegerRange::new(1, 100)),
            default: Default::Toml("2"),
            doc: "Good probes in a row that bring a server up",
        },
        Key {
            name: "fall",
            kind: Kind::Integer(IntegerRange::new(1, 100)),
            default: Default::Toml("3"),
            doc: "Bad probes in a row that take a server down",
        },
        Key {
            name: "initial_state",
            kind: Kind::Choice(Choice {
                values: &["up", "fully-up", "down", "fully-down"],
                later: &[],
            }),
            default: Default::Toml("\"up\""),
            doc: "What a server counts as before its first probe has ended. \"up\": it gets sessions, \
                  and that probe decides; \"fully-up\": it gets sessions until `fall` probes are bad; \
                  \"down\": it gets none, and that probe decides; \"fully-down\": it gets none until \
                  `rise` probes are good. A new proxy on the same node goes on from what the one before \
                  has found",
        },
        Key {
            name: "port",
            kind: Kind::Integer(PORT),
            default: Default::Unset("the server's own"),
            doc: "Port that probes go to, where it is not the one of the sessions",
        },
        Key {
            name: "send_proxy",
            kind: Kind::Choice(Choice {
                values: &["off", "v1", "v2"],
                later: &[],
            }),
            default: Default::Unset(
                "as `send_proxy` of the backend where the probe goes where the sessions go, else off",
            ),
            doc: "PROXY protocol header that the probe begins with, before TLS too: version 1 with the probe's own \
                  addresses, version 2 as LOCAL (HAProxy's check-send-proxy)",
        },
        Key {
            name: "server_name",
            kind: Kind::Text(Form::HostName),
            default: Default::Unset("its address, and no name is asked for"),
            doc: "With TLS: name that the server is asked for (SNI) and that its certificate must have",
        },
        Key {
            name: "verify",
            kind: Kind::Bool,
            default: Default::Unset("true; with \"kube-apiserver\" if there is a ca_file"),
            doc: "With \"tls\", \"https\" and \"send-expect-tls\": false = any certificate is accepted",
        },
        Key {
            name: "ca_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset(
                "an API server's certificate is not checked; others need verify = false then",
            ),
            doc: "With TLS: certificates (PEM) of the authorities that the server's is checked against. \
                  This file and the two below are looked at each second, and a change is used at \
                  once if it can be",
        },
        Key {
            name: "cert_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("the probe shows no certificate"),
            doc: "With TLS: client certificate (PEM) that the probe shows to the server",
        },
        Key {
            name: "key_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("the probe shows no certificate"),
            doc: "Private key (PEM) of cert_file; only its owner may read it",
        },
        Key {
            name: "expiry_warning_days",
            kind: Kind::Integer(IntegerRange::new(0, 3_650)),
            default: Default::Toml("14"),
            doc: "With TLS: days before the server's certificate expires from which on status warns; 0 \
                  = never",
        },
        Key {
            name: "method",
            kind: Kind::Text(Form::Method),
            default: Default::Toml("\"GET\""),
            doc: "With \"http\" and \"https\": method of the request. GET is what health paths are made \
                  for; OPTIONS, HAProxy's default, is answered by many servers whatever the path",
        },
        Key {
            name: "path",
            kind: Kind::Text(Form::Target),
            default: Default::Toml("\"/\""),
            doc: "With \"http\" and \"https\": path and query of the request",
        },
        Key {
            name: "host",
            kind: Kind::Text(Form::Host),
            default: Default::Unset("server_name, or else the address that the probe goes to"),
            doc: "With \"http\" and \"https\": the Host header of the request",
        },
        Key {
            name: "headers",
            kind: Kind::List(&Kind::Text(Form::Header)),
            default: Default::Toml("[]"),
            doc: "With \"http\" and \"https\": more headers of the request",
        },
        Key {
            name: "http_version",
            kind: Kind::Choice(Choice {
                values: &["1.1", "1.0"],
                later: &[],
            }),
            default: Default::Toml("\"1.1\""),
            doc: "With \"http\" and \"https\": version of HTTP in the request",
        },
        Key {
            name: "expect_status",
            kind: Kind::List(&Kind::Text(Form::StatusRange)),
            default: Default::Toml("[\"200-399\"]"),
            doc: "With \"http\" and \"https\": numbers of answers that are good",
        },
        Key {
            name: "drain_status",
            kind: Kind::List(&Kind::Text(Form::StatusRange)),
            default: Default::Toml("[]"),
            doc: "With \"http\" and \"https\": numbers of answers by which a server says that it wants \
                  no new session while its old ones go on; one such answer is enough (HAProxy's \
                  disable-on-404)",
        },
        Key {
            name: "expect_body",
            kind: Kind::Text(Form::Text),
            default: Default::Unset("the body is not looked at"),
            doc: "With \"http\" and \"https\": text that the body of a good answer holds",
        },
        Key {
            name: "body_limit",
            kind: Kind::Integer(IntegerRange::new(1, 1_048_576)),
            default: Default::Toml("65536"),
            doc: "With \"http\" and \"https\": bytes of the body in which expect_body is looked for",
        },
        Key {
            name: "steps",
            kind: Kind::List(&Kind::TableOr(&STEP, "expect")),
            default: Default::Toml("[]"),
            doc: "With \"send-expect\" and \"send-expect-tls\": what is sent and what is expected, one after the other",
        },
        Key {
            name: "program",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("a program is needed with \"external\""),
            doc: "With \"external\": what the admin process runs, as its user, without any right and in a process group of \
                  its own, which is killed when `timeout` is over. Exit code 0 is good; the first line that it \
                  writes is in the reason. Its environment: PATH, FMC_LB_NODE, FMC_LB_BACKEND, FMC_LB_SERVER \
                  (address and port), FMC_LB_SERVER_ADDRESS, FMC_LB_SERVER_PORT, FMC_LB_TIMEOUT_MS. Eight programs \
                  run at a time, more wait",
        },
        Key {
            name: "arguments",
            kind: Kind::List(&Kind::Text(Form::Text)),
            default: Default::Toml("[]"),
            doc: "With \"external\": arguments of the program; {backend}, {address} and {port} are the server's",
        },
    ],
};
