//! The type-length-value entries of a version 2 header (sections 2.2.1 to 2.2.8).

use super::crc32c;

pub(super) const ALPN: u8 = 0x01;
pub(super) const AUTHORITY: u8 = 0x02;
pub(super) const CRC32C: u8 = 0x03;
pub(super) const NOOP: u8 = 0x04;
pub(super) const UNIQUE_ID: u8 = 0x05;
pub(super) const SSL: u8 = 0x20;
/// Types that the protocol leaves to applications.
pub(super) const CUSTOM: std::ops::RangeInclusive<u8> = 0xe0..=0xef;

pub(super) const MAX_UNIQUE_ID: usize = 128;
/// Type and length of an entry.
pub(super) const ENTRY_HEAD: usize = 3;
pub(super) const CHECKSUM: usize = 4;
/// The flags and the result of the verification, in front of the SSL entry's own entries.
pub(super) const SSL_HEAD: usize = 5;

/// One entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    pub kind: u8,
    pub value: &'a [u8],
}

/// Why the entries of a header are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlvError {
    /// Of the header, or inside the SSL entry.
    #[error("an entry of type {0:#04x} exceeds what contains it")]
    Overrun(u8),
    #[error("the authority is not UTF-8")]
    Authority,
    #[error("the unique id is longer than 128 bytes")]
    UniqueId,
    #[error("the SSL entry is shorter than its fixed fields")]
    Ssl,
    #[error("the checksum has not four bytes, or there are two")]
    ChecksumForm,
    #[error("the checksum does not match the header")]
    ChecksumMismatch,
}

/// The entries of a header, valid by construction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tlvs<'a>(&'a [u8]);

impl<'a> Tlvs<'a> {
    /// The entries from `begin` to the end of a header, all of them checked; so is the header, where
    /// it brings a checksum.
    pub(super) fn parse(header: &'a [u8], begin: usize) -> Result<Self, TlvError> {
        let mut walk = Walk(&header[begin..]);
        let mut checksum_at = None;
        while let Some(entry) = walk.entry()? {
            check(entry)?;
            if entry.kind == CRC32C {
                let at = header.len() - walk.0.len() - CHECKSUM;
                if checksum_at.replace(at).is_some() {
                    return Err(TlvError::ChecksumForm);
                }
            }
        }
        if let Some(at) = checksum_at {
            verify_checksum(header, at)?;
        }
        Ok(Self(&header[begin..]))
    }

    /// All entries in their order, without the padding (NOOP).
    pub fn iter(self) -> impl Iterator<Item = Tlv<'a>> {
        entries(self.0)
    }

    /// The first entry of a type.
    pub fn value(self, kind: u8) -> Option<&'a [u8]> {
        first(self.0, kind)
    }

    /// The protocol in use over the connection, as ALPN names it.
    pub fn alpn(self) -> Option<&'a [u8]> {
        self.value(ALPN)
    }

    /// The host name that the client asked for: the SNI of TLS.
    pub fn authority(self) -> Option<&'a str> {
        let text = std::str::from_utf8(self.value(AUTHORITY)?);
        Some(text.expect("an authority was checked to be UTF-8"))
    }

    /// What the client's TLS was like: flags, verdict, entries of its own.
    pub fn ssl(self) -> Option<&'a [u8]> {
        self.value(SSL)
    }

    /// The name that the first proxy gave the connection, at most 128 bytes.
    pub fn unique_id(self) -> Option<&'a [u8]> {
        self.value(UNIQUE_ID)
    }

    /// Entries of the types 0xE0 to 0xEF, to be passed on.
    pub fn custom(self) -> impl Iterator<Item = Tlv<'a>> {
        self.iter().filter(|entry| CUSTOM.contains(&entry.kind))
    }
}

/// What an entry itself has to fulfil.
fn check(entry: Tlv<'_>) -> Result<(), TlvError> {
    let value = entry.value;
    match entry.kind {
        AUTHORITY if std::str::from_utf8(value).is_err() => Err(TlvError::Authority),
        CRC32C if value.len() != CHECKSUM => Err(TlvError::ChecksumForm),
        UNIQUE_ID if value.len() > MAX_UNIQUE_ID => Err(TlvError::UniqueId),
        SSL => {
            let mut walk = Walk(value.get(SSL_HEAD..).ok_or(TlvError::Ssl)?);
            while walk.entry()?.is_some() {}
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The checksum is that of the header with zeros in its place.
fn verify_checksum(header: &[u8], at: usize) -> Result<(), TlvError> {
    let (before, rest) = header.split_at(at);
    let (sent, after) = rest.split_at(CHECKSUM);
    match crc32c::checksum(&[before, &[0; CHECKSUM], after]).to_be_bytes() == sent {
        true => Ok(()),
        false => Err(TlvError::ChecksumMismatch),
    }
}

fn entries<'a>(bytes: &'a [u8]) -> impl Iterator<Item = Tlv<'a>> {
    let mut walk = Walk(bytes);
    std::iter::from_fn(move || walk.entry().ok().flatten()).filter(|entry| entry.kind != NOOP)
}

pub(super) fn first(bytes: &[u8], kind: u8) -> Option<&[u8]> {
    let mut of_kind = entries(bytes).filter(|entry| entry.kind == kind);
    of_kind.next().map(|entry| entry.value)
}

/// What is left of a row of entries.
struct Walk<'a>(&'a [u8]);

impl<'a> Walk<'a> {
    fn entry(&mut self) -> Result<Option<Tlv<'a>>, TlvError> {
        let Some(kind) = self.0.first().copied() else {
            return Ok(None);
        };
        let overrun = TlvError::Overrun(kind);
        let (head, rest) = self.0.split_at_checked(ENTRY_HEAD).ok_or(overrun)?;
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        let (value, rest) = rest.split_at_checked(length).ok_or(overrun)?;
        self.0 = rest;
        Ok(Some(Tlv { kind, value }))
    }
}
