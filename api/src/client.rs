//! The HTTP client: one connection ([`Connection`]), and single requests over a connection of their own ([`Call`]).
//!
//! # Invariants
//! - A single request has a time limit, and its answer a size limit.
//! - A failure says whether the request may have reached the server and had an effect.
//! - No error but a refusal contains what the other side sent.
//!
//! # Not here
//! TLS: a router makes such connections itself ([`Call::send_over`]). Pools and repeats: the edge has its own.
//! `reqwest` and `hyper-util`'s client were passed over, because they hide whether a request was sent, and a load
//! generator must know.

mod base;
mod connection;

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use hyper::{Method, Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::problem::ProblemDetails;

pub use base::{BadBase, Base};
pub use connection::{Connection, SendError};

/// Time limit of a single request, unless it has its own.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Largest answer that is held in memory, unless the request has its own limit: 16 MiB.
const SIZE_LIMIT: usize = 16 << 20;

/// A single request without a usable answer: which one, and why.
#[derive(Debug, thiserror::Error)]
#[error("{request} failed")]
pub struct CallError {
    /// The method and the URL.
    request: String,
    /// Why.
    #[source]
    cause: CallFailure,
}

/// Why a single request has no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallFailure {
    /// The server cannot be reached.
    #[error("the server cannot be reached")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The body broke off, or is larger than the limit.
    #[error("the answer broke off, or has more than {limit} bytes")]
    Body {
        /// The limit of the request.
        limit: usize,
    },
    /// Not in time.
    #[error("there is no answer within {} ms", limit.as_millis())]
    Late {
        /// The limit of the request.
        limit: Duration,
    },
    /// The path or a header is not valid, which is the caller's fault.
    #[error("the request is not valid")]
    Request(#[from] hyper::http::Error),
    /// The answer is not the JSON that is expected.
    #[error("the answer ({status}) is not the JSON that is expected")]
    Json {
        /// The status of the answer.
        status: StatusCode,
        /// The place and the kind of the mismatch.
        #[source]
        source: serde_json::Error,
    },
    /// The server refused, and says why. This is the one error that contains what the other side sent.
    #[error("{0}")]
    Refused(Box<ProblemDetails>),
}

impl CallError {
    /// Why there is no usable answer.
    #[must_use]
    pub fn cause(&self) -> &CallFailure {
        &self.cause
    }
}

/// One request over a connection of its own, which also shows that the server still accepts connections.
#[derive(Clone, Debug)]
#[must_use = "a call does nothing until it is sent"]
pub struct Call {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
    time_limit: Duration,
    size_limit: usize,
}

impl Call {
    /// A request without a body that accepts JSON.
    pub fn new(method: Method, path: impl Into<String>) -> Call {
        let headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("application/json")),
            (USER_AGENT, HeaderValue::from_static(concat!("meridian/", env!("CARGO_PKG_VERSION")))),
        ]);
        let (time_limit, size_limit) = (TIME_LIMIT, SIZE_LIMIT);
        Call { method, path: path.into(), headers, body: Bytes::new(), time_limit, size_limit }
    }

    /// `GET`.
    pub fn get(path: impl Into<String>) -> Call {
        Call::new(Method::GET, path)
    }

    /// Whether the request may be sent again without another effect (RFC 9110, section 9.2.2).
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
    }

    /// Sets a header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Call {
        self.headers.insert(name, value);
        self
    }

    /// Sends a key as `Authorization: Bearer`. A key with characters that a header cannot have is left out.
    pub fn bearer(self, key: &str) -> Call {
        match HeaderValue::from_str(&format!("Bearer {key}")) {
            Ok(value) => self.header(AUTHORIZATION, value),
            Err(_) => self,
        }
    }

    /// Sends a body that is rendered already.
    pub fn body(mut self, media_type: &'static str, body: Bytes) -> Call {
        self.body = body;
        self.header(CONTENT_TYPE, HeaderValue::from_static(media_type))
    }

    /// Sends a JSON body.
    ///
    /// # Errors
    /// If `body` has no JSON form.
    pub fn json(mut self, body: &impl Serialize) -> Result<Call, serde_json::Error> {
        self.body = serde_json::to_vec(body)?.into();
        Ok(self.header(CONTENT_TYPE, HeaderValue::from_static("application/json")))
    }

    /// Sets the limits of the whole exchange and of the answer's body in bytes.
    pub fn limits(mut self, time: Duration, size: usize) -> Call {
        (self.time_limit, self.size_limit) = (time, size);
        self
    }

    /// Sends the request and reads the whole answer, whatever its status is.
    ///
    /// # Errors
    /// [`CallError`] if there is no answer.
    pub async fn send(self, base: &Base) -> Result<Answer, CallError> {
        self.send_over(base, Connection::open(base)).await
    }

    /// Sends the request over the connection that `open` makes, within the time limit, and reads the whole answer.
    ///
    /// # Errors
    /// [`CallError`] if there is no answer.
    pub async fn send_over(
        self,
        base: &Base,
        open: impl Future<Output = io::Result<Connection>>,
    ) -> Result<Answer, CallError> {
        let (limit, request) = (self.time_limit, format!("{} {base}{}", self.method, self.path));
        let answered = tokio::time::timeout(limit, self.exchange(base, open)).await;
        match answered.unwrap_or(Err(CallFailure::Late { limit })) {
            Ok((status, headers, body)) => Ok(Answer { status, headers, body, request }),
            Err(cause) => Err(CallError { request, cause }),
        }
    }

    /// The request alone, for a [`Connection`] that the caller keeps.
    ///
    /// # Errors
    /// [`CallFailure::Request`].
    pub fn request(self, base: &Base) -> Result<Request<Full<Bytes>>, CallFailure> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(format!("{}{}", base.prefix(), self.path))
            .body(Full::new(self.body))?;
        *request.headers_mut() = self.headers;
        request.headers_mut().insert(HOST, base.authority());
        if let (Some(token), false) = (base.token(), request.headers().contains_key(AUTHORIZATION)) {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        Ok(request)
    }

    async fn exchange(
        self,
        base: &Base,
        open: impl Future<Output = io::Result<Connection>>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), CallFailure> {
        let limit = self.size_limit;
        let mut request = self.request(base)?;
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        let mut connection = open.await.map_err(CallFailure::Connect)?;
        let (head, body) = connection.send(request).await?.into_parts();
        let body = connection.drive(Limited::new(body, limit).collect()).await;
        let body = body.map_err(|_| CallFailure::Body { limit })?.to_bytes();
        Ok((head.status, head.headers, body))
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its header.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// The method and the URL that it answers.
    request: String,
}

