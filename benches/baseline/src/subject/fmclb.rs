//! fmc-lb as one node without a virtual IP.

use std::net::SocketAddrV4;
use std::path::Path;

use super::{Launch, Site, text, words};

/// The server name that the listener with routes knows.
pub(crate) const NAME: &str = "storm.example.org";

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
    command(program, folder, config)
}

/// The same with a session log in a file.
pub(crate) fn launch_logging(program: &Path, site: Site<'_>, log: &Path) -> Launch {
    let plain = launch(program, site);
    let head = "[listeners.bench]\n";
    let log = format!(
        "{head}session_log = \"json\"\nsession_log_file = \"{}\"\n",
        log.display()
    );
    let config = plain.config.replacen(head, &log, 1);
    Launch { config, ..plain }
}

/// Ports beside the one of the site, and what only one client is served by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct More {
    /// A listener that waits for a ClientHello.
    pub(crate) hello: u16,
    /// A listener with a server of its own.
    pub(crate) steady: u16,
    pub(crate) steady_server: SocketAddrV4,
}

/// The same with more listeners, all served by the one thread.
pub(crate) fn launch_more(program: &Path, site: Site<'_>, more: More) -> Launch {
    let plain = launch(program, site);
    let config = format!(
        r#"{plain}
[listeners.hello]
bind    = ["{address}:{hello}"]
backend = "bench"
routes  = [{{ sni = ["{NAME}"], backend = "bench" }}]

[listeners.steady]
bind    = ["{address}:{steady}"]
backend = "steady"

[backends.steady]
servers = ["{server}"]
probe   = "off"
"#,
        plain = plain.config,
        address = site.listen.ip(),
        hello = more.hello,
        steady = more.steady,
        server = more.steady_server,
    );
    Launch { config, ..plain }
}

fn command(program: &Path, folder: &Path, config: String) -> Launch {
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
