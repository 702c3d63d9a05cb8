//! Single questions from a machine of the lab: who answers, what does it say, is a transfer exact.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::{Lab, Node, payload};

/// A question that takes longer has failed. A transfer has it for each read and write.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes read or written at once.
const CHUNK: usize = 64 * 1_024;

/// What to speak with whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speak {
    /// The greeting of an echo, then one round of it.
    Echo,
    /// `GET /`.
    Http,
    /// The echo inside TLS.
    TlsEcho,
    /// `GET /lab` over TLS.
    ApiServer,
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// A finished transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Bytes that arrived.
    pub length: u64,
    /// Whether each one was right.
    pub exact: bool,
    /// How long it took.
    pub time: Duration,
    /// What the server said of an upload.
    pub verdict: String,
}

/// The name of the server that answers.
///
/// # Errors
/// When nobody answers within five seconds, or not as it should.
pub fn who(lab: &Lab, from: Node, to: SocketAddr, speak: Speak) -> Result<String> {
    let plain = lab.pki().client();
    lab.run_in(from, || ask(to, speak, &plain))
}

/// How often each server answers, over `count` questions one after the other.
///
/// # Errors
/// At the first question that fails.
pub fn shares(
    lab: &Lab,
    to: SocketAddr,
    speak: Speak,
    count: u32,
) -> Result<BTreeMap<String, u32>> {
    let plain = lab.pki().client();
    lab.run_in(Node::Client, || {
        let mut shares = BTreeMap::new();
        for number in 0..count {
            let name =
                ask(to, speak, &plain).with_context(|| format!("question {number} to {to}"))?;
            *shares.entry(name).or_default() += 1;
        }
        Ok(shares)
    })
}

/// `GET path` over TLS, without a client certificate.
///
/// # Errors
/// When there is no whole answer within five seconds.
pub fn https(lab: &Lab, from: Node, to: SocketAddr, path: &str) -> Result<Answer> {
    let plain = lab.pki().client();
    lab.run_in(from, || get(&mut tls(to, &plain)?, path))
}

/// `GET path` over TLS with the lab's client certificate.
///
/// # Errors
/// When there is no whole answer within five seconds.
pub fn https_with_credentials(lab: &Lab, from: Node, to: SocketAddr, path: &str) -> Result<Answer> {
    let known = lab.pki().client_with_certificate();
    lab.run_in(from, || get(&mut tls(to, &known)?, path))
}

/// `GET path`.
///
/// # Errors
/// When there is no whole answer within five seconds.
pub fn http(lab: &Lab, from: Node, to: SocketAddr, path: &str) -> Result<Answer> {
    lab.run_in(from, || get(&mut connect(to)?, path))
}

/// Fetches `length` bytes of the stream from an HTTP backend and checks each.
///
/// # Errors
/// When the connection breaks or nothing moves for five seconds.
pub fn download(lab: &Lab, to: SocketAddr, length: u64) -> Result<Transfer> {
    lab.run_in(Node::Client, || {
        let started = Instant::now();
        let mut stream = connect(to)?;
        write!(
            stream,
            "GET /file/{length} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n"
        )?;
        let mut reader = BufReader::with_capacity(CHUNK, stream);
        let (status, _) = head(&mut reader)?;
        let mut check = payload::Check::default();
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = reader.read(&mut buffer).context("read the file")?;
            if read == 0 {
                break;
            }
            check.update(&buffer[..read]);
        }
        Ok(Transfer {
            length: check.length(),
            exact: status == 200 && check.length() == length && check.first_wrong().is_none(),
            time: started.elapsed(),
            verdict: format!("status {status}"),
        })
    })
}

