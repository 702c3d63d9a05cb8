//! HTTP for Prometheus and for health checks: `/metrics`, `/healthz`, `/readyz`, nothing else, within `[admin] allow`.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this file serves HTTP"
)]

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::answers::Answers;
use super::clock::Clocks;
use super::pause::Pause;
use super::ready;

/// Connections at a time from addresses that `[admin] allow` lists.
const CONNECTIONS: usize = 64;
/// Connections at a time that are told that they are not allowed; they take no place from those that are.
const DENIED_CONNECTIONS: usize = 16;
/// How long a client may take for the head of its request.
const HEAD: Duration = Duration::from_secs(5);
/// How long a connection may last; it carries one request.
const WHOLE: Duration = Duration::from_secs(10);
/// Largest head of a request, in bytes.
const HEAD_BYTES: usize = 16 * 1024;
const HEAD_FIELDS: usize = 64;

const PLAIN: &str = "text/plain; charset=utf-8";
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A socket that the supervisor bound, in this process's runtime.
pub(crate) fn listener(socket: OwnedFd) -> io::Result<TcpListener> {
    let socket = std::net::TcpListener::from(socket);
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// What all connections of all addresses share.
#[derive(Debug)]
pub(crate) struct Server {
    answers: Arc<Answers>,
    places: Arc<Semaphore>,
    denied_places: Arc<Semaphore>,
}

impl Server {
    pub(crate) fn new(answers: Arc<Answers>) -> Arc<Self> {
        Arc::new(Self {
            answers,
            places: Arc::new(Semaphore::new(CONNECTIONS)),
            denied_places: Arc::new(Semaphore::new(DENIED_CONNECTIONS)),
        })
    }

    /// Accepts for ever.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut pause = Pause::default();
        loop {
            match listener.accept().await {
                Ok((stream, client)) => {
                    pause.reset();
                    self.begin(stream, client);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the admin's HTTP address");
                    tokio::time::sleep(pause.after_error()).await;
                }
            }
        }
    }

    fn begin(self: &Arc<Self>, stream: TcpStream, client: SocketAddr) {
        let address = client.ip().to_canonical();
        let view = self.answers.view();
        let allowed = view
            .config
            .admin
            .allow
            .iter()
            .any(|net| net.contains(&address));
        let places = if allowed {
            &self.places
        } else {
            &self.denied_places
        };
        let counters = self.answers.counters();
        if !allowed {
            counters.http_denied.add(1);
        }
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            counters.http_dropped.add(1);
            tracing::debug!(%client, "too many HTTP connections");
            return;
        };
        let server = Arc::clone(self);
        tokio::spawn(async move {
            let _place = place;
            let answer = service_fn(|request: Request<Incoming>| {
                let response = if allowed {
                    server.answer(request.method(), request.uri().path())
                } else {
                    denied(address)
                };
                async { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .max_buf_size(HEAD_BYTES)
                .max_headers(HEAD_FIELDS)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer);
            match timeout(WHOLE, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%client, %error, "an HTTP connection failed"),
                Err(_) => tracing::debug!(%client, "an HTTP connection took too long"),
            }
        });
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
            let body = "not found; there are /metrics, /healthz and /readyz\n";
            return response(StatusCode::NOT_FOUND, PLAIN, body.to_owned());
        }
        if method != Method::GET && method != Method::HEAD {
            let body = "only GET and HEAD\n".to_owned();
            let mut response = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, body);
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/metrics" => {
                let page = self.answers.metrics(Clocks::read());
                response(StatusCode::OK, METRICS, page)
            }
            "/readyz" => self.ready(),
            _ => response(StatusCode::OK, PLAIN, "ok\n".to_owned()),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        let missing = ready::missing(&self.answers.status(Clocks::read()));
        if missing.is_empty() {
            response(StatusCode::OK, PLAIN, "ok\n".to_owned())
        } else {
            let body = missing.join("\n") + "\n";
            response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, body)
        }
    }
}

fn denied(address: IpAddr) -> Response<Full<Bytes>> {
    let body = format!("{address} is not in [admin] allow of this node's configuration\n");
    response(StatusCode::FORBIDDEN, PLAIN, body)
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
