//! Lists of networks: those of the configuration, and those in files, which are replaced whole while
//! sessions come and go. A file that several listeners name is in memory once. Pure.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use common::config::{Config, WatchedKind};
use common::net_list::{self, BadList};
use ipnet::IpNet;

use crate::net_set::NetSet;

/// The lists in files.
#[derive(Debug, Default)]
pub struct Lists {
    files: Vec<ListFile>,
}

#[derive(Debug)]
struct ListFile {
    path: PathBuf,
    /// By place in [`Config::watched`].
    place: usize,
    content: Arc<ArcSwap<Content>>,
}

/// What stands in a file.
#[derive(Debug)]
struct Content {
    networks: NetSet,
    /// Of its bytes, and how many these are: the same in all that a reload leaves as it is.
    digest: (u64, usize),
}

/// Networks that the configuration names in one place, and those of the file beside them.
#[derive(Debug)]
pub struct List {
    own: NetSet,
    file: Option<Arc<ArcSwap<Content>>>,
}

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    #[error("there is no content of {}", path.display())]
    Missing { path: PathBuf },
    #[error("{} is no text", path.display())]
    NoText { path: PathBuf },
    #[error("{} is no list of networks", path.display())]
    Bad {
        path: PathBuf,
        #[source]
        source: BadList,
    },
}

impl Lists {
    /// All lists that the configuration names.
    ///
    /// # Errors
    /// One of them is not among the files, or cannot be used.
    pub fn new(config: &Config, files: &BTreeMap<PathBuf, Vec<u8>>) -> Result<Self, ListError> {
        Self::default().after(config, files)
    }

    /// The same of the configuration after this one. A file whose content is the one in use is in memory
    /// once.
    ///
    /// # Errors
    /// As [`Lists::new`].
    pub(crate) fn after(
        &self,
        config: &Config,
        files: &BTreeMap<PathBuf, Vec<u8>>,
    ) -> Result<Self, ListError> {
        let mut lists = Vec::new();
        for (place, watched) in config.watched().into_iter().enumerate() {
            match watched.holds {
                WatchedKind::Networks { .. } => {}
                WatchedKind::Tls(_) => continue,
            }
            for path in watched.paths {
                let Some(content) = files.get(&path) else {
                    return Err(ListError::Missing { path });
                };
                let known = self.files.iter().find(|known| {
                    known.path == path && known.content.load().digest == digest(content)
                });
                let content = match known {
                    Some(known) => Arc::clone(&known.content),
                    None => Arc::new(ArcSwap::from_pointee(read(&path, content)?)),
                };
                lists.push(ListFile {
                    path,
                    place,
                    content,
                });
            }
        }
        Ok(Self { files: lists })
    }

    /// The networks of the configuration, with those of a file if it names one.
    pub fn list(&self, own: &[IpNet], file: Option<&Path>) -> List {
        let find = |path: &Path| {
            let mut files = self.files.iter();
            let found = files.find(|file| file.path == path);
            Arc::clone(&found.expect("each that is named was read").content)
        };
        List {
            own: NetSet::new(own),
            file: file.map(find),
        }
    }

    /// Replaces a list: from now on the new one decides. `None` = no list is called so; otherwise its
    /// place on the board.
    ///
    /// # Errors
    /// The content cannot be used, and the old one stays.
    pub fn replace(&self, path: &Path, content: &[u8]) -> Result<Option<usize>, ListError> {
        let Some(file) = self.files.iter().find(|file| file.path == path) else {
            return Ok(None);
        };
        file.content.store(Arc::new(read(path, content)?));
        Ok(Some(file.place))
    }

    /// Entries of each list, by place on the board.
    pub fn entries(&self) -> impl Iterator<Item = (usize, usize)> {
        let entries = |file: &ListFile| (file.place, file.content.load().networks.entries());
        self.files.iter().map(entries)
    }
}

impl List {
    /// Whether it has the address, which is not IPv4 written as IPv6.
    pub fn has(&self, address: IpAddr) -> bool {
        let in_file = |file: &Arc<ArcSwap<Content>>| file.load().networks.has(address);
        self.own.has(address) || self.file.as_ref().is_some_and(in_file)
    }
}

fn read(path: &Path, content: &[u8]) -> Result<Content, ListError> {
    let text = str::from_utf8(content).map_err(|_| ListError::NoText {
        path: path.to_owned(),
    })?;
    let networks = net_list::parse(text).map_err(|source| ListError::Bad {
        path: path.to_owned(),
        source,
    })?;
    Ok(Content {
        networks: NetSet::new(&networks),
        digest: digest(content),
    })
}

fn digest(content: &[u8]) -> (u64, usize) {
    let mut hasher = DefaultHasher::new();
    hasher.write(content);
    (hasher.finish(), content.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
        [nodes.lb1]
        address = "192.168.0.11"
        [pair]
        interface = "eth0"
        [listeners.web]
        bind = ["127.0.0.1:80"]
        backend = "web"
        deny_file = "/lists/bad"
        [backends.web]
        servers = ["10.0.0.1:80"]
    "#;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_list_is_replaced_whole_or_not_at_all() {
        let config = Config::from_running(CONFIG).expect("it is valid");
        let path = PathBuf::from("/lists/bad");
        let none = BTreeMap::new();
        assert!(matches!(
            Lists::new(&config, &none),
            Err(ListError::Missing { .. })
        ));
        let files = BTreeMap::from([(path.clone(), b"10.0.0.0/8\n".to_vec())]);
        let lists = Lists::new(&config, &files).expect("it is good");
        let own = ["192.0.2.0/24".parse().expect("a network")];
        let list = lists.list(&own, Some(&path));
        let has = |text: &str| list.has(ip(text));
        assert!(has("192.0.2.1") && has("10.0.0.1") && !has("172.16.0.1"));

        let bad = lists.replace(&path, b"172.16.0.0/12\nten\n");
        assert!(matches!(bad, Err(ListError::Bad { .. })), "{bad:?}");
        assert!(has("10.0.0.1") && !has("172.16.0.1"));

        let good = lists.replace(&path, b"172.16.0.0/12\n172.16.0.1\n");
        assert_eq!(good.expect("it is good"), Some(0));
        assert!(has("192.0.2.1") && !has("10.0.0.1") && has("172.16.0.1"));
        assert_eq!(lists.entries().collect::<Vec<_>>(), [(0, 2)]);
        let other = lists.replace(Path::new("/etc/tls.crt"), b"certificate");
        assert_eq!(other.expect("it is not ours"), None);
    }

    #[test]
    fn a_reload_reads_only_files_that_have_changed() {
        let config = Config::from_running(CONFIG).expect("it is valid");
        let path = PathBuf::from("/lists/bad");
        let files = |text: &str| BTreeMap::from([(path.clone(), text.as_bytes().to_vec())]);
        let lists = Lists::new(&config, &files("10.0.0.0/8\n")).expect("it is good");
        let same = lists.after(&config, &files("10.0.0.0/8\n")).expect("good");
        assert!(Arc::ptr_eq(&lists.files[0].content, &same.files[0].content));
        let other = lists
            .after(&config, &files("172.16.0.0/12\n"))
            .expect("good");
        let (old, new) = (lists.list(&[], Some(&path)), other.list(&[], Some(&path)));
        assert!(old.has(ip("10.0.0.1")) && !old.has(ip("172.16.0.1")));
        assert!(!new.has(ip("10.0.0.1")) && new.has(ip("172.16.0.1")));
        assert!(lists.after(&config, &files("ten\n")).is_err());
    }
}
