//! One side of a session: plain, or TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use super::wire::Wire;

/// Where the bytes of a session come from and go to.
#[derive(Debug)]
pub(crate) enum Side {
    Plain(Wire),
    Tls(Box<TlsStream<Wire>>),
}

/// Calls a method of what is inside.
macro_rules! pass {
    ($side:expr, $method:ident($($argument:expr),*)) => {
        match $side.get_mut() {
            Self::Plain(wire) => Pin::new(wire).$method($($argument),*),
            Self::Tls(stream) => Pin::new(&mut **stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Side {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        pass!(self, poll_read(cx, buf))
    }
}

impl AsyncWrite for Side {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        pass!(self, poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        pass!(self, poll_write_vectored(cx, bufs))
    }

    /// Hands all that was written to the kernel.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pass!(self, poll_flush(cx))
    }

    /// Says that nothing follows: by FIN, and in TLS before it by close_notify.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pass!(self, poll_shutdown(cx))
    }
}
