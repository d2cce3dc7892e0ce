//! `GET /v1/cluster`: the regions as this node sees them.

use std::collections::BTreeMap;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use serde::Serialize;

use super::app::reasons;
use super::orders::{self, Shown};
use super::problem::Problem;
use super::public::Call;
use super::reply::{Reply, json};
use crate::config::Position;
use crate::orders::OrderKind;
use api::instant;

#[derive(Serialize)]
struct Cluster<'a> {
    /// The node that answers.
    node: &'a str,
    region: &'a str,
    ready: bool,
    regions: Vec<Region<'a>>,
}

#[derive(Serialize)]
struct Region<'a> {
    region: &'a str,
    position: Option<Position>,
    /// Whether this node hears the region; it always hears itself.
    connected: bool,
    /// Whether an operator has ordered that new clients are now sent elsewhere.
    drain: bool,
    /// The operator's last order.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Shown>,
    /// The moment through which this node has all that the region acknowledged; absent if it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    complete_through: Option<String>,
    nodes: Vec<Node<'a>>,
}

#[derive(Serialize)]
struct Node<'a> {
    name: &'a str,
    connected: bool,
    lag_entries: u64,
    lag_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_offset_ms: Option<i64>,
}

/// `GET /v1/cluster`.
pub(super) async fn show(call: Call) -> Result<Reply, Problem> {
    let app = &call.app;
    let status = app.handle.status();
    let orders = orders::read(app, &status)?;
    let now = app.now(&status);
    let mut nodes: BTreeMap<&str, Vec<Node<'_>>> = BTreeMap::new();
    let own =
        Node { name: app.name.as_str(), connected: true, lag_entries: 0, lag_seconds: 0.0, clock_offset_ms: Some(0) };
    nodes.entry(app.region.as_str()).or_default().push(own);
    for peer in &status.peers {
        nodes.entry(peer.region.as_str()).or_default().push(Node {
            name: peer.node.as_str(),
            connected: peer.replica.is_some(),
            lag_entries: peer.lag_entries,
            lag_seconds: peer.lag.as_secs_f64(),
            clock_offset_ms: peer.clock_offset_ms,
        });
    }
    let regions = app.regions.iter().map(|(region, position)| {
        let nodes = nodes.remove(region.as_str()).unwrap_or_default();
        let order = orders.get(region);
        let through = status.complete_through.get(region).filter(|through| through.0 > 0);
        Region {
            region: region.as_str(),
            position: *position,
            connected: nodes.iter().any(|node| node.connected),
            drain: order.is_some_and(|order| order.at(now) != OrderKind::Serving),
            order: order.map(Shown::to_public),
            complete_through: through.map(|through| instant::show(*through)),
            nodes,
        }
    });
    let cluster = Cluster {
        node: app.name.as_str(),
        region: app.region.as_str(),
        ready: reasons(&call.app, &status, *call.stopping.borrow()).is_empty(),
        regions: regions.collect(),
    };
    let mut reply = json(StatusCode::OK, &cluster)?;
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(reply)
}
