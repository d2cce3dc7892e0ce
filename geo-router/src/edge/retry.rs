//! One table that decides whether a request is tried again.
//!
//! | outcome of the attempt | idempotent ([`api::pages::is_idempotent`], no precondition) | other requests |
//! | --- | --- | --- |
//! | it was never sent | again | again |
//! | the connection broke, or the node stayed silent | again | no: it may have been done |
//! | the node was found to be out while the request waited there | again | it waits on: it may have been done |
//! | the node said 502, 503 or 504 | again | no: a stopping node says 503 to writes that may be durable |
//! | the node said 503 `overloaded` or `busy` | again, once | no |
//! | the node said 404 `no-such-venue`, the first one to say so | again | again: nothing was done |
//! | the node said 507 | again | again: nothing was done, and the node still reads and erases |
//! | the client did not send all of it | no | no |
//! | any other answer | no | no |
//!
//! A request whose body is gone is never tried again.
//!
//! A region that came back a moment ago may not have the venue yet. After its 404 the request goes to another region,
//! once. If the venue does not exist, the second 404 is the answer.
//!
//! An attempt after one that reached a node needs a token of the [`budget`](super::budget), unless the node said that it
//! does not know the venue. An attempt after a connection that could not be made needs none, because no node has had the
//! request yet. A node that is overloaded is asked less, but what it refuses must not overload the others: one more node
//! is asked, and the token of that retry is not given back.

use hyper::StatusCode;

/// How often a request may wait for a silent node until the end. Each time takes `edge.timeouts.answer_ms`, and its
/// client waits.
pub(super) const MOST_SILENCES: usize = 2;

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptOutcome {
    /// No byte of the request reached the node.
    NeverLeft,
    /// The connection broke after part of the request may have reached the node.
    Broke,
    /// No answer in time.
    Silent,
    /// The node was found to be out while the request waited for its answer.
    Lost,
    /// The client did not send the whole request, which says nothing about the node.
    Withdrawn,
    /// The node answered that it does not know the venue, and no other region was asked before.
    UnknownVenue,
    /// The node answered that its disk has no room for the record.
    NoRoom,
    /// The node answered that too many requests wait there.
    Overloaded,
    /// The node answered.
    Status(StatusCode),
}

impl AttemptOutcome {
    /// Whether the node failed.
    #[must_use]
    pub(super) fn is_failure(self) -> bool {
        match self {
            AttemptOutcome::NeverLeft | AttemptOutcome::Broke | AttemptOutcome::Silent | AttemptOutcome::Lost => true,
            // A node that refuses what is too much goes on with the rest. Without it all of its requests would go to the
            // others.
            AttemptOutcome::Overloaded => false,
            AttemptOutcome::Withdrawn | AttemptOutcome::UnknownVenue | AttemptOutcome::NoRoom => false,
            AttemptOutcome::Status(status) => matches!(status.as_u16(), 502..=504),
        }
    }

    /// Whether the client must learn the outcome of another attempt, because this one may have done the request. A node
    /// that is overloaded has done none of a request that may be sent twice.
    #[must_use]
    pub(super) fn may_be_done(self) -> bool {
        use AttemptOutcome::{NeverLeft, NoRoom, Overloaded, UnknownVenue};
        !matches!(self, NeverLeft | UnknownVenue | NoRoom | Overloaded)
    }

    /// Whether another attempt after this one is paid from the budget.
    #[must_use]
    pub(super) fn costs_a_token(self) -> bool {
        !matches!(self, AttemptOutcome::NeverLeft | AttemptOutcome::UnknownVenue)
    }

    /// Whether an attempt with this outcome has put no load on nodes for nothing.
    #[must_use]
    pub(super) fn is_given_back(self) -> bool {
        match self {
            AttemptOutcome::NeverLeft | AttemptOutcome::UnknownVenue => true,
            AttemptOutcome::Status(_) => !self.is_failure(),
            _ => false,
        }
    }

    /// Its name in metrics.
    #[must_use]
    pub(super) fn name(self) -> &'static str {
        match self {
            AttemptOutcome::NeverLeft => "never-left",
            AttemptOutcome::Broke => "broke",
            AttemptOutcome::Silent => "silent",
            AttemptOutcome::Lost => "lost",
            AttemptOutcome::Withdrawn => "withdrawn",
            AttemptOutcome::UnknownVenue => "unknown-venue",
            AttemptOutcome::NoRoom => "no-room",
            AttemptOutcome::Overloaded => "overloaded",
            AttemptOutcome::Status(_) => "status",
        }
    }
}

/// Whether a request is tried again.
#[must_use]
pub(super) fn again(idempotent: bool, outcome: AttemptOutcome, body_is_there: bool) -> bool {
    use AttemptOutcome::{NoRoom, Overloaded, UnknownVenue};
    let allows_another = outcome.is_failure() || matches!(outcome, UnknownVenue | NoRoom | Overloaded);
    // A request of several writes may have done the first before the node was overloaded.
    let needs_idempotence = outcome.may_be_done() || outcome == Overloaded;
    body_is_there && allows_another && (!needs_idempotence || idempotent)
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
        let unclear = [AttemptOutcome::Broke, AttemptOutcome::Silent, AttemptOutcome::Lost, AttemptOutcome::Overloaded];
        for outcome in unclear.into_iter().chain(failed) {
            assert!(again(true, outcome, true), "{outcome:?}");
            assert!(!again(true, outcome, false), "{outcome:?}");
            assert!(!again(false, outcome, true), "{outcome:?}");
        }
        for status in [100, 200, 201, 204, 301, 304, 400, 404, 409, 410, 429, 500, 501, 505] {
            let outcome = AttemptOutcome::Status(StatusCode::from_u16(status).unwrap());
            assert!(!again(true, outcome, true) && !again(false, outcome, true), "{status}");
        }
    }

    #[test]
    fn what_reached_a_node_costs_a_token_and_success_gives_it_back() {
        let status = |status| AttemptOutcome::Status(StatusCode::from_u16(status).unwrap());
        for (outcome, costs, given_back) in [
            (AttemptOutcome::NeverLeft, false, true),
            (AttemptOutcome::UnknownVenue, false, true),
            (AttemptOutcome::Broke, true, false),
            (AttemptOutcome::Silent, true, false),
            (AttemptOutcome::Lost, true, false),
            (AttemptOutcome::NoRoom, true, false),
            (AttemptOutcome::Overloaded, true, false),
            (status(503), true, false),
            (status(201), true, true),
            (status(409), true, true),
        ] {
            assert_eq!((outcome.costs_a_token(), outcome.is_given_back()), (costs, given_back), "{outcome:?}");
        }
    }
}
