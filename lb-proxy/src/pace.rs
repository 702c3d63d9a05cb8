//! How soon each server's next probe is due: the keeper says it, the probes follow at once.

use common::config::Config;
use tokio::sync::watch;

use crate::health::Pace;

/// The pace of each server, by place on the board.
#[derive(Debug)]
pub(crate) struct Paces(Vec<watch::Sender<Pace>>);

impl Paces {
    /// Every server is yet to be probed.
    pub(crate) fn new(config: &Config) -> Self {
        let places = 0..config.server_count();
        Self(places.map(|_| watch::Sender::new(Pace::Fast)).collect())
    }

    /// Says how soon the server at `place` is to be probed again.
    pub(crate) fn set(&self, place: usize, pace: Pace) {
        self.0[place].send_if_modified(|said| std::mem::replace(said, pace) != pace);
    }

    /// Follows what is said of the server at `place`.
    pub(crate) fn follow(&self, place: usize) -> watch::Receiver<Pace> {
        self.0[place].subscribe()
    }
}
