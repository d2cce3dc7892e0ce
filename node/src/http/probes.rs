//! Answers for machines: whether the node is alive, whether it is fit to serve, and what its API is.

use api::status::Readiness;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};

use super::app::reasons;
use super::call::Call;
use super::problem::Problem;
use super::reply::{JSON, Reply, full, json};

/// The description of the public API (OpenAPI 3.1).
pub(super) const OPENAPI: &[u8] = include_bytes!("openapi.json");

/// The description of the admin listener.
pub(super) const OPENAPI_ADMIN: &[u8] = include_bytes!("openapi-admin.json");

/// `GET /healthz`: the process answers.
pub(super) async fn healthz(_: Call) -> Result<Reply, Problem> {
    Ok(json(StatusCode::OK, &serde_json::json!({"status": "ok"})))
}

/// `GET /readyz`: whether clients should be sent here, and if not, why not.
pub(super) async fn readyz(call: Call) -> Result<Reply, Problem> {
    let reasons = reasons(&call.app, &call.app.handle.status(), call.is_stopping());
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let reasons = reasons.into_iter().map(str::to_owned).collect();
    let mut reply = json(status, &Readiness { ready, reasons });
    if !ready {
        reply.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    Ok(reply)
}

/// `GET /v1/admin/openapi.json`.
pub(super) async fn openapi_admin(_: Call) -> Result<Reply, Problem> {
    let mut reply = full(StatusCode::OK, OPENAPI_ADMIN);
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

/// `GET /v1/openapi.json`.
pub(super) async fn openapi(_: Call) -> Result<Reply, Problem> {
    let mut reply = full(StatusCode::OK, OPENAPI);
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
    Ok(reply)
}
