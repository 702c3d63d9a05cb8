//! Adverts that tell of a mistake in somebody's configuration: counted, and logged now and then.

use std::net::IpAddr;
use std::time::Duration;

use common::board::{AdvertWarning, DropReason, WireSlot};
use common::config::Vip;
use common::time::Moment;

use crate::packet::{Packet, Received, is_summed_for_group};

/// Shortest time between two lines of one kind about a VIP.
const QUIET: Duration = Duration::from_secs(60);

/// An advert for a VIP's VRID that came at `at`.
pub(super) struct Noting<'a> {
    pub(super) vip: &'a Vip,
    pub(super) slot: &'a WireSlot,
    pub(super) at: Moment,
}

impl Noting<'_> {
    /// It was heard.
    pub(super) fn heard(&self, received: &Received<'_>) {
        let source = received.source;
        if received
            .checksum
            .is_some_and(|form| form != self.vip.checksum)
        {
            self.note(AdvertWarning::ChecksumForm, source);
        }
        if !received.advert.addresses.are_only(self.vip.address) {
            self.note(AdvertWarning::AddrList, source);
        }
    }

    /// It was dropped. The ladder knows by then that the VRID is ours, or has stopped before that.
    pub(super) fn dropped(&self, packet: &Packet<'_>, reason: DropReason) {
        let warning = if reason == DropReason::Source {
            AdvertWarning::Stranger
        } else if reason == DropReason::AddrList {
            AdvertWarning::AddrList
        } else if reason == DropReason::Checksum && is_summed_for_group(packet) {
            AdvertWarning::GroupChecksum
        } else if reason == DropReason::Version && is_of_a_known_version(packet) {
            AdvertWarning::Version
        } else if matches!(reason, DropReason::AuthType | DropReason::AuthFail) {
            AdvertWarning::Auth
        } else if reason == DropReason::Interval {
            AdvertWarning::Interval
        } else {
            return;
        };
        self.note(warning, packet.source);
    }

    fn note(&self, warning: AdvertWarning, source: IpAddr) {
        let place = warning as usize;
        let last = self.slot.warned[place].get();
        self.slot.warnings[place].add(1);
        self.slot.warned[place].set(self.at);
        let told = match warning {
            AdvertWarning::AddrList | AdvertWarning::Stranger => source.to_string(),
            AdvertWarning::ChecksumForm
            | AdvertWarning::GroupChecksum
            | AdvertWarning::Version
            | AdvertWarning::Auth
            | AdvertWarning::Interval => String::new(),
        };
        if !told.is_empty() && self.slot.source.get() != told {
            self.slot.source.set(&told);
        }
        if last.is_none_or(|last| self.at.since(last) >= QUIET) {
            let vip = &self.vip.name;
            tracing::warn!(vip, %source, warning = warning.word(), "an advert tells of a mistake");
        }
    }
}

/// Whether an advert that is not of our version is of the other one, and not of none.
fn is_of_a_known_version(packet: &Packet<'_>) -> bool {
    let version = packet.message.first().map(|byte| byte >> 4);
    matches!(version, Some(2 | 3))
}
