//! TLS that the data plane speaks itself: it ends the clients', begins it with servers, and asks these
//! how they are.
//!
//! A connection that speaks TLS on any side has a way of its own from the accept loop on
//! ([`session`]): all others stay as small as they are. [`listener`] is what a listener needs, made of
//! files whose contents were handed over ([`files`], [`certificate`]), and made anew when they change;
//! [`client`] and [`server`] are the same for what we begin. [`handshake`] takes turns, since a signature holds its
//! thread up; [`relay`] moves the bytes of a session once it is agreed on, and keeps apart what ended
//! and what was cut.

mod certificate;
pub(crate) mod client;
mod clients;
pub(crate) mod failure;
pub(crate) mod files;
pub(crate) mod handshake;
mod judge;
pub(crate) mod listener;
mod names;
mod relay;
mod server;
pub(crate) mod session;
mod side;
mod told;
pub(crate) mod validity;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::board::ProxyBoard;
use common::config::{BackendIndex, Config, Listener, Probe, ProbeKind};

use self::client::{Clients, Settings};
use self::files::TlsError;
use self::listener::{Ended, Prepared};
use self::server::Begun;

pub use self::judge::check_tls_files;
pub use self::listener::check_files as check_listener_files;

/// The protocol of ALPN that probes of HTTP speak.
const HTTP: &[&str] = &["http/1.1"];

/// Contents of files by their paths.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What the proxy needs to speak TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    /// By listener; `None` = TLS passes through.
    listeners: Vec<Option<Arc<Ended>>>,
    /// By listener: whether its sessions speak TLS on any side.
    spoken: Vec<bool>,
    /// By backend; `None` = its servers are spoken to in plain.
    servers: Vec<Option<Arc<Begun>>>,
    /// By backend; `None` = its probes speak none.
    probes: Vec<Option<Arc<Clients>>>,
    /// The files that all of it is made of.
    files: Mutex<Files>,
}

impl Tls {
    /// Prepares every listener and probe.
    ///
    /// # Errors
    ///
    /// A file that cannot be used.
    pub(crate) fn new(
        config: &Config,
        files: &Files,
        board: &'static ProxyBoard,
    ) -> Result<Self, TlsError> {
        Self::after(None, (config, files), board)
    }

    /// The same for the configuration after another one, whose listeners, backends and probes are kept
    /// where neither what is said of them nor the contents of their files have changed: sessions are
    /// resumed on.
    ///
    /// # Errors
    ///
    /// A file that cannot be used.
    pub(crate) fn after(
        before: Option<(&Config, &Self)>,
        (config, files): (&Config, &Files),
        board: &'static ProxyBoard,
    ) -> Result<Self, TlsError> {
        let old_files = before.map(|(_, tls)| tls.files().clone());
        let is_same = |path: &PathBuf| {
            let old = old_files.as_ref().and_then(|old| old.get(path));
            old.is_some() && old == files.get(path)
        };
        let listeners = config
            .listeners
            .iter()
            .enumerate()
            .map(|(index, listener)| {
                let Some(tls) = &listener.tls else {
                    return Ok(None);
                };
                let known = before.and_then(|(config, known)| {
                    let same = config.listeners.get(index)?.tls.as_ref() == Some(tls);
                    known.listeners.get(index)?.as_ref().filter(|_| same)
                });
                match known.filter(|_| tls.files().all(is_same)) {
                    Some(known) => Ok(Some(Arc::clone(known))),
                    None => Ended::new(tls, files).map(|ended| Some(Arc::new(ended))),
                }
            });
        let listeners = listeners.collect::<Result<_, _>>()?;
        let probes = config.backends.iter().enumerate().map(|(index, backend)| {
            let Some(probe) = &backend.probe else {
                return Ok(None);
            };
            let known = before.and_then(|(config, known)| {
                let same = config.backends.get(index)?.probe.as_ref() == Some(probe);
                known.probes.get(index)?.as_ref().filter(|_| same)
            });
            let same_files = || probe.kind.tls().is_some_and(|tls| tls.files().all(is_same));
            if let Some(known) = known.filter(|_| same_files()) {
                return Ok(Some(Arc::clone(known)));
            }
            let clients = of_probe(probe, files).transpose()?.map(Clients::new);
            Ok(clients.map(Arc::new))
        });
        let servers = config.backends.iter().zip(&board.server_tls).enumerate();
        let servers = servers.map(|(index, (backend, slot))| {
            let Some(tls) = &backend.tls else {
                return Ok(None);
            };
            let known = before.and_then(|(config, known)| {
                let same = config.backends.get(index)?.tls.as_ref() == Some(tls);
                known.servers.get(index)?.as_ref().filter(|_| same)
            });
            match known.filter(|_| tls.files().all(is_same)) {
                Some(known) => Ok(Some(Arc::clone(known))),
                None => Begun::new(tls, files, slot).map(|begun| Some(Arc::new(begun))),
            }
        });
        let named = config.tls_files();
        let kept = files.iter().filter(|(path, _)| named.contains(*path));
        Ok(Self {
            listeners,
            spoken: config
                .listeners
                .iter()
                .map(|one| is_spoken(config, one))
                .collect(),
            servers: servers.collect::<Result<_, TlsError>>()?,
            probes: probes.collect::<Result<_, TlsError>>()?,
            files: Mutex::new(
                kept.map(|(path, text)| (path.clone(), text.clone()))
                    .collect(),
            ),
        })
    }

