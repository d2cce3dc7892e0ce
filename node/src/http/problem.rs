//! A problem with a request, as RFC 9457 `application/problem+json`.
//!
//! # Invariants
//! - No problem repeats what the client sent.
//! - Each kind has one `type`, one title and one status, which never change: clients choose their own words by `type`.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use replication::{StorageError, WriteError};
use serde::Serialize;

use super::reply::{Reply, full};
use crate::driver::Refused;
use registry::{Code, FieldError, Invalid};

/// Kinds of problems, each with slug, title and status.
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
    /// The body is not JSON.
    MalformedBody: BAD_REQUEST, "malformed-body", "The body is not understood";
    /// An id in the path that is not a valid id.
    MalformedId: BAD_REQUEST, "malformed-id", "The path has an id that is no id";
    /// The query is not valid.
    MalformedQuery: BAD_REQUEST, "malformed-query", "The query is not understood";
    /// A header is not valid.
    MalformedHeader: BAD_REQUEST, "malformed-header", "A header is not understood";
    /// No owner key.
    OwnerKeyMissing: UNAUTHORIZED, "owner-key-missing", "The owner's key is required";
    /// No secret.
    SecretMissing: UNAUTHORIZED, "secret-missing", "The guest's secret is required";
    /// A secret other than the one that makes the id.
    SecretWrong: FORBIDDEN, "secret-wrong", "The secret does not make this visit id";
    /// A path without a resource.
    NoRoute: NOT_FOUND, "no-such-route", "Nothing is here";
    /// A venue that is unknown, or not this owner's.
    NoVenue: NOT_FOUND, "no-such-venue", "The venue is not known here";
    /// A visit that is unknown.
    NoVisit: NOT_FOUND, "no-such-visit", "The visit is not known here";
    /// A region that is not configured.
    NoRegion: NOT_FOUND, "no-such-region", "The region is not known here";
    /// A method that the resource does not have.
    Method: METHOD_NOT_ALLOWED, "method-not-allowed", "The resource does not have this method";
    /// No representation that the client accepts.
    NotAcceptable: NOT_ACCEPTABLE, "not-acceptable", "None of the accepted media types is available";
    /// A body that arrives too slowly.
    BodyTimeout: REQUEST_TIMEOUT, "body-timeout", "The body did not arrive in time";
    /// An id that is taken.
    Conflict: CONFLICT, "visit-differs", "The visit exists with other content";
    /// A document with as many changes as it may have.
    Full: CONFLICT, "document-full", "The record takes no more changes";
    /// An order after which no region would serve.
    NobodyLeft: CONFLICT, "no-region-left", "No region would be left to serve";
    /// An operator states that the clock is right, but the machine's clock or the peers contradict it.
    ClockContradicted: CONFLICT, "clock-contradicted", "The clock contradicts the word";
    /// Erased by its guest or with its venue.
    Erased: GONE, "erased", "The visit is erased";
    /// Beyond its retention.
    Expired: GONE, "expired", "The visit has expired";
    /// A closed venue.
    Closed: GONE, "venue-closed", "The venue is closed";
    /// No body at all.
    LengthRequired: LENGTH_REQUIRED, "body-required", "A body is required";
    /// Too much body.
    TooLarge: PAYLOAD_TOO_LARGE, "body-too-large", "The body is larger than 16 KiB";
    /// A body in another format.
    MediaType: UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body must be JSON";
    /// A body that breaks a rule.
    Invalid: UNPROCESSABLE_ENTITY, "invalid", "The body breaks a rule";
    /// A failure of this node.
    Internal: INTERNAL_SERVER_ERROR, "internal", "The node failed to answer";
    /// The node does not believe its clock.
    ClockInDoubt: SERVICE_UNAVAILABLE, "clock-in-doubt", "The node's clock is in doubt";
    /// The node does not know yet under which id to write.
    Starting: SERVICE_UNAVAILABLE, "starting", "The node is starting";
    /// The disk does not answer.
    NotDurable: SERVICE_UNAVAILABLE, "not-durable-yet", "The node's disk does not answer in time";
    /// Too many expensive requests are running.
    Busy: SERVICE_UNAVAILABLE, "busy", "Too many requests of this kind are running";
    /// Too many writes wait.
    Overloaded: SERVICE_UNAVAILABLE, "overloaded", "Too many writes are waiting";
    /// The node is stopping.
    Stopping: SERVICE_UNAVAILABLE, "stopping", "The node is stopping";
}

/// One error of a request.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Wrong {
    /// In the body.
    Field(FieldError),
    /// In the query.
    Parameter { parameter: &'static str, detail: Cow<'static, str> },
}

/// A problem on its way to a client.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    detail: Cow<'static, str>,
    errors: Vec<Wrong>,
    allow: Option<&'static str>,
}

#[derive(Serialize)]
struct Json<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Wrong],
}

