//! The admin listener: metrics, status, explanations, and the ballot that other routers ask for. It must not be public.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Registry, TextEncoder};
use serde::Serialize;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::control::{BALLOT_PATH, MAC, PeerKey, Standing};
use crate::edge::{BreakerState, Breakers};
use crate::explain::{AddressSource, Explainer};
use crate::fleet::RegionIndex;
use crate::view::View;

/// Operators are few: scrapers and other routers fit in.
const CONNECTIONS: usize = 64;

/// How long the head of a request may take, which is also how long a connection may be idle.
const HEAD: Duration = Duration::from_secs(10);

/// How long to wait after the system refused a connection.
const REFUSED: Duration = Duration::from_millis(100);

type Reply = Response<Full<Bytes>>;

/// The parts of the router that the admin listener shows.
pub struct Admin {
    /// This router's name.
    pub name: String,
    /// The latest view.
    pub views: watch::Receiver<Arc<View>>,
    /// The state of the control plane.
    pub standing: watch::Receiver<Arc<Standing>>,
    /// Explains where addresses go.
    pub explainer: Arc<Explainer>,
    /// The edge's circuit breakers.
    pub breakers: Option<Breakers>,
    /// The routers' common secret.
    pub key: Option<PeerKey>,
    /// All metrics.
    pub registry: Registry,
}

impl Admin {
    /// Serves until `stop` is true.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = accept(&listener, &permits) => accepted,
            };
            match accepted {
                Ok((stream, permit)) => {
                    let admin = Arc::clone(&self);
                    connections.spawn(async move {
                        admin.connection(stream).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(
                        %error, action = "raise the limit of open files (ulimit -n) if this goes on",
                        "the system refuses a connection on the admin listener: it waits a moment"
                    );
                    tokio::time::sleep(REFUSED).await;
                }
            }
        }
        connections.shutdown().await;
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(move |request: Request<Incoming>| {
            let mut reply = self.answer(&request);
            let headers = reply.headers_mut();
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            std::future::ready(Ok::<_, std::convert::Infallible>(reply))
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = served.await {
            tracing::debug!(%error, "an admin connection broke");
        }
    }

    fn answer<B>(&self, request: &Request<B>) -> Reply {
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        let query = request.uri().query().unwrap_or_default();
        match request.uri().path() {
            "/metrics" | "/healthz" | "/readyz" | "/v1/admin/status" | "/v1/admin/explain" | BALLOT_PATH if !get => {
                let mut reply =
                    problem(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "the methods here are GET, HEAD");
                reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                reply
            }
            "/metrics" => self.metrics(),
            // A running router is always ready, because it has an answer to everything from its first moment on.
            "/healthz" => answer(StatusCode::OK, &json!({"status": "ok"})),
            "/readyz" => answer(StatusCode::OK, &json!({"ready": true, "reasons": []})),
            "/v1/admin/status" => answer(StatusCode::OK, &self.status()),
            "/v1/admin/explain" => self.explain(query),
            BALLOT_PATH => self.ballot(query),
            _ => problem(
                StatusCode::NOT_FOUND,
                "no-such-route",
                "/metrics, /v1/admin/status and /v1/admin/explain?address= are here",
            ),
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
                problem(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "the operator finds the reason in the router's log",
                )
            }
        }
    }

    fn explain(&self, query: &str) -> Reply {
        let address = parameter(query, "address").and_then(|address| address.parse::<IpAddr>().ok());
        let Some(address) = address else {
            let words = "`address`: give an IPv4 or IPv6 address, such as ?address=46.4.0.1";
            return problem(StatusCode::BAD_REQUEST, "malformed-query", words);
        };
        let view = Arc::clone(&self.views.borrow());
        answer(StatusCode::OK, &self.explainer.explain(&view, address, AddressSource::Given))
    }

    fn ballot(&self, query: &str) -> Reply {
        let Some(key) = &self.key else {
            return problem(StatusCode::NOT_FOUND, "no-peers", "this router has no key that it shares with others");
        };
        let body = serde_json::to_vec(&self.standing.borrow().ballot).unwrap_or_default();
        let mac = parameter(query, "nonce").and_then(|nonce| key.sign(nonce, &body));
        let Some(mac) = mac.and_then(|mac| HeaderValue::from_str(&mac).ok()) else {
            return problem(StatusCode::BAD_REQUEST, "malformed-query", "`nonce`: give 1 to 64 hexadecimal digits");
        };
        let mut reply = Response::new(Full::new(body.into()));
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        reply.headers_mut().insert(MAC, mac);
        reply
    }

    fn status(&self) -> Status {
        let view = Arc::clone(&self.views.borrow());
        let standing = Arc::clone(&self.standing.borrow());
        let breaker =
            |region: RegionIndex, node: usize| self.breakers.as_ref().map(|breakers| breakers.state(region, node));
        let regions = view.fleet.indices().map(|index| {
            let (region, seen) = (view.fleet.region(index), &view.regions[index.at()]);
            let order = standing.orders.on(region.name.as_str()).cloned();
            let nodes = region.nodes.iter().zip(&seen.nodes_up).enumerate();
            let nodes = nodes.map(|(at, (node, up))| NodeStatus {
                name: node.name.to_string(),
                up: *up,
                breaker: breaker(index, at),
            });
            RegionStatus {
                region: region.name.to_string(),
                state: seen.state.name(),
                admission: seen.admission,
                order,
                nodes: nodes.collect(),
            }
        });
        let (v4, v6) = view.places.size();
        Status {
            name: self.name.clone(),
            epoch: view.epoch,
            ttl: view.ttl,
            frozen: view.frozen,
            fail_open: view.fail_open,
            heard: standing.heard.clone(),
            regions: regions.collect(),
            prefixes: (v4, v6),
        }
    }
}

/// The status that a router shows to its operators.
#[derive(Serialize)]
struct Status {
    name: String,
    epoch: u64,
    ttl: u32,
    frozen: bool,
    fail_open: bool,
    heard: Vec<String>,
    regions: Vec<RegionStatus>,
    /// Number of prefixes in the table (IPv4, IPv6).
    prefixes: (usize, usize),
}

#[derive(Serialize)]
struct RegionStatus {
    region: String,
    state: &'static str,
    admission: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<crate::health::Order>,
    nodes: Vec<NodeStatus>,
}

#[derive(Serialize)]
struct NodeStatus {
    name: String,
    up: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker: Option<BreakerState>,
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

/// A parameter of a query, whose values need no decoding.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn answer(status: StatusCode, value: &impl Serialize) -> Reply {
    // The JSON holds only text and numbers, so this cannot fail; an empty body would still have its status.
    let mut reply = Response::new(Full::new(serde_json::to_vec(value).unwrap_or_default().into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

fn problem(status: StatusCode, slug: &str, detail: &str) -> Reply {
    let title = status.canonical_reason().unwrap_or_default();
    let kind = format!("urn:meridian:problem:{slug}");
    let mut reply = answer(status, &json!({"type": kind, "title": title, "status": status.as_u16(), "detail": detail}));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    reply
}