    /// Puts the listeners' certificates on the board: this is what serves from now on.
    pub(crate) fn show(&self, board: &'static ProxyBoard) {
        let mut places = board.certificates.iter();
        for ended in self.listeners.iter().flatten() {
            ended.show_at(places.by_ref().take(ended.certificates()).collect());
        }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What ends the clients' TLS at a listener, if anything does.
    pub(crate) fn ended(&self, listener: usize) -> Option<&Ended> {
        self.listeners[listener].as_deref()
    }

    /// Whether the sessions of a listener may speak TLS on any side.
    pub(crate) fn is_spoken(&self, listener: usize) -> bool {
        self.spoken[listener]
    }

    /// What speaks TLS with the servers of a backend, if that is wanted.
    pub(crate) fn begun(&self, backend: BackendIndex) -> Option<&Begun> {
        self.servers[backend.0].as_deref()
    }

    /// How the servers of a backend are spoken to by its probes, if that is in TLS.
    pub(crate) fn probe(&self, backend: BackendIndex) -> Option<&Arc<Clients>> {
        self.probes[backend.0].as_ref()
    }

    /// Uses new contents of files for every handshake that begins from now on. Others' files are left
    /// aside. To be called on a thread that may take its time.
    ///
    /// # Errors
    ///
    /// One of them cannot be used, and everything stays as it was.
    pub(crate) fn replace(&self, config: &Config, new: &Files) -> Result<(), TlsError> {
        let mut current = self.files();
        let new = new.iter().filter(|(path, _)| current.contains_key(*path));
        let new: Files = new
            .map(|(path, text)| (path.clone(), text.clone()))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let mut files = current.clone();
        files.extend(new.clone());
        let is_new = |path: &PathBuf| new.contains_key(path);

        let mut listeners: Vec<(&Ended, Prepared)> = Vec::new();
        for (ended, listener) in self.listeners.iter().zip(&config.listeners) {
            if let (Some(ended), Some(tls)) = (ended, &listener.tls)
                && tls.files().any(is_new)
            {
                listeners.push((ended, ended.prepare(tls, &files, is_new)?));
            }
        }
        let mut probes: Vec<(&Clients, Settings)> = Vec::new();
        for (clients, backend) in self.probes.iter().zip(&config.backends) {
            if let (Some(clients), Some(probe)) = (clients, &backend.probe)
                && probe.kind.tls().is_some_and(|tls| tls.files().any(is_new))
                && let Some(settings) = of_probe(probe, &files)
            {
                probes.push((clients, settings?));
            }
        }
        let mut servers: Vec<(&Begun, server::Prepared)> = Vec::new();
        for (begun, backend) in self.servers.iter().zip(&config.backends) {
            if let (Some(begun), Some(tls)) = (begun, &backend.tls)
                && tls.files().any(is_new)
            {
                servers.push((begun, server::Prepared::new(tls, &files)?));
            }
        }

        for (begun, prepared) in servers {
            begun.replace(prepared);
        }
        for (ended, prepared) in listeners {
            ended.replace(prepared);
        }
        for (clients, settings) in probes {
            clients.replace(settings);
        }
        *current = files;
        Ok(())
    }
}

/// A listener that ends none may have a backend, or a route to one, whose servers speak it.
fn is_spoken(config: &Config, listener: &Listener) -> bool {
    let routes = listener.routes.iter().map(|route| route.backend);
    let mut backends = routes.chain([listener.backend]);
    listener.tls.is_some() || backends.any(|index| config.backends[index.0].tls.is_some())
}

/// `None` = it speaks no TLS.
fn of_probe(probe: &Probe, files: &Files) -> Option<Result<Settings, TlsError>> {
    let tls = probe.kind.tls()?;
    let protocols = match &probe.kind {
        ProbeKind::Tcp | ProbeKind::Tls(_) | ProbeKind::SendExpect(_) | ProbeKind::External(_) => {
            &[]
        }
        ProbeKind::Http(_) | ProbeKind::KubeApiserver(_) => HTTP,
    };
    Some(Settings::of_probe(tls, protocols, files))
}
