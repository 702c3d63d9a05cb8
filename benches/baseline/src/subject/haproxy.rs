//! HAProxy in TCP mode, with and without splice(2).

use std::path::Path;

use super::{BACKLOG, CONNECTIONS, Launch, Site, text, words};

/// Pipes that `splice-auto` may use: with the connections, their descriptors stay within 20,000.
const PIPES: u32 = 400;

/// Whether it may move data by splice(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Splice {
    /// Where it thinks that it pays.
    Auto,
    /// Its default.
    Never,
}

pub(super) fn launch(program: &Path, site: Site<'_>, splice: Splice) -> Launch {
    let splice = match splice {
        Splice::Auto => "    option splice-auto\n",
        Splice::Never => "",
    };
    let servers: String = (1..)
        .zip(site.servers)
        .map(|(number, server)| format!("    server s{number} {server} check inter 2s\n"))
        .collect();
    let config = format!(
        "global\n    maxconn {CONNECTIONS}\n    maxpipes {PIPES}\n    nbthread 1\n\n\
         defaults\n    mode tcp\n{splice}    timeout connect 5s\n    timeout client 1h\n    \
         timeout server 1h\n    maxconn {CONNECTIONS}\n    backlog {BACKLOG}\n\n\
         listen bench\n    bind {}\n    balance roundrobin\n{servers}",
        site.listen,
    );
    let file = site.folder.join("haproxy.cfg");
    let line = words(&[&text(program), "-db", "-f", &text(&file)]);
    Launch { config, file, line }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::*;

    #[test]
    fn only_one_of_the_two_may_splice() {
        let site = Site {
            listen: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1),
            interface: "lo",
            servers: &[],
            folder: Path::new("/x"),
        };
        let config = |splice| launch(Path::new("/x/haproxy"), site, splice).config;
        assert!(config(Splice::Auto).contains("option splice-auto"));
        assert!(!config(Splice::Never).contains("splice"));
    }
}
