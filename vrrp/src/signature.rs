//! Signed adverts: the trailer of Keepalived 2.4 (draft-cassen-vrrp-auth-hmac-00). Pure.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | type, 1 |
//! | 1 | key id, 1 to 255 |
//! | 2-3 | zero |
//! | 4-7 | when it was signed: seconds since 1970, UTC |
//! | 8-9 | and 1/65536 of a second |
//! | 10-11 | counter among the adverts of that moment |
//! | 12-27 | first half of an HMAC-SHA256 |
//!
//! Numbers are in network order. The trailer stands behind the advert: IP's length counts it, VRRP's
//! checksum does not. The code is over: address family (4 or 6), version, VRID, zero, the source
//! address in 16 bytes (IPv4 in the first four); the advert with its checksum zero; the trailer with
//! its code zero. So an advert cannot be passed off as another router's, another sender's or another
//! time's.
//!
//! # Replay
//!
//! The stamps of a sender rise, in each virtual router ([`Fresh`]). So that a recording from before a
//! restart of the receiver is worth nothing either, a stamp has to be of now. What now is by the
//! sender's clock, its heartbeats tell (they are protected against replay without a clock); so
//! neither clock has to be right, and what was recorded before a sender started anew is old when its first heartbeat is
//! heard. Without heartbeats the receiver's own clock counts, if the kernel
//! says that it is synchronised. Without either only the rising counts: then a node that has just
//! started believes a recording until the sender's next advert.

mod fresh;

use std::net::IpAddr;
use std::time::Duration;

use common::addr::Family;
use common::board::DropReason;
use ring::hmac;

pub use self::fresh::{Fresh, Sight};

/// Bytes of a trailer.
pub const TRAILER_LEN: usize = 28;

const TYPE: u8 = 1;
/// What the code is over.
const SIGNED: usize = 12;
const CODE_LEN: usize = TRAILER_LEN - SIGNED;
/// Of the checksum in an advert.
const CHECKSUM: std::ops::Range<usize> = 6..8;

/// When an advert was signed, in the order of the wire: seconds, 1/65536 of them, counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Stamp(u64);

impl Stamp {
    /// The first one of a moment, given as the time since 1970 (UTC).
    pub fn at(wall: Duration) -> Self {
        let fraction = u64::from(wall.subsec_nanos()) * 65_536 / 1_000_000_000;
        // The seconds have 32 bits on the wire, good until 2106.
        Self(wall.as_secs() << 32 | fraction << 16)
    }

    /// As it stands on the wire and on the board; `None` = there is none.
    pub fn from_bits(bits: u64) -> Option<Self> {
        (bits != 0).then_some(Self(bits))
    }

    /// For [`Self::from_bits`].
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// This one, or the next after `last` if that is later.
    #[must_use]
    pub fn after(self, last: Self) -> Self {
        self.max(Self(last.0 + 1))
    }

    /// The last one before it.
    #[must_use]
    pub fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// Time since 1970, by the sender's clock.
    pub fn wall(self) -> Duration {
        let fraction = (self.0 >> 16 & 0xffff) * 1_000_000_000 / 65_536;
        Duration::from_secs(self.0 >> 32) + Duration::from_nanos(fraction)
    }
}

/// The keys of the pair.
#[derive(Debug, Clone)]
pub struct Keys {
    signing: (u8, hmac::Key),
    /// All of them.
    verifying: Vec<(u8, hmac::Key)>,
}

impl Keys {
    /// By id, as the key file has them: the first one signs, all verify. `None` = there is none.
    pub fn new(keys: &[(u8, [u8; 32])]) -> Option<Self> {
        let key = |(id, key): &(u8, [u8; 32])| (*id, hmac::Key::new(hmac::HMAC_SHA256, key));
        let verifying: Vec<_> = keys.iter().map(key).collect();
        Some(Self {
            signing: verifying.first().cloned()?,
            verifying,
        })
    }

