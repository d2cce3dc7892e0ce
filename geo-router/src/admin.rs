//! The admin listener: metrics, status, explanations, and the ballot that other routers ask for. It must not be public.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use api::explanation::AddressSource;
use api::headers::MAC;
use api::operators::Role;
use api::problem::Kind;
use api::status::{Readiness, RoutedNode, RoutedRegion, RouterStatus};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, Version};
use prometheus::{Registry, TextEncoder};
use serde::Serialize;
use service::client::Trusted;
use service::ended::Ends;
use service::handler;
use service::listen::{self, Listener, Serving};
use service::operators::Operators;
use service::places::Places;
use service::problem::Problem;
use service::router::{Resource, Router};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::control::{BALLOT_PATH, ControlState, PeerKey};
use crate::edge::Breakers;
use crate::explain::explain;
use crate::view::View;

/// Operators are few: scrapers and other routers fit in.
const CONNECTIONS: usize = 64;

/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(10);

/// How long a client may take nothing of an answer.
const UNREAD: Duration = Duration::from_secs(10);

/// One request of an operator.
struct Call {
    admin: Arc<Admin>,
    query: String,
}

/// Every resource of the admin listener.
const RESOURCES: &[Resource<Call, Reply>] = &[
    Resource::new("/metrics", &[(Method::GET, handler!(async |call: Call| call.admin.metrics()))]),
    // A running router is always ready, because it has an answer to everything from its first moment on.
    Resource::new("/healthz", &[(Method::GET, handler!(async |_: Call| answer(&serde_json::json!({"status": "ok"}))))]),
    Resource::new(
        "/readyz",
        &[(Method::GET, handler!(async |_: Call| answer(&Readiness { ready: true, reasons: Vec::new() })))],
    ),
    Resource::new("/v1/admin/status", &[(Method::GET, handler!(async |call: Call| answer(&call.admin.status())))]),
    Resource::new("/v1/admin/explain", &[(Method::GET, handler!(async |call: Call| call.admin.explain(&call.query)))]),
    Resource::new(BALLOT_PATH, &[(Method::GET, handler!(async |call: Call| call.admin.ballot(&call.query)))]),
];

static ROUTER: LazyLock<Router<Call, Reply>> = LazyLock::new(|| Router::new(RESOURCES));

type Reply = Response<Full<Bytes>>;

/// The parts of the router that the admin listener shows.
pub struct Admin {
    /// This router's name.
    pub name: String,
    /// The latest view.
    pub views: watch::Receiver<Arc<View>>,
    /// The state of the control plane.
    pub control_state: watch::Receiver<Arc<ControlState>>,
    /// The edge's circuit breakers.
    pub breakers: Option<Breakers>,
    /// The routers' common secret.
    pub key: Option<PeerKey>,
    /// The clients that may look.
    pub operators: Operators,
    /// All metrics.
    pub registry: Registry,
    /// Counts the connections that the listener ends.
    pub ends: Ends,
}

impl Admin {
    /// Serves until `stop` is true.
    pub async fn serve(self: Arc<Self>, socket: TcpListener, stop: watch::Receiver<bool>) {
        let places = Places::new(CONNECTIONS, CONNECTIONS, Trusted::default(), "64 on the admin listener");
        let listener = Listener::limited(socket, places).counting(self.ends.clone());
        let answer = move |request: Request<Incoming>| {
            let admin = Arc::clone(&self);
            async move {
                let (parts, _) = request.into_parts();
                let mut reply = admin.answer(&parts).await;
                let headers = reply.headers_mut();
                headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                reply
            }
        };
        listen::serve(
            listener,
            Serving { idle: IDLE, open: None, gate: None, tell_peer: false, unread: UNREAD },
            stop,
            answer,
        )
        .await;
    }

