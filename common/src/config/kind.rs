//! What a key of the file may hold. The tables in [`super::keys`] are made of these words; the
//! parser, the JSON Schema, `--show` and the suggestions for a misspelt key all read them, so none
//! of them can say something else.

use std::time::Duration;

/// A table of the file.
#[derive(Debug)]
pub struct Section {
    /// `pair` for `[pair]`, `nodes` for `[nodes.NAME]`.
    pub name: &'static str,
    pub shape: Shape,
    pub doc: &'static str,
    /// For [`Shape::Inline`] a value, otherwise one or more tables with their titles. Together the latter are a whole
    /// file.
    pub example: &'static str,
    pub keys: &'static [Key],
}

/// How often a section may stand in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// At most once: `[pair]`.
    Once,
    /// Once for each name: `[nodes.NAME]`.
    Named,
    /// The value of a key of another section: `probe = { … }`.
    Inline,
}

/// A key of a section.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Default,
    /// What it does, with units; the range follows from the kind.
    pub doc: &'static str,
}

/// What holds where the file does not name the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// The key must be there.
    Required,
    /// Nothing; the text says what that means.
    Unset(&'static str),
    /// This value, in TOML.
    Toml(&'static str),
    /// The value of the key of this name in a section that stands once.
    Inherited {
        section: &'static str,
        key: &'static str,
    },
}

/// What a key may hold.
#[derive(Debug)]
pub enum Kind {
    Bool,
    Integer(IntegerRange),
    /// A negative number; the range is that of what it takes away.
    Lowering(IntegerRange),
    Duration(DurationRange),
    /// A text as its form demands.
    Text(Form),
    Choice(Choice),
    List(&'static Self),
    /// A table, or a text that stands for a table with only this key.
    TableOr(&'static Section, &'static str),
    Table(&'static Section),
    /// A table, or `"off"`.
    TableOrOff(&'static Section),
    /// A table with a value for each node that it names.
    ByNode(IntegerRange),
}

/// Whole numbers from `min` to `max`, without `except`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntegerRange {
    pub min: u64,
    pub max: u64,
    /// A number that may not be used, and why.
    pub except: Option<(u64, &'static str)>,
}

/// Times from `min` to `max` in multiples of `step`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationRange {
    pub min: Duration,
    pub max: Duration,
    pub step: Duration,
    /// `"off"` is a value too.
    pub off: bool,
}

/// One of these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    pub values: &'static [&'static str],
    /// Words that a later version will know.
    pub later: &'static [&'static str],
}

/// The forms of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The name of a network interface.
    Interface,
    /// The name of a section, or something that must be found elsewhere.
    Name,
    /// `192.168.0.11`, or `fd00::11`: the address of a node.
    Node,
    /// `192.168.0.1`, or `fe80::1`: an address on the network of an interface.
    Neighbour,
    /// `192.168.0.10/24`, or `fd00::10/64`: an address and the subnet that it belongs to.
    Subnet,
    /// `fe80::11`
    LinkLocal,
    /// `192.168.0.0/24`: a network.
    Network,
    /// `10.17.4.21:6443`
    Server,
    /// `10.17.4.21:6443`, `10.17.4.21`, `10.17.4.21:+1000`: where sessions go; or a name that stands for that.
    Serving,
    /// `10.17.4.2`, or `10.17.4.2:5353`: who answers questions of DNS.
    NameServer,
    /// `traefik-http/10.17.4.24:80`: a server of a backend.
    Member,
    /// `10.17.4.11`: an address of a machine, IPv4 or IPv6.
    Source,
    /// `a.example.org`, or `*.example.org`: a name that TLS clients ask for.
    ServerName,
    /// `a.example.org`: the name of a machine.
    HostName,
    /// `GET`: a method of HTTP.
    Method,
    /// `/healthz?full=1`: path and query of a request.
    Target,
    /// `www.example.org:8080`: the value of a `Host` header.
    Host,
    /// `X-Probe: yes`: a header.
    Header,
    /// `200`, or `200-399`: numbers of HTTP answers.
    StatusRange,
    /// Any text that is not empty.
    Text,
    /// `PING\r\n`: bytes, with escapes.
    Bytes,
    /// `h2`: a protocol that TLS clients offer.
    Protocol,
    /// `vips.api:6443`, or an address with a port or a range of ports.
    Bind,
    /// `10000-60000`: a range of ports.
    Ports,
    /// `s3cret`: a password of VRRPv2.
    Pass,
    /// `node:9600`, an address with a port, or `off`.
    Http,
    /// A full path.
    Path,
}

