//! What the nodes tell each other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use common::addr::{Family, Vrid};
use common::board::{PairDrop, Refusal, VipState};
use common::config::MAX_VIPS;

use super::Stamp;
use crate::handover::{Answer, Request};
use crate::signature as advert;

/// Format that this version speaks.
pub const FORMAT: u8 = 1;

/// Bytes of the longest datagram that we send, and buffer size to receive with (a newer version's
/// may be longer, at most this).
pub const MAX_DATAGRAM: usize = 1024;

const MAGIC: [u8; 4] = *b"fmcP";
const HEADER_LEN: usize = HANDOVER + HANDOVER_LEN;
/// Before the trackers were told.
const SHORT_HEADER_LEN: usize = 72;
/// From here on, a byte for each record.
const FAULTS: usize = SHORT_HEADER_LEN;
/// From here on what concerns handovers; an older version ends before.
const HANDOVER: usize = FAULTS + MAX_VIPS;
const HANDOVER_LEN: usize = 24;
/// The sender understands requests.
const UNDERSTANDS: u8 = 1;
const MAINTENANCE: u8 = 2;
/// Of a request.
const PINS: u8 = 1;
const FORCED: u8 = 2;
/// The byte of what is on or off; the lowest bit says that the node forwards.
const FLAGS: usize = 9;
const FORWARDS: u8 = 1;
const RECORD_LEN: usize = 24;
/// Before the sender's address was added.
const SHORT_RECORD_LEN: usize = 8;
/// Marks a record of an IPv6 VIP.
const IPV6: u8 = 6;
/// Bytes of an HMAC-SHA256.
pub(super) const TAG_LEN: usize = 32;

const _: () = assert!(HEADER_LEN + MAX_VIPS * RECORD_LEN + TAG_LEN <= MAX_DATAGRAM);

/// Health of a VIP whose servers were not all probed yet, in a [`VipRecord`].
pub const HEALTH_UNKNOWN: u8 = u8::MAX;

/// What stands around a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) key_id: u8,
    pub(super) stamp: Stamp,
    pub(super) echo: Stamp,
}

/// What a node says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Version of its software, as major << 32 | minor << 16 | patch.
    pub version: u64,
    /// Hash of its configuration; 0 = unknown.
    pub config_hash: u64,
    /// What its next advert would be stamped with; `None` = its adverts are not signed.
    pub stamp: Option<advert::Stamp>,
    pub handover: Handover,
    /// Segments of our connections that come to it are sent here: its TC program is in place.
    pub forwards: bool,
    vips: [Option<VipRecord>; MAX_VIPS],
}

/// What a node says of handovers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Handover {
    /// It would understand a request. Not so before this part was added.
    pub is_understood: bool,
    /// It is on maintenance.
    pub maintenance: bool,
    pub request: Option<Request>,
    /// To the last request that it has heard.
    pub answer: Option<Answer>,
}

/// What a node says of one VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VipRecord {
    pub family: Family,
    pub vrid: Vrid,
    /// The sender's address on the VIP's interface, which its adverts come from; `None` = not told.
    pub source: Option<IpAddr>,
    pub state: VipState,
    /// Priority that it advertises, or would.
    pub priority: u8,
    /// 0 = a required listener has no usable server there, else percent, 1 to 100;
    /// [`HEALTH_UNKNOWN`] = nobody has asked all servers yet.
    pub health: u8,
    /// Its advert interval, 10 ms to 40.95 s in steps of 10 ms.
    pub interval: Duration,
    /// Trackers without a weight that are down there and concern it.
    pub faults: u8,
}

impl Summary {
    /// Without VIPs.
    pub fn new(version: u64, config_hash: u64) -> Self {
        Self {
            version,
            config_hash,
            stamp: None,
            handover: Handover::default(),
            forwards: false,
            vips: [None; MAX_VIPS],
        }
    }

    /// Adds a VIP. A configuration has at most [`MAX_VIPS`]; what is beyond is left out.
    pub fn push(&mut self, record: VipRecord) {
        if let Some(place) = self.vips.iter_mut().find(|place| place.is_none()) {
            *place = Some(record);
        }
    }

