//! A connection whose writes fail once they have waited for too long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(target_os = "linux")]
use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// A connection; a write that waits for too long fails with [`io::ErrorKind::TimedOut`].
pub struct Patient<S> {
    inner: S,
    limit: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

/// Tells the kernel to give a connection up once its client has taken nothing for `limit` (RFC 5482). Otherwise the kernel
/// keeps what was written to a connection for minutes after the process has closed it.
pub fn give_up_after(stream: &TcpStream, limit: Duration) {
    #[cfg(target_os = "linux")]
    {
        let limit = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
        if let Err(error) = setsockopt(stream, TcpUserTimeout, &limit) {
            tracing::debug!(%error, "TCP_USER_TIMEOUT");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (stream, limit);
}

impl<S> Patient<S> {
    /// Writes may wait for `limit`.
    pub fn new(inner: S, limit: Duration) -> Patient<S> {
        Patient { inner, limit, stalled: None }
    }

    /// Passes on the result of a write; a write that pends for too long fails.
    fn patiently<T>(&mut self, cx: &mut Context<'_>, came: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if came.is_ready() {
            self.stalled = None;
            return came;
        }
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let came = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.patiently(cx, came)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let came = Pin::new(&mut self.inner).poll_flush(cx);
        self.patiently(cx, came)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let came = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.patiently(cx, came)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let came = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.patiently(cx, came)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
