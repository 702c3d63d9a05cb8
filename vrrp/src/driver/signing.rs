//! Signed adverts in the loop: what is demanded of those that are heard, and what ours are signed
//! with.

use std::time::Duration;

use common::board::DropReason;
use common::config::Signing as Mode;

use crate::packet::Received;
use crate::pair::{Channel, Summary};
use crate::signature::{Fresh, Keys, Sight, Signer, Stamp};

/// Both directions.
#[derive(Debug)]
pub(super) struct Signing {
    mode: Mode,
    signer: Signer,
    fresh: Fresh,
    /// The other node's, of the pair channel.
    epoch: Option<u64>,
}

impl Signing {
    /// `last` as [`Signer::new`] has it.
    pub(super) fn new(mode: Mode, keys: Keys, last: Option<Stamp>) -> Self {
        Self {
            mode,
            signer: Signer::new(keys, last),
            fresh: Fresh::default(),
            epoch: None,
        }
    }

    /// What the next advert is signed with, unless ours are not signed.
    pub(super) fn next(&mut self, wall: Duration) -> Option<(&Keys, Stamp)> {
        self.mode.signs().then(|| self.signer.next(wall))
    }

    /// What the next heartbeat tells of our clock.
    pub(super) fn told(&self, wall: Duration) -> Option<Stamp> {
        self.mode.signs().then(|| self.signer.stamp(wall))
    }

    /// Takes what a heartbeat says of the other node's clock.
    pub(super) fn hear(&mut self, channel: &Channel, summary: &Summary, at: common::time::Moment) {
        let epoch = channel.peer_epoch();
        if epoch != self.epoch {
            // What a sender that is heard for the first time has signed just before may be read just behind.
            let next = self.epoch.and(summary.stamp);
            self.epoch = epoch;
            self.fresh.restart(next);
        }
        if let Some(stamp) = summary.stamp {
            self.fresh.tell(stamp, at);
        }
    }

    /// Whether an advert may be heard.
    ///
    /// # Errors
    /// Why it has to be dropped.
    pub(super) fn check(
        &mut self,
        received: &Received<'_>,
        sight: Sight,
    ) -> Result<(), DropReason> {
        let Some(trailer) = received.trailer else {
            return match self.mode {
                Mode::Enforce => Err(DropReason::HmacMissing),
                Mode::Permissive | Mode::ReceiveOnly | Mode::Off => Ok(()),
            };
        };
        let fresh = &mut self.fresh;
        let advert = &received.advert;
        let signed = (received.source, received.message);
        let is_of_now = |stamp| fresh.is_of_now(stamp, advert.interval, sight);
        let stamp = self.signer.keys().verify(signed, trailer, is_of_now)?;
        let router = (advert.addresses.family(), advert.vrid);
        if fresh.admit(router, stamp) {
            Ok(())
        } else {
            Err(DropReason::HmacReplay)
        }
    }
}
