//! Problems, as RFC 9457 `application/problem+json`: the kinds of all servers, and the JSON.
//!
//! # Invariants
//! - Each kind has one `type`, one status and one title, which never change: clients choose their own words by `type`.
//! - No problem repeats what the client sent.

use std::borrow::Cow;
use std::fmt;

use hyper::StatusCode;
use replication::Wall;
use serde::{Deserialize, Serialize};

use crate::Moment;

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The beginning of every `type`.
const PREFIX: &str = "urn:meridian:problem:";

/// Defines the kinds: status, the end of the `type`, title.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $status:ident, $slug:literal, $title:literal;)*) => {
        /// A kind of problem.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Kind] = &[$(Kind::$name,)*];

            /// The status that answers it.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Kind::$name => StatusCode::$status,)* }
            }

            /// The last part of its `type`.
            #[must_use]
            pub fn slug(self) -> &'static str {
                match self { $(Kind::$name => $slug,)* }
            }

            /// Its title for people.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Kind::$name => $title,)* }
            }
        }
    };
}

kinds! {
    // Of every server.
    /// A path without a resource.
    NoRoute: NOT_FOUND, "no-such-route", "Nothing is here";
    /// A method that the resource does not have.
    Method: METHOD_NOT_ALLOWED, "method-not-allowed", "The resource does not have this method";
    /// The query is not valid.
    MalformedQuery: BAD_REQUEST, "malformed-query", "The query is not understood";
    /// A body that arrives too slowly.
    BodyTimeout: REQUEST_TIMEOUT, "body-timeout", "The body did not arrive in time";
    /// Too much body.
    TooLarge: PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large";
    /// A failure of this process.
    Internal: INTERNAL_SERVER_ERROR, "internal", "The server failed to answer";

    /// A head that has two meanings, or is not valid.
    BadRequest: BAD_REQUEST, "bad-request", "The request is not understood";
    /// A target that is longer than any that leads somewhere.
    TargetTooLong: URI_TOO_LONG, "target-too-long", "The target is too long";
    /// Too many fields, or too many bytes of them.
    HeadTooLarge: REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", "The head is too large";
    /// A transfer coding that is not supported.
    Coding: NOT_IMPLEMENTED, "transfer-coding", "The transfer coding is not supported";
    /// A key for a repeat that would not be recognised.
    IdempotencyKey: BAD_REQUEST, "idempotency-key", "The request cannot be repeated by a key";

    // Of a node.
    /// The body is not JSON.
    MalformedBody: BAD_REQUEST, "malformed-body", "The body is not understood";
    /// An id in the path that is not a valid id.
    MalformedId: BAD_REQUEST, "malformed-id", "The path has an id that is not valid";
    /// A header is not valid.
    MalformedHeader: BAD_REQUEST, "malformed-header", "A header is not understood";
    /// No owner key.
    OwnerKeyMissing: UNAUTHORIZED, "owner-key-missing", "The owner's key is required";
    /// No secret.
    SecretMissing: UNAUTHORIZED, "secret-missing", "The guest's secret is required";
    /// A secret other than the one that makes the id.
    SecretWrong: FORBIDDEN, "secret-wrong", "The secret does not make this visit id";
    /// A venue that is unknown, or not this owner's.
    NoVenue: NOT_FOUND, "no-such-venue", "The venue is not known here";
    /// A visit that is unknown.
    NoVisit: NOT_FOUND, "no-such-visit", "The visit is not known here";
    /// A region that is not configured.
    NoRegion: NOT_FOUND, "no-such-region", "The region is not known here";
    /// A node that is no member of the deployment.
    NoNode: NOT_FOUND, "no-such-node", "The node is not known here";
    /// A region to which clients are still sent.
    RegionServes: CONFLICT, "region-serves", "Clients are still sent to the region";
    /// No representation that the client accepts.
    NotAcceptable: NOT_ACCEPTABLE, "not-acceptable", "None of the accepted media types is available";
    /// An id that is taken.
    Conflict: CONFLICT, "visit-differs", "The visit exists with other content";
    /// A document with as many changes as it may have.
    Full: CONFLICT, "document-full", "The record takes no more changes";
    /// An order after which no region would serve.
    NobodyLeft: CONFLICT, "no-region-left", "No region would be left to serve";
    /// As many faults as there may be.
    TooManyFaults: CONFLICT, "too-many-faults", "Too many faults are active";
    /// A backup while another one is made.
    BackupRunning: CONFLICT, "backup-running", "Another backup is running";
    /// Faults on a node that does not allow them.
    FaultsDisabled: FORBIDDEN, "faults-disabled", "Faults are not enabled on this node";
    /// A fault that is not active.
    NoFault: NOT_FOUND, "no-such-fault", "No such fault is active";
    /// A request without an operator's token.
    OperatorTokenMissing: UNAUTHORIZED, "operator-token-missing", "An operator's token is required";
    /// A token that no operator has.
    OperatorTokenWrong: UNAUTHORIZED, "operator-token-wrong", "No operator has this token";
    /// An operator who may only look.
    OperatorMayNot: FORBIDDEN, "operator-may-not", "The operator may only look";
    /// A request that a page of another site sent.
    ForeignOrigin: FORBIDDEN, "foreign-origin", "The request comes from a page of another site";
    /// A host name that this listener does not have.
    UnknownHost: MISDIRECTED_REQUEST, "unknown-host", "The listener does not have this name";
    /// Another drill has the lock.
    DrillRunning: CONFLICT, "drill-running", "Another drill is running";
    /// A drill that does not have the lock.
    NoDrill: NOT_FOUND, "no-such-drill", "No such drill is running";
    /// An operator states that the clock is right, but the machine's clock or the peers contradict it.
    ClockContradicted: CONFLICT, "clock-contradicted", "The stated time contradicts the clock";
    /// Erased by its guest or with its venue.
    Erased: GONE, "erased", "The visit is erased";
    /// A venue was wanted without an invitation.
    Uninvited: FORBIDDEN, "invitation-needed", "A new venue needs an invitation";
    /// The node takes no new venues.
    NoNewVenues: FORBIDDEN, "no-new-venues", "No new venues are taken";
    /// Beyond its retention.
    Expired: GONE, "expired", "The visit has expired";
    /// A closed venue.
    Closed: GONE, "venue-closed", "The venue is closed";
    /// A precondition that the present state does not meet.
    PreconditionFailed: PRECONDITION_FAILED, "precondition-failed", "The precondition is not met";
    /// No body at all.
    LengthRequired: LENGTH_REQUIRED, "body-required", "A body is required";
    /// A content coding that is not supported.
    ContentCoding: UNSUPPORTED_MEDIA_TYPE, "content-coding", "The content coding is not supported";
    /// A body in another format.
    MediaType: UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body must be JSON";
    /// A body that breaks a rule.
    Invalid: UNPROCESSABLE_ENTITY, "invalid", "The body breaks a rule";
    /// The node does not believe its clock.
    ClockInDoubt: SERVICE_UNAVAILABLE, "clock-in-doubt", "The node's clock is in doubt";
    /// The node does not know yet under which id to write.
    Starting: SERVICE_UNAVAILABLE, "starting", "The node is starting";
    /// The record is damaged here, and comes back from another region.
    Damaged: SERVICE_UNAVAILABLE, "damaged", "The record is damaged at this node";
    /// The disk is nearly full.
    DiskFull: INSUFFICIENT_STORAGE, "disk-nearly-full", "The node's disk is nearly full";
    /// The disk does not answer.
    NotDurable: SERVICE_UNAVAILABLE, "not-durable-yet", "The node's disk does not answer in time";
    /// Too many expensive requests are running.
    Busy: SERVICE_UNAVAILABLE, "busy", "Too many requests of this kind are running";
    /// Too many writes wait, or no region has capacity.
    Overloaded: SERVICE_UNAVAILABLE, "overloaded", "Too many requests are waiting";
    /// The node was removed from its deployment.
    Removed: SERVICE_UNAVAILABLE, "removed", "The node does not belong to the deployment any more";
    /// The node is stopping.
    Stopping: SERVICE_UNAVAILABLE, "stopping", "The node is stopping";

    // Of a router and its edge.
    /// A router without a key that it shares with others.
    NoPeers: NOT_FOUND, "no-peers", "This router has no peers";
    /// An expectation that the edge does not support.
    Expectation: EXPECTATION_FAILED, "expectation-failed", "The expectation is not met";
    /// This client sends too many requests.
    Limited: TOO_MANY_REQUESTS, "rate-limited", "Too many requests from this network";
    /// All clients together send too many requests.
    Shed: TOO_MANY_REQUESTS, "no-capacity", "No region has capacity for the request";
    /// No node answered; the request may have been done.
    BadGateway: BAD_GATEWAY, "no-answer", "No node answered";
    /// No node could be reached; nothing was done.
    Unavailable: SERVICE_UNAVAILABLE, "unreachable", "No node can be reached";
    /// The nodes are silent; the request may have been done.
    Timeout: GATEWAY_TIMEOUT, "answer-timeout", "No node answered in time";
    /// The request already came through this router.
    Loop: LOOP_DETECTED, "loop", "The request came through this router already";
}

