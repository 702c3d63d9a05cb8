//! Asks an admin socket, with a bounded wait.

#![expect(
    clippy::disallowed_types,
    reason = "this file asks over the admin socket"
)]

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use common::status::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::admin::wire::{self, Answer, Request};

/// How long an answer may take; the admin process has its own thread and needs milliseconds.
const WAIT: Duration = Duration::from_secs(2);
/// Longest answer that is read, in bytes: all places of the boards taken and every text full is less.
const LONGEST_ANSWER: u64 = 4 * 1024 * 1024;

/// The status of the node whose admin socket this is.
///
/// # Errors
/// No node runs there, the socket may not be opened, or the admin process does not answer in time.
pub(super) async fn ask(socket: &Path) -> anyhow::Result<Status> {
    let answer = ask_line(socket, &wire::line(&Request::status())).await?;
    let answer: Answer = serde_json::from_slice(&answer)
        .with_context(|| format!("read the answer from {}", socket.display()))?;
    match answer {
        Answer {
            ok: Some(status), ..
        } => Ok(status),
        Answer { error, .. } => Err(anyhow!(
            "the admin process refused: {}",
            error.as_deref().unwrap_or("no reason given")
        )),
    }
}

/// The line that the admin process answers to this one.
///
/// # Errors
/// As [`ask`].
pub(crate) async fn ask_line(socket: &Path, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    ask_line_within(WAIT, socket, request).await
}

/// The same where the answer may take longer.
///
/// # Errors
/// As [`ask`].
pub(crate) async fn ask_line_within(
    wait: Duration,
    socket: &Path,
    request: &[u8],
) -> anyhow::Result<Vec<u8>> {
    match timeout(wait, exchange(socket, request)).await {
        Ok(Ok(Exchange::Answered(answer))) => Ok(answer),
        Ok(Ok(Exchange::Closed(error))) => Err(closed(error, socket)),
        Ok(Err(error)) => Err(explain(error, socket)),
        Err(_) => Err(no_answer(socket, wait)),
    }
}

/// How an exchange with a listening admin process ended.
#[derive(Debug)]
enum Exchange {
    /// With a whole line.
    Answered(Vec<u8>),
    /// Before that; the error says how, where there was one.
    Closed(Option<io::Error>),
}

async fn exchange(socket: &Path, request: &[u8]) -> io::Result<Exchange> {
    let stream = UnixStream::connect(socket).await?;
    Ok(converse(stream, request).await)
}

/// Asks, and takes what is answered. A server that refuses may have closed before the request was sent (EPIPE) or
/// without reading it (ECONNRESET): what it said before that is there all the same.
async fn converse(mut stream: UnixStream, request: &[u8]) -> Exchange {
    let asked = async {
        stream.write_all(request).await?;
        // After the one request the server sees our end, answers and closes.
        stream.shutdown().await
    };
    let asked = asked.await;
    let mut answer = Vec::new();
    let read = stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await;
    if answer.ends_with(b"\n") {
        return Exchange::Answered(answer);
    }
    Exchange::Closed(asked.and(read).err())
}

fn closed(error: Option<io::Error>, socket: &Path) -> anyhow::Error {
    let what = format!(
        "the admin process closed {} before its answer was whole; ask again in a moment",
        socket.display()
    );
    match error {
        Some(error) => anyhow!(error).context(what),
        None => anyhow!(what),
    }
}

fn explain(error: io::Error, socket: &Path) -> anyhow::Error {
    let path = socket.display();
    let kind = error.kind();
    // The queue of a unix socket is full only while nobody accepts.
    if kind == ErrorKind::WouldBlock {
        return no_answer(socket, WAIT);
    }
    let advice = if matches!(kind, ErrorKind::NotFound | ErrorKind::ConnectionRefused) {
        format!(
            "no node runs here: nobody listens on {path} (start it with `fmc-lb run`, or name its folder with \
             --runtime-dir)"
        )
    } else if kind == ErrorKind::PermissionDenied {
        format!(
            "{path} may not be opened by this user (ask as root, or as a member of the socket's group)"
        )
    } else {
        format!("ask over {path}")
    };
    anyhow!(error).context(advice)
}

fn no_answer(socket: &Path, wait: Duration) -> anyhow::Error {
    anyhow!(
        "the admin process does not answer on {} within {} s; the other processes may be well, and the supervisor \
         replaces an admin process that hangs: ask again, then look at the node's log",
        socket.display(),
        wait.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn ask_now(socket: &Path) -> anyhow::Result<Status> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(ask(socket))
    }

    #[test]
    fn without_a_node_the_error_names_the_socket_and_the_remedy() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        let missing = format!("{:#}", ask_now(&path).expect_err("nobody listens"));
        assert!(missing.contains(path.to_str().expect("UTF-8")), "{missing}");
        assert!(missing.contains("--runtime-dir"), "{missing}");
        drop(UnixListener::bind(&path).expect("a socket"));
        let left = format!("{:#}", ask_now(&path).expect_err("nobody listens any more"));
        assert!(left.contains("no node runs here"), "{left}");
    }

    #[test]
    fn a_forbidden_socket_is_told_apart_from_a_missing_one() {
        let error = explain(ErrorKind::PermissionDenied.into(), Path::new("/run/x.sock"));
        let text = format!("{error:#}");
        assert!(text.contains("/run/x.sock may not be opened"), "{text}");
    }

    #[test]
    fn a_hung_admin_process_is_reported_in_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        let _nobody_accepts = UnixListener::bind(&path).expect("a socket");
        let began = crate::admin::clock::now();
        let error = format!("{:#}", ask_now(&path).expect_err("no answer"));
        let took = crate::admin::clock::now().since(began);
        assert!(error.contains("does not answer"), "{error}");
        assert!(took < WAIT + Duration::from_secs(2), "{took:?}");
    }

    /// What comes of it when the server has said this and closed before it was asked.
    fn after_a_close(said: &[u8]) -> Exchange {
        use std::io::Write;
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(async {
                let (near, far) = UnixStream::pair().expect("two sockets");
                let mut far = far.into_std().expect("a socket");
                far.write_all(said).expect("an empty buffer takes it");
                drop(far);
                converse(near, &wire::line(&Request::status())).await
            })
    }

    #[test]
    fn a_refusal_before_the_request_is_read_all_the_same() {
        let refusal = wire::line(&Answer::error("try again"));
        let exchange = after_a_close(&refusal);
        assert!(
            matches!(&exchange, Exchange::Answered(line) if *line == refusal),
            "{exchange:?}"
        );
    }

    #[test]
    fn a_server_that_closes_without_an_answer_is_a_failure_and_says_so() {
        for said in [b"" as &[u8], b"{\"version\":1,"] {
            let Exchange::Closed(error) = after_a_close(said) else {
                panic!("nothing whole was said");
            };
            let text = format!("{:#}", closed(error, Path::new("/run/x.sock")));
            assert!(text.contains("/run/x.sock before its answer"), "{text}");
            assert!(text.contains("Broken pipe"), "{text}");
        }
    }

    #[test]
    fn a_refusal_is_shown_with_its_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let server = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = String::new();
            stream.read_to_string(&mut request).expect("a request");
            let refusal = b"{\"version\":1,\"error\":\"not today\",\"later\":[]}\n";
            stream.write_all(refusal).expect("a reader");
            request
        });
        let error = format!("{:#}", ask_now(&path).expect_err("a refusal"));
        assert_eq!(error, "the admin process refused: not today");
        let request = server.join().expect("the server ended well");
        assert_eq!(request, "{\"version\":1,\"command\":\"status\"}\n");
    }
}
