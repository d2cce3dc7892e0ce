//! `GET /v1/cluster`: the regions as this node sees them.

use std::collections::BTreeMap;

use api::Moment;
use api::cluster::{Cluster, ClusterNode, ClusterRegion};
use api::orders::OrderKind;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use replication::RegionId;

use super::app::reasons;
use super::call::Call;
use super::problem::Problem;
use super::reply::{Reply, json};
use super::{members, orders};
use crate::orders::Order;

/// `GET /v1/cluster`.
pub(super) async fn show(call: Call) -> Result<Reply, Problem> {
    let app = &call.app;
    let status = app.handle.status();
    let orders = orders::read(app, &status)?;
    let now = app.now(&status);
    let mut nodes: BTreeMap<&RegionId, Vec<ClusterNode>> = BTreeMap::new();
    let own = ClusterNode {
        name: app.name.clone(),
        connected: true,
        lag_entries: 0,
        lag_seconds: 0.0,
        clock_offset_ms: Some(0),
    };
    nodes.entry(&app.region).or_default().push(own);
    for peer in &status.peers {
        nodes.entry(&peer.region).or_default().push(ClusterNode {
            name: peer.node.clone(),
            connected: peer.replica.is_some(),
            lag_entries: peer.lag_entries,
            lag_seconds: peer.lag.as_secs_f64(),
            clock_offset_ms: peer.clock_offset_ms,
        });
    }
    let members = app.membership.now();
    let regions = members.regions.iter().map(|(region, position)| {
        let nodes = nodes.remove(region).unwrap_or_default();
        let order = orders.get(region);
        let through = status.complete_through.get(region).filter(|through| through.0 > 0);
        ClusterRegion {
            region: region.clone(),
            position: *position,
            connected: nodes.iter().any(|node| node.connected),
            drain: order.is_some_and(|order| order.at(now) != OrderKind::Serving),
            order: order.map(Order::to_public),
            complete_through: through.map(|through| Moment(*through)),
            nodes,
        }
    });
    let cluster = Cluster {
        node: app.name.clone(),
        region: app.region.clone(),
        ready: reasons(&call.app, &status, call.is_stopping()).is_empty(),
        regions: regions.collect(),
        members: members::shown(&members),
    };
    let mut reply = json(StatusCode::OK, &cluster);
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(reply)
}
