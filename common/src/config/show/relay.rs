//! Listeners, backends and probes as TOML.

use std::net::SocketAddr;

use super::{array, inline, or_off, path, quoted};
use crate::config::keys;
use crate::config::kind::show_duration;
use crate::config::{
    Backend, Balance, Bind, Config, Keepalive, Listener, Probe, ProbeKind, SocketOptions,
    SourceLimit,
};

pub(super) fn listener_value(listener: &Listener, config: &Config, key: &str) -> Option<String> {
    match key {
        "bind" => Some(array(
            listener.binds.iter().map(|bind| bind_text(bind, config)),
        )),
        "backend" => Some(quoted(&config.backends[listener.backend.0].name)),
        "mode" => Some(quoted("relay")),
        "allow" => listener.allow.as_ref().map(|allow| array(allow.iter())),
        "deny" => Some(array(listener.deny.iter())),
        "drop" => Some(array(listener.drop.iter())),
        "max_sessions" => shown(listener.max_sessions),
        "accept_rate" => shown(listener.accept_rate),
        "source_limit" => Some(source_limit(&listener.source_limit)),
        "required" => Some(listener.required.to_string()),
        "client_timeout" => Some(or_off(listener.client_timeout)),
        "tunnel_timeout" => Some(or_off(listener.tunnel_timeout)),
        "keepalive" => Some(keepalive(listener.keepalive)),
        "user_timeout" => Some(or_off(listener.user_timeout)),
        _ => socket_value(&listener.socket, key),
    }
}

fn socket_value(socket: &SocketOptions, key: &str) -> Option<String> {
    match key {
        "interface" => socket.interface.as_ref().map(quoted),
        "backlog" => shown(socket.backlog),
        "defer_accept" => Some(or_off(socket.defer_accept)),
        "fast_open" => shown(socket.fast_open),
        "mss" => shown(socket.mss),
        "mark" => shown(socket.mark),
        _ => None,
    }
}

fn source_limit(limit: &SourceLimit) -> String {
    if *limit == SourceLimit::default() {
        return quoted("off");
    }
    inline(&keys::SOURCE_LIMIT, |key| match key {
        "sessions" => shown(limit.sessions),
        "rate" => shown(limit.rate),
        "exempt" => Some(array(limit.exempt.iter())),
        _ => None,
    })
}

fn shown(number: Option<impl ToString>) -> Option<String> {
    number.map(|number| number.to_string())
}

pub(super) fn backend_value(backend: &Backend, key: &str) -> Option<String> {
    match key {
        "servers" => {
            let mut text = "[\n".to_owned();
            for server in &backend.servers {
                let value_of = |key: &str| match key {
                    "address" => Some(quoted(server.address)),
                    "weight" => Some(server.weight.to_string()),
                    _ => None,
                };
                text.push_str(&format!("    {},\n", inline(&keys::SERVER, value_of)));
            }
            text.push(']');
            Some(text)
        }
        "balance" => Some(quoted(match backend.balance {
            Balance::RoundRobin => "round-robin",
            Balance::LeastConnections => "least-connections",
        })),
        "probe" => Some(match &backend.probe {
            Some(probe) => inline(&keys::PROBE, |key| probe_value(probe, key)),
            None => quoted("off"),
        }),
        "connect_timeout" => Some(quoted(show_duration(backend.connect_timeout))),
        "retries" => Some(backend.retries.to_string()),
        "server_timeout" => Some(or_off(backend.server_timeout)),
        "keepalive" => Some(keepalive(backend.keepalive)),
        "user_timeout" => Some(or_off(backend.user_timeout)),
        "source" => (!backend.source.is_empty()).then(|| array(backend.source.iter())),
        _ => None,
    }
}

fn probe_value(probe: &Probe, key: &str) -> Option<String> {
    let (kind, ca_file, client) = match &probe.kind {
        ProbeKind::Tcp => ("tcp", None, None),
        ProbeKind::KubeApiserver { ca_file, client } => {
            ("kube-apiserver", ca_file.as_ref(), client.as_ref())
        }
    };
    match key {
        "kind" => Some(quoted(kind)),
        "interval" => Some(quoted(show_duration(probe.interval))),
        "timeout" => Some(quoted(show_duration(probe.timeout))),
        "rise" => Some(probe.rise.to_string()),
        "fall" => Some(probe.fall.to_string()),
        "ca_file" => path(ca_file),
        "cert_file" => path(client.map(|client| &client.cert_file)),
        "key_file" => path(client.map(|client| &client.key_file)),
        _ => None,
    }
}

fn bind_text(bind: &Bind, config: &Config) -> String {
    match bind.vip {
        Some(vip) => format!("vips.{}:{}", config.vips[vip.0].name, bind.address.port()),
        None => SocketAddr::to_string(&bind.address),
    }
}

fn keepalive(keepalive: Option<Keepalive>) -> String {
    let Some(keepalive) = keepalive else {
        return quoted("off");
    };
    inline(&keys::KEEPALIVE, |key| match key {
        "idle" => Some(quoted(show_duration(keepalive.idle))),
        "interval" => Some(quoted(show_duration(keepalive.interval))),
        "count" => Some(keepalive.count.to_string()),
        _ => None,
    })
}
