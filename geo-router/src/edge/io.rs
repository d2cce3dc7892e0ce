//! A client's connection as hyper sees it: it breaks when the client reads nothing for too long, and its requests have
//! no second meaning ([`super::framing`]).
//!
//! It also knows what hyper does not say: which protocol begins, and whether hyper could be taken off the connection
//! without a loss.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use service::unread::Patient;
use service::unreadable::Explained;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::framing::Framing;

/// What a client of HTTP/2 begins with (RFC 9113, section 3.4).
const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    Http1,
    Http2,
    /// The client ended it without a byte.
    End,
}

/// Whether a message is on its way on a connection of HTTP/1.
#[derive(Debug)]
pub(super) struct Between {
    /// What was read ends with the end of a request.
    reads: AtomicBool,
    /// The last write was taken whole.
    writes: AtomicBool,
}

impl Between {
    /// Whether nothing was read of a next request, and nothing is left to write.
    pub(super) fn messages(&self) -> bool {
        self.reads.load(Ordering::Relaxed) && self.writes.load(Ordering::Relaxed)
    }
}

/// A guarded connection.
pub(super) struct Guarded<S> {
    inner: Patient<Explained<S>>,
    framing: Framing,
    between: Arc<Between>,
    /// What was read to see which protocol begins, until hyper reads it.
    first: [u8; PREFACE.len()],
    read: u8,
    given: u8,
}

impl<S> Guarded<S> {
    pub(super) fn new(inner: S, framing: Framing, write_limit: Duration) -> Guarded<S> {
        let between = Arc::new(Between { reads: AtomicBool::new(true), writes: AtomicBool::new(true) });
        let inner = Patient::new(Explained::new(inner), write_limit);
        Guarded { inner, framing, between, first: [0; PREFACE.len()], read: 0, given: 0 }
    }

    pub(super) fn between(&self) -> Arc<Between> {
        Arc::clone(&self.between)
    }

    fn watched(&mut self, bytes: &mut [u8]) {
        self.framing.watch(bytes);
        self.between.reads.store(self.framing.is_between_requests(), Ordering::Relaxed);
    }

    fn wrote<T>(&self, came: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.between.writes.store(came.is_ready(), Ordering::Relaxed);
        came
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    /// Reads the first bytes, as many as show the protocol; `Http1` as soon as there is a byte if `is_http1` is known.
    pub(super) fn poll_beginning(&mut self, cx: &mut Context<'_>, is_http1: bool) -> Poll<io::Result<Beginning>> {
        loop {
            let mut first = self.first;
            let mut room = ReadBuf::new(&mut first[usize::from(self.read)..]);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut room))?;
            let came = room.filled().len();
            let (before, after) = (usize::from(self.read), usize::from(self.read) + came);
            self.watched(&mut first[before..after]);
            (self.first, self.read) = (first, after as u8);
            return Poll::Ready(Ok(match &first[..after] {
                [] => Beginning::End,
                all if is_http1 || came == 0 || !PREFACE.starts_with(all) => Beginning::Http1,
                all if all.len() == PREFACE.len() => Beginning::Http2,
                _ => continue,
            }));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.given < this.read {
            let rest = &this.first[usize::from(this.given)..usize::from(this.read)];
            let rest = &rest[..rest.len().min(buf.remaining())];
            buf.put_slice(rest);
            this.given += rest.len() as u8;
            if this.given == this.read {
                (this.given, this.read) = (0, 0);
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let came = Pin::new(&mut this.inner).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = came {
            this.watched(&mut buf.filled_mut()[before..]);
        }
        came
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let came = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.wrote(came)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let came = Pin::new(&mut self.inner).poll_flush(cx);
        self.wrote(came)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let came = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.wrote(came)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::{Beginning, Framing, Guarded, PREFACE};

    const LIMIT: Duration = Duration::from_secs(20);

    /// What a connection begins with that brings these bytes in pieces, and all that hyper then reads.
    async fn beginning(sent: &[u8], piece: usize, is_http1: bool) -> (Beginning, Vec<u8>) {
        let (mut client, server) = duplex(piece);
        let mut guarded = Guarded::new(server, Framing::http1(), LIMIT);
        let send = async move { client.write_all(sent).await.unwrap() };
        let receive = async {
            let beginning = poll_fn(|cx| guarded.poll_beginning(cx, is_http1)).await.unwrap();
            let mut all = Vec::new();
            guarded.read_to_end(&mut all).await.unwrap();
            (beginning, all)
        };
        tokio::join!(send, receive).1
    }

    #[tokio::test]
    async fn the_first_bytes_show_the_protocol_and_none_is_lost() {
        let http2 = [&PREFACE[..], b"frames"].concat();
        let nearly = "PRI * HTTP/2.0\r\nX: y\r\n\r\n".to_owned();
        for piece in [1, 5, 24, 100] {
            for (sent, is_http1, expected) in [
                (http2.as_slice(), false, Beginning::Http2),
                (http2.as_slice(), true, Beginning::Http1),
                (nearly.as_bytes(), false, Beginning::Http1),
                (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", false, Beginning::Http1),
                (b"PRI", false, Beginning::Http1),
                (b"", false, Beginning::End),
                (b"", true, Beginning::End),
            ] {
                assert_eq!(beginning(sent, piece, is_http1).await, (expected, sent.to_vec()), "{piece}");
            }
        }
    }

    #[tokio::test]
    async fn a_connection_is_between_messages_only_when_nothing_is_on_its_way() {
        let (mut client, server) = duplex(64);
        let mut guarded = Guarded::new(server, Framing::http1(), LIMIT);
        let between = guarded.between();
        assert!(between.messages());
        client.write_all(b"GET / HTTP/1.1\r\nHost").await.unwrap();
        guarded.read_exact(&mut [0; 20]).await.unwrap();
        assert!(!between.messages(), "half a head was read");
        client.write_all(b": a\r\n\r\n").await.unwrap();
        guarded.read_exact(&mut [0; 7]).await.unwrap();
        assert!(between.messages());
        tokio::select! {
            biased;
            _ = guarded.write_all(&[0; 65]) => unreachable!("there is no room for it"),
            () = std::future::ready(()) => {}
        }
        assert!(!between.messages(), "a part of the answer is left");
        client.read_exact(&mut [0; 64]).await.unwrap();
        guarded.write_all(b"x").await.unwrap();
        assert!(between.messages());
    }
}
