//! Heads that cannot be read: hyper answers them by itself, with a status and no body. This gives the answer a problem.
//!
//! hyper 1 has no hook for these answers. They leave through the connection in one write that has nothing else, so the
//! connection recognises the bytes and sends the same head with a problem instead. No answer of a handler consists of
//! these bytes: each of ours has a content type.
//!
//! # Not here
//! HTTP/2: the library answers a head that is too large with a bare 431, inside of frames.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use api::problem::Kind;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::problem::Problem;

/// The longest answer that hyper makes by itself.
const LONGEST: usize = 256;

/// A connection on which hyper speaks HTTP/1.
pub struct Explained<S> {
    inner: S,
    /// An answer that is sent instead of hyper's.
    answer: Option<SentInstead>,
}

struct SentInstead {
    bytes: Vec<u8>,
    sent: usize,
    /// The length of what hyper wrote.
    length: usize,
}

impl<S> Explained<S> {
    /// Wraps a connection.
    pub fn new(inner: S) -> Explained<S> {
        Explained { inner, answer: None }
    }
}

/// The answer with a problem, if hyper made these bytes by itself.
fn explained(bytes: &[u8]) -> Option<Vec<u8>> {
    let head = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    let mut lines = head.split("\r\n");
    let (_, status) = lines.next()?.strip_prefix("HTTP/1.")?.split_once(' ')?;
    let (kind, detail) = match status.split(' ').next()? {
        "400" => (Kind::BadRequest, "the head of the request is not HTTP/1.1"),
        "414" => (Kind::TargetTooLong, "the target of the request is longer than 64 KiB"),
        "431" => (Kind::HeadTooLarge, "the head of the request has too many fields or bytes"),
        _ => return None,
    };
    let mut date = None;
    for line in lines {
        match line.split_once(": ")? {
            ("date", value) => date = Some(value),
            ("content-length", "0") | ("connection", "close") => {}
            _ => return None,
        }
    }
    let response = Problem::new(kind, detail).into_response();
    let mut text = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n", response.body().len());
    if let Some(date) = date {
        text += &format!("date: {date}\r\n");
    }
    for (name, value) in response.headers() {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    Some([text.as_bytes(), b"\r\n", response.body()].concat())
}

impl<S: AsyncWrite + Unpin> Explained<S> {
    /// Begins an answer, if these bytes are hyper's own.
    fn look(&mut self, length: usize, all: impl FnOnce() -> Vec<u8>) {
        if self.answer.is_none() && length <= LONGEST {
            let bytes = explained(&all());
            self.answer = bytes.map(|bytes| SentInstead { bytes, sent: 0, length });
        }
    }

    /// Sends what is left of the answer; `None` if there is none.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Option<Poll<io::Result<usize>>> {
        let answer = self.answer.as_mut()?;
        while answer.sent < answer.bytes.len() {
            match Pin::new(&mut self.inner).poll_write(cx, &answer.bytes[answer.sent..]) {
                Poll::Ready(Ok(sent)) if sent > 0 => answer.sent += sent,
                Poll::Ready(Ok(_)) => return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
                other => return Some(other),
            }
        }
        let length = answer.length;
        self.answer = None;
        Some(Poll::Ready(Ok(length)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Explained<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.look(bytes.len(), || bytes.to_vec());
        match self.poll_answer(cx) {
            Some(sent) => sent,
            None => Pin::new(&mut self.inner).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(sent) = self.poll_answer(cx) {
            ready!(sent)?;
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.look(length, || slices.iter().flat_map(|slice| slice.iter().copied()).collect());
        match self.poll_answer(cx) {
            Some(sent) => sent,
            None => Pin::new(&mut self.inner).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use hyper::body::Incoming;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::{Explained, explained};

    /// The answer to `sent`, over a connection with room for so many bytes at a time.
    async fn answer(sent: &[u8], room: usize) -> String {
        let (client, server): (DuplexStream, DuplexStream) = tokio::io::duplex(room);
        let serve = async move {
            let service = service_fn(|_: Request<Incoming>| async {
                let mut plain: Response<http_body_util::Full<Bytes>> = Response::default();
                *plain.status_mut() = hyper::StatusCode::BAD_REQUEST;
                plain.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("text/plain"));
                Ok::<_, Infallible>(plain)
            });
            let mut builder = http1::Builder::new();
            builder.max_headers(4).max_buf_size(8 * 1024);
            let _ = builder.serve_connection(TokioIo::new(Explained::new(server)), service).await;
        };
        let (mut from, mut to) = tokio::io::split(client);
        // The server reads no further than it needs, so this may fail.
        let send = async { drop(to.write_all(sent).await) };
        let receive = async {
            let mut answer = String::new();
            from.read_to_string(&mut answer).await.unwrap();
            answer
        };
        tokio::join!(serve, send, receive).2
    }

    #[tokio::test]
    async fn a_head_that_cannot_be_read_gets_a_problem() {
        let lines = "X: y\r\n".repeat(5);
        for (sent, status, kind) in [
            ("GET / HTTP/1.1\r\nHost x\r\n\r\n".to_owned(), 400, "bad-request"),
            ("\u{1}\r\n\r\n".to_owned(), 400, "bad-request"),
            (format!("GET / HTTP/1.1\r\n{lines}\r\n"), 431, "head-too-large"),
            (format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(9_000)), 431, "head-too-large"),
        ] {
            for room in [7, 100_000] {
                let answer = answer(sent.as_bytes(), room).await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
                let (head, body) = answer.split_once("\r\n\r\n").unwrap();
                for line in ["content-type: application/problem+json", "connection: close", "cache-control: no-store"] {
                    assert!(head.contains(line), "{head}");
                }
                assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
                let problem: serde_json::Value = serde_json::from_str(body).unwrap();
                assert_eq!(problem["type"], format!("urn:meridian:problem:{kind}"));
            }
        }
    }

    #[tokio::test]
    async fn an_answer_of_a_handler_stays_as_it_is() {
        let answer = answer(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 100).await;
        assert!(answer.contains("text/plain") && answer.ends_with("\r\n\r\n"), "{answer}");
        for other in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nx: y\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 3\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\nHTTP/1.1 400 Bad Request\r\n\r\n",
        ] {
            assert_eq!(explained(other.as_bytes()), None, "{other}");
        }
    }
}