/// Sends `length` bytes of the stream to an HTTP backend, closes its half, and waits for the verdict.
///
/// # Errors
/// When the connection breaks, nothing moves for five seconds or no answer comes after the half-close.
pub fn upload(lab: &Lab, to: SocketAddr, length: u64) -> Result<Transfer> {
    lab.run_in(Node::Client, || {
        let started = Instant::now();
        let mut stream = connect(to)?;
        write!(
            stream,
            "PUT /upload HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n"
        )?;
        let mut buffer = vec![0; CHUNK];
        let mut sent = 0;
        let mut sum = payload::Check::default();
        while sent < length {
            let part = buffer
                .len()
                .min(usize::try_from(length - sent).unwrap_or(usize::MAX));
            payload::fill(sent, &mut buffer[..part]);
            stream
                .write_all(&buffer[..part])
                .context("send the upload")?;
            sum.update(&buffer[..part]);
            sent += part as u64;
        }
        stream.shutdown(Shutdown::Write).context("close our half")?;
        let answer = read_answer(&mut stream).context("read the answer to a half-closed upload")?;
        let expected = format!("length {length} checksum {:016x} exact\n", sum.checksum());
        Ok(Transfer {
            length: sent,
            exact: answer.status == 200 && answer.body == expected,
            time: started.elapsed(),
            verdict: answer.body,
        })
    })
}

/// Connects within five seconds from the calling thread's namespace, with that limit on reads and writes.
///
/// # Errors
/// When the connection is not made.
pub fn connect(to: SocketAddr) -> Result<TcpStream> {
    let stream =
        TcpStream::connect_timeout(&to, LIMIT).with_context(|| format!("connect to {to}"))?;
    stream
        .set_read_timeout(Some(LIMIT))
        .context("limit reads")?;
    stream
        .set_write_timeout(Some(LIMIT))
        .context("limit writes")?;
    stream.set_nodelay(true).context("send at once")?;
    Ok(stream)
}

/// The same, with TLS on it.
///
/// # Errors
/// When the connection is not made, or the handshake fails.
pub fn tls(
    to: SocketAddr,
    config: &Arc<ClientConfig>,
) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let name = ServerName::IpAddress(to.ip().into());
    let session = ClientConnection::new(Arc::clone(config), name).context("begin TLS")?;
    let mut stream = StreamOwned::new(session, connect(to)?);
    while stream.conn.is_handshaking() {
        stream
            .conn
            .complete_io(&mut stream.sock)
            .with_context(|| format!("TLS handshake with {to}"))?;
    }
    Ok(stream)
}

fn ask(to: SocketAddr, speak: Speak, config: &Arc<ClientConfig>) -> Result<String> {
    match speak {
        Speak::Echo => echo_round(connect(to)?),
        Speak::TlsEcho => echo_round(tls(to, config)?),
        Speak::Http => name_in(&get(&mut connect(to)?, "/")?),
        Speak::ApiServer => name_in(&get(&mut tls(to, config)?, "/lab")?),
    }
}

fn name_in(answer: &Answer) -> Result<String> {
    if answer.status != 200 {
        bail!("status {}", answer.status);
    }
    name(&answer.body)
}

fn name(greeting: &str) -> Result<String> {
    let name = greeting.trim_end().strip_prefix("I am ");
    Ok(name
        .with_context(|| format!("no greeting: {greeting:?}"))?
        .to_owned())
}

fn echo_round<S: Read + Write>(stream: S) -> Result<String> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).context("read the greeting")?;
    let who = name(&line)?;
    stream
        .get_mut()
        .write_all(b"how are you?\n")
        .context("send a line")?;
    line.clear();
    stream.read_line(&mut line).context("read the echo")?;
    if line != "how are you?\n" {
        bail!("{who} echoed {line:?}");
    }
    Ok(who)
}

fn get<S: Read + Write>(stream: &mut S, path: &str) -> Result<Answer> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .context("send the request")?;
    read_answer(stream)
}

fn read_answer<S: Read>(stream: &mut S) -> Result<Answer> {
    let mut reader = BufReader::new(stream);
    let (status, length) = head(&mut reader)?;
    let mut body = vec![0; usize::try_from(length.context("no Content-Length")?)?];
    reader.read_exact(&mut body).context("read the body")?;
    Ok(Answer {
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// Status and Content-Length.
fn head<S: Read>(reader: &mut BufReader<S>) -> Result<(u16, Option<u64>)> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .context("read the status line")?;
    let status = line
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok());
    let status = status.with_context(|| format!("no status line: {line:?}"))?;
    let mut length = None;
    for _ in 0..100 {
        line.clear();
        reader.read_line(&mut line).context("read a header")?;
        if line.trim_end().is_empty() {
            return Ok((status, length));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
    bail!("an endless head")
}
