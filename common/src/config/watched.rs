//! The files that are looked at while the node runs, and used anew when they have changed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{CertificateFiles, ClientCertificate, ClientCheck, Config, Listener};
use crate::net_list;

/// Files that are used together, and what they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    pub holds: WatchedKind,
    pub paths: Vec<PathBuf>,
}

impl Watched {
    /// `/etc/tls.crt, /etc/tls.key`
    pub fn names(&self) -> String {
        let paths = self.paths.iter().map(|path| path.display().to_string());
        paths.collect::<Vec<_>>().join(", ")
    }
}

/// What watched files hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchedKind {
    /// One list of networks.
    Networks {
        /// It names all the clients of a listener, so an empty one would shut everybody out.
        needed: bool,
    },
    /// What TLS is spoken with: all uses of the files.
    Tls(Vec<TlsUse>),
}

impl WatchedKind {
    /// `networks`, `certificate`, `authorities`, `revocations`, or several of them.
    pub fn words(&self) -> String {
        match self {
            Self::Networks { .. } => "networks".to_owned(),
            Self::Tls(uses) => {
                let mut words: Vec<&str> = uses.iter().map(TlsUse::word).collect();
                words.dedup();
                words.join(", ")
            }
        }
    }
}

/// What the proxy uses files of TLS for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsUse {
    /// A certificate and its key, which are shown to others.
    Certificate(CertificateFiles),
    /// Certificates that those of others are checked against.
    Authorities(PathBuf),
    /// What certificates of clients are checked by.
    Clients(ClientCheck),
}

impl TlsUse {
    const fn word(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "certificate",
            Self::Authorities(_) => "authorities",
            Self::Clients(ClientCheck { crl_file: None, .. }) => "authorities",
            Self::Clients(_) => "authorities, revocations",
        }
    }

    /// One file or two.
    pub fn paths(&self) -> Vec<&PathBuf> {
        match self {
            Self::Certificate(files) => files.each().collect(),
            Self::Authorities(path) => vec![path],
            Self::Clients(clients) => clients.files().collect(),
        }
    }
}

/// Whether the text of a list of networks can be used.
///
/// # Errors
/// Why not, in words.
pub fn judge_list(text: &str, needed: bool) -> Result<(), String> {
    let networks = net_list::parse(text).map_err(|bad| bad.to_string())?;
    if needed && networks.is_empty() {
        return Err("it names no network, so nobody would be served".to_owned());
    }
    Ok(())
}

impl Config {
    /// All of them, each once; the place in the list is the place on the boards.
    pub fn watched(&self) -> Vec<Watched> {
        let mut lists: Vec<(&Path, bool)> = Vec::new();
        for (path, needed) in self.listeners.iter().flat_map(Listener::lists) {
            match lists.iter_mut().find(|(known, _)| *known == path) {
                Some((_, known)) => *known |= needed,
                None => lists.push((path, needed)),
            }
        }
        let watched = |(path, needed): (&Path, bool)| Watched {
            holds: WatchedKind::Networks { needed },
            paths: vec![path.to_owned()],
        };
        let lists = lists.into_iter().map(watched);
        lists.chain(self.watched_tls()).collect()
    }

    /// Uses that have a file in common are one: their files can only change together.
    fn watched_tls(&self) -> Vec<Watched> {
        let mut groups: Vec<(Vec<PathBuf>, Vec<TlsUse>)> = Vec::new();
        for one in self.tls_uses() {
            let own: Vec<PathBuf> = one.paths().into_iter().cloned().collect();
            let (touching, apart): (Vec<_>, Vec<_>) = groups
                .into_iter()
                .partition(|(paths, _)| own.iter().any(|path| paths.contains(path)));
            groups = apart;
            let mut together = (Vec::new(), Vec::new());
            for (paths, uses) in touching.into_iter().chain([(own, vec![one])]) {
                for path in paths {
                    if !together.0.contains(&path) {
                        together.0.push(path);
                    }
                }
                for one in uses {
                    if !together.1.contains(&one) {
                        together.1.push(one);
                    }
                }
            }
            groups.push(together);
        }
        let watched = |(paths, uses)| Watched {
            holds: WatchedKind::Tls(uses),
            paths,
        };
        groups.into_iter().map(watched).collect()
    }

    /// The files that TLS is spoken with, each once.
    pub fn tls_files(&self) -> BTreeSet<PathBuf> {
        let uses = self.tls_uses();
        uses.iter().flat_map(TlsUse::paths).cloned().collect()
    }

    fn tls_uses(&self) -> Vec<TlsUse> {
        let ended = self.listeners.iter().flat_map(|listener| &listener.tls);
        let shown = ended.clone().flat_map(|tls| &tls.certificates);
        let shown = shown.map(|files| TlsUse::Certificate(files.clone()));
        let asked = ended.flat_map(|tls| &tls.clients);
        let asked = asked.map(|clients| TlsUse::Clients(clients.clone()));
        let probes = self.backends.iter().flat_map(|backend| &backend.probe);
        let probes = probes.filter_map(|probe| probe.kind.tls());
        let begun = self.backends.iter().flat_map(|backend| &backend.tls);
        shown
            .chain(asked)
            .chain(probes.flat_map(|tls| of_client(&tls.ca_file, &tls.client)))
            .chain(begun.flat_map(|tls| of_client(&tls.ca_file, &tls.client)))
            .collect()
    }
}