impl Kind {
    /// The kind with a problem's `type`; `None` if it is not one of Meridian's.
    #[must_use]
    pub fn of(problem_type: &str) -> Option<Kind> {
        let slug = problem_type.strip_prefix(PREFIX)?;
        Kind::ALL.iter().copied().find(|kind| kind.slug() == slug)
    }
}

/// The JSON of a problem.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemDetails {
    /// `urn:meridian:problem:` and the kind's slug.
    #[serde(default)]
    pub r#type: Cow<'static, str>,
    /// The kind in words.
    #[serde(default)]
    pub title: Cow<'static, str>,
    /// The status of the answer.
    #[serde(default)]
    pub status: u16,
    /// What is the matter with this request, and what to do.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub detail: Cow<'static, str>,
    /// The parts of the request that are wrong.
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    pub errors: Vec<RequestError>,
    /// How a stated arrival differs from the server's time, if it was refused for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockDifference>,
}

/// How a time that a device states differs from the server's. A device that finds its own clock wrong by as much can correct
/// the time and repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockDifference {
    /// The server's time.
    pub now: Moment,
    /// By how many milliseconds the stated time is ahead of that; negative if it is behind.
    pub ahead_ms: i64,
}

impl ClockDifference {
    /// The difference of a stated time.
    #[must_use]
    pub fn of(stated: Wall, now: Wall) -> ClockDifference {
        let ahead_ms = i128::from(stated.0) - i128::from(now.0);
        let farthest = if ahead_ms < 0 { i64::MIN } else { i64::MAX };
        ClockDifference { now: Moment(now), ahead_ms: i64::try_from(ahead_ms).unwrap_or(farthest) }
    }
}

