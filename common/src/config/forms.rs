//! Texts of the file → values: times, addresses, networks, names. Each fault is a sentence and a
//! remedy.

mod addresses;
mod bytes;
mod http;
mod names;
mod ports;
mod serving;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::AdminHttp;
use super::kind::{DurationRange, Form, show_duration};
use super::value::{BindHost, BindText, Value};
use crate::dns_name;

/// What is wrong with a text, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) help: String,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: help.into(),
        }
    }
}

/// A duration: one whole number and its unit. `None` is `"off"`.
pub(super) fn duration(text: &str, range: &DurationRange) -> Result<Option<Duration>, Fault> {
    if text == "off" && range.off {
        return Ok(None);
    }
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit_millis = match unit.strip_prefix(' ').unwrap_or(unit) {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let millis = number
        .parse::<u64>()
        .ok()
        .zip(unit_millis)
        .and_then(|(number, unit)| number.checked_mul(unit));
    let Some(millis) = millis else {
        return Err(Fault::new(
            format!("`{text}` is not a duration"),
            format!(
                "write a whole number with its unit, ms, s, m or h: {}",
                range.words()
            ),
        ));
    };
    let value = Duration::from_millis(millis);
    if value < range.min || value > range.max {
        return Err(Fault::new(
            format!("`{text}` is out of range"),
            format!("use {}", range.words()),
        ));
    }
    if millis % u64::try_from(range.step.as_millis()).unwrap_or(1).max(1) != 0 {
        return Err(Fault::new(
            format!(
                "`{text}` is not a multiple of {}",
                show_duration(range.step)
            ),
            format!("use {}", range.words()),
        ));
    }
    Ok(Some(value))
}

/// What to write instead of a bare number.
pub(super) fn spell_duration(number: &str, range: &DurationRange) -> String {
    let fitting: Vec<String> = ["ms", "s", "m", "h"]
        .iter()
        .map(|unit| format!("{number}{unit}"))
        .filter(|text| duration(text, range).is_ok())
        .map(|text| format!("\"{text}\""))
        .collect();
    if fitting.is_empty() {
        format!("use {}", range.words())
    } else {
        format!("say the unit: {}", fitting.join(" or "))
    }
}

/// A text of the form.
pub(super) fn text(text: &str, form: Form) -> Result<Value, Fault> {
    match form {
        Form::Interface => interface(text),
        Form::Name => Ok(Value::Text(text.to_owned())),
        Form::Node => addresses::node(text),
        Form::Neighbour => addresses::neighbour(text),
        Form::Subnet => addresses::subnet(text),
        Form::LinkLocal => addresses::link_local(text),
        Form::Network => network(text),
        Form::Server => server(text),
        Form::Serving => names::server_or_name(text),
        Form::NameServer => names::name_server(text),
        Form::Member => member(text),
        Form::Source => source(text),
        Form::ServerName => server_name(text),
        Form::HostName => host_name(text),
        Form::Method => http::method(text),
        Form::Target => http::target(text),
        Form::Host => http::host(text),
        Form::Header => http::header(text),
        Form::StatusRange => http::status_range(text),
        Form::Text => http::any(text),
        Form::Bytes => bytes::bytes(text),
        Form::Protocol => protocol(text),
        Form::Bind => bind(text),
        Form::Ports => ports::ports(text),
        Form::Pass => pass(text),
        Form::Http => admin_http(text),
        Form::Path => path(text),
    }
}

/// A name that sections may have: it stands in metrics, tables and references.
pub(super) fn name(text: &str) -> Result<(), Fault> {
    let fits = text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if fits {
        return Ok(());
    }
    Err(Fault::new(
        format!("`{text}` cannot be a name"),
        "use up to 63 letters, digits, `-`, `_` and `.`, beginning with a letter or digit",
    ))
}

/// IFNAMSIZ of if.h leaves 15 bytes; the kernel refuses `/` and white space (dev_valid_name).
fn interface(text: &str) -> Result<Value, Fault> {
    let fits = (1..=15).contains(&text.len())
        && text != "."
        && text != ".."
        && !text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
    if fits {
        return Ok(Value::Text(text.to_owned()));
    }
    Err(Fault::new(
        format!("`{text}` cannot be the name of an interface"),
        "use the name that `ip link` shows, for example \"eth0\"",
    ))
}

/// Keepalived takes the first eight bytes of its auth_pass.
fn pass(text: &str) -> Result<Value, Fault> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let help = "use letters, digits and signs of ASCII, up to 8 of them".to_owned();
        return Err(not_a(text, Form::Pass, help));
    }
    let Some(first) = text.get(..8).filter(|first| first.len() < text.len()) else {
        return Ok(Value::Text(text.to_owned()));
    };
    Err(Fault::new(
        format!(
            "a password of VRRPv2 has 8 characters, this one {}",
            text.len()
        ),
        format!("write \"{first}\": Keepalived leaves out what is behind it"),
    ))
}

