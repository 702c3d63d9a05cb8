//! Says why packets are dropped, at most once per reason and second: a flood must not become a
//! flood of log lines.

use std::net::IpAddr;
use std::time::Duration;

use common::board::{DropReason, PairDrop, VrrpBoard};
use common::time::Moment;

/// Shortest time between two lines of one reason.
const QUIET: Duration = Duration::from_secs(1);

/// When each reason was last logged.
#[derive(Debug, Default)]
pub(super) struct DropLog {
    adverts: [Option<Moment>; DropReason::ALL.len()],
    pair: [Option<Moment>; PairDrop::ALL.len()],
}

impl DropLog {
    /// Counts a dropped packet of protocol 112.
    pub(super) fn advert(
        &mut self,
        board: &VrrpBoard,
        reason: DropReason,
        source: Option<IpAddr>,
        now: Moment,
    ) {
        let place = reason as usize;
        board.drops[place].add(1);
        if !is_time(&mut self.adverts[place], now) {
            return;
        }
        match reason {
            // Other virtual routers on the same network are nothing to worry about.
            DropReason::Vrid => {
                tracing::debug!(?source, reason = reason.word(), "advert dropped");
            }
            DropReason::OwnSource => {
                tracing::warn!(?source, "another machine sends adverts from our address");
            }
            DropReason::IpHeader
            | DropReason::DstClass
            | DropReason::Ttl
            | DropReason::Truncated
            | DropReason::Source
            | DropReason::Version
            | DropReason::Type
            | DropReason::CountZero
            | DropReason::Length
            | DropReason::Checksum
            | DropReason::IntervalZero
            | DropReason::AuthType
            | DropReason::AuthFail
            | DropReason::Interval
            | DropReason::AddrList
            | DropReason::Owner
            | DropReason::LinkLocal
            | DropReason::HmacMalformed
            | DropReason::HmacStale
            | DropReason::HmacKey
            | DropReason::HmacBad
            | DropReason::HmacReplay
            | DropReason::HmacMissing => {
                tracing::warn!(?source, reason = reason.word(), "advert dropped");
            }
        }
    }

    /// Counts a dropped datagram of the pair channel.
    pub(super) fn pair(
        &mut self,
        board: &VrrpBoard,
        reason: PairDrop,
        source: Option<IpAddr>,
        now: Moment,
    ) {
        let place = reason as usize;
        board.pair_drops[place].add(1);
        if is_time(&mut self.pair[place], now) {
            tracing::info!(
                ?source,
                reason = reason.word(),
                "datagram of the pair channel dropped"
            );
        }
    }
}

fn is_time(last: &mut Option<Moment>, now: Moment) -> bool {
    let quiet = last.is_some_and(|last| now.since(last) < QUIET);
    if !quiet {
        *last = Some(now);
    }
    !quiet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_logged_once_a_second() {
        let mut last = None;
        let at = |millis: u64| Moment::from_nanos(millis * 1_000_000);
        let logged: Vec<u64> = (0..2_500)
            .filter(|millis| is_time(&mut last, at(5_000 + millis)))
            .collect();
        assert_eq!(logged, [0, 1_000, 2_000]);
    }
}