    /// The trailer of an advert (`message`, without IP header) that leaves `source`.
    ///
    /// # Panics
    /// If the message is shorter than an advert's fixed part, 8 bytes.
    pub fn sign(&self, source: IpAddr, message: &[u8], stamp: Stamp) -> [u8; TRAILER_LEN] {
        let (id, key) = &self.signing;
        let mut trailer = [0; TRAILER_LEN];
        trailer[0] = TYPE;
        trailer[1] = *id;
        trailer[4..SIGNED].copy_from_slice(&stamp.0.to_be_bytes());
        let code = code(key, source, message, &trailer);
        trailer[SIGNED..].copy_from_slice(&code);
        trailer
    }

    /// When the advert was signed, if it was signed with one of the keys. `is_of_now` is asked
    /// before anything is computed.
    ///
    /// # Errors
    /// Why the advert has to be dropped.
    ///
    /// # Panics
    /// As [`Self::sign`].
    pub fn verify(
        &self,
        (source, message): (IpAddr, &[u8]),
        trailer: &[u8; TRAILER_LEN],
        is_of_now: impl FnOnce(Stamp) -> bool,
    ) -> Result<Stamp, DropReason> {
        let [kind, id, 0, 0, stamp @ ..] = trailer else {
            return Err(DropReason::HmacMalformed);
        };
        let stamp = stamp
            .first_chunk()
            .map_or(0, |bits| u64::from_be_bytes(*bits));
        let stamp = Stamp(stamp);
        if *kind != TYPE || *id == 0 {
            return Err(DropReason::HmacMalformed);
        }
        if !is_of_now(stamp) {
            return Err(DropReason::HmacStale);
        }
        let key = self.verifying.iter().find(|(known, _)| known == id);
        let (_, key) = key.ok_or(DropReason::HmacKey)?;
        if is_same(&code(key, source, message, trailer), &trailer[SIGNED..]) {
            Ok(stamp)
        } else {
            Err(DropReason::HmacBad)
        }
    }
}

/// Signs one advert after another.
#[derive(Debug, Clone)]
pub struct Signer {
    keys: Keys,
    last: Stamp,
}

impl Signer {
    /// `last` is the stamp of the last advert of this node that is known of.
    pub fn new(keys: Keys, last: Option<Stamp>) -> Self {
        Self {
            keys,
            last: last.unwrap_or_default(),
        }
    }

    /// What the next advert is signed with.
    pub fn next(&mut self, wall: Duration) -> (&Keys, Stamp) {
        self.last = self.stamp(wall);
        (&self.keys, self.last)
    }

    /// What the next advert would be stamped with.
    pub fn stamp(&self, wall: Duration) -> Stamp {
        Stamp::at(wall).after(self.last)
    }

    /// Another process of this node has signed up to here.
    pub fn pass(&mut self, stamp: Stamp) {
        self.last = self.last.max(stamp);
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }
}

fn code(
    key: &hmac::Key,
    source: IpAddr,
    message: &[u8],
    trailer: &[u8; TRAILER_LEN],
) -> [u8; CODE_LEN] {
    let mut place = [0; 20];
    place[0] = Family::of(source).number();
    place[1] = message[0] >> 4;
    place[2] = message[1];
    match source {
        IpAddr::V4(source) => place[4..8].copy_from_slice(&source.octets()),
        IpAddr::V6(source) => place[4..].copy_from_slice(&source.octets()),
    }
    let mut context = hmac::Context::with_key(key);
    context.update(&place);
    context.update(&message[..CHECKSUM.start]);
    context.update(&[0; 2]);
    context.update(&message[CHECKSUM.end..]);
    context.update(&trailer[..SIGNED]);
    context.update(&[0; CODE_LEN]);
    let mut half = [0; CODE_LEN];
    half.copy_from_slice(&context.sign().as_ref()[..CODE_LEN]);
    half
}

/// Looks at every byte, so that the time it takes tells nothing.
fn is_same(one: &[u8; CODE_LEN], other: &[u8]) -> bool {
    let difference = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0 && other.len() == CODE_LEN
}

#[cfg(test)]
mod tests;