fn network(text: &str) -> Result<Value, Fault> {
    let Ok(net) = text.parse::<IpNet>() else {
        let help = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => format!("for this address alone write \"{address}/32\""),
            Ok(IpAddr::V6(address)) => format!("for this address alone write \"{address}/128\""),
            Err(_) => example(Form::Network),
        };
        return Err(not_a(text, Form::Network, help));
    };
    if net.addr() != net.network() {
        return Err(Fault::new(
            format!("`{text}` is an address inside its network, not the network"),
            format!("write \"{}\"", net.trunc()),
        ));
    }
    if let IpNet::V6(v6) = net
        && v6.addr().to_ipv4_mapped().is_some()
    {
        return Err(Fault::new(
            format!("`{text}` is IPv4 written as IPv6"),
            "write it as an IPv4 network: clients are compared as IPv4",
        ));
    }
    Ok(Value::Network(net))
}

fn server(text: &str) -> Result<Value, Fault> {
    let address = socket(text, Form::Server)?;
    host(address.ip(), text)?;
    Ok(Value::Server(address))
}

fn member(text: &str) -> Result<Value, Fault> {
    let Some((backend, address)) = text.split_once('/') else {
        return Err(not_a(text, Form::Member, example(Form::Member)));
    };
    let found = serving::parse(address)?;
    Ok(Value::Member(backend.to_owned(), found.address))
}

/// In lower case and without a trailing dot, as it is compared.
fn server_name(text: &str) -> Result<Value, Fault> {
    let (wildcard, name) = match text.strip_prefix("*.") {
        Some(name) => ("*.", name),
        None => ("", text),
    };
    if name.contains('*') {
        return Err(Fault::new(
            format!("`{text}` has a `*` that is not its whole first label"),
            "write \"*.example.org\" for all names with one label in front",
        ));
    }
    match dns_name::normalize(name.as_bytes()) {
        Ok(name) => Ok(Value::Text(format!("{wildcard}{name}"))),
        Err(error) => Err(Fault::new(
            format!("`{text}` is not a server name: {error}"),
            format!(
                "write a DNS name, for example \"{}\"",
                Form::ServerName.example()
            ),
        )),
    }
}

fn host_name(text: &str) -> Result<Value, Fault> {
    dns_name::normalize(text.as_bytes())
        .map(Value::Text)
        .map_err(|error| not_a(text, Form::HostName, format!("write one name: {error}")))
}

/// RFC 7301: 1 to 255 bytes; all that are registered and not GREASE are visible ASCII.
fn protocol(text: &str) -> Result<Value, Fault> {
    if (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Value::Text(text.to_owned()));
    }
    Err(not_a(text, Form::Protocol, example(Form::Protocol)))
}

fn source(text: &str) -> Result<Value, Fault> {
    let Ok(address) = text.parse::<IpAddr>() else {
        let help = match text.parse::<SocketAddr>() {
            Ok(_) => "write it without a port: the kernel chooses one".to_owned(),
            Err(_) => example(Form::Source),
        };
        return Err(not_a(text, Form::Source, help));
    };
    host(address, text)?;
    Ok(Value::Ip(address))
}

fn bind(text: &str) -> Result<Value, Fault> {
    let (single, last_port) = split_range(text)?;
    let (host, first_port) = if let Some(rest) = single.strip_prefix("vips.") {
        let (name, port) = rest.rsplit_once(':').unwrap_or((rest, ""));
        (BindHost::Vip(name.to_owned()), port_of(port, text)?)
    } else {
        let address = socket(single, Form::Bind)?;
        (BindHost::Address(address.ip()), address.port())
    };
    let last_port = last_port.unwrap_or(first_port);
    if last_port < first_port {
        return Err(Fault::new(
            format!("`{text}` is a range that ends before it begins"),
            format!("write the lower port first: {last_port}-{first_port}"),
        ));
    }
    Ok(Value::Bind(BindText {
        host,
        first_port,
        last_port,
    }))
}

