//! The admin listener: metrics, status, and operators' statements on the clock and on regions. It must not be public,
//! because every client that reaches it is trusted.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, StatusCode};
use replication::replica::Status;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::app::reasons;
use super::guests::completeness;
use super::problem::{Kind, Problem};
use super::reply::{Reply, full, json};
use super::{App, listen, operator, orders, probes};
use api::instant;

/// Operators are few: scrapers, `meridian status` and a drill fit in.
const CONNECTIONS: usize = 64;

/// The detail of the problem for a path that does not exist.
const HERE: &str = "/metrics, /v1/admin/status, /v1/admin/regions, /v1/admin/regions/{region}/order and \
                    /v1/admin/clock/believe are here";

/// Serves the admin routes on `listener` until `shutdown` is true.
pub async fn serve(listener: TcpListener, app: Arc<App>, shutdown: watch::Receiver<bool>) {
    let stopping = shutdown.clone();
    let answer = move |request: Request<Incoming>| {
        let stopping = *stopping.borrow();
        let app = app.clone();
        async move {
            let mut reply = handle(&app, request, stopping).await.unwrap_or_else(Problem::into_reply);
            reply.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            reply
        }
    };
    listen::serve(listener, CONNECTIONS, None, shutdown, answer).await;
}

async fn handle(app: &App, request: Request<Incoming>, stopping: bool) -> Result<Reply, Problem> {
    let get = matches!(*request.method(), Method::GET | Method::HEAD);
    if let Some(region) = ordered(request.uri().path()).map(str::to_owned) {
        if request.method() != Method::PUT {
            return Err(Problem::method("PUT"));
        }
        let (parts, body) = request.into_parts();
        return orders::give(app, &region, &parts, body).await;
    }
    match request.uri().path() {
        "/metrics" if get => metrics(app),
        "/v1/admin/status" if get => status(app, stopping),
        "/v1/admin/clock/believe" if request.method() == Method::POST => {
            let (parts, body) = request.into_parts();
            operator::believe(app, &parts, body).await
        }
        "/v1/admin/serve" if request.method() == Method::POST => operator::serve_as_is(app),
        "/v1/admin/regions" if get => orders::list(app).await,
        "/healthz" if get => probes::healthz(),
        "/readyz" if get => probes::readyz(app, stopping),
        "/metrics" | "/v1/admin/status" | "/v1/admin/regions" | "/healthz" | "/readyz" => {
            Err(Problem::method("GET, HEAD"))
        }
        "/v1/admin/clock/believe" | "/v1/admin/serve" => Err(Problem::method("POST")),
        _ => Err(Problem::new(Kind::NoRoute, HERE)),
    }
}

/// The region in `/v1/admin/regions/{region}/order`.
fn ordered(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/admin/regions/")?.strip_suffix("/order")
}

fn status(app: &App, stopping: bool) -> Result<Reply, Problem> {
    let drain = orders::is_drained(app, &app.region)?;
    json(StatusCode::OK, &NodeStatus::of(app, &app.handle.status(), stopping, drain))
}

fn metrics(app: &App) -> Result<Reply, Problem> {
    let status = app.handle.status();
    app.metrics.mirror(&status, app.now(&status));
    let text = app.metrics.render().map_err(|error| {
        tracing::error!(%error, "the metrics cannot be rendered: the scrape fails");
        Problem::internal()
    })?;
    let mut reply = full(StatusCode::OK, text);
    let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, media_type);
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

/// The status that a node shows to its operators.
#[derive(Serialize)]
struct NodeStatus<'a> {
    region: &'a str,
    name: &'a str,
    replica: String,
    ready: bool,
    /// Whether an operator has ordered that new clients of this region are sent elsewhere.
    drain: bool,
    reasons: Vec<&'static str>,
    clock: Clock,
    /// `null` until something has expired.
    horizon: Option<String>,
    live_documents: u64,
    tombstones: u64,
    buckets: usize,
    complete_through: BTreeMap<String, String>,
    peers: Vec<Peer<'a>>,
}

#[derive(Serialize)]
struct Clock {
    trusted_ms: u64,
    /// How far this machine's clock is ahead of the median of its peers' clocks; 0 if none was heard.
    offset_ms: i64,
    in_doubt: bool,
}

#[derive(Serialize)]
struct Peer<'a> {
    name: &'a str,
    region: &'a str,
    connected: bool,
    lag_entries: u64,
    lag_seconds: f64,
    clock_offset_ms: Option<i64>,
}

impl<'a> NodeStatus<'a> {
    fn of(app: &'a App, status: &'a Status, stopping: bool, drain: bool) -> NodeStatus<'a> {
        let reasons = reasons(app, status, stopping);
        let peers = status.peers.iter().map(|peer| Peer {
            name: peer.node.as_str(),
            region: peer.region.as_str(),
            connected: peer.replica.is_some(),
            lag_entries: peer.lag_entries,
            lag_seconds: peer.lag.as_secs_f64(),
            clock_offset_ms: peer.clock_offset_ms,
        });
        NodeStatus {
            region: app.region.as_str(),
            name: app.name.as_str(),
            replica: status.replica.to_string(),
            ready: reasons.is_empty(),
            drain,
            reasons,
            clock: Clock {
                trusted_ms: app.now(status).0,
                offset_ms: ahead_of(status.peers.iter().filter_map(|peer| peer.clock_offset_ms).collect()),
                in_doubt: status.doubt.is_some(),
            },
            horizon: (status.horizon.0 > 0).then(|| instant::show(status.horizon)),
            live_documents: status.documents,
            tombstones: status.tombstones,
            buckets: status.buckets,
            complete_through: completeness(status),
            peers: peers.collect(),
        }
    }
}

/// How far this node's clock is ahead, from how far each peer's clock is ahead of it: the median with its sign changed.
fn ahead_of(mut offsets: Vec<i64>) -> i64 {
    offsets.sort_unstable();
    offsets.get(offsets.len() / 2).map_or(0, |median| median.saturating_neg())
}

#[cfg(test)]
mod tests {
    use super::ahead_of;

    #[test]
    fn our_offset_is_against_the_median_of_the_peers() {
        assert_eq!(ahead_of(vec![]), 0);
        assert_eq!(ahead_of(vec![5]), -5);
        assert_eq!(ahead_of(vec![3, -100_000, 1]), -1);
        assert_eq!(ahead_of(vec![i64::MIN]), i64::MAX);
    }
}