/// Of TLS that we begin.
fn of_client(
    ca_file: &Option<PathBuf>,
    client: &Option<ClientCertificate>,
) -> impl Iterator<Item = TlsUse> {
    let authorities = ca_file.iter().cloned().map(TlsUse::Authorities);
    let pair = client.iter().map(|pair| TlsUse::Certificate(pair.into()));
    authorities.chain(pair)
}

impl Listener {
    /// The files with lists of networks, and whether each names all clients.
    fn lists(&self) -> impl Iterator<Item = (&Path, bool)> {
        let needed = self.allow.is_none();
        [
            (&self.files.allow, needed),
            (&self.files.deny, false),
            (&self.files.drop, false),
            (&self.source_limit.exempt_file, false),
        ]
        .into_iter()
        .filter_map(|(path, needed)| Some((path.as_deref()?, needed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Paint;

    #[test]
    fn an_empty_list_is_refused_where_it_would_shut_everybody_out() {
        let judge = |needed, text: &str| judge_list(text, needed);
        assert_eq!(judge(false, "# nobody"), Ok(()));
        assert!(judge(true, "# nobody").is_err_and(|why| why.contains("nobody would be served")));
        assert_eq!(judge(true, "10.0.0.0/8"), Ok(()));
        assert!(judge(false, "ten").is_err_and(|why| why.starts_with("line 1: ")));
    }

    #[test]
    fn a_file_that_several_listeners_name_is_watched_once() {
        let text = r#"
            [nodes.lb1]
            address = "192.168.0.11"
            [pair]
            interface = "eth0"
            [listeners.one]
            bind = ["127.0.0.1:1"]
            backend = "web"
            deny_file = "/lists/bad"
            source_limit = { sessions = 1, exempt_file = "/lists/office" }
            [listeners.two]
            bind = ["127.0.0.1:2"]
            backend = "web"
            drop_file = "/lists/bad"
            allow_file = "/lists/office"
            [backends.web]
            servers = ["10.0.0.1:80"]
        "#;
        let config = Config::from_running(text).expect("it is valid");
        let watched = |path: &str, needed| Watched {
            holds: WatchedKind::Networks { needed },
            paths: vec![path.into()],
        };
        assert_eq!(
            config.watched(),
            [watched("/lists/bad", false), watched("/lists/office", true)]
        );
    }

    #[test]
    fn files_that_are_used_together_change_together() {
        let text = r#"
            [nodes.lb1]
            address = "192.168.0.11"
            [pair]
            interface = "eth0"
            [listeners.one]
            bind = ["127.0.0.1:1"]
            backend = "web"
            tls = { certificates = [{ cert_file = "/a.crt", key_file = "/a.key" }, "/b.pem"] }
            [listeners.two]
            bind = ["127.0.0.1:2"]
            backend = "web"
            tls = { certificates = ["/b.pem", { cert_file = "/c.crt", key_file = "/shared.key" },
                    { cert_file = "/d.crt", key_file = "/shared.key" }] }
            [backends.web]
            servers = ["10.0.0.1:443"]
            probe = { kind = "tls", ca_file = "/ca.pem", cert_file = "/a.crt", key_file = "/a.key" }
        "#;
        let config = Config::from_running(text).expect("it is valid");
        let watched = config.watched();
        let names: Vec<String> = watched.iter().map(Watched::names).collect();
        assert_eq!(
            names,
            [
                "/b.pem",
                "/c.crt, /shared.key, /d.crt",
                "/ca.pem",
                "/a.crt, /a.key"
            ]
        );
        let words: Vec<String> = watched.iter().map(|one| one.holds.words()).collect();
        assert_eq!(
            words,
            ["certificate", "certificate", "authorities", "certificate"]
        );
        let WatchedKind::Tls(uses) = &watched[1].holds else {
            panic!("{watched:?}");
        };
        assert_eq!(uses.len(), 2);
    }

    #[test]
    fn more_files_than_the_boards_have_places_for_are_refused() {
        let config = |backends: usize| {
            let mut text = r#"
                [nodes.lb1]
                address = "192.168.0.11"
                [pair]
                interface = "eth0"
                [listeners.one]
                bind = ["127.0.0.1:1"]
                backend = "b0"
            "#
            .to_owned();
            for n in 0..backends {
                text += &format!(
                    r#"
                    [backends.b{n}]
                    servers = ["10.0.0.1:443"]
                    probe = {{ kind = "tls", ca_file = "/{n}.ca", cert_file = "/{n}.crt", key_file = "/{n}.key" }}
                    "#
                );
            }
            Config::from_running(&text).map(|config| config.watched().len())
        };
        assert_eq!(config(128).expect("they fit"), 256);
        let report = config(129)
            .expect_err("two are too many")
            .render(Paint::Plain);
        assert!(
            report.contains("there are 258 lists, certificates"),
            "{report}"
        );
        assert!(report.contains("remove 2, or put"), "{report}");
    }
}
