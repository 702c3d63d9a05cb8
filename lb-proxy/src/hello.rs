//! What a TLS client says before anything is encrypted: the server name and the protocols it asks
//! for. Pure: bytes in, verdict out; nothing is decrypted and nothing is changed.
//!
//! The caller reads into one buffer and calls [`inspect`] with all of it after each read. While the
//! hello is incomplete a call only walks the record headers, so a client that sends a hello of
//! 1-byte records a byte at a time costs at most `limit / 6` steps a segment; a message that came in
//! one record is never copied.

mod client_hello;
mod record;
mod server_names;
mod wire;

#[cfg(test)]
mod tests;

pub use self::client_hello::{Alpn, ClientHello, ServerName};
pub use self::record::RecordFault;
pub use self::server_names::{PatternError, ServerNames};
#[cfg(test)]
use common::dns_name::InvalidName;

/// Room for a hello of 16 KiB and post-quantum key shares, in records of any usual size. Browsers
/// send 1.8 KiB today, half of it an X25519MLKEM768 key share.
pub const DEFAULT_LIMIT: usize = 32 * 1024;

/// What is known from the bytes so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspection {
    /// A hello so far, but not all of it.
    Incomplete,
    Hello(ClientHello),
}

/// Why no hello can come of these bytes, whatever follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not the beginning of a TLS connection: another protocol, or an SSLv2 hello.
    #[error("the first bytes are not TLS: {0}")]
    NotTls(RecordFault),
    /// The hello does not end within the limit.
    #[error("the TLS ClientHello is longer than the limit")]
    TooLong,
    /// TLS records, but no ClientHello as RFC 8446, section 4.1.2, has it.
    #[error("malformed TLS ClientHello: {0}")]
    Malformed(Malformed),
}

/// What is wrong with a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Of a record after the first (RFC 8446, section 5.1: nothing may come between the records of
    /// one message).
    #[error("a record inside the message: {0}")]
    Record(RecordFault),
    #[error("the first handshake message is of type {0}")]
    NotClientHello(u8),
    /// A length points beyond what contains it.
    #[error("a length exceeds what contains it")]
    Overrun,
    #[error("bytes are left over after {0}")]
    TrailingBytes(&'static str),
    /// A field has a length that its definition excludes.
    #[error("the {0} has an illegal length")]
    Length(&'static str),
    /// RFC 8446, section 4.2, and RFC 6066, section 3, allow one of each: with two, the server
    /// might believe the other one.
    #[error("there is more than one {0}")]
    Duplicate(&'static str),
}

/// Looks for a ClientHello at the beginning of a connection, of which `bytes` is everything that
/// has arrived. What follows the hello is not looked at.
///
/// The hello has to end within `limit` bytes, record headers included; no more than that is looked
/// at, and no allocation is larger. Says as early as it can be said that it is no hello: at the
/// first byte for most protocols.
///
/// # Errors
///
/// [`Refusal`]: no further bytes will make it a hello.
pub fn inspect(bytes: &[u8], limit: usize) -> Result<Inspection, Refusal> {
    let within = &bytes[..bytes.len().min(limit)];
    match record::first_message(within, limit)? {
        Some(message) => client_hello::parse(&message)
            .map(Inspection::Hello)
            .map_err(Refusal::Malformed),
        None if within.len() == limit => Err(Refusal::TooLong),
        None => Ok(Inspection::Incomplete),
    }
}
