//! The admin listener: metrics, status, and operators' statements on the clock and on regions.
//!
//! # Invariants
//! - Every request but a probe is an operator's, with the role that it needs, if operators are configured.
//! - Every order is in the audit trail before it is carried out, if the node can write; the end of a fault afterwards.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use api::Moment;
use api::operators::Role;
use api::status::{ClockStatus, NodeStatus, PeerStatus};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, StatusCode};
use service::handler;
use service::listen::{self, Listener, Peer, Serving};
use service::router::{Resource, Router};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::app::reasons;
use super::call::{Call, Operator};
use super::guests::completeness;
use super::problem::{Answered, Problem};
use super::reply::{Reply, full, json};
use super::{App, audit, drills, faults, members, operator, orders, probes};

/// Operators are few: scrapers, `meridian status` and a drill fit in.
const CONNECTIONS: usize = 64;

/// How long an operator's connection may be idle.
const IDLE: Duration = Duration::from_secs(60);

/// Every resource of the admin listener.
const RESOURCES: &[Resource<Call, Answered>] = &[
    Resource::new("/metrics", &[(Method::GET, handler!(metrics))]),
    Resource::new("/v1/admin/status", &[(Method::GET, handler!(status))]),
    Resource::new("/v1/admin/clock/believe", &[(Method::POST, handler!(operator::trust_clock))]),
    Resource::new("/v1/admin/serve", &[(Method::POST, handler!(operator::serve_as_is))]),
    Resource::new(
        "/v1/admin/faults",
        &[
            (Method::GET, handler!(faults::list)),
            (Method::POST, handler!(faults::begin)),
            (Method::DELETE, handler!(faults::end_all)),
        ],
    ),
    Resource::new("/v1/admin/faults/{fault}", &[(Method::DELETE, handler!(faults::end))]),
    Resource::new("/v1/admin/audit", &[(Method::GET, handler!(audit::list))]),
    Resource::new("/v1/admin/drill", &[(Method::GET, handler!(drills::list)), (Method::POST, handler!(drills::take))]),
    Resource::new("/v1/admin/drill/{drill}", &[(Method::DELETE, handler!(drills::release))]),
    Resource::new("/v1/admin/members", &[(Method::GET, handler!(members::list))]),
    Resource::new(
        "/v1/admin/members/{node}",
        &[(Method::PUT, handler!(members::add)), (Method::DELETE, handler!(members::remove))],
    ),
    Resource::new("/v1/admin/regions", &[(Method::GET, handler!(orders::list))]),
    Resource::new("/v1/admin/regions/{region}/order", &[(Method::PUT, handler!(orders::give))]),
    Resource::new("/healthz", &[(Method::GET, handler!(probes::healthz))]),
    Resource::new("/readyz", &[(Method::GET, handler!(probes::readyz))]),
];

static ROUTER: LazyLock<Router<Call, Answered>> = LazyLock::new(|| Router::new(RESOURCES));

/// Serves the admin resources on `socket` until `stop` is true.
pub async fn serve(socket: TcpListener, app: Arc<App>, stop: watch::Receiver<bool>) {
    let stopping = stop.clone();
    let answer = move |request: Request<Incoming>| {
        let (app, stopping) = (app.clone(), stopping.clone());
        async move {
            let (parts, body) = request.into_parts();
            let (resource, names) = ROUTER.find(parts.uri.path()).unzip();
            let mut call = Call::new(app, parts, body, names.unwrap_or_default(), stopping);
            let found = service::head::check(&call.parts).and_then(|()| ROUTER.handler(resource, &call.parts.method));
            let answered = match found.map_err(Problem::from) {
                Ok(handler) => match admit(&call) {
                    Ok(operator) => {
                        call.operator = operator;
                        handler(call).await
                    }
                    Err(problem) => Err(problem),
                },
                Err(problem) => Err(problem),
            };
            let mut reply = answered.unwrap_or_else(Problem::into_reply);
            reply.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            reply
        }
    };
    let listener = Listener::limited(socket, Arc::new(Semaphore::new(CONNECTIONS)), "64 on the admin listener");
    listen::serve(listener, Serving { idle: IDLE, open: None, gate: None, tell_peer: true }, stop, answer).await;
}

/// The operator who sends a request, if that operator may send it.
fn admit(call: &Call) -> Result<Operator, Problem> {
    let address = call.parts.extensions.get::<Peer>().map(|peer| peer.0.ip());
    // Probes tell nothing that the public listener does not tell as well.
    if ["/healthz", "/readyz"].contains(&call.parts.uri.path()) {
        return Ok(Operator { name: None, address });
    }
    let looks = call.parts.method == Method::GET || call.parts.method == Method::HEAD;
    let wanted = if looks { Role::View } else { Role::Operate };
    let caller = call.app.operators.admit(&call.parts.uri, &call.parts.headers, wanted)?;
    Ok(Operator { name: caller.name, address })
}

/// `GET /v1/admin/status`.
async fn status(call: Call) -> Result<Reply, Problem> {
    let app = &call.app;
    let status = app.handle.status();
    let reasons = reasons(app, &status, call.is_stopping());
    let peers = status.peers.iter().map(|peer| PeerStatus {
        name: peer.node.clone(),
        region: peer.region.clone(),
        connected: peer.replica.is_some(),
        lag_entries: peer.lag_entries,
        lag_from_here: Some(peer.lag_from_here),
        lag_seconds: peer.lag.as_secs_f64(),
        clock_offset_ms: peer.clock_offset_ms,
    });
    let shown = NodeStatus {
        region: app.region.clone(),
        name: app.name.clone(),
        replica: status.replica.to_string(),
        ready: reasons.is_empty(),
        drain: orders::is_drained(app, &app.region)?,
        reasons: reasons.into_iter().map(str::to_owned).collect(),
        clock: ClockStatus {
            trusted_ms: app.now(&status).0,
            offset_ms: ahead_of(status.peers.iter().filter_map(|peer| peer.clock_offset_ms).collect()),
            in_doubt: status.doubt.is_some(),
        },
        horizon: (status.horizon.0 > 0).then_some(Moment(status.horizon)),
        live_documents: status.documents,
        tombstones: status.tombstones,
        buckets: status.buckets,
        complete_through: completeness(&status),
        peers: peers.collect(),
        certificate_until: app.metrics.certificate_until(app.now(&status)),
        faults: app.faults.shown(),
    };
    Ok(json(StatusCode::OK, &shown))
}

/// `GET /metrics`.
async fn metrics(call: Call) -> Result<Reply, Problem> {
    let app = &call.app;
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

/// How far this node's clock is ahead, from how far each peer's clock is ahead of it: the median with its sign changed.
fn ahead_of(mut offsets: Vec<i64>) -> i64 {
    offsets.sort_unstable();
    offsets.get(offsets.len() / 2).map_or(0, |median| median.saturating_neg())
}

#[cfg(test)]
mod tests {
    use super::{ROUTER, ahead_of};

    #[test]
    fn every_path_leads_to_its_resource() {
        ROUTER.check(&["/", "/v1/admin", "/v1/admin/regions/", "/v1/admin/regions/eu-central", "/v1/venues"]);
    }

    #[test]
    fn our_offset_is_against_the_median_of_the_peers() {
        assert_eq!(ahead_of(vec![]), 0);
        assert_eq!(ahead_of(vec![5]), -5);
        assert_eq!(ahead_of(vec![3, -100_000, 1]), -1);
        assert_eq!(ahead_of(vec![i64::MIN]), i64::MAX);
    }
}
