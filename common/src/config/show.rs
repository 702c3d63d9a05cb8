//! The effective configuration as TOML: every key of the table of keys, with its default where the
//! file does not name it.

mod probe;
mod relay;
mod route;
mod tls;
mod tracker;

use std::fmt::{Display, Write};
use std::path::PathBuf;
use std::time::Duration;

use self::relay::{backend_value, listener_value};
use self::tracker::tracker_value;
use super::keys;
use super::kind::{Default, Section, show_duration};
use super::rules::FAST_BELOW;
use super::{
    Admin, AdminHttp, ChecksumForm, Config, Dns, Node, Pair, Proxy, Runs, Transport, Vip,
    VrrpVersion,
};

impl Config {
    /// The configuration with every default written out. It parses to the same [`Config`]. Values
    /// that sections take from others ([vrrp], [timeouts], a node's priority) stand where they are
    /// used.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        for node in &self.nodes {
            let title = format!("nodes.{}", key_of(&node.name));
            section(&mut out, (&title, &keys::NODES), |key| {
                node_value(node, key)
            });
        }
        section(&mut out, ("pair", &keys::PAIR), |key| {
            pair_value(&self.pair, key)
        });
        out.push_str(&self.vrrp());
        for vip in &self.vips {
            let title = format!("vips.{}", key_of(&vip.name));
            section(&mut out, (&title, &keys::VIPS), |key| {
                vip_value(vip, &self.nodes, key)
            });
        }
        for tracker in &self.trackers {
            let title = format!("trackers.{}", key_of(&tracker.name));
            section(&mut out, (&title, &keys::TRACKERS), |key| {
                tracker_value(tracker, self, key)
            });
        }
        for listener in &self.listeners {
            let title = format!("listeners.{}", key_of(&listener.name));
            section(&mut out, (&title, &keys::LISTENERS), |key| {
                listener_value(listener, self, key)
            });
        }
        for backend in &self.backends {
            let title = format!("backends.{}", key_of(&backend.name));
            section(&mut out, (&title, &keys::BACKENDS), |key| {
                backend_value(backend, self, key)
            });
        }
        section(&mut out, ("dns", &keys::DNS), |key| {
            dns_value(&self.dns, key)
        });
        section(&mut out, ("proxy", &keys::PROXY), |key| {
            proxy_value(&self.proxy, key)
        });
        section(&mut out, ("admin", &keys::ADMIN), |key| {
            admin_value(&self.admin, key)
        });
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    /// The keys of `[vrrp]` that no VIP can say for itself.
    fn vrrp(&self) -> String {
        let fast = self.vips.iter().any(|vip| vip.advert_interval < FAST_BELOW);
        format!(
            "[vrrp]\nstartup_delay = {}\nallow_fast    = {fast}\ntogether      = {}\n\n",
            quoted(show_duration(self.startup_delay)),
            self.together
        )
    }
}

/// Writes a section; a key without a value becomes a comment that says what that means.
fn section(
    out: &mut String,
    (title, section): (&str, &Section),
    value_of: impl Fn(&str) -> Option<String>,
) {
    out.push_str(&format!("[{title}]\n"));
    let width = section
        .keys
        .iter()
        .map(|key| key.name.len())
        .max()
        .unwrap_or(0);
    for key in section.keys {
        let line = match (value_of(key.name), key.default) {
            (Some(value), _) => format!("{:width$} = {value}", key.name),
            (None, Default::Unset(meaning)) => format!("# {} is not set: {meaning}", key.name),
            (None, Default::Required | Default::Toml(_) | Default::Inherited { .. }) => continue,
        };
        out.push_str(&line);
        out.push('\n');
    }
    out.push('\n');
}

/// An inline table.
fn inline(section: &Section, value_of: impl Fn(&str) -> Option<String>) -> String {
    let entries: Vec<String> = section
        .keys
        .iter()
        .filter_map(|key| value_of(key.name).map(|value| format!("{} = {value}", key.name)))
        .collect();
    format!("{{ {} }}", entries.join(", "))
}

fn node_value(node: &Node, key: &str) -> Option<String> {
    match key {
        "address" => Some(quoted(node.address)),
        "link_local" => node.link_local.map(quoted),
        "runs" => Some(quoted(match node.runs {
            Runs::FmcLb => "fmc-lb",
            Runs::Keepalived => "keepalived",
        })),
        // Each VIP names the priorities.
        _ => None,
    }
}