    /// The VIPs, in the sender's order. Records with a VRID that cannot exist are not among them.
    pub fn vips(&self) -> impl Iterator<Item = &VipRecord> {
        self.vips.iter().flatten()
    }

    /// The same by the numbers of their records, which a request for a handover names: those that are left out have
    /// theirs, too.
    pub fn records(&self) -> &[Option<VipRecord>; MAX_VIPS] {
        &self.vips
    }
}

/// Writes everything that is signed, and returns its length.
pub(super) fn encode(envelope: &Envelope, summary: &Summary, out: &mut [u8]) -> usize {
    let count = summary.vips().count();
    let length = HEADER_LEN + count * RECORD_LEN;
    let (header, records) = out[..length].split_at_mut(HEADER_LEN);
    header.fill(0);
    header[..4].copy_from_slice(&MAGIC);
    header[4] = FORMAT;
    header[5] = envelope.key_id;
    header[6] = HEADER_LEN as u8;
    header[7] = RECORD_LEN as u8;
    header[FLAGS] = if summary.forwards { FORWARDS } else { 0 };
    header[8] = u8::try_from(count).expect("a summary has at most MAX_VIPS records");
    for (at, number) in [
        (16, envelope.stamp.epoch),
        (24, envelope.stamp.counter),
        (32, envelope.echo.epoch),
        (40, envelope.echo.counter),
        (48, summary.version),
        (56, summary.config_hash),
        (64, summary.stamp.map_or(0, advert::Stamp::to_bits)),
    ] {
        header[at..at + 8].copy_from_slice(&number.to_be_bytes());
    }
    for (index, vip) in summary.vips().enumerate() {
        header[FAULTS + index] = vip.faults;
    }
    header[HANDOVER..].copy_from_slice(&summary.handover.encode());
    for (vip, record) in summary.vips().zip(records.chunks_exact_mut(RECORD_LEN)) {
        record.copy_from_slice(&vip.encode());
    }
    length
}

/// The key that a datagram is signed with, before anything in it may be believed.
pub(super) fn key_id(signed: &[u8]) -> Result<u8, PairDrop> {
    let header = signed
        .first_chunk::<SHORT_HEADER_LEN>()
        .ok_or(PairDrop::Truncated)?;
    if header[..4] != MAGIC || header[4] != FORMAT {
        return Err(PairDrop::Version);
    }
    Ok(header[5])
}

/// Reads what was signed. Longer headers and records of a newer version are cut to what is known
/// here.
pub(super) fn decode(signed: &[u8]) -> Result<(Envelope, Summary), PairDrop> {
    let header = signed
        .first_chunk::<SHORT_HEADER_LEN>()
        .ok_or(PairDrop::Truncated)?;
    let [header_len, record_len, count] = [header[6], header[7], header[8]].map(usize::from);
    let records = signed.get(header_len..).ok_or(PairDrop::Truncated)?;
    if header_len < SHORT_HEADER_LEN
        || record_len < SHORT_RECORD_LEN
        || records.len() != count * record_len
    {
        return Err(PairDrop::Truncated);
    }
    let number = |at| {
        header[at..]
            .first_chunk()
            .map_or(0, |bytes| u64::from_be_bytes(*bytes))
    };
    let envelope = Envelope {
        key_id: header[5],
        stamp: Stamp {
            epoch: number(16),
            counter: number(24),
        },
        echo: Stamp {
            epoch: number(32),
            counter: number(40),
        },
    };
    let mut summary = Summary::new(number(48), number(56));
    summary.stamp = advert::Stamp::from_bits(number(64));
    let faults = &signed[SHORT_HEADER_LEN..header_len.min(HANDOVER)];
    let handover = signed[..header_len].get(HANDOVER..).unwrap_or_default();
    summary.handover = handover
        .first_chunk()
        .map(Handover::decode)
        .unwrap_or_default();
    summary.forwards = header[FLAGS] & FORWARDS != 0;
    let records = records.chunks_exact(record_len).map(VipRecord::decode);
    for (index, (place, record)) in summary.vips.iter_mut().zip(records).enumerate() {
        *place = record.map(|vip| VipRecord {
            faults: faults.get(index).copied().unwrap_or(0),
            ..vip
        });
    }
    Ok((envelope, summary))
}

