//! How soon each server's next probe is due: the keeper says it, the probes follow at once.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::health::Pace;

/// The pace of each server that is probed, by place on the board. Only the probe thread comes here.
#[derive(Debug, Default)]
pub(crate) struct Paces(Mutex<BTreeMap<usize, watch::Sender<Pace>>>);

impl Paces {
    /// Says how soon the server at `place` is to be probed again.
    pub(crate) fn set(&self, place: usize, pace: Pace) {
        if let Some(said) = self.known().get(&place) {
            said.send_if_modified(|said| std::mem::replace(said, pace) != pace);
        }
    }

    /// Follows what is said of the server at `place`, which is yet to be probed.
    pub(crate) fn follow(&self, place: usize) -> watch::Receiver<Pace> {
        let sender = watch::Sender::new(Pace::Fast);
        let receiver = sender.subscribe();
        self.known().insert(place, sender);
        receiver
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<usize, watch::Sender<Pace>>> {
        // Nothing panics between two statements that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
