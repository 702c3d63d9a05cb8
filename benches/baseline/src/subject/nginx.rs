//! nginx with its stream module: a master and one worker.

use std::path::Path;

use super::{BACKLOG, CONNECTIONS, Launch, Site, text, words};

pub(super) fn launch((program, module): (&Path, &Path), site: Site<'_>) -> Launch {
    let servers: String = site
        .servers
        .iter()
        .map(|server| format!("        server {server};\n"))
        .collect();
    let config = format!(
        "load_module {module};\ndaemon off;\nworker_processes 1;\npid {pid};\n\
         worker_rlimit_nofile 20000;\n\
         events {{\n    worker_connections {connections};\n}}\n\
         stream {{\n    upstream bench {{\n{servers}    }}\n    server {{\n        \
         listen {listen} backlog={BACKLOG};\n        proxy_pass bench;\n        \
         proxy_connect_timeout 5s;\n        proxy_timeout 1h;\n    }}\n}}\n",
        module = module.display(),
        pid = site.folder.join("nginx.pid").display(),
        // It counts both sides of a session.
        connections = CONNECTIONS * 2,
        listen = site.listen,
    );
    let file = site.folder.join("nginx.conf");
    let folder = text(site.folder);
    let line = words(&[
        &text(program),
        "-p",
        &folder,
        "-c",
        &text(&file),
        "-e",
        "stderr",
    ]);
    Launch { config, file, line }
}
