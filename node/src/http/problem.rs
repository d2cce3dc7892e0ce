//! Which error is which problem (RFC 9457).
//!
//! # Invariants
//! - No problem repeats what the client sent.
//!
//! # Not here
//! Kinds and JSON: [`api::problem`]. The answer: [`service::problem`].

use std::borrow::Cow;

use api::problem::{ClockDifference, RequestError};
use http_body_util::Either;
use registry::{Code, FieldError, Invalid};
use replication::{StorageError, WriteError};
use tokio::task::JoinError;

use super::reply::Reply;
use crate::driver::Refused;

pub(super) use api::problem::Kind;

/// A problem on its way to a client.
#[derive(Clone, Debug)]
pub(super) struct Problem(service::problem::Problem);

/// What a handler answers.
pub(super) type Answered = Result<Reply, Problem>;

impl From<service::problem::Problem> for Problem {
    fn from(problem: service::problem::Problem) -> Problem {
        Problem(problem)
    }
}

impl Problem {
    /// A problem with a detail.
    pub(super) fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem(service::problem::Problem::new(kind, detail))
    }

    /// A query parameter that is not valid.
    pub(super) fn parameter(parameter: &'static str, detail: impl Into<Cow<'static, str>>) -> Problem {
        Problem(service::problem::Problem::parameter(parameter, detail))
    }

    /// The node takes no writes for now.
    pub(super) fn clock_in_doubt() -> Problem {
        Problem::new(Kind::ClockInDoubt, "the node takes no writes until its clock agrees with its peers' clocks")
    }

    /// A row that does not decode.
    pub(super) fn damaged() -> Problem {
        Problem::new(
            Kind::Damaged,
            "it comes back from another region in a moment: repeat the request, or ask another one",
        )
    }

    /// A failure that must not happen; the log says more.
    pub(super) fn internal() -> Problem {
        Problem::new(Kind::Internal, "repeat the request; the operator finds the reason in the node's log")
    }

    /// A thread that was to read for a request did not end well. Threads are cancelled when the node stops; otherwise it
    /// panicked.
    pub(super) fn of_thread(error: &JoinError, what: &'static str) -> Problem {
        if error.is_cancelled() {
            return Problem::new(Kind::Stopping, "repeat the request elsewhere");
        }
        tracing::error!(%error, what, "a thread panicked: the request fails");
        Problem::internal()
    }

    /// The same problem, with the least number of seconds until the client should repeat.
    pub(super) fn after(self, seconds: u32) -> Problem {
        Problem(self.0.after(seconds))
    }

    /// The same problem, with the difference between the node's clock and a time that the client stated.
    pub(super) fn with_clock(self, clock: Option<ClockDifference>) -> Problem {
        Problem(self.0.with_clock(clock))
    }

    /// How a time that the client stated differs from the node's, if that is the problem.
    pub(super) fn clock(&self) -> Option<ClockDifference> {
        self.0.clock()
    }

    /// Whether the connection must not be read further.
    pub(super) fn closes(&self) -> bool {
        self.0.closes()
    }

    pub(super) fn kind(&self) -> Kind {
        self.0.kind()
    }

    pub(super) fn into_reply(self) -> Reply {
        self.0.into_response().map(|body| Either::Left(body.into()))
    }
}

fn request_error(error: FieldError) -> RequestError {
    RequestError {
        pointer: Some(error.pointer),
        parameter: None,
        code: Some(error.code.name().into()),
        detail: error.detail,
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
        let errors = invalid.errors.into_iter().map(request_error).collect();
        Problem(service::problem::Problem::with_errors(kind, detail, errors)).with_clock(invalid.clock)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        match refused {
            Refused::Replica(WriteError::Gone) => {
                Problem::new(Kind::Erased, "it was erased, and its id cannot be used again")
            }
            Refused::Replica(WriteError::Changed) => {
                Problem::new(Kind::PreconditionFailed, "another request changed it at the same time: read it again")
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
            Refused::Replica(WriteError::Damaged) => Problem::damaged(),
            Refused::Replica(WriteError::Storage(error)) => error.into(),
            Refused::DiskFull => {
                Problem::new(Kind::DiskFull, "nothing was written; repeat the request at another region")
            }
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
        // The reader has told the replica, which says so in the log.
        if matches!(error, StorageError::Corrupt { what: "row", .. }) {
            return Problem::damaged();
        }
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
    use http_body_util::BodyExt;

    use super::{Kind, Problem};
    use registry::NewVenue;

    async fn json(problem: Problem) -> serde_json::Value {
        let body = problem.into_reply().into_body().collect().await.expect("collects").to_bytes();
        serde_json::from_slice(&body).expect("JSON")
    }

    #[tokio::test]
    async fn a_problem_does_not_repeat_what_was_typed() {
        let invalid = NewVenue::parse(br#"{"name": ["Donald"]}"#).expect_err("refused");
        let problem = Problem::from(invalid);
        assert_eq!(problem.kind(), Kind::Invalid);
        let text = json(problem).await.to_string();
        assert!(!text.contains("Donald") && text.contains("wrong_type"), "{text}");
        let malformed = Problem::from(NewVenue::parse(b"{").expect_err("refused"));
        assert_eq!(malformed.kind(), Kind::MalformedBody);
    }
}