impl Handover {
    fn encode(&self) -> [u8; HANDOVER_LEN] {
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let mut bytes = [0; HANDOVER_LEN];
        bytes[0] = flag(self.is_understood, UNDERSTANDS) | flag(self.maintenance, MAINTENANCE);
        if let Some(request) = &self.request {
            bytes[1] = flag(request.pins, PINS) | flag(request.forced, FORCED);
            bytes[2..4].copy_from_slice(&request.vips.to_be_bytes());
            bytes[4..12].copy_from_slice(&request.id.to_be_bytes());
        }
        if let Some(answer) = &self.answer {
            if let Err((refusal, vip)) = answer.verdict {
                // Beside 0, which is consent.
                bytes[12] = (refusal as u8).wrapping_add(1);
                bytes[13] = vip;
            }
            bytes[16..24].copy_from_slice(&answer.id.to_be_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8; HANDOVER_LEN]) -> Self {
        let id = |at: usize| {
            let id = bytes[at..].first_chunk();
            id.map(|id| u64::from_be_bytes(*id)).filter(|id| *id != 0)
        };
        Self {
            is_understood: bytes[0] & UNDERSTANDS != 0,
            maintenance: bytes[0] & MAINTENANCE != 0,
            request: id(4).map(|id| Request {
                id,
                vips: u16::from_be_bytes([bytes[2], bytes[3]]),
                pins: bytes[1] & PINS != 0,
                forced: bytes[1] & FORCED != 0,
            }),
            answer: id(16).map(|id| Answer {
                id,
                verdict: match bytes[12].checked_sub(1) {
                    None => Ok(()),
                    Some(refusal) => Err((Refusal::from_board(refusal.into()), bytes[13])),
                },
            }),
        }
    }
}

impl VipRecord {
    /// IPv6 records have their VRID elsewhere: who knows IPv4 only takes them for records of VRID 0,
    /// which he skips.
    fn encode(&self) -> [u8; RECORD_LEN] {
        let centiseconds = u16::try_from(self.interval.as_millis() / 10).unwrap_or(u16::MAX);
        let mut record = [0; RECORD_LEN];
        record[1] = self.state.on_board() as u8;
        record[2] = self.priority;
        record[3] = self.health;
        record[4..6].copy_from_slice(&centiseconds.to_be_bytes());
        match self.family {
            Family::V4 => record[0] = self.vrid.value(),
            Family::V6 => record[6..8].copy_from_slice(&[IPV6, self.vrid.value()]),
        }
        match self.source {
            Some(IpAddr::V4(source)) => record[8..12].copy_from_slice(&source.octets()),
            Some(IpAddr::V6(source)) => record[8..].copy_from_slice(&source.octets()),
            None => {}
        }
        record
    }

    /// `None` for what cannot be: VRID 0, or an interval that is zero (it would make every Backup
    /// take over at once) or does not fit an advert.
    fn decode(record: &[u8]) -> Option<Self> {
        let [v4_vrid, state, priority, health, high, low, family, v6_vrid] =
            *record.first_chunk::<SHORT_RECORD_LEN>()?;
        let (family, vrid) = if family == IPV6 {
            (Family::V6, v6_vrid)
        } else {
            (Family::V4, v4_vrid)
        };
        let centiseconds = u16::from_be_bytes([high, low]);
        Some(Self {
            family,
            vrid: Vrid::new(vrid)?,
            source: source(family, record.get(SHORT_RECORD_LEN..)?),
            state: VipState::from_board(u64::from(state)),
            priority,
            health,
            faults: 0,
            interval: (1..=0x0fff)
                .contains(&centiseconds)
                .then(|| Duration::from_millis(u64::from(centiseconds) * 10))?,
        })
    }
}

/// An older version does not tell it.
fn source(family: Family, told: &[u8]) -> Option<IpAddr> {
    let source = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(*told.first_chunk::<4>()?)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(*told.first_chunk::<16>()?)),
    };
    (!source.is_unspecified()).then_some(source)
}
