//! The public listener: from a request to its handler.
//!
//! # Invariants
//! - Every request is counted and timed by its route's template; its path is never logged.

use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::http::request::Parts;
use hyper::{Method, Request};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::problem::{Kind, Problem};
use super::reply::Reply;
use super::route::Route;
use super::{App, changes, cluster, guests, listen, probes, venues, visits};
use registry::{VenueId, VisitId};

/// One request on its way to its handler.
pub(super) struct Call {
    pub(super) app: Arc<App>,
    pub(super) parts: Parts,
    pub(super) body: Incoming,
    pub(super) stopping: watch::Receiver<bool>,
}

/// Serves the public API on `listener` until `shutdown` is true. Returns when all connections are gone, which takes
/// until the requests in flight are answered, but five seconds at most.
pub async fn serve(listener: TcpListener, app: Arc<App>, shutdown: watch::Receiver<bool>) {
    let (limit, open, stopping) = (app.connections, app.metrics.http_connections.clone(), shutdown.clone());
    let answer = move |request: Request<Incoming>| {
        let (app, stopping) = (app.clone(), stopping.clone());
        async move { answer(app, request, stopping).await }
    };
    listen::serve(listener, limit, Some(open), shutdown, answer).await;
}

async fn answer(app: Arc<App>, request: Request<Incoming>, stopping: watch::Receiver<bool>) -> Reply {
    let begun = Instant::now();
    let (parts, body) = request.into_parts();
    let template = Route::find(parts.uri.path()).map_or("none", |route| route.resource().template);
    let method = parts.method.clone();
    let call = Call { app: app.clone(), parts, body, stopping };
    let mut reply = handle(call).await.unwrap_or_else(Problem::into_reply);
    reply.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let (status, took) = (reply.status(), begun.elapsed());
    app.metrics.answered(template, status.as_u16(), took);
    // Whole microseconds, because more digits carry no information and could match whatever a test searches the log
    // for.
    let took_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
    if status.is_server_error() {
        tracing::warn!(%method, route = template, status = status.as_u16(), took_ms, "answered with a server error");
    } else {
        tracing::debug!(%method, route = template, status = status.as_u16(), took_ms, "answered");
    }
    reply
}

async fn handle(call: Call) -> Result<Reply, Problem> {
    let Some(route) = Route::find(call.parts.uri.path()) else {
        return Err(Problem::new(Kind::NoRoute, "see /v1/openapi.json"));
    };
    // HEAD is handled as GET; hyper leaves the body out.
    let method = if call.parts.method == Method::HEAD { Method::GET } else { call.parts.method.clone() };
    match (route, method.as_str()) {
        (Route::Visit(v, i), "PUT") => {
            let (venue, visit) = (venue_id(v)?, visit_id(i)?);
            visits::put(call, venue, visit).await
        }
        (Route::Visit(v, i), "PATCH") => {
            let (venue, visit) = (venue_id(v)?, visit_id(i)?);
            visits::correct(call, venue, visit).await
        }
        (Route::Visit(v, i), "GET") => {
            let (venue, visit) = (venue_id(v)?, visit_id(i)?);
            visits::show(call, venue, visit).await
        }
        (Route::Visit(v, i), "DELETE") => {
            let (venue, visit) = (venue_id(v)?, visit_id(i)?);
            visits::erase(call, venue, visit).await
        }
        (Route::Visits(v), "POST") => {
            let venue = venue_id(v)?;
            visits::post(call, venue).await
        }
        (Route::Venues, "POST") => venues::create(call).await,
        (Route::Venue(v), "GET") => {
            let venue = venue_id(v)?;
            venues::show(call, venue).await
        }
        (Route::Venue(v), "PATCH") => {
            let venue = venue_id(v)?;
            venues::change(call, venue).await
        }
        (Route::Venue(v), "DELETE") => {
            let venue = venue_id(v)?;
            venues::close(call, venue).await
        }
        (Route::Guests(v), "GET") => {
            let venue = venue_id(v)?;
            guests::list(call, venue).await
        }
        (Route::Contacts(v), "GET") => {
            let venue = venue_id(v)?;
            guests::contacts(call, venue).await
        }
        (Route::Changes(v), "GET") if call.parts.method == Method::GET => {
            let venue = venue_id(v)?;
            changes::changes(call, venue).await
        }
        (Route::Cluster, "GET") => cluster::show(call).await,
        (Route::OpenApi, "GET") => Ok(probes::openapi()),
        (Route::Healthz, "GET") => probes::healthz(),
        (Route::Readyz, "GET") => probes::readyz(&call.app, *call.stopping.borrow()),
        (route, _) => Err(Problem::method(route.resource().allow)),
    }
}

fn venue_id(text: &str) -> Result<VenueId, Problem> {
    text.parse().map_err(|_| Problem::new(Kind::MalformedId, "a venue id is 26 characters of Crockford's base32"))
}

fn visit_id(text: &str) -> Result<VisitId, Problem> {
    text.parse().map_err(|_| Problem::new(Kind::MalformedId, "a visit id is a lowercase UUID of version 8"))
}
