//! The keys of TLS that the proxy itself speaks.

use std::time::Duration;

use crate::config::kind::{Choice, Default, DurationRange, Form, Key, Kind, Section, Shape};

const HANDSHAKE: DurationRange =
    DurationRange::new(Duration::from_millis(100), Duration::from_secs(60));
const VERSION: Choice = Choice {
    values: &["1.2", "1.3"],
    later: &[],
};

const MIN_VERSION: Key = Key {
    name: "min_version",
    kind: Kind::Choice(VERSION),
    default: Default::Toml("\"1.2\""),
    doc: "Oldest version of TLS",
};
const MAX_VERSION: Key = Key {
    name: "max_version",
    kind: Kind::Choice(VERSION),
    default: Default::Toml("\"1.3\""),
    doc: "Newest version of TLS",
};

pub(in crate::config) const LISTENER_TLS: Section = Section {
    name: "listener_tls",
    shape: Shape::Inline,
    doc: "TLS that the listener ends: servers get what is inside. Its files are looked at each second: a renewed \
          certificate is for new connections once it fits its key; what cannot be used is refused, and the old \
          one stays.",
    example: r#"{ certificates = ["/etc/fmc-lb/tls/web.pem"], alpn = ["h2", "http/1.1"] }"#,
    keys: &[
        Key {
            name: "certificates",
            kind: Kind::List(&Kind::TableOr(&CERTIFICATE, "cert_file")),
            default: Default::Required,
            doc: "Certificates, chosen by the server name that a client asks for; the first one is also \
                  for clients that ask for none, or for another one",
        },
        Key {
            name: "strict_sni",
            kind: Kind::Bool,
            default: Default::Toml("false"),
            doc: "Clients that ask for no name of a certificate are refused",
        },
        Key {
            name: "client_ca_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("clients are not asked for a certificate"),
            doc: "Certificates (PEM) of the authorities that those of clients are checked against",
        },
        Key {
            name: "client_verify",
            kind: Kind::Choice(Choice {
                values: &["required", "optional"],
                later: &[],
            }),
            default: Default::Unset("\"required\" with a client_ca_file"),
            doc: "Whether a client without a certificate is refused. One that shows a bad one always is",
        },
        Key {
            name: "client_crl_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("no certificate counts as revoked"),
            doc: "Lists of revoked certificates (PEM), one of each authority above a client's certificate; it is \
                  not asked when they are to be renewed. A change of this file or of client_ca_file ends what \
                  could be resumed",
        },
        MIN_VERSION,
        MAX_VERSION,
        Key {
            name: "alpn",
            kind: Kind::List(&Kind::Text(Form::Protocol)),
            default: Default::Toml("[]"),
            doc: "Protocols that the servers speak, the best one first; a client that offers only others is \
                  refused. Empty = none is agreed on",
        },
        Key {
            name: "resumption",
            kind: Kind::Bool,
            default: Default::Toml("true"),
            doc: "Clients may resume a session for up to 12 hours without a new signature; a client \
                  certificate is not looked at again then",
        },
        Key {
            name: "handshake_timeout",
            kind: Kind::Duration(HANDSHAKE),
            default: Default::Toml("\"5s\""),
            doc: "Limit of the whole handshake",
        },
    ],
};

pub(in crate::config) const BACKEND_TLS: Section = Section {
    name: "backend_tls",
    shape: Shape::Inline,
    doc: "TLS towards the servers, whether clients speak it or not. A handshake is a part of connecting: it has the time \
          of connect_timeout, and one that fails counts as a connection that failed. A PROXY protocol header goes before \
          it. The files are looked at each second, and a change is used for new connections if it can be.",
    example: r#"{ ca_file = "/etc/fmc-lb/tls/servers-ca.pem", server_name = "app.example.org" }"#,
    keys: &[
        Key {
            name: "server_name",
            kind: Kind::Text(Form::HostName),
            default: Default::Unset("the server's address, and no name is asked for"),
            doc: "Name that the servers are asked for (SNI) and that their certificates must have, whatever name a client \
                  asks for",
        },
        Key {
            name: "verify",
            kind: Kind::Bool,
            default: Default::Toml("true"),
            doc: "false = any certificate is accepted, so that whoever answers at the address counts as the server",
        },
        Key {
            name: "ca_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("verify = false is needed then"),
            doc: "Certificates (PEM) of the authorities that the servers' are checked against",
        },
        Key {
            name: "cert_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("no certificate is shown"),
            doc: "Client certificate (PEM) that servers are shown",
        },
        Key {
            name: "key_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("no certificate is shown"),
            doc: "Private key (PEM) of cert_file; only its owner may read it",
        },
        MIN_VERSION,
        MAX_VERSION,
        Key {
            name: "alpn",
            kind: Kind::List(&Kind::Text(Form::Protocol)),
            default: Default::Toml("[]"),
            doc: "Protocols that servers are offered, the best one first. Where the listener has agreed on protocols \
                  itself, only the client's is offered, if it is one of these",
        },
        Key {
            name: "resumption",
            kind: Kind::Bool,
            default: Default::Toml("true"),
            doc: "Sessions with a server may be resumed; its certificate is not looked at again then. A change of the files \
                  ends that",
        },
    ],
};

pub(in crate::config) const CERTIFICATE: Section = Section {
    name: "certificate",
    shape: Shape::Inline,
    doc: "A certificate of a listener.",
    example: r#"{ cert_file = "/etc/fmc-lb/tls/web.crt", key_file = "/etc/fmc-lb/tls/web.key" }"#,
    keys: &[
        Key {
            name: "cert_file",
            kind: Kind::Text(Form::Path),
            default: Default::Required,
            doc: "The certificate and those that lead to its authority (PEM), the server's own first",
        },
        Key {
            name: "key_file",
            kind: Kind::Text(Form::Path),
            default: Default::Unset("the key is in cert_file"),
            doc: "Its private key (PEM); only its owner may read it",
        },
    ],
};
