//! Listeners, backends and probes as TOML.

use super::tls::listener_tls;
use super::{array, inline, or_off, path, quoted};
use crate::config::keys;
use crate::config::kind::show_duration;
use crate::config::{
    AcceptProxy, Backend, Bind, Config, Keepalive, Listener, Probe, ProbeKind, ProxyVersions,
    SendProxy, SendTlvs, SocketOptions, SourceLimit,
};

pub(super) fn listener_value(listener: &Listener, config: &Config, key: &str) -> Option<String> {
    match key {
        "bind" => Some(array(
            listener.binds.iter().map(|bind| bind_text(bind, config)),
        )),
        "backend" => Some(quoted(&config.backends[listener.backend.0].name)),
        "mode" => Some(quoted("relay")),
        "routes" => Some(routes(listener, config)),
        "hello_timeout" => {
            (!listener.routes.is_empty()).then(|| quoted(show_duration(listener.hello_timeout)))
        }
        "tls" => Some(listener_tls(listener.tls.as_ref())),
        "accept_proxy" => Some(accept_proxy(listener.accept_proxy.as_ref())),
        "allow" => listener.allow.as_ref().map(|allow| array(allow.iter())),
        "deny" => Some(array(listener.deny.iter())),
        "drop" => Some(array(listener.drop.iter())),
        "allow_file" => path(listener.files.allow.as_ref()),
        "deny_file" => path(listener.files.deny.as_ref()),
        "drop_file" => path(listener.files.drop.as_ref()),
        "max_sessions" => shown(listener.max_sessions),
        "accept_rate" => shown(listener.accept_rate),
        "source_limit" => Some(source_limit(&listener.source_limit)),
        "required" => Some(listener.required.to_string()),
        "client_timeout" => Some(or_off(listener.client_timeout)),
        "tunnel_timeout" => Some(or_off(listener.tunnel_timeout)),
        "max_lifetime" => Some(or_off(listener.max_lifetime)),
        "keepalive" => Some(keepalive(listener.keepalive)),
        "user_timeout" => Some(or_off(listener.user_timeout)),
        _ => socket_value(&listener.socket, key),
    }
}

fn routes(listener: &Listener, config: &Config) -> String {
    let tables: Vec<String> = listener
        .routes
        .iter()
        .map(|route| {
            inline(&keys::ROUTE, |key| match key {
                "backend" => Some(quoted(&config.backends[route.backend.0].name)),
                "sni" => Some(array(route.sni.iter())),
                "alpn" => Some(array(route.alpn.iter())),
                _ => None,
            })
        })
        .collect();
    format!("[{}]", tables.join(", "))
}

fn accept_proxy(accept: Option<&AcceptProxy>) -> String {
    let Some(accept) = accept else {
        return quoted("off");
    };
    inline(&keys::ACCEPT_PROXY, |key| match key {
        "from" => Some(array(accept.from.iter())),
        "version" => Some(quoted(match accept.version {
            ProxyVersions::Any => "any",
            ProxyVersions::V1 => "v1",
            ProxyVersions::V2 => "v2",
        })),
        "timeout" => Some(quoted(show_duration(accept.timeout))),
        _ => None,
    })
}

