//! What a client says before a server is chosen: a PROXY protocol header, a ClientHello.
//!
//! Most listeners expect neither; then only what is there already is read, without waiting.
#![expect(clippy::disallowed_types, reason = "reads from clients")]

use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use common::board::ListenerSlot;
use common::config::{AcceptProxy, BackendIndex, Listener, ProxyVersions};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::hello::{self, ClientHello, Inspection};
use crate::proxy_protocol::{self, Accept, Decoded, Endpoints, HeaderError, Tlv, common_name};
use crate::registry::Session;
use crate::route::Router;
use crate::turns::Turns;

/// Read at once; most hellos fit.
const STEP: usize = 2 * 1024;

/// What is known when the client has said it.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) backend: BackendIndex,
    /// Bytes that were read and are the server's.
    pub(crate) head: Vec<u8>,
    pub(crate) said: Said,
}

/// What a client, or a balancer in front of it, has said of the connection.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Whose connection it is, if a header says so; otherwise the socket's.
    pub(crate) endpoints: Option<Endpoints>,
    /// The server name that the client asks for.
    pub(crate) authority: Option<String>,
    /// The protocol that it would like best.
    pub(crate) alpn: Option<Vec<u8>>,
    pub(crate) unique_id: Option<Vec<u8>>,
    /// What its TLS was like, as servers are told (PP2_TYPE_SSL).
    pub(crate) ssl: Option<Vec<u8>>,
    /// The common name in its certificate.
    pub(crate) common_name: Option<String>,
    /// Entries for applications, to be passed on: type and value.
    pub(crate) custom: Vec<(u8, Vec<u8>)>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("reading the PROXY protocol header")]
    Header(#[source] HeaderError),
    #[error("the PROXY protocol header was not complete in time")]
    HeaderLate,
    #[error("the client has ended its stream within the PROXY protocol header")]
    HeaderCut,
    #[error("reading what the client says first")]
    Client(#[source] io::Error),
}

/// What came in the place of a ClientHello.
#[derive(Debug)]
pub(crate) enum Heard {
    Hello(ClientHello),
    Other(hello::Refusal),
    /// The client's FIN.
    End,
    /// Too little in time.
    Late,
}

/// Reads what the listener has to know.
pub(crate) async fn read(
    client: &TcpStream,
    session: &Session,
    (listener, router): (&Listener, &Router),
    (slot, turns): (&ListenerSlot, &Turns),
) -> Result<Opening, Refused> {
    let (mut head, mut said) = read_header(client, session, listener).await?;
    let hello = if router.has_routes() {
        let heard = hear(client, &mut head, listener.hello_timeout).await;
        let heard = heard.map_err(Refused::Client)?;
        if matches!(heard, Heard::Late) {
            // Clients that say nothing come in thousands, and their time is up at once.
            turns.wait().await;
        }
        hello_or_default(heard, slot)
    } else {
        if head.is_empty() {
            head = first_words(client).map_err(Refused::Client)?;
        }
        None
    };
    if let Some(hello) = &hello {
        // What the client itself says counts more than what is told of it.
        said.authority = hello.server_name.as_dns().map(str::to_owned);
        said.alpn = hello.alpn.iter().next().map(<[u8]>::to_vec);
    }
    Ok(Opening {
        backend: router.backend(hello.as_ref()),
        head,
        said,
    })
}

/// Reads the PROXY protocol header, if the peer sends one: what was read beyond it, and what it says.
pub(crate) async fn read_header(
    client: &TcpStream,
    session: &Session,
    listener: &Listener,
) -> Result<(Vec<u8>, Said), Refused> {
    let mut head = Vec::new();
    let mut said = Said::default();
    if let Some(accept) = sender(listener, session.peer().ip()) {
        receive_header(client, accept, &mut head, &mut said).await?;
    }
    if let Some(endpoints) = said.endpoints {
        session.advertise(endpoints.source);
    }
    Ok((head, said))
}

/// Who always sends a header; an IPv4-mapped address is compared as IPv4.
fn sender(listener: &Listener, peer: IpAddr) -> Option<&AcceptProxy> {
    let peer = peer.to_canonical();
    let accept = listener.accept_proxy.as_ref()?;
    accept
        .from
        .iter()
        .any(|net| net.contains(&peer))
        .then_some(accept)
}

async fn receive_header(
    client: &TcpStream,
    accept: &AcceptProxy,
    head: &mut Vec<u8>,
    said: &mut Said,
) -> Result<(), Refused> {
    let versions = match accept.version {
        ProxyVersions::Any => Accept::Both,
        ProxyVersions::V1 => Accept::V1,
        ProxyVersions::V2 => Accept::V2,
    };
    let reading = async {
        loop {
            match proxy_protocol::decode(head, versions).map_err(Refused::Header)? {
                Decoded::Incomplete => {}
                Decoded::Header(header) => {
                    said.endpoints = header.endpoints;
                    said.authority = header.tlvs.authority().map(str::to_owned);
                    said.alpn = header.tlvs.alpn().map(<[u8]>::to_vec);
                    said.ssl = header.tlvs.ssl().map(<[u8]>::to_vec);
                    said.common_name = header.tlvs.ssl().and_then(common_name).map(str::to_owned);
                    said.unique_id = header.tlvs.unique_id().map(<[u8]>::to_vec);
                    let custom = header.tlvs.custom();
                    said.custom = custom
                        .map(|Tlv { kind, value }| (kind, value.to_vec()))
                        .collect();
                    return Ok(header.length);
                }
            }
            if read_more(client, head).await.map_err(Refused::Client)? == 0 {
                return Err(Refused::HeaderCut);
            }
        }
    };
    let length = timeout(accept.timeout, reading)
        .await
        .map_err(|_| Refused::HeaderLate)??;
    head.drain(..length);
    Ok(())
}

/// `None` = no ClientHello came, for one reason or another, each counted.
fn hello_or_default(heard: Heard, slot: &ListenerSlot) -> Option<ClientHello> {
    match heard {
        Heard::Hello(hello) => return Some(hello),
        Heard::Other(refusal) => {
            tracing::debug!(%refusal, "a client gets the default backend");
            slot.not_tls.add(1);
        }
        Heard::End => slot.not_tls.add(1),
        Heard::Late => slot.hello_timeouts.add(1),
    }
    None
}

/// Reads until there is a ClientHello, or none can come any more; `head` has all that was read.
pub(crate) async fn hear(
    client: &TcpStream,
    head: &mut Vec<u8>,
    limit: Duration,
) -> io::Result<Heard> {
    let reading = async {
        loop {
            match hello::inspect(head, hello::DEFAULT_LIMIT) {
                Ok(Inspection::Incomplete) => {}
                Ok(Inspection::Hello(hello)) => return Ok(Heard::Hello(hello)),
                Err(refusal) => return Ok(Heard::Other(refusal)),
            }
            if read_more(client, head).await? == 0 {
                return Ok(Heard::End);
            }
        }
    };
    timeout(limit, reading).await.unwrap_or(Ok(Heard::Late))
}

/// What a client has said already. Many have, by the time they are accepted; then the connection to
/// the server opens with that (see [`crate::connect::First`]). Asked of the socket itself, since the
/// runtime knows of it only a turn later.
fn first_words(client: &TcpStream) -> io::Result<Vec<u8>> {
    let mut room = [0; STEP];
    let words = match (&*SockRef::from(client)).read(&mut room) {
        Ok(STEP) => return Ok(room.to_vec()),
        Ok(n) => room[..n].to_vec(),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Vec::new(),
        Err(error) => return Err(error),
    };
    // Nothing is left: the relay need not ask again before the kernel says that there is more.
    let _told = client.try_io(Interest::READABLE, || {
        Err::<(), _>(io::ErrorKind::WouldBlock.into())
    });
    Ok(words)
}

/// Waits without a buffer, so that a client that says nothing costs none.
async fn read_more(client: &TcpStream, head: &mut Vec<u8>) -> io::Result<usize> {
    loop {
        client.readable().await?;
        head.reserve(STEP);
        match client.try_read_buf(head) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

impl Said {
    /// The client's address: that of a header, or `peer`, that of its socket.
    pub(crate) fn client(&self, peer: IpAddr) -> IpAddr {
        self.endpoints.map_or(peer, |ends| ends.source.ip())
    }

    /// The addresses of the connection: those of a header, or of its socket.
    pub(crate) fn endpoints_of(&self, client: &TcpStream) -> Option<Endpoints> {
        let of_socket = || {
            let ends: io::Result<(SocketAddr, SocketAddr)> = client
                .peer_addr()
                .and_then(|peer| Ok((peer, client.local_addr()?)));
            ends.ok().map(|(peer, local)| Endpoints::new(peer, local))
        };
        self.endpoints.or_else(of_socket)
    }
}
