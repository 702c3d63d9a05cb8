//! What reads bytes that others wrote: one target for each parser. No input makes one panic, and what it accepts has to
//! make sense.
//!
//! `scripts/fuzz` searches for inputs with libFuzzer (`driver/`), and keeps those that reach new code in `corpus/`, a
//! line of hexadecimal digits each; `tests/corpus.rs` feeds them again in every run of the tests, each of them also cut
//! short and with single bits turned.

mod kernel;
mod proxy;
mod vrrp_packets;

/// A parser, and what has to hold of it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its word on the command line, and its file in `corpus/`.
    pub name: &'static str,
    /// Feeds it one input.
    pub feed: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "advert",
        feed: vrrp_packets::advert,
    },
    Target {
        name: "arp",
        feed: vrrp_packets::arp,
    },
    Target {
        name: "ndisc",
        feed: vrrp_packets::ndisc,
    },
    Target {
        name: "pair",
        feed: vrrp_packets::pair,
    },
    Target {
        name: "netlink",
        feed: kernel::netlink,
    },
    Target {
        name: "client-hello",
        feed: proxy::client_hello,
    },
    Target {
        name: "proxy-header",
        feed: proxy::proxy_header,
    },
    Target {
        name: "config",
        feed: proxy::config,
    },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