    async fn answer(self: Arc<Self>, parts: &Parts) -> Reply {
        if let Err(problem) = service::head::check(parts) {
            let (closes, mut reply) = (problem.closes() && parts.version != Version::HTTP_2, refuse(problem));
            if closes {
                reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            return reply;
        }
        let (resource, _) = ROUTER.find(parts.uri.path()).unzip();
        if let Some(options) = ROUTER.options(parts, resource) {
            return options.map(Full::new);
        }
        let query = parts.uri.query().unwrap_or_default().to_owned();
        // Probes tell nothing, and a ballot is signed with the routers' own key.
        let is_open = ["/healthz", "/readyz", BALLOT_PATH].contains(&parts.uri.path());
        if !is_open && let Err(problem) = self.operators.admit(&parts.uri, &parts.headers, Role::View) {
            return refuse(problem);
        }
        match ROUTER.handler(resource, &parts.method) {
            Ok(handler) => handler(Call { admin: self, query }).await,
            Err(problem) => refuse(problem),
        }
    }

    fn metrics(&self) -> Reply {
        match TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(text) => {
                let mut reply = Response::new(Full::new(text.into()));
                let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                reply.headers_mut().insert(CONTENT_TYPE, media_type);
                reply
            }
            Err(error) => {
                tracing::error!(%error, "the metrics cannot be rendered: the scrape fails");
                refuse(Problem::new(Kind::Internal, "the operator finds the reason in the router's log"))
            }
        }
    }

    fn explain(&self, query: &str) -> Reply {
        let address = parameter(query, "address").and_then(|address| address.parse::<IpAddr>().ok());
        let Some(address) = address else {
            return refuse(Problem::parameter("address", "give an IPv4 or IPv6 address, such as ?address=46.4.0.1"));
        };
        let view = Arc::clone(&self.views.borrow());
        answer(&explain(&view, address, AddressSource::Given))
    }

    fn ballot(&self, query: &str) -> Reply {
        let Some(key) = &self.key else {
            return refuse(Problem::new(Kind::NoPeers, "this router has no key that it shares with others"));
        };
        let body = serde_json::to_vec(&self.control_state.borrow().ballot).unwrap_or_default();
        let mac = parameter(query, "nonce").and_then(|nonce| key.sign(nonce, &body));
        let Some(mac) = mac.and_then(|mac| HeaderValue::from_str(&mac).ok()) else {
            return refuse(Problem::parameter("nonce", "give 1 to 64 hexadecimal digits"));
        };
        let mut reply = Response::new(Full::new(body.into()));
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        reply.headers_mut().insert(MAC, mac);
        reply
    }

    fn status(&self) -> RouterStatus {
        let view = Arc::clone(&self.views.borrow());
        let control_state = Arc::clone(&self.control_state.borrow());
        let regions = view.fleet.indices().map(|index| {
            let (region, seen) = (view.fleet.region(index), &view.regions[index.at()]);
            let order = control_state.orders.on(region.name.as_str()).cloned();
            let nodes = region.nodes.iter().zip(&seen.nodes_up).map(|(node, up)| RoutedNode {
                name: node.name.clone(),
                up: *up,
                trouble: control_state.troubles.get(&node.name).cloned(),
                breaker: self.breakers.as_ref().map(|breakers| breakers.state(&region.name, &node.name)),
            });
            RoutedRegion {
                region: region.name.clone(),
                state: seen.state,
                admission: seen.admission,
                order,
                nodes: nodes.collect(),
            }
        });
        let (v4, v6) = view.places.size();
        RouterStatus {
            name: self.name.clone(),
            epoch: view.epoch,
            ttl: view.ttl,
            frozen: view.frozen,
            fail_open: view.fail_open,
            heard: control_state.heard.clone(),
            regions: regions.collect(),
            prefixes: (v4, v6),
        }
    }
}

/// A parameter of a query, whose values need no decoding.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn answer(value: &impl Serialize) -> Reply {
    // The JSON holds only text and numbers, so this cannot fail.
    let mut reply = Response::new(Full::new(serde_json::to_vec(value).unwrap_or_default().into()));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

fn refuse(problem: Problem) -> Reply {
    problem.into_response().map(Full::new)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_path_leads_to_its_resource() {
        super::ROUTER.check(&["/", "/v1/admin", "/v1/admin/status/", "/v1/cluster"]);
    }
}
