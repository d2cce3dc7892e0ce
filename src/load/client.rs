//! Sends one operation: one connection to each target, opened at its first use and again after it broke.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, Uri};

use super::measure::RequestOutcome;
use api::client::{Base, Connection, SendError};
use api::headers::SECRET;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// A request that can be sent to any target, and more than once.
pub(crate) struct Prepared {
    /// `PUT`, `PATCH` or `DELETE`.
    pub(crate) method: Method,
    /// The path, from `/v1` on.
    pub(crate) path: String,
    /// The guest's secret, as text.
    pub(crate) secret: HeaderValue,
    /// JSON, rendered once for many requests.
    pub(crate) body: Option<(HeaderValue, Bytes)>,
}

/// The connections of one worker.
pub(crate) struct Client {
    targets: Arc<[Base]>,
    connections: Vec<Option<Connection>>,
    timeout: Duration,
    /// The client address of every request.
    from: Option<HeaderValue>,
}

impl Client {
    /// A client without a connection.
    pub(crate) fn new(targets: Arc<[Base]>, timeout: Duration, from: Option<IpAddr>) -> Self {
        let connections = targets.iter().map(|_| None).collect();
        let from = from.and_then(|address| HeaderValue::from_str(&address.to_string()).ok());
        Self { targets, connections, timeout, from }
    }

    /// Connects to a target before the first request, if possible.
    pub(crate) async fn warm(&mut self, target: usize) {
        if let Ok(Ok(connection)) = tokio::time::timeout(self.timeout, Connection::open(&self.targets[target])).await {
            self.connections[target] = Some(connection);
        }
    }

    /// Sends one request and reads the whole answer.
    pub(crate) async fn call(&mut self, target: usize, prepared: &Prepared) -> RequestOutcome {
        let timeout = self.timeout;
        // The connection leaves its place while in use, because after a timeout it is in the middle of an answer and
        // must be dropped.
        let mut connection = self.connections[target].take();
        let exchange = exchange(&self.targets[target], &mut connection, prepared, self.from.as_ref());
        let outcome = tokio::time::timeout(timeout, exchange).await.unwrap_or(RequestOutcome::TimedOut);
        if matches!(outcome, RequestOutcome::Status(_)) {
            self.connections[target] = connection;
        }
        outcome
    }
}

async fn exchange(
    base: &Base,
    connection: &mut Option<Connection>,
    prepared: &Prepared,
    from: Option<&HeaderValue>,
) -> RequestOutcome {
    let Some(mut request) = build(base, prepared, from) else { return RequestOutcome::NoConnection };
    if let Some(open) = connection {
        match send(open, request).await {
            Ok(outcome) => return outcome,
            Err(SendError::Unanswered) => return RequestOutcome::NoAnswer,
            // The server closed an idle connection: nothing was sent, so a new connection is tried at once.
            Err(SendError::Unsent) => match build(base, prepared, from) {
                Some(again) => request = again,
                None => return RequestOutcome::NoConnection,
            },
        }
    }
    let Ok(opened) = Connection::open(base).await else { return RequestOutcome::NoConnection };
    match send(connection.insert(opened), request).await {
        Ok(outcome) => outcome,
        Err(SendError::Unanswered) => RequestOutcome::NoAnswer,
        Err(SendError::Unsent) => RequestOutcome::NoConnection,
    }
}

async fn send(connection: &mut Connection, request: Request<Full<Bytes>>) -> Result<RequestOutcome, SendError> {
    let answer = connection.send(request).await?;
    let status = answer.status().as_u16();
    let mut body = answer.into_body();
    while let Some(frame) = connection.drive(body.frame()).await {
        frame.map_err(|_| SendError::Unanswered)?;
    }
    Ok(RequestOutcome::Status(status))
}

fn build(base: &Base, prepared: &Prepared, from: Option<&HeaderValue>) -> Option<Request<Full<Bytes>>> {
    let path = Bytes::from(format!("{}{}", base.prefix(), prepared.path));
    let uri = Uri::from(PathAndQuery::from_maybe_shared(path).ok()?);
    let mut request = Request::new(Full::default());
    *request.method_mut() = prepared.method.clone();
    *request.uri_mut() = uri;
    request.headers_mut().insert(HOST, base.authority());
    request.headers_mut().insert(SECRET, prepared.secret.clone());
    if let Some(from) = from {
        request.headers_mut().insert(FORWARDED_FOR, from.clone());
    }
    if let Some((kind, body)) = &prepared.body {
        request.headers_mut().insert(CONTENT_TYPE, kind.clone());
        *request.body_mut() = Full::new(body.clone());
    }
    Some(request)
}