impl Problem {
    /// A problem with a detail.
    pub(super) fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem { kind, detail: detail.into(), errors: Vec::new(), allow: None }
    }

    /// A query parameter that is not valid.
    pub(super) fn parameter(parameter: &'static str, detail: impl Into<Cow<'static, str>>) -> Problem {
        let detail = detail.into();
        let words = format!("`{parameter}`: {detail}");
        let errors = vec![Wrong::Parameter { parameter, detail }];
        Problem { errors, ..Problem::new(Kind::MalformedQuery, words) }
    }

    /// A method that the resource does not have; `allow` lists those that it has.
    pub(super) fn method(allow: &'static str) -> Problem {
        Problem { allow: Some(allow), ..Problem::new(Kind::Method, format!("the methods here are {allow}")) }
    }

    /// The node takes no writes for now.
    pub(super) fn clock_in_doubt() -> Problem {
        Problem::new(Kind::ClockInDoubt, "it takes no writes until the clock agrees with its peers'")
    }

    /// A failure that must not happen; the log says more.
    pub(super) fn internal() -> Problem {
        Problem::new(Kind::Internal, "repeat the request; the operator finds the reason in the node's log")
    }

    /// The answer.
    pub(super) fn into_reply(self) -> Reply {
        let status = self.kind.status();
        let (slug, title) = self.kind.words();
        let json = Json {
            r#type: format!("urn:meridian:problem:{slug}"),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
        };
        // The JSON holds only text and numbers, so this cannot fail; an empty body would still have its status.
        let mut reply = full(status, serde_json::to_vec(&json).unwrap_or_default());
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.kind {
            Kind::OwnerKeyMissing => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"meridian\""));
            }
            Kind::SecretMissing => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Meridian-Secret realm=\"meridian\""));
            }
            Kind::ClockInDoubt | Kind::Starting | Kind::Stopping => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Kind::Overloaded | Kind::NotDurable | Kind::Busy => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        reply
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Problem {
        let malformed = invalid.errors.iter().any(|error| error.code == Code::Malformed);
        let kind = if malformed { Kind::MalformedBody } else { Kind::Invalid };
        let detail = match invalid.errors.len() {
            1 => Cow::Borrowed("one rule is broken, see errors"),
            n => Cow::Owned(format!("{n} rules are broken, see errors")),
        };
        Problem { errors: invalid.errors.into_iter().map(Wrong::Field).collect(), ..Problem::new(kind, detail) }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        match refused {
            Refused::Replica(WriteError::Gone) => {
                Problem::new(Kind::Erased, "it was erased, and its id cannot be used again")
            }
            Refused::Replica(WriteError::TooLong) => {
                Problem::new(Kind::Invalid, "the visit would be kept beyond the longest retention")
            }
            Refused::Replica(WriteError::Full) => {
                Problem::new(Kind::Full, "it was changed so often that no further change is kept; it can be erased")
            }
            Refused::Replica(WriteError::ClockInDoubt) => Problem::clock_in_doubt(),
            Refused::Replica(WriteError::Starting) => {
                Problem::new(Kind::Starting, "it takes writes once its peers have confirmed its log")
            }
            Refused::Replica(WriteError::Storage(error)) => error.into(),
            Refused::Overloaded => Problem::new(Kind::Overloaded, "repeat the request in a moment"),
            Refused::Stopping => {
                Problem::new(Kind::Stopping, "whether the write is durable is not known; repeat it elsewhere")
            }
            refused => {
                tracing::error!(
                    error = &refused as &dyn std::error::Error,
                    "a write failed: the client is told to repeat it"
                );
                Problem::internal()
            }
        }
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Problem {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            action = "check the disk",
            "the store failed: the client is told to repeat the request"
        );
        Problem::internal()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http_body_util::BodyExt;
    use hyper::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};

    use super::{Kind, Problem};
    use registry::NewVenue;

    async fn json(problem: Problem) -> serde_json::Value {
        let body = problem.into_reply().into_body().collect().await.expect("collects").to_bytes();
        serde_json::from_slice(&body).expect("JSON")
    }

    #[tokio::test]
    async fn a_problem_has_the_members_of_rfc_9457() {
        let problem = Problem::parameter("from", "not a time");
        assert_eq!(
            json(problem).await,
            serde_json::json!({
                "type": "urn:meridian:problem:malformed-query",
                "title": "The query is not understood",
                "status": 400,
                "detail": "`from`: not a time",
                "errors": [{"parameter": "from", "detail": "not a time"}],
            })
        );
    }

    #[tokio::test]
    async fn a_problem_does_not_repeat_what_was_typed() {
        let invalid = NewVenue::parse(br#"{"name": ["Donald"]}"#).expect_err("refused");
        let problem = Problem::from(invalid);
        assert_eq!(problem.kind, Kind::Invalid);
        let text = json(problem).await.to_string();
        assert!(!text.contains("Donald") && text.contains("wrong_type"), "{text}");
        let malformed = Problem::from(NewVenue::parse(b"{").expect_err("refused"));
        assert_eq!(malformed.kind, Kind::MalformedBody);
    }

    #[test]
    fn headers_follow_the_kind() {
        let reply = Problem::method("GET, HEAD").into_reply();
        assert_eq!(reply.headers()[ALLOW], "GET, HEAD");
        assert_eq!(reply.headers()[CONTENT_TYPE], "application/problem+json");
        let reply = Problem::new(Kind::OwnerKeyMissing, "").into_reply();
        assert!(reply.headers()[WWW_AUTHENTICATE].to_str().expect("text").starts_with("Bearer"));
    }

    #[test]
    fn every_kind_is_an_error_with_a_slug_of_its_own() {
        let slugs: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.words().0).collect();
        assert_eq!(slugs.len(), Kind::ALL.len());
        assert!(Kind::ALL.iter().all(|kind| kind.status().as_u16() >= 400));
    }
}
