//! fmc-lb as one node without a virtual IP.

use std::path::Path;

use super::{Launch, Site, text, words};

pub(super) fn launch(program: &Path, site: Site<'_>) -> Launch {
    let Site {
        listen,
        interface,
        folder,
        ..
    } = site;
    let servers: Vec<String> = site
        .servers
        .iter()
        .map(|server| format!("\"{server}\""))
        .collect();
    let config = format!(
        r#"[nodes.lb1]
address = "{address}"

[pair]
interface = "{interface}"

[listeners.bench]
bind    = ["{address}:{port}"]
backend = "bench"

[backends.bench]
servers = [{servers}]
balance = "round-robin"
probe   = {{ interval = "2s" }}

[proxy]
threads = 1
"#,
        address = listen.ip(),
        port = listen.port(),
        servers = servers.join(", "),
    );
    let file = folder.join("fmc-lb.toml");
    let line = words(&[
        &text(program),
        "run",
        "--config",
        &text(&file),
        "--node",
        "lb1",
        "--runtime-dir",
        &text(&folder.join("fmc-lb")),
    ]);
    Launch { config, file, line }
}
