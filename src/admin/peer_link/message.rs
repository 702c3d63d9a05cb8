//! What admins say to each other. Pure.
//!
//! A hello, a summary, a task and its reply are JSON objects whose unknown fields are skipped. Changes of sessions are in bytes, one behind the other:
//!
//! | bytes | what |
//! |---|---|
//! | 0 | 0 = the session in the row has ended, 4 or 6 = one has begun, by its address family |
//! | 1-4 | row |
//! | then, of one that has begun: 5 | VIP, by its place in the hello |
//! | 6-7, 8-9 | port of the VIP, port of the client |
//! | 10-13, or 10-25 | address of the client |
//!
//! Numbers are in network order. That one begins in a row ends what was there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use common::command::Reply;
use common::time::Moment;
use serde::{Deserialize, Serialize};

use crate::admin::remaining::{Left, Own};
use crate::admin::view::millis;

/// Version of the messages.
pub(super) const VERSION: u32 = 1;
/// Longest change in bytes.
pub(super) const LONGEST_CHANGE: usize = 26;

const GONE: u8 = 0;
const IPV4: u8 = 4;
const IPV6: u8 = 6;

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) version: u32,
    /// Name of its node.
    pub(super) node: String,
    /// Version of its software.
    #[serde(default)]
    pub(super) software: String,
    /// Parts that each lane of its table of sessions is divided into; 0 = it tells of none.
    #[serde(default)]
    pub(super) threads: usize,
    /// Its VIPs' addresses.
    #[serde(default)]
    pub(super) vips: Vec<IpAddr>,
}

/// How a node is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Summary {
    /// It stops: milliseconds until what is left of its sessions is reset.
    pub(super) drain_ms_left: Option<u64>,
    /// Sessions that this stop has closed at a quiet moment.
    pub(super) drain_closed: u64,
    /// Milliseconds since the stop was asked for; `None` also of versions that do not say it, as what follows.
    pub(super) stopping_ms: Option<u64>,
    /// Sessions that were reset at the end of the drain.
    pub(super) drain_reset: u64,
    /// It has stopped, as it was told to: this is its last word.
    pub(super) has_stopped: bool,
    /// What is left of its sessions where none is accepted any more.
    pub(super) left: Left,
}

impl Summary {
    pub(super) fn of(own: &Own, now: Moment) -> Self {
        let stop = own.stop.as_ref();
        Self {
            drain_ms_left: stop.map(|stop| millis(stop.until, now)),
            drain_closed: stop.map_or(0, |stop| stop.closed),
            stopping_ms: stop.and_then(|stop| Some(millis(now, stop.since?))),
            drain_reset: stop.map_or(0, |stop| stop.reset),
            has_stopped: own.has_stopped,
            left: own.left.clone(),
        }
    }
}

/// Something that a node is to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Asked {
    /// The reply has the same.
    pub(super) number: u64,
    /// A [`common::task::Task`], of this version or another one.
    pub(super) task: serde_json::Value,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) number: u64,
    pub(super) reply: Reply,
}

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// The session in the row has ended.
    Gone { row: u32 },
    /// One has begun.
    Begun {
        row: u32,
        /// Place in [`Hello::vips`].
        vip: u8,
        port: u16,
        client: SocketAddr,
    },
}

/// Bytes that are no changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a change of a session is cut, or of a kind that is not known")]
pub(super) struct Malformed;

impl Change {
    /// Appends it.
    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        match *self {
            Self::Gone { row } => {
                to.push(GONE);
                to.extend_from_slice(&row.to_be_bytes());
            }
            Self::Begun {
                row,
                vip,
                port,
                client,
            } => {
                to.push(if client.is_ipv4() { IPV4 } else { IPV6 });
                to.extend_from_slice(&row.to_be_bytes());
                to.push(vip);
                to.extend_from_slice(&port.to_be_bytes());
                to.extend_from_slice(&client.port().to_be_bytes());
                match client.ip() {
                    IpAddr::V4(ip) => to.extend_from_slice(&ip.octets()),
                    IpAddr::V6(ip) => to.extend_from_slice(&ip.octets()),
                }
            }
        }
    }

    /// Takes the first one off.
    ///
    /// # Errors
    /// There are bytes, and they are none.
    pub(super) fn decode(from: &mut &[u8]) -> Result<Option<Self>, Malformed> {
        let Some([kind]) = take(from) else {
            return Ok(None);
        };
        let row = u32::from_be_bytes(take(from).ok_or(Malformed)?);
        match kind {
            GONE => Ok(Some(Self::Gone { row })),
            IPV4 | IPV6 => Self::begun(kind, row, from).ok_or(Malformed).map(Some),
            _ => Err(Malformed),
        }
    }

    fn begun(kind: u8, row: u32, from: &mut &[u8]) -> Option<Self> {
        let [vip] = take(from)?;
        let port = u16::from_be_bytes(take(from)?);
        let client = u16::from_be_bytes(take(from)?);
        let ip = if kind == IPV4 {
            IpAddr::V4(Ipv4Addr::from(take::<4>(from)?))
        } else {
            IpAddr::V6(Ipv6Addr::from(take::<16>(from)?))
        };
        Some(Self::Begun {
            row,
            vip,
            port,
            client: SocketAddr::new(ip, client),
        })
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all_of(mut bytes: &[u8]) -> Result<Vec<Change>, Malformed> {
        let mut all = Vec::new();
        while let Some(change) = Change::decode(&mut bytes)? {
            all.push(change);
        }
        Ok(all)
    }

    #[test]
    fn changes_come_back_as_they_were_said() {
        let begun = |row, client: &str| Change::Begun {
            row,
            vip: 15,
            port: 6443,
            client: client.parse().expect("an address"),
        };
        let said = [
            begun(u32::MAX, "[fd00:0:0:1::100]:65535"),
            Change::Gone { row: 7 },
            begun(0, "192.168.0.100:1"),
        ];
        let mut bytes = Vec::new();
        for change in &said {
            let before = bytes.len();
            change.encode(&mut bytes);
            assert!(bytes.len() - before <= LONGEST_CHANGE);
        }
        assert_eq!(bytes.len(), 26 + 5 + 14);
        assert_eq!(all_of(&bytes).expect("they are good"), said);
        // Only where one ends may the bytes end.
        let good = (0..=bytes.len()).filter(|end| all_of(&bytes[..*end]).is_ok());
        assert_eq!(good.collect::<Vec<_>>(), [0, 26, 31, 45]);
        assert_eq!(all_of(&[5, 0, 0, 0, 1]), Err(Malformed));
    }

    #[test]
    fn a_hello_of_another_version_is_read() {
        let text = r#"{"version":2,"node":"lb2","sings":true}"#;
        let hello: Hello = serde_json::from_str(text).expect("a hello");
        assert_eq!((hello.node.as_str(), hello.threads), ("lb2", 0));
        assert!(hello.vips.is_empty());
        let summary: Summary = serde_json::from_str(r#"{"mood":"good"}"#).expect("a summary");
        assert_eq!(summary, Summary::default());
    }

    proptest! {
        #[test]
        fn any_bytes_are_changes_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(changes) = all_of(&bytes) {
                let mut again = Vec::new();
                changes.iter().for_each(|change| change.encode(&mut again));
                // IPv4-mapped clients are said as they were.
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
