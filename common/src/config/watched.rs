//! The files that are looked at while the node runs, and used anew when they have changed.

use std::path::{Path, PathBuf};

use super::{Config, Listener};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchedKind {
    /// One list of networks.
    Networks {
        /// It names all the clients of a listener, so an empty one would shut everybody out.
        needed: bool,
    },
}

impl WatchedKind {
    /// Whether contents can be used: one text for each file.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn judge(self, texts: &[String]) -> Result<(), String> {
        match self {
            Self::Networks { needed } => {
                for text in texts {
                    let networks = net_list::parse(text).map_err(|bad| bad.to_string())?;
                    if needed && networks.is_empty() {
                        return Err("it names no network, so nobody would be served".to_owned());
                    }
                }
                Ok(())
            }
        }
    }
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
        lists.into_iter().map(watched).collect()
    }
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

    #[test]
    fn an_empty_list_is_refused_where_it_would_shut_everybody_out() {
        let judge = |needed, text: &str| {
            let kind = WatchedKind::Networks { needed };
            kind.judge(&[text.to_owned()])
        };
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
}
