//! One table that decides whether a request is tried again.
//!
//! | outcome of the attempt | idempotent ([`api::pages::is_idempotent`], no precondition) | other requests |
//! | --- | --- | --- |
//! | it was never sent | again | again |
//! | the connection broke, or the node stayed silent | again | no: it may have been done |
//! | the node said 502, 503 or 504 | again | no: a stopping node says 503 to writes that may be durable |
//! | the node said 404 `no-such-venue`, the first one to say so | again | again: nothing was done |
//! | the node said 507 | again | again: nothing was done, and the node still reads and erases |
//! | the client did not send all of it | no | no |
//! | any other answer | no | no |
//!
//! A request whose body is gone is never tried again.
//!
//! A region that came back a moment ago may not have the venue yet. After its 404 the request goes to another region,
//! once. If the venue does not exist, the second 404 is the answer.

use hyper::StatusCode;

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptOutcome {
    /// No byte of the request reached the node.
    NeverLeft,
    /// The connection broke after part of the request may have reached the node.
    Broke,
    /// No answer in time.
    Silent,
    /// The client did not send the whole request, which says nothing about the node.
    Withdrawn,
    /// The node answered that it does not know the venue, and no other region was asked before.
    UnknownVenue,
    /// The node answered that its disk has no room for the record.
    NoRoom,
    /// The node answered.
    Status(StatusCode),
}

impl AttemptOutcome {
    /// Whether the node failed.
    #[must_use]
    pub(super) fn is_failure(self) -> bool {
        match self {
            AttemptOutcome::NeverLeft | AttemptOutcome::Broke | AttemptOutcome::Silent => true,
            AttemptOutcome::Withdrawn | AttemptOutcome::UnknownVenue | AttemptOutcome::NoRoom => false,
            AttemptOutcome::Status(status) => matches!(status.as_u16(), 502..=504),
        }
    }

    /// Whether the request may have been done.
    #[must_use]
    pub(super) fn may_be_done(self) -> bool {
        !matches!(self, AttemptOutcome::NeverLeft | AttemptOutcome::UnknownVenue | AttemptOutcome::NoRoom)
    }

    /// Its name in metrics.
    #[must_use]
    pub(super) fn name(self) -> &'static str {
        match self {
            AttemptOutcome::NeverLeft => "never-left",
            AttemptOutcome::Broke => "broke",
            AttemptOutcome::Silent => "silent",
            AttemptOutcome::Withdrawn => "withdrawn",
            AttemptOutcome::UnknownVenue => "unknown-venue",
            AttemptOutcome::NoRoom => "no-room",
            AttemptOutcome::Status(_) => "status",
        }
    }
}

/// Whether a request is tried again.
#[must_use]
pub(super) fn again(idempotent: bool, outcome: AttemptOutcome, body_is_there: bool) -> bool {
    let fallback_answer =
        outcome.is_failure() || matches!(outcome, AttemptOutcome::UnknownVenue | AttemptOutcome::NoRoom);
    body_is_there && fallback_answer && (!outcome.may_be_done() || idempotent)
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::{AttemptOutcome, again};

    #[test]
    fn the_table() {
        let failed = [502, 503, 504].map(|status| AttemptOutcome::Status(StatusCode::from_u16(status).unwrap()));
        let harmless = [AttemptOutcome::NeverLeft, AttemptOutcome::UnknownVenue, AttemptOutcome::NoRoom];
        for outcome in harmless {
            for idempotent in [true, false] {
                assert!(again(idempotent, outcome, true), "{outcome:?}");
                assert!(!again(idempotent, outcome, false), "{outcome:?}");
            }
        }
        for outcome in [AttemptOutcome::Broke, AttemptOutcome::Silent].into_iter().chain(failed) {
            assert!(again(true, outcome, true), "{outcome:?}");
            assert!(!again(true, outcome, false), "{outcome:?}");
            assert!(!again(false, outcome, true), "{outcome:?}");
        }
        for status in [100, 200, 201, 204, 301, 304, 400, 404, 409, 410, 429, 500, 501, 505] {
            let outcome = AttemptOutcome::Status(StatusCode::from_u16(status).unwrap());
            assert!(!again(true, outcome, true) && !again(false, outcome, true), "{status}");
        }
    }
}