impl Answer {
    /// The body as JSON if the status is a success.
    ///
    /// # Errors
    /// [`CallFailure::Refused`] with the server's problem for any other status, [`CallFailure::Json`].
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        if self.status.is_success() { self.json_of_any_status() } else { Err(self.refused()) }
    }

    /// The body as JSON for any status, because `/readyz` has a body in both cases.
    ///
    /// # Errors
    /// [`CallFailure::Json`].
    pub fn json_of_any_status<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.body).map_err(|source| CallError {
            request: self.request.clone(),
            cause: CallFailure::Json { status: self.status, source },
        })
    }

    /// The refusal that the server describes.
    #[must_use]
    pub fn refused(&self) -> CallError {
        CallError {
            request: self.request.clone(),
            cause: CallFailure::Refused(Box::new(problem(self.status, &self.body))),
        }
    }
}

/// The problem that a body describes. If it describes none, as the page of a proxy, the status and the beginning of the
/// body stand for it.
fn problem(status: StatusCode, body: &[u8]) -> ProblemDetails {
    let described = serde_json::from_slice::<ProblemDetails>(body).ok();
    let described = described.filter(|problem| !problem.title.is_empty() || !problem.detail.is_empty());
    let mut problem = described.unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
        ProblemDetails { detail: text.escape_debug().to_string().into(), ..ProblemDetails::default() }
    });
    if problem.title.is_empty() {
        problem.title = format!("the server answered {status}").into();
    }
    problem.status = status.as_u16();
    problem
}

/// A `GET` whose answer is JSON.
///
/// # Errors
/// [`CallError`].
pub async fn get<T: DeserializeOwned>(base: &Base, path: &str) -> Result<T, CallError> {
    Call::get(path).send(base).await?.json()
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::problem;

    #[test]
    fn what_is_no_problem_is_shown_as_it_is() {
        let told = |body: &str| problem(StatusCode::BAD_GATEWAY, body.as_bytes()).to_string();
        assert_eq!(told(r#"{"title": "Not a venue", "detail": "2 rules"}"#), "Not a venue: 2 rules");
        assert_eq!(told(r#"{"detail": "no name"}"#), "the server answered 502 Bad Gateway: no name");
        assert_eq!(told("<html>"), "the server answered 502 Bad Gateway: <html>");
        let foreign = told(r#"{"message": "upstream"}"#);
        assert!(
            foreign.starts_with("the server answered 502 Bad Gateway: {") && foreign.contains("upstream"),
            "{foreign}"
        );
        assert_eq!(told(""), "the server answered 502 Bad Gateway");
    }
}