fn pair_value(pair: &Pair, key: &str) -> Option<String> {
    match key {
        "interface" => Some(quoted(&pair.interface)),
        "key_file" => path(pair.key_file.as_ref()),
        "signing" => Some(quoted(pair.signing.word())),
        "heartbeat" => Some(or_off(pair.heartbeat)),
        "silent_takeover" => Some(quoted(pair.silent_takeover.word())),
        "port" => Some(pair.port.to_string()),
        _ => None,
    }
}

fn vip_value(vip: &Vip, nodes: &[Node], key: &str) -> Option<String> {
    match key {
        "address" => Some(quoted(format!("{}/{}", vip.address, vip.prefix_len))),
        "link_local" => vip.link_local.map(quoted),
        "vrid" => Some(vip.vrid.to_string()),
        "interface" => Some(quoted(&vip.interface)),
        "priority" => {
            let by_node = nodes.iter().zip(&vip.priorities);
            let entries: Vec<String> = by_node
                .map(|(node, priority)| format!("{} = {priority}", key_of(&node.name)))
                .collect();
            Some(format!("{{ {} }}", entries.join(", ")))
        }
        "preempt" => Some(vip.preempt.to_string()),
        "preempt_delay" => Some(quoted(show_duration(vip.preempt_delay))),
        "advert_interval" => Some(quoted(show_duration(vip.advert_interval))),
        "transport" => Some(quoted(match vip.transport {
            Transport::Multicast => "multicast",
            Transport::Unicast => "unicast",
        })),
        "checksum" => Some(quoted(match vip.checksum {
            ChecksumForm::Pseudo => "pseudo",
            ChecksumForm::Message => "message",
        })),
        "version" => Some(vip.version.number().to_string()),
        "auth_pass" => match vip.version {
            VrrpVersion::V2 { pass: Some(pass) } => {
                let text = String::from_utf8_lossy(&pass);
                Some(quoted(text.trim_end_matches('\0')))
            }
            VrrpVersion::V2 { pass: None } | VrrpVersion::V3 => None,
        },
        "virtual_mac" => Some(quoted(vip.virtual_mac.word())),
        "routes" => Some(route::routes(&vip.followers)),
        "rules" => Some(route::rules(&vip.followers)),
        _ => None,
    }
}

fn dns_value(dns: &Dns, key: &str) -> Option<String> {
    match key {
        "servers" => (!dns.servers.is_empty()).then(|| array(dns.servers.iter())),
        "timeout" => Some(quoted(show_duration(dns.timeout))),
        "attempts" => Some(dns.attempts.to_string()),
        "min_ttl" => Some(quoted(show_duration(dns.min_ttl))),
        "max_ttl" => Some(quoted(show_duration(dns.max_ttl))),
        _ => None,
    }
}

fn proxy_value(proxy: &Proxy, key: &str) -> Option<String> {
    match key {
        "threads" => proxy.threads.map(|threads| threads.to_string()),
        "max_sessions" => proxy.max_sessions.map(|most| most.to_string()),
        "drain" => Some(quoted(show_duration(proxy.drain))),
        _ => None,
    }
}

fn admin_value(admin: &Admin, key: &str) -> Option<String> {
    match key {
        "http" => Some(match admin.http {
            None => quoted("off"),
            Some(AdminHttp::Node(port)) => quoted(format!("node:{port}")),
            Some(AdminHttp::Address(address)) => quoted(address),
        }),
        "allow" => Some(array(admin.allow.iter())),
        _ => None,
    }
}

fn or_off(duration: Option<Duration>) -> String {
    duration.map_or_else(|| quoted("off"), |duration| quoted(show_duration(duration)))
}

fn path(path: Option<&PathBuf>) -> Option<String> {
    path.map(|path| quoted(path.display()))
}

fn array<T: Display>(values: impl Iterator<Item = T>) -> String {
    let values: Vec<String> = values.map(quoted).collect();
    format!("[{}]", values.join(", "))
}

/// A name as a key: one with a dot in it needs quotes.
fn key_of(name: &str) -> String {
    let bare = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { name.to_owned() } else { quoted(name) }
}

/// A basic string of TOML.
fn quoted(value: impl Display) -> String {
    let mut text = "\"".to_owned();
    for c in value.to_string().chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            c if c.is_control() => {
                let code = u32::from(c);
                write!(text, "\\u{code:04X}").expect("writing to a string succeeds");
            }
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

fn shown(number: Option<impl ToString>) -> Option<String> {
    number.map(|number| number.to_string())
}
