//! A backend of which the probes say that every server is down: its sessions are refused, or
//! (`all_down = "try_all"`) tried on all servers nevertheless. Loud: on the board, and in the log
//! when it begins and ends.

use common::board::{AdminState, ProxyBoard, ServerState};
use common::config::{AllDown, Backend, Config};
use common::time::Moment;
use tracing::{info, warn};

use crate::health::usable;
use crate::pool::Snapshot;

/// Whether a server may have new sessions, and who says that it may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidacy {
    Usable,
    /// Only its probes speak against it, and they may be wrong.
    Doubted,
    /// It counts as down before its first probe has ended: nobody has found anything yet.
    Unproven,
    /// An administrator keeps it out, and is never wrong.
    Withdrawn,
}

impl Candidacy {
    /// Of a server of which the probes say `verdict`, with one that has ended or not, and an
    /// administrator what he says.
    pub(crate) fn new(admin: AdminState, verdict: ServerState, probed: bool) -> Self {
        match admin {
            AdminState::Drain | AdminState::Maintenance => Self::Withdrawn,
            AdminState::None if usable(verdict) => Self::Usable,
            AdminState::None if probed => Self::Doubted,
            AdminState::None => Self::Unproven,
        }
    }
}

/// Whether the backend's servers, each with its weight, are to be tried although all are down.
pub(crate) fn is_due(backend: &Backend, servers: impl Iterator<Item = (u16, Candidacy)>) -> bool {
    let mut some = false;
    for (_, candidacy) in servers.filter(|(weight, _)| *weight > 0) {
        match candidacy {
            Candidacy::Usable | Candidacy::Unproven => return false,
            Candidacy::Doubted => some = true,
            Candidacy::Withdrawn => {}
        }
    }
    some && backend.all_down == AllDown::TryAll
}

/// Puts on the board which backends fail open in a snapshot, and tells what has changed.
pub(crate) fn tell(config: &Config, board: &ProxyBoard, (snapshot, now): (&Snapshot, Moment)) {
    for (index, backend) in config.backends.iter().enumerate() {
        let slot = &board.backends[index];
        let name = &backend.name;
        match (slot.fail_open.get(), snapshot.fails_open(index)) {
            (None, true) => {
                slot.fail_open.set(now);
                warn!(
                    backend = name,
                    "every server is down, sessions are tried on all of them"
                );
            }
            (Some(since), false) => {
                slot.fail_open.clear();
                info!(
                    backend = name,
                    after = ?now.since(since),
                    "sessions are not tried on servers that are down any more"
                );
            }
            (None, false) | (Some(_), true) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
[nodes.lb1]
address = "192.0.2.2"
[pair]
interface = "eth0"
[backends.one]
servers = ["127.0.0.1:1"]
all_down = "try_all"
[listeners.one]
bind = ["127.0.0.1:6"]
backend = "one"
"#;

    fn due(servers: &[(u16, Candidacy)]) -> bool {
        let mut config = Config::from_running(CONFIG).expect("it is valid");
        let due = || is_due(&config.backends[0], servers.iter().copied());
        let tries_all = due();
        config.backends[0].all_down = AllDown::Refuse;
        assert!(!is_due(&config.backends[0], servers.iter().copied()));
        tries_all
    }

    #[test]
    fn only_what_probes_say_of_every_server_opens_a_backend() {
        use Candidacy::{Doubted, Unproven, Usable, Withdrawn};
        assert!(due(&[(1, Doubted), (1, Doubted)]));
        assert!(!due(&[(1, Doubted), (1, Usable)]));
        assert!(!due(&[(1, Doubted), (1, Unproven)]));
        assert!(due(&[(1, Doubted), (1, Withdrawn)]));
        assert!(!due(&[(1, Withdrawn), (1, Withdrawn)]));
    }

    #[test]
    fn a_server_without_weight_neither_keeps_a_backend_closed_nor_opens_it() {
        assert!(due(&[(1, Candidacy::Doubted), (0, Candidacy::Usable)]));
        assert!(!due(&[(1, Candidacy::Withdrawn), (0, Candidacy::Doubted)]));
    }

    #[test]
    fn an_administrator_is_above_the_probes_and_nothing_is_known_before_the_first() {
        use ServerState::{Down, Draining, Unknown, Up};
        for (admin, verdict, probed, wanted) in [
            (AdminState::None, Up, true, Candidacy::Usable),
            (AdminState::None, Unknown, false, Candidacy::Usable),
            (AdminState::None, Down, true, Candidacy::Doubted),
            (AdminState::None, Draining, true, Candidacy::Doubted),
            (AdminState::None, Down, false, Candidacy::Unproven),
            (AdminState::Drain, Up, true, Candidacy::Withdrawn),
            (AdminState::Maintenance, Down, true, Candidacy::Withdrawn),
        ] {
            assert_eq!(Candidacy::new(admin, verdict, probed), wanted);
        }
    }
}