impl Form {
    /// What the text is, with an article.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Interface => "the name of a network interface",
            Self::Name => "a name",
            Self::Node | Self::Neighbour | Self::Source => "an address",
            Self::Subnet => "an address with its subnet's prefix length",
            Self::LinkLocal => "a link-local address of IPv6",
            Self::Network => "a network",
            Self::Server => "an address with a port",
            Self::Serving => {
                "an address with a port, or with what is added to the client's, or a name"
            }
            Self::NameServer => "an address, with or without a port",
            Self::Member => "a backend and the address of one of its servers",
            Self::ServerName => "a server name",
            Self::HostName => "a host name",
            Self::Method => "a method of HTTP",
            Self::Target => "a path",
            Self::Host => "a host",
            Self::Header => "a header",
            Self::StatusRange => "a number of HTTP answers, or a range of them",
            Self::Text => "a text",
            Self::Bytes => "a text with escapes",
            Self::Protocol => "a protocol name",
            Self::Bind => "a VIP or an address, with a port or a range of ports",
            Self::Ports => "a range of ports",
            Self::Pass => "a password of VRRPv2",
            Self::Http => "an address with a port, `node` with a port, or \"off\"",
            Self::Path => "a full path",
        }
    }

    /// A text of this form.
    pub const fn example(self) -> &'static str {
        match self {
            Self::Interface => "eth0",
            Self::Name => "k3s-api",
            Self::Node => "192.168.0.11",
            Self::Neighbour => "192.168.0.1",
            Self::Subnet => "192.168.0.10/24",
            Self::LinkLocal => "fe80::11",
            Self::Network => "192.168.0.0/24",
            Self::Server | Self::Serving => "10.17.4.21:6443",
            Self::NameServer => "10.17.4.2",
            Self::Member => "traefik-http/10.17.4.24:80",
            Self::Source => "10.17.4.11",
            Self::ServerName => "*.example.org",
            Self::HostName => "api.example.org",
            Self::Method => "GET",
            Self::Target => "/healthz",
            Self::Host => "www.example.org",
            Self::Header => "X-Probe: yes",
            Self::StatusRange => "200-399",
            Self::Text => "ready",
            Self::Bytes => "PING\\r\\n",
            Self::Protocol => "h2",
            Self::Bind => "vips.api:6443",
            Self::Ports => "10000-60000",
            Self::Pass => "s3cret",
            Self::Http => "node:9600",
            Self::Path => "/etc/fmc-lb/pair.key",
        }
    }

    /// A regular expression (ECMA-262) that every text of this form fits; the parser is stricter.
    pub const fn pattern(self) -> &'static str {
        match self {
            Self::Interface => r"^[^/\s]{1,15}$",
            Self::Name => r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
            Self::Subnet | Self::Network => r"^[0-9a-fA-F.:]+/\d+$",
            Self::Node | Self::Neighbour | Self::Source => r"^[0-9a-fA-F.:]+$",
            Self::LinkLocal => r"^[fF][eE][89abAB][0-9a-fA-F]:[0-9a-fA-F.:]+$",
            Self::ServerName => r"^(\*\.)?[A-Za-z0-9._-]+$",
            Self::HostName => r"^[A-Za-z0-9._-]+$",
            Self::Method => r"^[A-Z]{1,32}$",
            Self::Target => r"^/[!-~]*$",
            Self::Host => r"^[!-~]+$",
            Self::Header => r"^[!-~]+: ?[ -~]*$",
            Self::StatusRange => r"^[1-5]\d\d(-[1-5]\d\d)?$",
            Self::Text | Self::Bytes => r"^[\s\S]+",
            Self::Protocol => r"^[!-~]{1,255}$",
            Self::NameServer => r"^([0-9a-fA-F.:]+|\[[0-9a-fA-F.:]+\]:\d+)$",
            Self::Server => r"^(\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F.:]+\]):\d+$",
            Self::Serving => {
                r"^(\d+\.\d+\.\d+\.\d+(:[+-]?\d+)?|\[[0-9a-fA-F.:]+\](:[+-]?\d+)?|[0-9a-fA-F:]+|[A-Za-z0-9][A-Za-z0-9._-]*:\d+|_[A-Za-z0-9._-]+)$"
            }
            Self::Member => {
                r"^[A-Za-z0-9._-]+/(\d+\.\d+\.\d+\.\d+(:[+-]?\d+)?|\[[0-9a-fA-F.:]+\](:[+-]?\d+)?|[0-9a-fA-F:]+)$"
            }
            Self::Bind => {
                r"^(vips\.[A-Za-z0-9._-]+|\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F.:]+\]):\d+(-\d+)?$"
            }
            Self::Ports => r"^\d+-\d+$",
            Self::Pass => r"^[!-~]{1,8}$",
            Self::Http => r"^(off|(node|\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F.:]+\]):\d+)$",
            Self::Path => r"^/",
        }
    }
}

impl IntegerRange {
    pub(super) const fn new(min: u64, max: u64) -> Self {
        Self {
            min,
            max,
            except: None,
        }
    }

    /// `-1 to -253`
    pub(super) fn lowering_words(&self) -> String {
        format!("-{} to -{}", self.min, self.max)
    }

    /// `1 to 253`
    pub(super) fn words(&self) -> String {
        match self.except {
            Some((number, _)) if number + 1 == self.max => {
                format!("{} to {}, or {}", self.min, number - 1, self.max)
            }
            Some((number, _)) => format!("{} to {} without {number}", self.min, self.max),
            None => format!("{} to {}", self.min, self.max),
        }
    }
}

impl DurationRange {
    pub(super) const fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            step: Duration::from_millis(1),
            off: false,
        }
    }

    pub(super) const fn steps_of(self, step: Duration) -> Self {
        Self { step, ..self }
    }

    pub(super) const fn or_off(self) -> Self {
        Self { off: true, ..self }
    }

    /// `10ms to 1s, or "off"`
    pub(super) fn words(&self) -> String {
        let range = format!("{} to {}", show_duration(self.min), show_duration(self.max));
        let steps = if self.step > Duration::from_millis(1) {
            format!(" in steps of {}", show_duration(self.step))
        } else {
            String::new()
        };
        let off = if self.off { ", or \"off\"" } else { "" };
        format!("{range}{steps}{off}")
    }
}

/// A duration as the file writes it: one whole number with the largest unit that fits. Times of the
/// file are whole milliseconds; what is below one is not shown.
pub(super) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0s".to_owned(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}
