//! A problem as an HTTP answer (RFC 9457): the one renderer of all listeners.
//!
//! # Not here
//! Kinds and JSON: [`api::problem`]. Which error is which problem: the process that answers.

use std::borrow::Cow;

use api::problem::{ClockDifference, Kind, MEDIA_TYPE, ProblemDetails, RequestError};
use bytes::Bytes;
use hyper::Response;
use hyper::header::{ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};

/// A problem on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    kind: Kind,
    detail: Cow<'static, str>,
    errors: Vec<RequestError>,
    clock: Option<ClockDifference>,
    allow: Option<Cow<'static, str>>,
    retry_after: Option<u32>,
}

impl Problem {
    /// A problem with a detail.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Problem {
        let (detail, retry_after) = (detail.into(), retry_after(kind));
        Problem { kind, detail, errors: Vec::new(), clock: None, allow: None, retry_after }
    }

    /// A problem with several parts of a request.
    #[must_use]
    pub fn with_errors(kind: Kind, detail: impl Into<Cow<'static, str>>, errors: Vec<RequestError>) -> Problem {
        Problem { errors, ..Problem::new(kind, detail) }
    }

    /// A query parameter that is not valid.
    #[must_use]
    pub fn parameter(parameter: &'static str, detail: impl Into<Cow<'static, str>>) -> Problem {
        let detail = detail.into();
        let words = format!("`{parameter}`: {detail}");
        let error = RequestError { pointer: None, parameter: Some(parameter.into()), code: None, detail };
        Problem::with_errors(Kind::MalformedQuery, words, vec![error])
    }

    /// A method that the resource does not have; `allow` lists those that it has.
    #[must_use]
    pub fn method(allow: impl Into<Cow<'static, str>>) -> Problem {
        let allow = allow.into();
        let detail = format!("the methods here are {allow}");
        Problem { allow: Some(allow), ..Problem::new(Kind::Method, detail) }
    }

    /// The same problem, with the methods that are allowed.
    #[must_use]
    pub fn with_allow(self, allow: &'static str) -> Problem {
        Problem { allow: Some(allow.into()), ..self }
    }

    /// The same problem, with the least number of seconds until the client should repeat.
    #[must_use]
    pub fn after(self, seconds: u32) -> Problem {
        Problem { retry_after: Some(seconds.max(1)), ..self }
    }

    /// The same problem, with the difference between the server's clock and a time that the client stated.
    #[must_use]
    pub fn with_clock(self, clock: Option<ClockDifference>) -> Problem {
        Problem { clock, ..self }
    }

    /// How a time that the client stated differs from the server's, if that is the problem.
    #[must_use]
    pub fn clock(&self) -> Option<ClockDifference> {
        self.clock
    }

    /// Whether the connection must not be read further: its next bytes may belong to this request or to another one.
    #[must_use]
    pub fn closes(&self) -> bool {
        matches!(self.kind, Kind::BadRequest | Kind::Coding | Kind::HeadTooLarge)
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The answer.
    #[must_use]
    pub fn into_response(self) -> Response<Bytes> {
        let (errors, clock) = (self.errors, self.clock);
        let details = ProblemDetails { errors, clock, ..ProblemDetails::new(self.kind, self.detail) };
        // The JSON holds only text and numbers, so this cannot fail; an empty body would still have its status.
        let mut response = Response::new(Bytes::from(serde_json::to_vec(&details).unwrap_or_default()));
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = self.allow.and_then(|allow| HeaderValue::from_str(&allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        if self.kind == Kind::ContentCoding {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        if let Some(challenge) = challenge(self.kind) {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

/// Seconds after which a client should repeat, unless the problem has its own number.
fn retry_after(kind: Kind) -> Option<u32> {
    match kind {
        Kind::ClockInDoubt | Kind::Starting | Kind::Stopping | Kind::DiskFull => Some(5),
        Kind::Overloaded | Kind::NotDurable | Kind::Busy | Kind::Damaged => Some(1),
        // Not `BadGateway` and `Timeout`: the request may have been done, and not every request may be done twice.
        Kind::Limited | Kind::Shed | Kind::Unavailable => Some(1),
        _ => None,
    }
}

/// How a client proves its right (RFC 9110, section 11.6.1).
fn challenge(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::OwnerKeyMissing | Kind::OperatorTokenMissing | Kind::OperatorTokenWrong => {
            Some("Bearer realm=\"meridian\"")
        }
        Kind::SecretMissing => Some("Meridian-Secret realm=\"meridian\""),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use api::problem::Kind;
    use hyper::header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};

    use super::Problem;

    #[test]
    fn a_problem_has_the_members_of_rfc_9457() {
        let response = Problem::parameter("from", "not a time").into_response();
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(response.body()).unwrap(),
            serde_json::json!({
                "type": "urn:meridian:problem:malformed-query",
                "title": "The query is not understood",
                "status": 400,
                "detail": "`from`: not a time",
                "errors": [{"parameter": "from", "detail": "not a time"}],
            })
        );
    }

    #[test]
    fn headers_follow_the_kind() {
        let response = Problem::method("GET, HEAD").into_response();
        assert_eq!(response.headers()[ALLOW], "GET, HEAD");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let response = Problem::new(Kind::ContentCoding, "").into_response();
        assert_eq!(response.headers()[ACCEPT_ENCODING], "identity");
        let response = Problem::new(Kind::OwnerKeyMissing, "").into_response();
        assert!(response.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer"));
        let response = Problem::new(Kind::Limited, "").after(7).into_response();
        assert_eq!((response.status().as_u16(), &response.headers()[RETRY_AFTER]), (429, &7.into()));
        assert_eq!(Problem::new(Kind::Starting, "").into_response().headers()[RETRY_AFTER], "5");
    }
}
