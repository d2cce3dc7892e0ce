//! A small HTTP client: one connection ([`Line`]) and single JSON requests ([`request`]) over it.
//!
//! # Invariants
//! - Every request has a time limit, and every answer that is held in memory a size limit.
//! - A failure says whether the request may have reached the server and had an effect ([`Failure`]).
//!
//! # Not here
//! TLS, because the public and admin listeners of a node speak plain HTTP.

mod base;
mod problem;

use std::io;
use std::pin::Pin;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

pub(crate) use base::Base;

/// Time limit of a single request.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Largest answer that is held in memory.
const SIZE_LIMIT: usize = 16 << 20;

/// One HTTP/1.1 connection.
///
/// The task that waits for an answer also drives the connection. So no second task is woken for each request, which
/// would cost a load generator more than the request itself.
pub(crate) struct Line {
    sender: SendRequest<Full<Bytes>>,
    driver: Option<Driver>,
}

/// Moves a connection's bytes; gone once the connection has ended.
type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The request was not sent: it had no effect.
    Unsent,
    /// The request was sent and no answer came: it may have had an effect.
    Unanswered,
}

impl Line {
    /// Connects.
    pub(crate) async fn open(base: &Base) -> io::Result<Self> {
        let stream = TcpStream::connect((base.host(), base.port())).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        Ok(Self { sender, driver: Some(Box::pin(driver)) })
    }

    /// Sends a request and waits for the head of the answer; its body is read with [`drive`](Self::drive).
    pub(crate) async fn call(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        let ready = drive(&mut self.driver, self.sender.ready()).await;
        if ready.is_err() {
            return Err(Failure::Unsent);
        }
        let sent = self.sender.try_send_request(request);
        drive(&mut self.driver, sent).await.map_err(|mut error| match error.take_message() {
            Some(_request) => Failure::Unsent,
            None => Failure::Unanswered,
        })
    }

    /// Waits for a future that needs the connection to move, such as the body of an answer.
    pub(crate) async fn drive<F: Future>(&mut self, wait: F) -> F::Output {
        drive(&mut self.driver, wait).await
    }
}

/// Polls `wait` and the connection together until `wait` is done.
async fn drive<F: Future>(driver: &mut Option<Driver>, wait: F) -> F::Output {
    let mut wait = std::pin::pin!(wait);
    while let Some(moving) = driver {
        tokio::select! {
            biased;
            output = &mut wait => return output,
            // The driver is dropped at once, because its end is visible to waiting requests only when it is dropped.
            _ = moving => *driver = None,
        }
    }
    wait.await
}

/// The parts of a single request besides its path.
#[derive(Default)]
pub(crate) struct Options<'a> {
    /// Sent as `Authorization: Bearer`.
    pub(crate) bearer: Option<&'a str>,
    /// Sent as `Accept` instead of `application/json`.
    pub(crate) accept: Option<&'static str>,
    /// Other headers.
    pub(crate) headers: &'a [(HeaderName, HeaderValue)],
    /// The body, as JSON.
    pub(crate) body: Option<Bytes>,
}

impl Options<'_> {
    /// A JSON body.
    pub(crate) fn json(body: &impl Serialize) -> anyhow::Result<Self> {
        Ok(Self { body: Some(serde_json::to_vec(body)?.into()), ..Self::default() })
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Its status.
    pub(crate) status: StatusCode,
    body: Bytes,
}

impl Reply {
    /// The body as JSON if the status is a success, otherwise the problem that the server describes.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        if !self.status.is_success() {
            return Err(self.problem());
        }
        self.json_whatever_status()
    }

    /// The body as JSON for any status, because `/readyz` has a body in both cases.
    pub(crate) fn json_whatever_status<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("the answer ({}) is not the JSON that is expected", self.status))
    }

    /// The problem that the server describes (RFC 9457).
    pub(crate) fn problem(&self) -> anyhow::Error {
        problem::describe(self.status, &self.body)
    }
}

/// Builds a request with the headers that every request has.
pub(crate) fn build(
    base: &Base,
    method: Method,
    path: &str,
    options: Options<'_>,
) -> anyhow::Result<Request<Full<Bytes>>> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", base.prefix()))
        .header(HOST, base.authority())
        .header(ACCEPT, options.accept.unwrap_or("application/json"));
    if let Some(key) = options.bearer {
        request = request.header(AUTHORIZATION, format!("Bearer {key}"));
    }
    for (name, value) in options.headers {
        request = request.header(name, value);
    }
    if options.body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    Ok(request.body(Full::new(options.body.unwrap_or_default()))?)
}

/// Makes one request over its own connection and reads the whole answer.
pub(crate) async fn request(base: &Base, method: Method, path: &str, options: Options<'_>) -> anyhow::Result<Reply> {
    let what = format!("{method} {base}{path}");
    let request = build(base, method, path, options)?;
    let exchange = async {
        let mut line = Line::open(base).await?;
        let answer =
            line.call(request).await.map_err(|_| io::Error::other("the connection broke before an answer came"))?;
        let status = answer.status();
        let body = line.drive(Limited::new(answer.into_body(), SIZE_LIMIT).collect()).await;
        let body = body.map_err(io::Error::other)?.to_bytes();
        Ok::<_, io::Error>(Reply { status, body })
    };
    match tokio::time::timeout(TIME_LIMIT, exchange).await {
        Ok(reply) => reply.context(what),
        Err(_) => anyhow::bail!("{what}: no answer within {} s", TIME_LIMIT.as_secs()),
    }
}

/// A `GET` whose answer is JSON.
pub(crate) async fn get<T: DeserializeOwned>(base: &Base, path: &str) -> anyhow::Result<T> {
    request(base, Method::GET, path, Options::default()).await?.json().with_context(|| format!("GET {base}{path}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::{Base, Failure, Line, Method, Options, build};

    /// A server that answers each connection with these answers and then closes it.
    async fn server(answers: Vec<&'static str>) -> Base {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = Base::from(listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in answers {
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        base
    }

    #[tokio::test]
    async fn a_closed_connection_is_noticed_and_told_apart() {
        let limit = Duration::from_secs(5);
        let ok = "HTTP/1.1 204 No Content\r\n\r\n";
        let request = |base: &Base| build(base, Method::GET, "/", Options::default()).unwrap();

        let base = server(vec![ok, ok]).await;
        let mut line = Line::open(&base).await.unwrap();
        for _ in 0..2 {
            assert_eq!(line.call(request(&base)).await.unwrap().status(), 204);
        }
        // The server closes after its second answer. Whether that has arrived here or not, the call ends.
        let third = tokio::time::timeout(limit, line.call(request(&base))).await.expect("ends");
        assert!(third.is_err());
        let fourth = tokio::time::timeout(limit, line.call(request(&base))).await.expect("ends");
        assert!(matches!(fourth, Err(Failure::Unsent)));

        let base = server(vec![""]).await;
        let mut line = Line::open(&base).await.unwrap();
        let cut = tokio::time::timeout(limit, line.call(request(&base))).await.expect("ends");
        assert!(matches!(cut, Err(Failure::Unanswered)));
    }
}
