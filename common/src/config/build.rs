//! A draft without errors → the [`Config`].

mod probe;

use std::net::IpAddr;

use super::draft::{
    BackendDraft, BackendTlsDraft, Draft, ListenerDraft, ListenerTlsDraft, NameDraft, VipDraft,
};
use super::{
    AcceptProxy, AccessFiles, Backend, BackendIndex, BackendTls, Balance, CertificateFiles,
    ChecksumForm, ClientCertificate, ClientCheck, Config, Listener, ListenerTls, Node, Observe,
    Pair, Route, Runs, Server, SessionLog, Track, Vip,
};
use crate::addr::{Family, Priority, Vrid};

/// A quarter more than its share.
const HASH_BALANCE_FACTOR: u32 = 125;

/// `None` if the draft has a hole, which then has been reported.
pub(super) fn build(draft: &Draft) -> Option<Config> {
    let nodes = draft.nodes.iter().map(|node| {
        Some(Node {
            name: node.name.value.clone(),
            address: node.address.as_ref()?.value,
            link_local: node.link_local.as_ref().map(|at| at.value),
            runs: node.runs.as_ref().map_or(Runs::FmcLb, |runs| runs.value),
        })
    });
    let pair = &draft.pair;
    let mut first_server = 0;
    let backends = draft.backends.iter().map(|backend| {
        let first = first_server;
        first_server += backend.servers.len();
        build_backend(backend, (first..first_server).collect())
    });
    Some(Config {
        nodes: nodes.collect::<Option<_>>()?,
        pair: Pair {
            interface: pair.interface.as_ref()?.value.clone(),
            key_file: pair.key_file.as_ref().map(|file| file.value.clone()),
            signing: pair.signing(&draft.nodes),
            heartbeat: pair.heartbeat.as_ref()?.value,
            silent_takeover: pair.silent_takeover.as_ref()?.value,
            port: pair.port.as_ref()?.value,
        },
        vips: draft.vips.iter().map(build_vip).collect::<Option<_>>()?,
        together: draft.together,
        startup_delay: draft.startup_delay.as_ref()?.value,
        trackers: draft
            .trackers
            .iter()
            .map(|tracker| tracker.build(pair.interface.as_ref(), draft.vips.len()))
            .collect::<Option<_>>()?,
        listeners: draft
            .listeners
            .iter()
            .map(build_listener)
            .collect::<Option<_>>()?,
        backends: backends.collect::<Option<_>>()?,
        proxy: draft.proxy?,
        admin: draft.admin.build()?,
        dns: draft.dns.dns.clone()?,
    })
}

fn build_vip(vip: &VipDraft) -> Option<Vip> {
    let net = vip.address.as_ref()?.value;
    let priorities = vip
        .priorities
        .iter()
        .map(|priority| Priority::new(priority.as_ref()?.value));
    Some(Vip {
        name: vip.name.value.clone(),
        retired: false,
        address: net.addr(),
        prefix_len: net.prefix_len(),
        link_local: vip.first_in_adverts(),
        vrid: Vrid::new(vip.vrid.as_ref()?.value)?,
        interface: vip.interface.as_ref()?.value.clone(),
        priorities: priorities.collect::<Option<_>>()?,
        advert_interval: vip.advert_interval.as_ref()?.value,
        preempt: vip.preempt.as_ref()?.value,
        preempt_delay: vip.preempt_delay.as_ref()?.value,
        transport: vip.transport?,
        checksum: match net.addr() {
            IpAddr::V4(_) => vip.checksum.as_ref()?.value,
            IpAddr::V6(_) => ChecksumForm::Pseudo,
        },
        version: vip.spoken(),
        virtual_mac: vip.virtual_mac.as_ref()?.value,
        followers: vip
            .routes
            .build(Family::of(net.addr()), &vip.interface.as_ref()?.value)?,
    })
}

fn build_listener(listener: &ListenerDraft) -> Option<Listener> {
    Some(Listener {
        name: listener.name.value.clone(),
        retired: false,
        binds: listener.binds.iter().map(|bind| bind.bind).collect(),
        backend: BackendIndex(listener.backend.as_ref()?.value),
        allow: listener.allow.as_ref().map(|allow| allow.value.clone()),
        routes: listener
            .routes
            .iter()
            .map(|route| Route {
                backend: BackendIndex(route.value.backend),
                sni: route
                    .value
                    .sni
                    .iter()
                    .map(|name| name.value.clone())
                    .collect(),
                alpn: route.value.alpn.clone(),
            })
            .collect(),
        hello_timeout: listener.hello_timeout.as_ref()?.value,
        tls: match listener.tls.as_ref()? {
            Some(tls) => Some(build_listener_tls(tls)?),
            None => None,
        },
        accept_proxy: listener
            .accept_proxy
            .as_ref()?
            .as_ref()
            .map(|accept| AcceptProxy {
                from: accept.from.value.clone(),
                version: accept.version,
                timeout: accept.timeout,
            }),
        deny: listener.deny.as_ref()?.value.clone(),
        drop: listener.drop.as_ref()?.value.clone(),
        files: AccessFiles {
            allow: listener.files.allow.as_ref().map(|path| path.value.clone()),
            deny: listener.files.deny.as_ref().map(|path| path.value.clone()),
            drop: listener.files.drop.as_ref().map(|path| path.value.clone()),
        },
        max_sessions: listener.max_sessions,
        accept_rate: listener.accept_rate,
        source_limit: listener.source_limit.as_ref()?.value.clone(),
        required: listener.required?,
        client_timeout: listener.client_timeout.as_ref()?.value,
        tunnel_timeout: listener.tunnel_timeout.as_ref()?.value,
        client_fin_timeout: listener.client_fin_timeout?,
        max_lifetime: listener.max_lifetime?,
        keepalive: listener.keepalive?,
        user_timeout: listener.user_timeout?,
        session_log: listener.session_log?.map(|format| SessionLog {
            format,
            file: listener
                .session_log_file
                .as_ref()
                .map(|file| file.value.clone()),
        }),
        socket: listener.socket.clone()?,
    })
}