/// A part of a request that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestError {
    /// RFC 6901 JSON pointer into the body; empty for the body as a whole, `/visit_id` for the id in the path. Absent if the
    /// error is in the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// The name of a query parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<Cow<'static, str>>,
    /// The rule that is broken, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'static, str>>,
    /// The rule in words, without the value.
    pub detail: Cow<'static, str>,
}

impl ProblemDetails {
    /// A problem without further errors.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> ProblemDetails {
        ProblemDetails {
            r#type: format!("{PREFIX}{}", kind.slug()).into(),
            title: kind.title().into(),
            status: kind.status().as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            clock: None,
        }
    }
}

impl fmt::Display for ProblemDetails {
    /// For a terminal: `title: detail`, then one line for each error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)?;
        if !self.detail.is_empty() && self.detail != self.title {
            write!(f, ": {}", self.detail)?;
        }
        for error in &self.errors {
            let place = error.pointer.as_deref().or(error.parameter.as_deref()).unwrap_or_default();
            match place {
                "" => write!(f, "\n  - {}", error.detail)?,
                place => write!(f, "\n  - {place}: {}", error.detail)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Kind, ProblemDetails};

    #[test]
    fn every_kind_is_an_error_with_a_slug_of_its_own() {
        let slugs: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.slug()).collect();
        assert_eq!(slugs.len(), Kind::ALL.len());
        assert!(Kind::ALL.iter().all(|kind| kind.status().as_u16() >= 400));
        for kind in Kind::ALL {
            assert_eq!(Kind::of(&ProblemDetails::new(*kind, "").r#type), Some(*kind));
        }
        assert_eq!(Kind::of("about:blank"), None);
        assert_eq!(Kind::of("no-such-venue"), None);
    }

    /// Clients go by types and statuses, so none changes unnoticed.
    #[test]
    fn the_documentation_lists_every_kind() {
        let rows = Kind::ALL
            .iter()
            .map(|kind| format!("| `{}` | {} | {} |\n", kind.slug(), kind.status().as_u16(), kind.title()));
        let written = include_str!("../../docs/problems.md");
        let (_, table) = written.split_once("| --- | --- | --- |\n").unwrap();
        assert_eq!(table, rows.collect::<String>());
    }

    #[test]
    fn every_error_is_told() {
        let problem: ProblemDetails = serde_json::from_str(
            r#"{"type":"urn:meridian:problem:invalid","title":"Not a venue","detail":"2 rules are broken","status":422,
            "errors":[{"pointer":"/timezone","code":"timezone","detail":"not an IANA time zone"},
            {"pointer":"","code":"malformed","detail":"not JSON"},{"parameter":"from","detail":"not a time"}]}"#,
        )
        .unwrap();
        let told =
            "Not a venue: 2 rules are broken\n  - /timezone: not an IANA time zone\n  - not JSON\n  - from: not a time";
        assert_eq!(problem.to_string(), told);
        let bare: ProblemDetails = serde_json::from_str(r#"{"title": "Not Found"}"#).unwrap();
        assert_eq!(bare.to_string(), "Not Found");
    }
}