/// `10.0.0.1:80-90` → `10.0.0.1:80` and 90; a text without a range is itself.
fn split_range(text: &str) -> Result<(&str, Option<u16>), Fault> {
    let ports = text.rfind(':').map_or(text.len(), |colon| colon + 1);
    match text[ports..].split_once('-') {
        Some((first, last)) => {
            port_of(first, text)?;
            Ok((&text[..ports + first.len()], Some(port_of(last, text)?)))
        }
        None => Ok((text, None)),
    }
}

fn admin_http(text: &str) -> Result<Value, Fault> {
    if text == "off" {
        return Ok(Value::Http(None));
    }
    if let Some(port) = text.strip_prefix("node:") {
        return Ok(Value::Http(Some(AdminHttp::Node(port_of(port, text)?))));
    }
    socket(text, Form::Http).map(|address| Value::Http(Some(AdminHttp::Address(address))))
}

fn path(text: &str) -> Result<Value, Fault> {
    if text.starts_with('/') && !text.ends_with('/') && !text.contains('\0') {
        return Ok(Value::Path(PathBuf::from(text)));
    }
    let help = if text.ends_with('/') {
        "name the file, not a folder".to_owned()
    } else {
        format!(
            "begin with `/`, for example \"{}\": the processes have no common folder",
            Form::Path.example()
        )
    };
    Err(not_a(text, Form::Path, help))
}

/// An address with a port, of either family.
fn socket(text: &str, form: Form) -> Result<SocketAddr, Fault> {
    let Ok(address) = text.parse::<SocketAddr>() else {
        return Err(not_a(text, form, remedy_for_socket(text, form)));
    };
    if address.port() == 0 {
        return Err(no_port(text));
    }
    if let SocketAddr::V6(v6) = address {
        if v6.ip().to_ipv4_mapped().is_some() {
            let plain = SocketAddr::new(address.ip().to_canonical(), address.port());
            return Err(Fault::new(
                format!("`{text}` is IPv4 written as IPv6"),
                format!("write \"{plain}\""),
            ));
        }
        if v6.scope_id() != 0 {
            return Err(Fault::new(
                format!("`{text}` has a scope, which differs between machines"),
                "use an address without `%`",
            ));
        }
    }
    Ok(address)
}

fn remedy_for_socket(text: &str, form: Form) -> String {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    if let Ok(IpAddr::V6(address)) = host.parse::<IpAddr>()
        && port.parse::<u16>().is_ok()
    {
        return format!("write an IPv6 address in brackets: \"[{address}]:{port}\"");
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        let with_port = SocketAddr::new(address, 443);
        return format!("add the port, for example \"{with_port}\"");
    }
    if host.starts_with(|c: char| c.is_ascii_alphabetic()) && form == Form::Server {
        return "a name is not looked up here: write the address".to_owned();
    }
    if form == Form::Bind && text.contains("vip") {
        return "name a VIP as \"vips.NAME:PORT\"".to_owned();
    }
    example(form)
}

fn port_of(port: &str, text: &str) -> Result<u16, Fault> {
    let plain = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(0) | Err(_) => Err(no_port(text)),
        Ok(_) if !plain => Err(no_port(text)),
        Ok(port) => Ok(port),
    }
}

fn no_port(text: &str) -> Fault {
    Fault::new(
        format!("`{text}` has no port that can be used"),
        "end it with `:` and a port from 1 to 65535",
    )
}

/// An address that one machine can have.
fn host(address: IpAddr, text: &str) -> Result<(), Fault> {
    let why = if address.is_unspecified() {
        "no machine's address"
    } else if address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
        "an address of many machines"
    } else {
        return Ok(());
    };
    Err(Fault::new(
        format!("`{text}` is {why}"),
        "write the address of one machine",
    ))
}

fn not_a(text: &str, form: Form, help: String) -> Fault {
    Fault::new(format!("`{text}` is not {}", form.words()), help)
}

fn example(form: Form) -> String {
    format!("for example \"{}\"", form.example())
}

#[cfg(test)]
mod tests;
