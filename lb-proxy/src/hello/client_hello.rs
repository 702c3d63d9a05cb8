//! The ClientHello message (RFC 8446, section 4.1.2) and the two of its extensions that a router
//! reads. Every other extension, known, unknown or GREASE (RFC 8701), is skipped by its length.

use super::Malformed;
use super::wire::Reader;
use common::dns_name::{self, InvalidName};

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
/// The one type of name that RFC 6066 defines.
const HOST_NAME: u8 = 0;
const MAX_SESSION_ID: usize = 32;
const LEGACY_VERSION: usize = 2;
const RANDOM: usize = 32;

/// What the client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    pub server_name: ServerName,
    /// The protocols it offers, its favourite first; empty without the extension.
    pub alpn: Alpn,
}

/// The server_name extension (RFC 6066, section 3). With encrypted ClientHello it is the outer name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerName {
    /// The client names nobody.
    Absent,
    /// A DNS name in lower case, without a trailing dot.
    Dns(String),
    /// A name that no listener can have.
    Invalid(InvalidName),
}

impl ServerName {
    /// The name to route by, if there is one.
    pub fn as_dns(&self) -> Option<&str> {
        match self {
            Self::Dns(name) => Some(name),
            Self::Absent | Self::Invalid(_) => None,
        }
    }
}

/// The protocols of the ALPN extension (RFC 7301), kept as they came on the wire: thousands of
/// 1-byte names take no more room than the hello had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Alpn(Box<[u8]>);

impl Alpn {
    /// The names, the client's favourite first.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut names = Reader::new(&self.0);
        std::iter::from_fn(move || names.vector_u8().ok())
    }

    /// Whether the client offers this protocol, for example `acme-tls/1`.
    pub fn offers(&self, protocol: &[u8]) -> bool {
        self.iter().any(|name| name == protocol)
    }
}

/// Reads the body of the message.
pub(super) fn parse(body: &[u8]) -> Result<ClientHello, Malformed> {
    let mut reader = Reader::new(body);
    reader.take(LEGACY_VERSION + RANDOM)?;
    if reader.vector_u8()?.len() > MAX_SESSION_ID {
        return Err(Malformed::Length("session id"));
    }
    let cipher_suites = reader.vector_u16()?;
    if cipher_suites.is_empty() || !cipher_suites.len().is_multiple_of(2) {
        return Err(Malformed::Length("list of cipher suites"));
    }
    if reader.vector_u8()?.is_empty() {
        return Err(Malformed::Length("list of compression methods"));
    }
    let extensions = match reader.is_empty() {
        // A client of TLS 1.2 and before may have none (RFC 5246, section 7.4.1.2).
        true => Extensions::default(),
        false => Extensions::parse(reader.vector_u16()?)?,
    };
    reader.finish("the extensions")?;
    Ok(ClientHello {
        server_name: extensions.server_name.unwrap_or(ServerName::Absent),
        alpn: extensions.alpn.unwrap_or_default(),
    })
}

#[derive(Debug, Default)]
struct Extensions {
    server_name: Option<ServerName>,
    alpn: Option<Alpn>,
}

impl Extensions {
    fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut extensions = Self::default();
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let kind = reader.u16()?;
            let data = Reader::new(reader.vector_u16()?);
            match kind {
                SERVER_NAME => once(
                    &mut extensions.server_name,
                    server_name(data)?,
                    "server_name extension",
                )?,
                ALPN => once(&mut extensions.alpn, alpn(data)?, "ALPN extension")?,
                _ => {}
            }
        }
        Ok(extensions)
    }
}

fn once<T>(slot: &mut Option<T>, value: T, what: &'static str) -> Result<(), Malformed> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed::Duplicate(what)),
    }
}

fn server_name(mut data: Reader<'_>) -> Result<ServerName, Malformed> {
    let mut names = Reader::new(data.vector_u16()?);
    data.finish("the list of server names")?;
    if names.is_empty() {
        return Err(Malformed::Length("list of server names"));
    }
    let mut host_name = None;
    while !names.is_empty() {
        let kind = names.u8()?;
        // Names of types to come begin with a length of two bytes as well.
        let name = names.vector_u16()?;
        if kind != HOST_NAME {
            continue;
        }
        if name.is_empty() {
            return Err(Malformed::Length("host name"));
        }
        let name = match dns_name::normalize(name) {
            Ok(name) => ServerName::Dns(name),
            Err(reason) => ServerName::Invalid(reason),
        };
        once(&mut host_name, name, "host name")?;
    }
    Ok(host_name.unwrap_or(ServerName::Absent))
}

fn alpn(mut data: Reader<'_>) -> Result<Alpn, Malformed> {
    let list = data.vector_u16()?;
    data.finish("the list of protocols")?;
    if list.is_empty() {
        return Err(Malformed::Length("list of protocols"));
    }
    let mut names = Reader::new(list);
    while !names.is_empty() {
        if names.vector_u8()?.is_empty() {
            return Err(Malformed::Length("name of a protocol"));
        }
    }
    Ok(Alpn(list.into()))
}
