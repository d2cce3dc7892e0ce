//! The admin listener: metrics, status, and operators' statements on the clock and on regions.
//!
//! # Invariants
//! - Every request but a probe is an operator's, with the role that it needs, if operators are configured.
//! - `openapi-admin.json` has the same resources and methods as the table; a test compares them.
//! - Every order is in the audit trail before it is carried out, if the node can write; the end of a fault afterwards.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use api::Moment;
use api::operators::Role;
use api::status::{ClockStatus, NodeStatus, PeerStatus};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, StatusCode, Version};
use service::client::Trusted;
use service::handler;
use service::listen::{self, Listener, Serving};
use service::places::Places;
use service::router::{Resource, Router};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::app::reasons;
use super::call::{Call, Operator};
use super::guests::completeness;
use super::problem::{Answered, Problem};
use super::reply::{Reply, full, json};
use super::{App, audit, backup, drills, faults, invitations, members, operator, orders, probes, venues};

/// Operators are few: scrapers, `meridian status` and a drill fit in.
const CONNECTIONS: usize = 64;

/// How long an operator's connection may be idle.
const IDLE: Duration = Duration::from_secs(60);

/// How long an operator may take nothing of an answer.
const UNREAD: Duration = Duration::from_secs(30);

/// Every resource of the admin listener.
const RESOURCES: &[Resource<Call, Answered>] = &[
    Resource::new("/metrics", &[(Method::GET, handler!(metrics))]),
    Resource::new("/v1/admin/openapi.json", &[(Method::GET, handler!(probes::openapi_admin))]),
    Resource::new("/v1/admin/status", &[(Method::GET, handler!(status))]),
    Resource::new("/v1/admin/clock/believe", &[(Method::POST, handler!(operator::trust_clock))]),
    Resource::new("/v1/admin/serve", &[(Method::POST, handler!(operator::serve_as_is))]),
    Resource::new("/v1/admin/backup", &[(Method::POST, handler!(backup::make))]),
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
    Resource::new("/v1/admin/invitations", &[(Method::POST, handler!(invitations::invite))]),
    Resource::new("/v1/admin/venues/{venue}", &[(Method::DELETE, handler!(venues::remove))]),
    Resource::new("/v1/admin/regions", &[(Method::GET, handler!(orders::list))]),
    Resource::new("/v1/admin/regions/{region}/order", &[(Method::PUT, handler!(orders::give))]),
    Resource::new("/healthz", &[(Method::GET, handler!(probes::healthz))]),
    Resource::new("/readyz", &[(Method::GET, handler!(probes::readyz))]),
];

static ROUTER: LazyLock<Router<Call, Answered>> = LazyLock::new(|| Router::new(RESOURCES));

/// Serves the admin resources on `socket` until `stop` is true.
pub async fn serve(socket: TcpListener, app: Arc<App>, stop: watch::Receiver<bool>) {
    let stopping = stop.clone();
    let ends = app.metrics.ended.of("admin");
    let answer = move |request: Request<Incoming>| {
        let (app, stopping) = (app.clone(), stopping.clone());
        async move {
            let (parts, body) = request.into_parts();
            let (resource, names) = ROUTER.find(parts.uri.path()).unzip();
            let version = parts.version;
            let call = Call::new(app, parts, body, names.unwrap_or_default(), stopping);
            let answered = route(resource, call).await;
            let closes = version != Version::HTTP_2 && answered.as_ref().is_err_and(Problem::closes);
            let mut reply = answered.unwrap_or_else(Problem::into_reply);
            if closes {
                reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            reply.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            reply
        }
    };
    let places = Places::new(CONNECTIONS, CONNECTIONS, Trusted::default(), "64 on the admin listener");
    let listener = Listener::limited(socket, places).counting(ends);
    listen::serve(
        listener,
        Serving { idle: IDLE, open: None, gate: None, tell_peer: true, unread: UNREAD },
        stop,
        answer,
    )
    .await;
}

/// Lets the handler of a request answer it, if its operator may send it.
async fn route(resource: Option<&Resource<Call, Answered>>, mut call: Call) -> Answered {
    service::head::check(&call.parts)?;
    if let Some(options) = ROUTER.options(&call.parts, resource) {
        return Ok(options.map(|body| Either::Left(body.into())));
    }
    let handler = ROUTER.handler(resource, &call.parts.method)?;
    call.operator = admit(&call)?;
    handler(call).await
}

/// The operator who sends a request, if that operator may send it.
fn admit(call: &Call) -> Result<Operator, Problem> {
    let address = call.peer();
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
        damaged_rows: status.damaged as u64,
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
    use super::super::testing::{Description, described};
    use super::{RESOURCES, ROUTER, ahead_of, probes};

    #[test]
    fn every_path_leads_to_its_resource() {
        ROUTER.check(&["/", "/v1/admin", "/v1/admin/regions/", "/v1/admin/regions/eu-central", "/v1/venues"]);
    }

    #[test]
    fn openapi_has_the_same_resources_and_methods() {
        let table = RESOURCES.iter().map(|resource| (resource.template(), resource.allow()));
        assert_eq!(Description::of(probes::OPENAPI_ADMIN).methods(), described(table));
    }

    #[test]
    fn our_offset_is_against_the_median_of_the_peers() {
        assert_eq!(ahead_of(vec![]), 0);
        assert_eq!(ahead_of(vec![5]), -5);
        assert_eq!(ahead_of(vec![3, -100_000, 1]), -1);
        assert_eq!(ahead_of(vec![i64::MIN]), i64::MAX);
    }
}
