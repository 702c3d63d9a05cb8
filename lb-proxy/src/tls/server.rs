//! What a session needs to speak TLS with the servers of a backend.
#![expect(
    clippy::disallowed_types,
    reason = "speaks over connections to servers"
)]

use std::io;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use common::board::TlsSlot;
use common::config::{BackendTls, MAX_SERVERS};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{Connect, TlsConnector};

use super::client::of_backend;
use super::files::TlsError;
use super::handshake::{self, Handshake, in_turn};
use super::wire::Wire;
use super::{Files, failure};
use crate::balance::Candidate;
use crate::connect::Dress;
use crate::turns::Turns;

/// What is remembered of a server at most: a session of TLS 1.2, eight tickets of TLS 1.3.
const REMEMBERED: usize = 8;

/// How the servers of a backend are spoken to; shared by all relay threads.
#[derive(Debug)]
pub(crate) struct Begun {
    settings: ArcSwap<Prepared>,
    name: Option<ServerName<'static>>,
    slot: &'static TlsSlot,
}

/// What is made of the files of a backend.
#[derive(Debug)]
pub(crate) struct Prepared {
    common: ClientConfig,
    resumption: bool,
    /// By place, made when it is needed: what a server gives to resume a session is of no use to the
    /// others.
    servers: Box<[OnceLock<Arc<ClientConfig>>]>,
}

impl Prepared {
    /// Nothing that was agreed on with other files can be resumed.
    ///
    /// # Errors
    ///
    /// A file that cannot be used.
    pub(crate) fn new(tls: &BackendTls, files: &Files) -> Result<Self, TlsError> {
        Ok(Self {
            common: of_backend(tls, files)?,
            resumption: tls.resumption,
            servers: std::iter::repeat_with(OnceLock::new)
                .take(MAX_SERVERS)
                .collect(),
        })
    }

    fn of_server(&self, place: usize) -> Arc<ClientConfig> {
        let make = || {
            let mut config = self.common.clone();
            config.resumption = match self.resumption {
                true => Resumption::in_memory_sessions(REMEMBERED),
                false => Resumption::disabled(),
            };
            Arc::new(config)
        };
        Arc::clone(self.servers[place].get_or_init(make))
    }
}

impl Begun {
    /// # Errors
    ///
    /// A file that cannot be used.
    pub(crate) fn new(
        tls: &BackendTls,
        files: &Files,
        slot: &'static TlsSlot,
    ) -> Result<Self, TlsError> {
        let name = tls.server_name.clone().map(|name| {
            ServerName::try_from(name).expect("TLS knows every name of a configuration")
        });
        Ok(Self {
            settings: ArcSwap::from_pointee(Prepared::new(tls, files)?),
            name,
            slot,
        })
    }

    /// Every handshake that begins from now on has these.
    pub(crate) fn replace(&self, prepared: Prepared) {
        self.settings.store(Arc::new(prepared));
    }

    fn settings(&self, server: Candidate) -> (Arc<ClientConfig>, ServerName<'static>) {
        let config = self.settings.load().of_server(server.place);
        let of_address = || ServerName::IpAddress(server.address.ip().into());
        (config, self.name.clone().unwrap_or_else(of_address))
    }
}

/// TLS with a server: a header in plain comes first.
#[derive(Debug)]
pub(crate) struct Secured<'a> {
    pub(crate) begun: &'a Begun,
    pub(crate) header: &'a [u8],
    /// Protocols that are offered instead of the backend's.
    pub(crate) alpn: Option<Vec<Vec<u8>>>,
    pub(crate) turns: &'a Turns,
}

/// A connection in TLS, and its socket.
#[derive(Debug)]
pub(crate) struct SecuredStream {
    pub(crate) socket: Arc<TcpStream>,
    pub(crate) tls: TlsStream<Wire>,
}

impl Dress for Secured<'_> {
    type Stream = SecuredStream;

    async fn dress(&self, mut stream: TcpStream, server: Candidate) -> io::Result<SecuredStream> {
        stream.set_nodelay(true)?;
        if !self.header.is_empty() {
            stream.write_all(self.header).await?;
        }
        let (config, name) = self.begun.settings(server);
        let connector = TlsConnector::from(config);
        let socket = Arc::new(stream);
        let wire = Wire::new(Arc::clone(&socket), Vec::new());
        let connect = match &self.alpn {
            Some(alpn) => connector.with_alpn(alpn.clone()).connect(name, wire),
            None => connector.connect(name, wire),
        };
        let tls = in_turn(connect, &socket, self.turns).await?;
        let (_, connection) = tls.get_ref();
        handshake::count(connection, self.begun.slot);
        Ok(SecuredStream { socket, tls })
    }

    fn socket(stream: &SecuredStream) -> &TcpStream {
        &stream.socket
    }

    fn failed(&self, error: &io::Error) {
        self.begun.slot.failure(failure::of(error)).add(1);
    }
}

impl Handshake for Connect<Wire> {
    type Stream = TlsStream<Wire>;

    fn interest(&self) -> Interest {
        self.get_ref().map_or(Interest::READABLE, Wire::interest)
    }
}
