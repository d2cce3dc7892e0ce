//! The edge's own answers, given instead of a node's.
//!
//! # Not here
//! Kinds, JSON and headers of a problem: [`api::problem`], [`service::problem`].

use bytes::Bytes;
use hyper::Response;
use hyper::header::{ALLOW, HeaderValue};

pub(super) use api::problem::Kind;
pub(super) use service::problem::Problem;

/// Whether the connection is not read further: after an ambiguous head, or in the middle of a body.
pub(super) fn closes(problem: &Problem) -> bool {
    matches!(problem.kind(), Kind::BadRequest | Kind::Coding | Kind::BodyTimeout | Kind::TooLarge | Kind::Method)
}

/// The answer. The methods are those that the edge forwards, because it does not know the resources.
pub(super) fn into_response(problem: Problem) -> Response<Bytes> {
    let is_method = problem.kind() == Kind::Method;
    let mut response = problem.into_response();
    if is_method {
        let forwarded = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        response.headers_mut().insert(ALLOW, forwarded);
    }
    response
}
