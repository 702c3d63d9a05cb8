//! What a listener needs to end its clients' TLS.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use common::board::CertificateSlot;
use common::config::{
    CertificateFiles, ClientCheck, Content, ListenerFiles, ListenerTls, TlsVersion, TlsVersions,
};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache};
use rustls::{ServerConfig, SupportedProtocolVersion, version};

use super::Files;
use super::certificate::Certificate;
use super::clients::verifier;
use super::files::{TlsError, certificates, private_key};
use super::names::Named;

/// Sessions of TLS 1.2 that are remembered for clients that take no tickets, about 1 KiB each. For
/// all others the client keeps the session, sealed with a key that changes each six hours.
const REMEMBERED: usize = 1_024;

/// Ends the clients' TLS at a listener; shared by all relay threads.
#[derive(Debug)]
pub(crate) struct Ended {
    config: ArcSwap<ServerConfig>,
    /// Limit of a handshake.
    pub(crate) timeout: Duration,
    shown: Mutex<Shown>,
}

/// The certificates in use, and where they stand on the board, both in the order of the file.
#[derive(Debug)]
struct Shown {
    certificates: Vec<Certificate>,
    /// None before it serves.
    slots: Vec<&'static CertificateSlot>,
}

/// What is made of the files of a listener, before it is used.
#[derive(Debug)]
pub(crate) struct Prepared {
    config: ServerConfig,
    certificates: Vec<Certificate>,
}

impl Prepared {
    fn new(tls: &ListenerTls, files: &Files) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let read = |one| Certificate::read(one, files, &provider);
        let certificates: Vec<_> = tls
            .certificates
            .iter()
            .map(read)
            .collect::<Result<_, _>>()?;
        let config = server_config(tls, (&certificates, files), provider)?;
        Ok(Self {
            config,
            certificates,
        })
    }
}

impl Shown {
    fn show(&self) {
        for (certificate, slot) in self.certificates.iter().zip(&self.slots) {
            certificate.show(slot);
        }
    }
}

impl Ended {
    /// # Errors
    ///
    /// A file that cannot be used.
    pub(crate) fn new(tls: &ListenerTls, files: &Files) -> Result<Self, TlsError> {
        let mut prepared = Prepared::new(tls, files)?;
        resume(tls, &mut prepared.config)?;
        Ok(Self {
            config: ArcSwap::from_pointee(prepared.config),
            timeout: tls.handshake_timeout,
            shown: Mutex::new(Shown {
                certificates: prepared.certificates,
                slots: Vec::new(),
            }),
        })
    }

    /// Puts its certificates on the board, now and when they are replaced.
    pub(crate) fn show_at(&self, slots: Vec<&'static CertificateSlot>) {
        let mut shown = self.shown();
        shown.slots = slots;
        shown.show();
    }

    /// How many certificates it has.
    pub(crate) fn certificates(&self) -> usize {
        self.shown().certificates.len()
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings of a new handshake.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// The same for other contents of its files. Sessions that began before can be resumed, since
    /// a ticket does not depend on the certificate; but not when clients are checked by others now.
    ///
    /// # Errors
    ///
    /// A file that cannot be used.
    pub(crate) fn prepare(
        &self,
        tls: &ListenerTls,
        files: &Files,
        is_new: impl Fn(&PathBuf) -> bool,
    ) -> Result<Prepared, TlsError> {
        let mut prepared = Prepared::new(tls, files)?;
        let mut checked_by = tls.clients.iter().flat_map(ClientCheck::files);
        if checked_by.any(is_new) {
            // Whoever is not let in any more has a ticket from before.
            resume(tls, &mut prepared.config)?;
            return Ok(prepared);
        }
        let current = self.config();
        prepared.config.ticketer = Arc::clone(&current.ticketer);
        prepared.config.session_storage = Arc::clone(&current.session_storage);
        prepared.config.send_tls13_tickets = current.send_tls13_tickets;
        Ok(prepared)
    }

    /// Every handshake that begins from now on has these.
    pub(crate) fn replace(&self, prepared: Prepared) {
        let mut shown = self.shown();
        shown.certificates = prepared.certificates;
        shown.show();
        self.config.store(Arc::new(prepared.config));
    }
}

fn server_config(
    tls: &ListenerTls,
    (certificates, files): (&[Certificate], &Files),
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig, TlsError> {
    let named = Named::new(certificates, tls.strict_sni);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(tls.versions))
        .map_err(TlsError::Versions)?;
    let builder = match &tls.clients {
        Some(clients) => builder.with_client_cert_verifier(verifier(clients, files, provider)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(named));
    config.alpn_protocols = tls
        .alpn
        .iter()
        .map(|name| name.clone().into_bytes())
        .collect();
    Ok(config)
}

/// Whether and how sessions are resumed.
fn resume(tls: &ListenerTls, config: &mut ServerConfig) -> Result<(), TlsError> {
    if tls.resumption {
        config.ticketer = ring::Ticketer::new().map_err(TlsError::Tickets)?;
        config.session_storage = ServerSessionMemoryCache::new(REMEMBERED);
    } else {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(())
}

/// The versions as rustls has them.
pub(crate) fn versions(wanted: TlsVersions) -> Vec<&'static SupportedProtocolVersion> {
    let known = [
        (TlsVersion::V1_3, &version::TLS13),
        (TlsVersion::V1_2, &version::TLS12),
    ];
    let chosen = known.iter().filter(|(one, _)| wanted.contains(*one));
    chosen.map(|(_, version)| *version).collect()
}

/// Everything that is wrong with the files of a listener, of those that are given, at so many seconds
/// since 1970; nothing is started.
pub fn check_files(given: &ListenerFiles, now: i64) -> Vec<TlsError> {
    let provider = ring::default_provider();
    let mut errors = Vec::new();
    for contents in &given.certificates {
        let all = [&contents.cert_file, &contents.key_file];
        let files: Files = all.into_iter().flatten().map(in_bytes).collect();
        let (Some((cert_file, _)), Some((key_file, _))) = (&contents.cert_file, &contents.key_file)
        else {
            let lone = |file: &Option<Content>| file.as_ref().map(|(path, _)| path.clone());
            let cert = lone(&contents.cert_file).map(|path| certificates(&path, &files).err());
            let key = lone(&contents.key_file).map(|path| private_key(&path, &files).err());
            errors.extend([cert, key].into_iter().flatten().flatten());
            continue;
        };
        let named = CertificateFiles {
            cert_file: cert_file.clone(),
            key_file: key_file.clone(),
        };
        match Certificate::read(&named, &files, &provider) {
            Ok(certificate) => errors.extend(certificate.objection(&named, now)),
            Err(error) => errors.push(error),
        }
    }
    if let Some((ca_file, _)) = &given.client_ca_file {
        let all = [&given.client_ca_file, &given.client_crl_file];
        let files: Files = all.into_iter().flatten().map(in_bytes).collect();
        let clients = ClientCheck {
            ca_file: ca_file.clone(),
            crl_file: given.client_crl_file.as_ref().map(|(path, _)| path.clone()),
            required: true,
        };
        errors.extend(verifier(&clients, &files, Arc::new(provider)).err());
    }
    errors
}

fn in_bytes((path, text): &Content) -> (std::path::PathBuf, Vec<u8>) {
    (path.clone(), text.clone().into_bytes())
}
