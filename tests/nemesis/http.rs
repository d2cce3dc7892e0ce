//! One request on one connection, with a time limit. Tells a request that was never sent from one without an answer.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A request.
pub(crate) struct Ask {
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Option<Value>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// There was no connection.
    NotSent,
    /// The connection broke, or the time was over.
    Unknown,
}

/// An answer.
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Ask {
    pub(crate) fn new(method: &'static str, path: impl Into<String>) -> Ask {
        Ask { method, path: path.into(), headers: Vec::new(), body: None }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Ask {
        self.headers.push((name, value.into()));
        self
    }

    /// A body of this content type.
    pub(crate) fn body(self, kind: &'static str, body: Value) -> Ask {
        Ask { body: Some(body), ..self.header("content-type", kind) }
    }

    /// Sends it, and waits for the whole answer.
    pub(crate) async fn send(self, to: SocketAddr, limit: Duration) -> Result<Answer, NoAnswer> {
        let deadline = tokio::time::Instant::now() + limit;
        let connected = timeout(limit, TcpStream::connect(to)).await;
        let stream = connected.map_err(|_| NoAnswer::NotSent)?.map_err(|_| NoAnswer::NotSent)?;
        let answered = tokio::time::timeout_at(deadline, self.exchange(stream, to)).await;
        answered.ok().flatten().ok_or(NoAnswer::Unknown)
    }

    async fn exchange(self, stream: TcpStream, to: SocketAddr) -> Option<Answer> {
        stream.set_nodelay(true).ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        let mut request = Request::builder().method(self.method).uri(self.path).header("host", to.to_string());
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let body = self.body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(Full::new(body)).unwrap();
        let answer = async {
            let (head, body) = sender.send_request(request).await.ok()?.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            Some(Answer { status: head.status.as_u16(), headers: head.headers, body })
        };
        tokio::select! {
            answer = answer => answer,
            _ = async { let _ = connection.await; std::future::pending::<()>().await } => None,
        }
    }
}

impl Answer {
    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body; null if it is not JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}
