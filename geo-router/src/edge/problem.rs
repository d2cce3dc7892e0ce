//! The edge's own answers, given instead of a node's, as RFC 9457 `application/problem+json`.
//!
//! # Invariants
//! - No problem repeats what the client sent.
//! - Each kind has one `type`, one title and one status, which never change: clients choose their own words by `type`.

use bytes::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// Kinds of problems, each with status, slug and title.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $status:ident, $slug:literal, $title:literal;)*) => {
        /// A kind of problem.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// The status that answers it.
            pub(super) fn status(self) -> StatusCode {
                match self { $(Kind::$name => StatusCode::$status,)* }
            }

            fn words(self) -> (&'static str, &'static str) {
                match self { $(Kind::$name => ($slug, $title),)* }
            }

            #[cfg(test)]
            pub(super) const ALL: &[Kind] = &[$(Kind::$name,)*];
        }
    };
}

kinds! {
    /// A head that has two meanings, or is not valid.
    BadRequest: BAD_REQUEST, "bad-request", "The request is not understood";
    /// A method that is never forwarded.
    Method: METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not taken here";
    /// A body that arrives too slowly.
    BodyTimeout: REQUEST_TIMEOUT, "body-timeout", "The body did not arrive in time";
    /// Too much body.
    TooLarge: PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large";
    /// An expectation that the edge does not support.
    Expectation: EXPECTATION_FAILED, "expectation-failed", "The expectation is not met";
    /// This client sends too many requests.
    Limited: TOO_MANY_REQUESTS, "rate-limited", "Too many requests from this network";
    /// All clients together send too many requests.
    Overloaded: TOO_MANY_REQUESTS, "overloaded", "No region has capacity for the request";
    /// A transfer coding that is not supported.
    Coding: NOT_IMPLEMENTED, "transfer-coding", "The transfer coding is not spoken";
    /// No node answered; the request may have been done.
    BadGateway: BAD_GATEWAY, "no-answer", "No node answered";
    /// No node could be reached; nothing was done.
    Unavailable: SERVICE_UNAVAILABLE, "unreachable", "No node can be reached";
    /// The nodes are silent; the request may have been done.
    Timeout: GATEWAY_TIMEOUT, "answer-timeout", "No node answered in time";
    /// The request already came through this router.
    Loop: LOOP_DETECTED, "loop", "The request came through this router already";
}

/// A problem on its way to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    detail: &'static str,
    retry_after: Option<u32>,
}

#[derive(Serialize)]
struct Json<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    /// A problem with a detail.
    pub(super) fn new(kind: Kind, detail: &'static str) -> Problem {
        let retry_after = match kind {
            Kind::Limited | Kind::Overloaded | Kind::Unavailable | Kind::BadGateway | Kind::Timeout => Some(1),
            _ => None,
        };
        Problem { kind, detail, retry_after }
    }

    /// Whether the connection is not read further: after an ambiguous head, or in the middle of a body.
    pub(super) fn closes(&self) -> bool {
        matches!(self.kind, Kind::BadRequest | Kind::Coding | Kind::BodyTimeout | Kind::TooLarge | Kind::Method)
    }

    /// The same problem, with the least number of seconds until the client should repeat.
    pub(super) fn after(self, seconds: u32) -> Problem {
        Problem { retry_after: Some(seconds.max(1)), ..self }
    }

    /// The answer.
    pub(super) fn into_response(self) -> Response<Bytes> {
        let (slug, title) = self.kind.words();
        let status = self.kind.status();
        let json = Json {
            r#type: format!("urn:meridian:problem:{slug}"),
            title,
            status: status.as_u16(),
            detail: self.detail,
        };
        // The JSON holds only text and numbers, so this cannot fail; an empty body would still have its status.
        let mut response = Response::new(Bytes::from(serde_json::to_vec(&json).unwrap_or_default()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.kind == Kind::Method {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hyper::header::RETRY_AFTER;

    use super::{Kind, Problem};

    #[test]
    fn every_kind_is_an_error_with_a_slug_of_its_own() {
        let slugs: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.words().0).collect();
        assert_eq!(slugs.len(), Kind::ALL.len());
        assert!(Kind::ALL.iter().all(|kind| kind.status().as_u16() >= 400));
    }

    #[test]
    fn headers_follow_the_kind() {
        let response = Problem::new(Kind::Limited, "").after(7).into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "7");
        assert!(Problem::new(Kind::BadRequest, "").closes());
        let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(json["type"], "urn:meridian:problem:rate-limited");
        assert_eq!(json["status"], 429);
    }
}
