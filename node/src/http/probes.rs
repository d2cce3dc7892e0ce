//! Answers for machines: whether the node is alive, whether it is fit to serve, and what its API is.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde_json::json;

use super::App;
use super::app::reasons;
use super::problem::Problem;
use super::reply::{JSON, Reply, full, json as reply_json};

/// The description of the public API (OpenAPI 3.1).
pub(super) const OPENAPI: &[u8] = include_bytes!("openapi.json");

/// `GET /healthz`: the process answers.
pub(super) fn healthz() -> Result<Reply, Problem> {
    reply_json(StatusCode::OK, &json!({"status": "ok"}))
}

/// `GET /readyz`: whether clients should be sent here, and if not, why not.
pub(super) fn readyz(app: &App, stopping: bool) -> Result<Reply, Problem> {
    let reasons = reasons(app, &app.handle.status(), stopping);
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut reply = reply_json(status, &json!({"ready": reasons.is_empty(), "reasons": reasons}))?;
    if !reasons.is_empty() {
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    Ok(reply)
}

/// `GET /v1/openapi.json`.
pub(super) fn openapi() -> Reply {
    let mut reply = full(StatusCode::OK, OPENAPI);
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
    reply
}
