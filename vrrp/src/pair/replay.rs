//! Which datagrams are new, without a clock. The rule and its reason stand in [`super`].

/// Epoch and counter of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stamp {
    pub(super) epoch: u64,
    /// From 1 on.
    pub(super) counter: u64,
}

/// So many of our last datagrams prove freshness when they are echoed.
const ECHO_WINDOW: u64 = 64;
/// So many of the other node's earlier epochs are known by name; an older one still fails for want
/// of an echo.
const RETIRED: usize = 8;

/// Both directions of the channel.
#[derive(Debug)]
pub(super) struct Guard {
    /// Of the last datagram that we sent.
    sent: Stamp,
    /// The newest datagram of the epoch that was accepted.
    accepted: Option<Stamp>,
    /// The last datagram of another epoch, which waits for a proof.
    candidate: Option<Stamp>,
    /// Newest first.
    retired: [Option<u64>; RETIRED],
}

impl Guard {
    pub(super) const fn new(epoch: u64) -> Self {
        Self {
            sent: Stamp { epoch, counter: 0 },
            accepted: None,
            candidate: None,
            retired: [None; RETIRED],
        }
    }

    /// Of the newest datagram that was accepted.
    pub(super) fn peer_epoch(&self) -> Option<u64> {
        self.accepted.map(|stamp| stamp.epoch)
    }

    /// The stamp of the next datagram that we send.
    pub(super) const fn next(&mut self) -> Stamp {
        self.sent.counter += 1;
        self.sent
    }

    /// What we tell the other node that we heard from it.
    pub(super) fn echo(&self) -> Stamp {
        self.candidate.or(self.accepted).unwrap_or_default()
    }

    /// Whether an authentic datagram is new.
    pub(super) fn admit(&mut self, stamp: Stamp, echo: Stamp) -> bool {
        if stamp.epoch == self.sent.epoch || self.retired.contains(&Some(stamp.epoch)) {
            return false;
        }
        if let Some(accepted) = &mut self.accepted
            && accepted.epoch == stamp.epoch
        {
            let rises = stamp.counter > accepted.counter;
            if rises {
                *accepted = stamp;
                self.candidate = None;
            }
            return rises;
        }
        if !self.proves_freshness(echo) {
            self.candidate = Some(stamp);
            return false;
        }
        if let Some(left) = self.accepted.replace(stamp) {
            self.retired.rotate_right(1);
            self.retired[0] = Some(left.epoch);
        }
        self.candidate = None;
        true
    }

    fn proves_freshness(&self, echo: Stamp) -> bool {
        let age = self.sent.counter.checked_sub(echo.counter);
        echo.epoch == self.sent.epoch
            && echo.counter > 0
            && age.is_some_and(|age| age < ECHO_WINDOW)
    }
}
