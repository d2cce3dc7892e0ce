//! Operators' orders on the admin listener: `/v1/admin/regions` and `/v1/admin/regions/{region}/order`.
//!
//! An order lies in the replicated cluster document, so an operator can give it to any live node, every node shows it,
//! and routers read it from any node. Its author and reason are shown here and not to the public.

use std::collections::{BTreeMap, BTreeSet};

use api::Moment;
use api::orders::{NewOrder, OrderKind, RegionOrder};
use hyper::StatusCode;
use replication::{RegionId, Status, Wall};

use super::app::reasons;
use super::call::Call;
use super::problem::{Kind, Problem};
use super::reply::{Reply, json};
use super::{App, audit, body, lasting};
use crate::orders::{self, Order, OrderError};

/// All orders that this node durably knows.
pub(super) fn read(app: &App, status: &Status) -> Result<BTreeMap<RegionId, Order>, Problem> {
    Ok(lasting::document(app, status, &orders::name())?.as_ref().map(orders::read).unwrap_or_default())
}

/// Whether an operator has ordered that new clients of a region are now sent elsewhere.
pub(super) fn is_drained(app: &App, region: &RegionId) -> Result<bool, Problem> {
    let status = app.handle.status();
    let now = app.now(&status);
    Ok(read(app, &status)?.get(region).is_some_and(|order| order.at(now) != OrderKind::Serving))
}

/// `GET /v1/admin/regions`.
pub(super) async fn list(call: Call) -> Result<Reply, Problem> {
    let app = &call.app;
    let status = app.handle.status();
    let known = read(app, &status)?;
    let now = app.now(&status);
    let members = app.membership.now();
    let lines: Vec<RegionOrder> = members.regions.keys().map(|region| line(region, known.get(region), now)).collect();
    Ok(json(StatusCode::OK, &lines))
}

fn line(region: &RegionId, order: Option<&Order>, now: Wall) -> RegionOrder {
    RegionOrder {
        region: region.clone(),
        drain: order.is_some_and(|order| order.at(now) != OrderKind::Serving),
        order: order.map(Order::to_operators),
    }
}

/// `PUT /v1/admin/regions/{region}/order`.
pub(super) async fn give(call: Call) -> Result<Reply, Problem> {
    let (app, region) = (&call.app, call.region()?);
    app.check_member()?;
    let is_stopping = call.is_stopping();
    let body = body::read(&call.parts.headers, call.body).await?;
    let new: NewOrder = serde_json::from_slice(&body).map_err(|_| {
        if until_is_bad(&body) {
            return refused(OrderError::Until);
        }
        let form = r#"{"order": "drained", "by": "...", "reason"?: "...", "until"?: "2026-...Z", "force"?: true}"#;
        Problem::new(Kind::MalformedBody, format!("an order is {form}; `order` is drained, maintenance or serving"))
    })?;
    let forced = if new.force { ", by force" } else { "" };
    let status = app.handle.status();
    let document = lasting::document(app, &status, &orders::name())?;
    let known = document.as_ref().map(orders::read).unwrap_or_default();
    let now = app.now(&status);
    let new = NewOrder { by: call.operator.author(&new.by), ..new };
    let members = app.membership.now();
    let is_ready = reasons(app, &status, is_stopping).is_empty();
    let mut heard: BTreeSet<&RegionId> = linked(&status).collect();
    heard.extend(Some(&app.region).filter(|_| is_ready));
    let regions = members.regions.keys().map(|region| (region, heard.contains(region)));
    let order = Order::give(new, &region, now, &known, regions, app.least_regions).map_err(refused)?;
    audit::record(app, &call.operator, order.by.clone(), describe(&region, &order) + forced, &order.reason).await;
    lasting::set(app, "order", &orders::key(), document, &[(region.as_str(), orders::value(&order))]).await?;
    tracing::warn!(region = %region, order = ?order.kind, "an operator gave an order for a region");
    Ok(json(StatusCode::OK, &line(&region, Some(&order), now)))
}

/// The regions of the peers to which there is a link.
fn linked(status: &Status) -> impl Iterator<Item = &RegionId> {
    status.peers.iter().filter(|peer| peer.replica.is_some()).map(|peer| &peer.region)
}

/// The order in words, for the audit trail.
fn describe(region: &RegionId, order: &Order) -> String {
    let keep = if order.keep == 0 { String::new() } else { format!(", keeps {} %", order.keep) };
    let until = order.until.map_or_else(String::new, |until| format!(", until {}", Moment(until)));
    format!("order {} for {region}{keep}{until}", order.kind)
}

/// Whether a body that is not an order has a time that is not valid.
fn until_is_bad(body: &[u8]) -> bool {
    let body = serde_json::from_slice::<serde_json::Value>(body).unwrap_or_default();
    body["until"].as_str().is_some_and(|until| until.parse::<Moment>().is_err())
}

fn refused(error: OrderError) -> Problem {
    let kind = if matches!(error, OrderError::NobodyLeft { .. }) { Kind::NobodyLeft } else { Kind::Invalid };
    Problem::new(kind, error.to_string())
}
