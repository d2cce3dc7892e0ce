//! Builds answers: bodies, media types, caching.
//!
//! # Invariants
//! - Nothing is cached unless its handler says so, because most answers hold personal data.
//! - A stream that fails breaks its connection off, so a client never takes a truncated list for a whole one.

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// A stream ended early; the log says why.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub(super) struct BrokeOff;

/// The body of an answer: mostly one piece; lists and event streams have many.
pub(super) type Body = Either<Full<Bytes>, UnsyncBoxBody<Bytes, BrokeOff>>;

pub(super) type Reply = Response<Body>;

/// JSON.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer in one piece, without headers.
pub(super) fn full(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(body.into())));
    *reply.status_mut() = status;
    reply
}

/// No content, not to be cached.
pub(super) fn no_content() -> Reply {
    let mut reply = full(StatusCode::NO_CONTENT, Bytes::new());
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// JSON, not to be cached. `value` is one of our own types, which all have a JSON form.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    let mut reply = match serde_json::to_vec(value) {
        Ok(body) => full(status, body),
        Err(error) => {
            debug_assert!(false, "an answer has a JSON form: {error}");
            tracing::error!(%error, "an answer cannot be written as JSON: the request fails");
            full(StatusCode::INTERNAL_SERVER_ERROR, Bytes::new())
        }
    };
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// An answer in many pieces, not to be cached.
pub(super) fn stream<S>(media_type: HeaderValue, pieces: S) -> Reply
where
    S: Stream<Item = Result<Bytes, BrokeOff>> + Send + 'static,
{
    let body = StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync();
    let mut reply = Response::new(Either::Right(body));
    reply.headers_mut().insert(CONTENT_TYPE, media_type);
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// A header value from text that this node made; empty if it has a character that a header must not have.
pub(super) fn header(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}
