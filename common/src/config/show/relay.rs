//! Listeners and backends as TOML.

use super::tls::listener_tls;
use super::{array, inline, or_off, path, quoted, shown};
use crate::config::keys;
use crate::config::kind::show_duration;
use crate::config::{
    AcceptProxy, Backend, Bind, Config, Keepalive, Listener, ProxyVersions, SendProxy, SendTlvs,
    Server, SocketOptions, SourceLimit, Track,
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
        "client_fin_timeout" => Some(or_off(listener.client_fin_timeout)),
        "max_lifetime" => Some(or_off(listener.max_lifetime)),
        "keepalive" => Some(keepalive(listener.keepalive)),
        "user_timeout" => Some(or_off(listener.user_timeout)),
        "session_log" => {
            let log = listener.session_log.as_ref();
            Some(quoted(log.map_or("off", |log| log.format.word())))
        }
        "session_log_file" => path(
            listener
                .session_log
                .as_ref()
                .and_then(|log| log.file.as_ref()),
        ),
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
        ("ssl", tlvs.ssl),
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

pub(super) fn backend_value(backend: &Backend, config: &Config, key: &str) -> Option<String> {
    match key {
        "servers" => {
            let mut text = "[\n".to_owned();
            for server in &backend.servers {
                let value_of = |key: &str| match key {
                    "address" => Some(quoted(address(server))),
                    "weight" => Some(server.weight.to_string()),
                    "backup" => Some(server.backup.to_string()),
                    "max_sessions" => shown(server.max_sessions),
                    "probe_address" => server.probe_address.map(quoted),
                    "track" => server.track.map(|track| track_text(track, config)),
                    _ => None,
                };
                text.push_str(&format!("    {},\n", inline(&keys::SERVER, value_of)));
            }
            for name in &backend.names {
                let value_of = |key: &str| match key {
                    "address" => Some(quoted(&name.name)),
                    "weight" => shown(name.weight),
                    "backup" => Some(name.backup.to_string()),
                    "max_sessions" => shown(name.max_sessions),
                    "max_addresses" => Some(name.max_addresses.to_string()),
                    _ => None,
                };
                text.push_str(&format!("    {},\n", inline(&keys::SERVER, value_of)));
            }
            text.push(']');
            Some(text)
        }
        "balance" => Some(quoted(backend.balance.word())),
        "track" => backend
            .track
            .map(|index| quoted(&config.backends[index.0].name)),
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
        "on_marked_up" => Some(quoted(backend.on_marked_up.word())),
        "all_down" => Some(quoted(backend.all_down.word())),
        "hash_balance_factor" => shown(backend.hash_balance_factor),
        "slow_start" => Some(or_off(backend.slow_start)),
        "queue" => Some(backend.queue.to_string()),
        "queue_timeout" => Some(quoted(show_duration(backend.queue_timeout))),
        "probe" => Some(match &backend.probe {
            Some(probe) => super::probe::probe(probe),
            None => quoted("off"),
        }),
        "agent" => Some(match &backend.agent {
            Some(agent) => super::probe::agent(agent),
            None => quoted("off"),
        }),
        "connect_timeout" => Some(quoted(show_duration(backend.connect_timeout))),
        "retries" => Some(backend.retries.to_string()),
        "server_timeout" => Some(or_off(backend.server_timeout)),
        "server_fin_timeout" => Some(or_off(backend.server_fin_timeout)),
        "keepalive" => Some(keepalive(backend.keepalive)),
        "user_timeout" => Some(or_off(backend.user_timeout)),
        "send_proxy" => Some(send_proxy(backend.send_proxy)),
        "source_ports" => backend.source_ports.map(|ports| quoted(ports.to_string())),
        "tls" => Some(super::tls::backend_tls(backend.tls.as_ref())),
        "source" => (!backend.source.is_empty()).then(|| array(backend.source.iter())),
        _ => None,
    }
}

fn track_text(track: Track, config: &Config) -> String {
    let backend = &config.backends[track.backend.0];
    quoted(format!(
        "{}/{}",
        backend.name,
        address(&backend.servers[track.server])
    ))
}

fn address(server: &Server) -> String {
    match server.port_offset {
        Some(offset) if server.address.is_ipv6() => {
            format!("[{}]:{offset}", server.address.ip())
        }
        Some(offset) => format!("{}:{offset}", server.address.ip()),
        None => server.address.to_string(),
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
