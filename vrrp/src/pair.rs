//! The pair channel's datagrams: authenticated, protected against replay, of bounded size. Pure.
//!
//! # Format
//!
//! | bytes | what |
//! |---|---|
//! | 0-3 | magic `fmcP` |
//! | 4 | format, [`message::FORMAT`]; another number is another language and is dropped |
//! | 5 | key id |
//! | 6 | length of the header, from byte 0 on, 112 here |
//! | 7 | length of one record, 24 here |
//! | 8 | records |
//! | 9 | 1 = its TC program of flow forwarding is in place; the other bits are zero |
//! | 10-15 | zero |
//! | 16-23, 24-31 | the sender's epoch and counter |
//! | 32-39, 40-47 | echo: epoch and counter that it heard last from the receiver; zero = none |
//! | 48-55 | its software's version |
//! | 56-63 | hash of its configuration |
//! | 64-71 | what its next advert would be stamped with (see [`crate::signature`]); zero = they are not signed |
//! | 72-87 | for each record a byte: how many trackers keep the node from the VIP |
//! | 88 | 1 = the sender understands requests for a handover, 2 = it is on maintenance |
//! | 89, 90-91, 92-99 | such a request: 1 = hold the VIPs against preemption, 2 = forced; a bit for each record; its number, zero = none |
//! | 100, 101 | answer to the other node's last request: zero = consent, else [`common::board::Refusal`] and 1; the request's record that it concerns |
//! | 102-103, 104-111 | zero; number of the request that is answered, zero = none |
//! | then, for each VIP | one record |
//! | last 32 | HMAC-SHA256 over everything before |
//!
//! A record:
//!
//! | bytes | what |
//! |---|---|
//! | 0 | VRID; zero for an IPv6 VIP, so that a version that knows none skips it |
//! | 1, 2, 3 | state, priority, health |
//! | 4-5 | advert interval in centiseconds |
//! | 6, 7 | zero; for an IPv6 VIP 6 and the VRID |
//! | 8-23 | where the sender's adverts come from, IPv4 in the first four; zero = not told |
//!
//! Numbers are in network order. A newer version adds fields at the end of the header or of the
//! records, so that an older one skips them by the lengths; what an older one does not send is
//! zero.
//!
//! The keys are derived from those of the key file (HKDF-SHA256, RFC 5869), so that a key is never
//! used for two things.
//!
//! # Replay
//!
//! A node draws a random epoch when it starts and counts its datagrams from 1. Within an epoch the
//! counter must rise. Another epoch is taken for new only if the datagram *echoes our own epoch and
//! one of our last 64 counters*: nobody can have recorded that before we sent it. So no clock is
//! needed, a restart of either node is through after one round trip, and a recording from before a
//! restart of the receiver is worth nothing. The epoch that was left is retired: its datagrams are
//! not even echoed any more. Our own epoch is never accepted (a reflection).
//!
//! Somebody who records and repeats datagrams can make a node that has just started echo the wrong
//! epoch in some of its datagrams, and so delay the moment at which the other one hears it; he can
//! do no more than somebody who drops datagrams can.

pub mod message;
mod replay;

use common::board::PairDrop;
use ring::{hkdf, hmac};

use self::message::{Envelope, TAG_LEN};
pub use self::message::{HEALTH_UNKNOWN, Handover, MAX_DATAGRAM, Summary, VipRecord};
use self::replay::{Guard, Stamp};

/// There is no key to sign with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pair channel needs at least one key")]
pub struct NoKey;

/// What the derived keys are for (RFC 5869, `info`).
const PURPOSE: &[u8] = b"fmc-lb pair channel v1";

/// This node's end of the pair channel.
#[derive(Debug)]
pub struct Channel {
    signing: (u8, hmac::Key),
    /// All keys, the signing one among them.
    verifying: Vec<(u8, hmac::Key)>,
    guard: Guard,
}

impl Channel {
    /// `keys` by id as the key file has them: the first one signs, all verify. `epoch` is 64 random
    /// bits, drawn anew at every start of the process.
    ///
    /// # Errors
    /// If there is no key.
    pub fn new(keys: &[(u8, [u8; 32])], epoch: u64) -> Result<Self, NoKey> {
        let verifying: Vec<_> = keys.iter().map(|(id, key)| (*id, derive(key))).collect();
        Ok(Self {
            signing: verifying.first().cloned().ok_or(NoKey)?,
            verifying,
            guard: Guard::new(epoch),
        })
    }

    /// Epoch of the other node's last good datagram: another one, and it has started anew.
    pub fn peer_epoch(&self) -> Option<u64> {
        self.guard.peer_epoch()
    }

    /// Writes the next datagram into `out` and returns its length.
    pub fn seal(&mut self, summary: &Summary, out: &mut [u8; MAX_DATAGRAM]) -> usize {
        let (id, key) = &self.signing;
        let envelope = Envelope {
            key_id: *id,
            stamp: self.guard.next(),
            echo: self.guard.echo(),
        };
        let length = message::encode(&envelope, summary, out);
        let tag = hmac::sign(key, &out[..length]);
        out[length..length + TAG_LEN].copy_from_slice(tag.as_ref());
        length + TAG_LEN
    }

    /// Reads a datagram of the other node. The caller has checked its source address
    /// ([`PairDrop::Source`]).
    ///
    /// # Errors
    /// Why it has to be dropped and counted. [`PairDrop::Replay`] is also the answer to the first
    /// datagram of a node that has just started: its next one proves by its echo that it is fresh.
    pub fn open(&mut self, datagram: &[u8]) -> Result<Summary, PairDrop> {
        let (signed, tag) = datagram
            .split_last_chunk::<TAG_LEN>()
            .ok_or(PairDrop::Truncated)?;
        let key_id = message::key_id(signed)?;
        let (_, key) = self
            .verifying
            .iter()
            .find(|(id, _)| *id == key_id)
            .ok_or(PairDrop::Key)?;
        hmac::verify(key, signed, tag).map_err(|_| PairDrop::Authentication)?;
        let (envelope, summary) = message::decode(signed)?;
        if self.guard.admit(envelope.stamp, envelope.echo) {
            Ok(summary)
        } else {
            Err(PairDrop::Replay)
        }
    }
}

fn derive(key: &[u8; 32]) -> hmac::Key {
    // RFC 5869, section 3.1: without a salt; the keys of the file are uniformly random.
    hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
        .extract(key)
        .expand(&[PURPOSE], hmac::HMAC_SHA256)
        .expect("the length of one hash is far below HKDF's limit")
        .into()
}

#[cfg(test)]
mod tests;