fn build_listener_tls(tls: &ListenerTlsDraft) -> Option<ListenerTls> {
    let certificates = tls.certificates.as_ref()?.value.iter().map(|certificate| {
        let cert_file = certificate.value.cert_file.value.clone();
        let key_file = certificate.value.key_file.as_ref();
        CertificateFiles {
            key_file: key_file.map_or_else(|| cert_file.clone(), |file| file.value.clone()),
            cert_file,
        }
    });
    Some(ListenerTls {
        certificates: certificates.collect(),
        strict_sni: tls.strict_sni?,
        clients: tls.client_ca_file.as_ref().map(|ca_file| ClientCheck {
            ca_file: ca_file.value.clone(),
            crl_file: tls.client_crl_file.as_ref().map(|file| file.value.clone()),
            required: tls.client_verify.as_ref().is_none_or(|verify| verify.value),
        }),
        versions: tls.versions.build()?,
        alpn: tls.alpn.as_ref()?.value.clone(),
        resumption: tls.resumption?,
        handshake_timeout: tls.handshake_timeout?,
    })
}

fn build_backend_tls(tls: &BackendTlsDraft) -> Option<BackendTls> {
    let pair = tls.cert_file.as_ref().zip(tls.key_file.as_ref());
    Some(BackendTls {
        server_name: tls.server_name.as_ref().map(|name| name.value.clone()),
        ca_file: tls.ca_file.as_ref().map(|file| file.value.clone()),
        client: pair.map(|(cert, key)| ClientCertificate {
            cert_file: cert.value.clone(),
            key_file: key.value.clone(),
        }),
        versions: tls.versions.build()?,
        alpn: tls.alpn.as_ref()?.value.clone(),
        resumption: tls.resumption?,
    })
}

fn build_backend(backend: &BackendDraft, places: Vec<usize>) -> Option<Backend> {
    Some(Backend {
        name: backend.name.value.clone(),
        servers: backend
            .servers
            .iter()
            .map(|member| Server {
                address: member.address.value,
                port_offset: member.port_offset,
                weight: member.weight,
                backup: member.backup,
                max_sessions: member.max_sessions,
                track: member.followed.as_ref().map(|at| Track {
                    backend: BackendIndex(at.value.0),
                    server: at.value.1,
                }),
                probe_address: member.probe_address.as_ref().map(|at| at.value),
            })
            .collect(),
        names: backend
            .names
            .iter()
            .map(NameDraft::build)
            .collect::<Option<_>>()?,
        places,
        retired: false,
        balance: backend.balance?,
        hash_balance_factor: match (&backend.hash_balance_factor, backend.balance?) {
            (Some(percent), _) => u32::try_from(percent.value).ok(),
            (None, Balance::ConsistentHash) => Some(HASH_BALANCE_FACTOR),
            (None, _) => None,
        },
        slow_start: backend.slow_start.as_ref()?.value,
        observe: match backend.observe.as_ref()?.value {
            true => Some(Observe {
                error_limit: u32::try_from(backend.error_limit.as_ref()?.value).ok()?,
                on_error: backend.on_error.as_ref()?.value,
            }),
            false => None,
        },
        on_marked_down: backend.on_marked_down.as_ref()?.value,
        on_marked_up: backend.on_marked_up.as_ref()?.value,
        all_down: backend.all_down.as_ref()?.value,
        queue: backend.queue.as_ref()?.value,
        queue_timeout: backend.queue_timeout.as_ref()?.value,
        probe: match backend.probe.as_ref()? {
            Some(probe) if !backend.follows_all() => Some(probe::build(probe)?),
            Some(_) | None => None,
        },
        agent: match backend.agent.as_ref()? {
            Some(agent) => Some(agent.build()?),
            None => None,
        },
        track: backend.followed.map(BackendIndex),
        connect_timeout: backend.connect_timeout?,
        retries: backend.retries?,
        server_timeout: backend.server_timeout.as_ref()?.value,
        server_fin_timeout: backend.server_fin_timeout?,
        keepalive: backend.keepalive?,
        user_timeout: backend.user_timeout?,
        send_proxy: backend.send_proxy.as_ref()?.as_ref().map(|at| at.value),
        tls: match backend.tls.as_ref()? {
            Some(tls) => Some(build_backend_tls(tls)?),
            None => None,
        },
        source: backend.source.as_ref().map_or_else(Vec::new, |source| {
            source.value.iter().map(|address| address.value).collect()
        }),
        source_ports: backend.source_ports.as_ref().map(|ports| ports.value),
    })
}
