//! As much HTTP/1.1 as the backends need.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Longest line and most lines of a request's head.
const MAX_LINE: usize = 8_192;
const MAX_LINES: usize = 100;

/// The head of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) length: Option<u64>,
    pub(crate) close: bool,
    pub(crate) authorization: bool,
}

/// Reads the head of a request; `None` when the client closed instead.
pub(crate) async fn read_request<S: AsyncBufRead + Unpin>(
    stream: &mut S,
) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if read_line(stream, &mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "no request line",
        ));
    };
    let old = words.next() == Some("HTTP/1.0");
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        length: None,
        close: old,
        authorization: false,
    };
    for _ in 0..MAX_LINES {
        if read_line(stream, &mut line).await? == 0 {
            return Ok(None);
        }
        if line.trim_end().is_empty() {
            return Ok(Some(request));
        }
        if let Some((name, value)) = line.split_once(':') {
            header(&mut request, &name.to_ascii_lowercase(), value.trim());
        }
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "too many header lines",
    ))
}

fn header(request: &mut Request, name: &str, value: &str) {
    match name {
        "content-length" => request.length = value.parse().ok(),
        "connection" => request.close = value.eq_ignore_ascii_case("close"),
        "authorization" => request.authorization = true,
        _ => {}
    }
}

async fn read_line<S: AsyncBufRead + Unpin>(
    stream: &mut S,
    line: &mut String,
) -> io::Result<usize> {
    line.clear();
    let mut bytes = Vec::new();
    while bytes.len() < MAX_LINE {
        let part = stream.fill_buf().await?;
        if part.is_empty() {
            break;
        }
        let end = part.iter().position(|byte| *byte == b'\n');
        let take = end.map_or(part.len(), |at| at + 1);
        bytes.extend_from_slice(&part[..take]);
        stream.consume(take);
        if end.is_some() {
            break;
        }
    }
    line.push_str(&String::from_utf8_lossy(&bytes));
    Ok(bytes.len())
}

/// Writes a whole answer.
pub(crate) async fn answer<S: AsyncWrite + Unpin>(
    stream: &mut S,
    status: u16,
    body: &str,
) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        401 => "Unauthorized",
        404 => "Not Found",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    };
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_request_is_read_to_its_empty_line() {
        let mut input: &[u8] =
            b"PUT /upload HTTP/1.1\r\nContent-Length: 12\r\nConnection: close\r\n\r\nrest";
        let request = read_request(&mut input).await.unwrap().unwrap();
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("PUT", "/upload")
        );
        assert_eq!((request.length, request.close), (Some(12), true));
        assert_eq!(input, b"rest");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_client_that_closes_made_no_request() {
        let mut input: &[u8] = b"";
        assert_eq!(read_request(&mut input).await.unwrap(), None);
    }
}
