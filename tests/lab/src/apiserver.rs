//! A fake Kubernetes API server: what a real kube-apiserver answers on its health endpoints, in every state.
//!
//! Observed on kube-apiserver 1.34: not ready and shutting down are 500 with one line per check; without credentials the
//! answer is always 401 when anonymous requests are off (K3s's default), also during a shutdown. SIGTERM with a shutdown
//! delay: 500 at once, new connections served until the delay is over, then refused; streams in flight live about two
//! seconds more. Without a delay: refused at once.

use std::io;
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::{AsyncBufRead, AsyncWrite, AsyncWriteExt as _};

use crate::backend::{Backend, Mode, Service, Shared, watch_stream};
use crate::http::{self, Request};
use crate::{Lab, Node};

/// How long streams outlive the listening port at a shutdown.
const LAST_STREAMS: Duration = Duration::from_secs(2);
/// Port of the API.
pub const PORT: u16 = 6_443;

/// What the server is, as its health endpoints tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// 200 `ok`.
    Ready,
    /// 500: etcd failed.
    EtcdFailed,
    /// 500 with poststarthook lines until then, ready after it.
    StartingUntil(Instant),
    /// 500: shutting down.
    ShuttingDown,
    /// 503: K3s before its API server is there.
    Unavailable,
    /// The TLS handshake is made and every request stays without an answer.
    Mute,
}

/// Health, and who may see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ApiState {
    pub(crate) health: Health,
    /// 401 for requests without credentials.
    pub(crate) anonymous: bool,
}

impl Default for ApiState {
    fn default() -> Self {
        Self {
            health: Health::Ready,
            anonymous: true,
        }
    }
}

/// A fake API server on a machine's port 6443.
#[derive(Debug)]
pub struct ApiServer {
    backend: Backend,
}

impl ApiServer {
    /// Starts it, ready, with anonymous requests answered.
    ///
    /// # Errors
    /// When the port is taken.
    pub fn start(lab: &Lab, node: Node) -> Result<Self> {
        let backend = Backend::start(lab, node, PORT, Service::ApiServer)?;
        Ok(Self { backend })
    }

    /// Changes its health.
    pub fn set(&self, health: Health) {
        self.backend
            .api()
            .send_modify(|state| state.health = health);
    }

    /// Whether requests without credentials get 401 (anonymous-auth=false) or the health.
    pub fn require_credentials(&self, required: bool) {
        self.backend
            .api()
            .send_modify(|state| state.anonymous = !required);
    }

    /// Starts again: 500 with poststarthook lines for so long, then ready.
    pub fn start_slowly(&self, time: Duration) {
        self.set(Health::StartingUntil(Instant::now() + time));
        self.backend.set(Mode::Up);
    }

    /// As SIGTERM does: health 500 at once, the port closes after `delay` (shutdown-delay-duration), streams end two
    /// seconds later. Returns when all is over.
    pub fn terminate(&self, delay: Duration) {
        self.set(Health::ShuttingDown);
        std::thread::sleep(delay);
        self.backend.set(Mode::Refuse);
        std::thread::sleep(LAST_STREAMS);
        self.backend.close_sessions();
    }

    /// As SIGKILL does: the port is closed and every connection reset.
    pub fn kill(&self) {
        self.backend.set(Mode::Refuse);
        self.backend.reset_sessions();
    }

    /// The server as a backend: refuse, hang, its counts.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }
}

/// One connection; `known` = the client showed a certificate of the lab's authority.
pub(crate) async fn converse<S: AsyncBufRead + AsyncWrite + Unpin>(
    shared: &Shared,
    mut stream: S,
    known: bool,
) -> io::Result<()> {
    while let Some(request) = http::read_request(&mut stream).await? {
        let state = *shared.api.borrow();
        let credentials = known || request.authorization;
        if state.health == Health::Mute {
            return std::future::pending().await;
        }
        if request.path.contains("watch") && (credentials || state.anonymous) {
            return watch_stream(shared.name(), &mut stream).await;
        }
        let (status, body) = answer(shared.name(), state, credentials, &request);
        http::answer(&mut stream, status, &body).await?;
        if request.close {
            break;
        }
    }
    stream.shutdown().await
}

fn answer(name: &str, state: ApiState, credentials: bool, request: &Request) -> (u16, String) {
    let path = request.path.split('?').next().unwrap_or_default();
    match path {
        // Answered by the K3s supervisor without credentials.
        "/ping" => return (200, "pong".to_owned()),
        // The lab's own question: who is it?
        "/lab" => return (200, format!("I am {name}\n")),
        _ => {}
    }
    if state.health == Health::Unavailable {
        return (503, "apiserver not ready\n".to_owned());
    }
    if !credentials && !state.anonymous {
        return (401, UNAUTHORIZED.to_owned());
    }
    match path {
        "/readyz" | "/livez" | "/healthz" => health(path.trim_start_matches('/'), state.health),
        _ => (404, "404 page not found\n".to_owned()),
    }
}

const UNAUTHORIZED: &str = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\
    \"message\":\"Unauthorized\",\"reason\":\"Unauthorized\",\"code\":401}\n";

fn health(endpoint: &str, health: Health) -> (u16, String) {
    let failed: &[&str] = match health {
        Health::Ready => &[],
        Health::EtcdFailed => &["etcd", "etcd-readiness"],
        Health::StartingUntil(end) if Instant::now() >= end => &[],
        Health::StartingUntil(_) => &[
            "poststarthook/rbac/bootstrap-roles",
            "poststarthook/scheduling/bootstrap-system-priority-classes",
        ],
        Health::ShuttingDown => &["shutdown"],
        Health::Unavailable | Health::Mute => return (503, "apiserver not ready\n".to_owned()),
    };
    if failed.is_empty() {
        return (200, "ok".to_owned());
    }
    let mut body = String::new();
    for check in CHECKS {
        if failed.contains(check) {
            body.push_str(&format!("[-]{check} failed: reason withheld\n"));
        } else {
            body.push_str(&format!("[+]{check} ok\n"));
        }
    }
    body.push_str(&format!("{endpoint} check failed\n"));
    (500, body)
}

/// A few of the checks that a real one lists, in its order.
const CHECKS: &[&str] = &[
    "ping",
    "log",
    "etcd",
    "etcd-readiness",
    "informer-sync",
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "shutdown",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn readyz(health: Health, anonymous: bool, credentials: bool) -> (u16, String) {
        let request = Request {
            method: "GET".to_owned(),
            path: "/readyz".to_owned(),
            length: None,
            close: true,
            authorization: false,
        };
        answer("m1", ApiState { health, anonymous }, credentials, &request)
    }

    #[test]
    fn a_failed_check_is_a_500_with_its_line() {
        let (status, body) = readyz(Health::EtcdFailed, true, false);
        assert_eq!(status, 500);
        assert!(body.starts_with("[+]ping ok\n"), "{body}");
        assert!(body.contains("[-]etcd failed: reason withheld\n"), "{body}");
        assert!(body.ends_with("readyz check failed\n"), "{body}");
    }

    #[test]
    fn without_credentials_even_a_shutdown_is_a_401() {
        assert_eq!(readyz(Health::ShuttingDown, false, false).0, 401);
        assert_eq!(readyz(Health::ShuttingDown, false, true).0, 500);
        assert_eq!(readyz(Health::Ready, false, true), (200, "ok".to_owned()));
    }
}
