//! Envoy's TCP proxy filter with one worker.

use std::net::SocketAddrV4;
use std::path::Path;

use super::{BACKLOG, CONNECTIONS, Launch, Site, text, words};

pub(super) fn launch(program: &Path, site: Site<'_>) -> Launch {
    let endpoints: Vec<String> = site
        .servers
        .iter()
        .map(|server| {
            format!(
                "          - endpoint: {{ address: {} }}\n",
                address(*server)
            )
        })
        .collect();
    let config = format!(
        r#"static_resources:
  listeners:
  - name: bench
    address: {listen}
    tcp_backlog_size: {BACKLOG}
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: bench
          cluster: bench
  clusters:
  - name: bench
    type: STATIC
    connect_timeout: 5s
    lb_policy: ROUND_ROBIN
    circuit_breakers:
      thresholds:
      - max_connections: {CONNECTIONS}
        max_pending_requests: {CONNECTIONS}
    health_checks:
    - timeout: 2s
      interval: 2s
      unhealthy_threshold: 3
      healthy_threshold: 2
      tcp_health_check: {{}}
    load_assignment:
      cluster_name: bench
      endpoints:
      - lb_endpoints:
{endpoints}"#,
        listen = address(site.listen),
        endpoints = endpoints.concat(),
    );
    let file = site.folder.join("envoy.yaml");
    let line = words(&[
        &text(program),
        "-c",
        &text(&file),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "warning",
    ]);
    Launch { config, file, line }
}

fn address(address: SocketAddrV4) -> String {
    format!(
        "{{ socket_address: {{ address: {}, port_value: {} }} }}",
        address.ip(),
        address.port()
    )
}
