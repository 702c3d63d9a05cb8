//! The keys of a probe.

use super::{HOUR, TEN_MS};
use crate::config::kind::{
    Choice, Default, DurationRange, Form, IntegerRange, Key, Kind, Section, Shape,
};

const PROBE_TIME: DurationRange = DurationRange::new(TEN_MS, HOUR);

pub(in crate::config) const PROBE: Section = Section {
    name: "probe",
    shape: Shape::Inline,
    doc: "A periodic check of each server of a backend.",
    example: r#"{ kind = "kube-apiserver", interval = "1s" }"#,
    keys: &[
        Key {
            name: "kind",
            kind: Kind::Choice(Choice {
                values: &["tcp", "kube-apiserver"],
                later: &[],
            }),
            default: Default::Toml("\"tcp\""),
            doc: "\"tcp\": a connection can be made; \"kube-apiserver\": TLS and GET /readyz",
        },
        Key {
            name: "interval",
            kind: Kind::Duration(PROBE_TIME),
            default: Default::Toml("\"2s\""),
            doc: "Time between the starts of two probes of a server",
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
            name: "ca_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("the server's certificate is not checked"),
            doc: "Certificates (PEM) that the API server's is checked against",
        },
        Key {
            name: "cert_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("the probe shows no certificate"),
            doc: "Client certificate (PEM) that the probe shows to the API server",
        },
        Key {
            name: "key_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("the probe shows no certificate"),
            doc: "Private key (PEM) of cert_file; only its owner may read it",
        },
    ],
};
