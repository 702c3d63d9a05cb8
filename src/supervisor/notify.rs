//! What systemd is told (sd_notify(3)): one datagram for each state.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use common::time::Moment;

/// The service manager, if there is one.
#[derive(Debug)]
pub(super) struct Notify {
    socket: Option<UnixDatagram>,
}

impl Notify {
    /// From `NOTIFY_SOCKET`; without it nobody is told anything.
    pub(super) fn from_environment() -> Self {
        let socket = std::env::var("NOTIFY_SOCKET").ok().and_then(|name| {
            connect(&name)
                .inspect_err(
                    |error| tracing::warn!(name, %error, "systemd cannot be told anything"),
                )
                .ok()
        });
        Self { socket }
    }

    pub(super) fn ready(&self) {
        self.say("READY=1");
    }

    /// A reload has begun; [`Notify::ready`] ends it. systemd wants to know when, so that what it has heard
    /// before counts for nothing.
    pub(super) fn reloading(&self, now: Moment) {
        let microseconds = now.as_nanos() / 1_000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    }

    /// A stop has begun, and takes no longer than `limit`, whatever `TimeoutStopSec=` says.
    pub(super) fn stopping(&self, limit: Duration) {
        self.say("STOPPING=1");
        self.say(&format!("EXTEND_TIMEOUT_USEC={}", limit.as_micros()));
    }

    /// The supervisor still turns; it watches over the others itself.
    pub(super) fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    fn say(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            tracing::debug!(state, %error, "systemd was not told");
        }
    }
}

/// How often systemd wants to hear of us: a third of what it waits for; `None` = not at all.
pub(super) fn watchdog_interval() -> Option<Duration> {
    let microseconds: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (microseconds > 0).then(|| Duration::from_micros(microseconds / 3))
}

fn connect(name: &str) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.strip_prefix('@') {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(name)?,
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_arrives_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("notify");
        let path = path.to_str().expect("UTF-8");
        let abstract_name = format!("@fmc-lb-test-{}", std::process::id());
        let by_path = UnixDatagram::bind(path).expect("bind");
        let address = SocketAddr::from_abstract_name(&abstract_name[1..]).expect("name");
        let by_name = UnixDatagram::bind_addr(&address).expect("bind");
        for (name, manager) in [(path, by_path), (abstract_name.as_str(), by_name)] {
            let socket = connect(name).expect("connect");
            let notify = Notify {
                socket: Some(socket),
            };
            notify.ready();
            notify.reloading(Moment::from_nanos(7_000_999));
            notify.stopping(Duration::from_secs(610));
            for said in [
                "READY=1",
                "RELOADING=1\nMONOTONIC_USEC=7000",
                "STOPPING=1",
                "EXTEND_TIMEOUT_USEC=610000000",
            ] {
                let mut state = [0; 64];
                let length = manager.recv(&mut state).expect("receive");
                assert_eq!(&state[..length], said.as_bytes());
            }
        }
    }
}
