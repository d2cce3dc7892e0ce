//! The edge's own answers, given instead of a node's.
//!
//! # Not here
//! Kinds, JSON and headers of a problem: [`api::problem`], [`service::problem`].

pub(super) use api::problem::Kind;
pub(super) use service::problem::Problem;

/// Whether the connection is not read further: after an ambiguous head, or in the middle of a body.
pub(super) fn closes(problem: &Problem) -> bool {
    problem.closes() || matches!(problem.kind(), Kind::BodyTimeout | Kind::TooLarge | Kind::Method)
}