fn send_proxy(send: Option<SendProxy>) -> String {
    let (version, tlvs) = match send {
        None => return quoted("off"),
        Some(SendProxy::V1) => ("v1", SendTlvs::default()),
        Some(SendProxy::V2(tlvs)) => ("v2", tlvs),
    };
    let said = [
        ("alpn", tlvs.alpn),
        ("authority", tlvs.authority),
        ("crc32c", tlvs.crc32c),
        ("unique-id", tlvs.unique_id),
    ];
    inline(&keys::SEND_PROXY, |key| match key {
        "version" => Some(quoted(version)),
        "tlvs" => Some(array(
            said.iter().filter(|(_, is)| *is).map(|(name, _)| name),
        )),
        _ => None,
    })
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
        "exempt_file" => path(limit.exempt_file.as_ref()),
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
                    "backup" => Some(server.backup.to_string()),
                    "max_sessions" => shown(server.max_sessions),
                    "probe_address" => server.probe_address.map(quoted),
                    _ => None,
                };
                text.push_str(&format!("    {},\n", inline(&keys::SERVER, value_of)));
            }
            text.push(']');
            Some(text)
        }
        "balance" => Some(quoted(backend.balance.word())),
        "observe" => Some(quoted(match backend.observe {
            Some(_) => "connect",
            None => "off",
        })),
        // Without it both are refused.
        "error_limit" => shown(backend.observe.map(|observe| observe.error_limit)),
        "on_error" => backend
            .observe
            .map(|observe| quoted(observe.on_error.word())),
        "on_marked_down" => Some(quoted(backend.on_marked_down.word())),
        "all_down" => Some(quoted(backend.all_down.word())),
        "hash_balance_factor" => shown(backend.hash_balance_factor),
        "slow_start" => Some(or_off(backend.slow_start)),
        // Without a limit nobody ever waits, and the key is refused.
        "queue" => limited(backend).then(|| backend.queue.to_string()),
        "queue_timeout" => Some(quoted(show_duration(backend.queue_timeout))),
        "probe" => Some(match &backend.probe {
            Some(probe) => inline(&keys::PROBE, |key| probe_value(probe, key)),
            None => quoted("off"),
        }),
        "connect_timeout" => Some(quoted(show_duration(backend.connect_timeout))),
        "retries" => Some(backend.retries.to_string()),
        "server_timeout" => Some(or_off(backend.server_timeout)),
        "keepalive" => Some(keepalive(backend.keepalive)),
        "user_timeout" => Some(or_off(backend.user_timeout)),
        "send_proxy" => Some(send_proxy(backend.send_proxy)),
        "source" => (!backend.source.is_empty()).then(|| array(backend.source.iter())),
        _ => None,
    }
}

fn limited(backend: &Backend) -> bool {
    backend
        .servers
        .iter()
        .any(|server| server.max_sessions.is_some())
}

fn probe_value(probe: &Probe, key: &str) -> Option<String> {
    match key {
        "kind" => Some(quoted(probe.kind.word())),
        "interval" => Some(quoted(show_duration(probe.interval))),
        "fast_interval" => Some(quoted(show_duration(probe.fast_interval))),
        "down_interval" => Some(quoted(show_duration(probe.down_interval))),
        "timeout" => Some(quoted(show_duration(probe.timeout))),
        "rise" => Some(probe.rise.to_string()),
        "fall" => Some(probe.fall.to_string()),
        "initial_state" => Some(quoted(probe.initial_state.word())),
        "port" => shown(probe.port),
        _ => probe_tls_value(&probe.kind, key),
    }
}

fn probe_tls_value(kind: &ProbeKind, key: &str) -> Option<String> {
    let tls = kind.tls()?;
    let client = tls.client.as_ref();
    match key {
        "server_name" => tls.server_name.as_ref().map(quoted),
        // An API server without authority is not checked anyway.
        "verify" => match kind {
            ProbeKind::Tls(_) => Some(tls.ca_file.is_some().to_string()),
            ProbeKind::Tcp | ProbeKind::KubeApiserver(_) => None,
        },
        "ca_file" => path(tls.ca_file.as_ref()),
        "cert_file" => path(client.map(|client| &client.cert_file)),
        "key_file" => path(client.map(|client| &client.key_file)),
        "expiry_warning_days" => Some(tls.expiry_warning_days.to_string()),
        _ => None,
    }
}

fn bind_text(bind: &Bind, config: &Config) -> String {
    let Some(vip) = bind.vip else {
        return bind.to_string();
    };
    let (name, first) = (&config.vips[vip.0].name, bind.address.port());
    if bind.last_port > first {
        format!("vips.{name}:{first}-{}", bind.last_port)
    } else {
        format!("vips.{name}:{first}")
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
