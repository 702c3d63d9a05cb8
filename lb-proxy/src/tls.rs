//! TLS that the data plane speaks itself: it ends the clients'.
//!
//! A connection to a listener that ends TLS has a way of its own from the accept loop on
//! ([`session`]): all others stay as small as they are. [`listener`] is what a listener needs, made of
//! files whose contents were handed over ([`files`], [`certificate`]); [`handshake`] takes turns, since
//! a signature holds its thread up; [`relay`] moves the bytes of a session once it is agreed on, and
//! keeps apart what ended and what was cut.

mod certificate;
pub(crate) mod failure;
pub(crate) mod files;
pub(crate) mod handshake;
pub(crate) mod listener;
mod names;
mod relay;
pub(crate) mod session;
mod side;
pub(crate) mod validity;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;

use common::board::ProxyBoard;
use common::config::Config;

use self::files::TlsError;
use self::listener::Ended;

pub use self::listener::check_files as check_listener_files;

/// Contents of files by their paths.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What the proxy needs to speak TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    /// By listener; `None` = TLS passes through.
    listeners: Vec<Option<Ended>>,
}

impl Tls {
    /// Prepares every listener, and puts its certificates on the board.
    ///
    /// # Errors
    ///
    /// A file that cannot be used.
    pub(crate) fn new(
        config: &Config,
        files: &Files,
        board: &ProxyBoard,
    ) -> Result<Self, TlsError> {
        let mut places = board.certificates.iter();
        let listeners = config.listeners.iter().map(|listener| {
            let Some(tls) = &listener.tls else {
                return Ok(None);
            };
            let (ended, certificates) = Ended::new(tls, files)?;
            for (certificate, place) in certificates.iter().zip(&mut places) {
                certificate.show(place);
            }
            Ok(Some(ended))
        });
        Ok(Self {
            listeners: listeners.collect::<Result<_, _>>()?,
        })
    }

    /// What ends the clients' TLS at a listener, if anything does.
    pub(crate) fn ended(&self, listener: usize) -> Option<&Ended> {
        self.listeners[listener].as_ref()
    }
}
