//! Operators' orders on the admin listener: `/v1/admin/regions` and `/v1/admin/regions/{region}/order`.
//!
//! An order lies in the replicated cluster document, so an operator can give it to any live node, every node shows it,
//! and routers read it from any node. Its author and reason are shown here and not to the public.

use std::collections::BTreeMap;

use api::Moment;
use api::orders::{NewOrder, OrderKind, RegionOrder};
use hyper::StatusCode;
use replication::{Change, Document, RegionId, Status, Value, Wall, Write};

use super::call::Call;
use super::problem::{Kind, Problem};
use super::reply::{Reply, json};
use super::{App, audit, body};
use crate::orders::{self, Order, OrderError};

/// All orders that this node durably knows.
pub(super) fn read(app: &App, status: &Status) -> Result<BTreeMap<RegionId, Order>, Problem> {
    Ok(document(app, status)?.as_ref().map(orders::read).unwrap_or_default())
}

/// The cluster document, if there is one.
fn document(app: &App, status: &Status) -> Result<Option<Document>, Problem> {
    let rows = app.handle.reader().rows(&orders::name(), true, app.view(status))?;
    let Some((_, row)) = rows.into_iter().next() else { return Ok(None) };
    row.document().map(Some).map_err(|error| unreadable(app, &error))
}

/// Whether an operator has ordered that new clients of a region are now sent elsewhere.
pub(super) fn is_drained(app: &App, region: &RegionId) -> Result<bool, Problem> {
    let status = app.handle.status();
    let now = app.now(&status);
    Ok(read(app, &status)?.get(region).is_some_and(|order| order.at(now) != OrderKind::Serving))
}

fn unreadable(app: &App, error: &(dyn std::error::Error + 'static)) -> Problem {
    app.metrics.unreadable_rows.inc();
    let action = "compare the versions of the nodes; if they are equal, the store is damaged";
    tracing::error!(error, action, "the cluster document does not decode: orders cannot be shown or changed");
    Problem::internal()
}

/// `GET /v1/admin/regions`.
pub(super) async fn list(call: Call) -> Result<Reply, Problem> {
    let app = &call.app;
    let status = app.handle.status();
    let known = read(app, &status)?;
    let now = app.now(&status);
    let lines: Vec<RegionOrder> = app.regions.keys().map(|region| line(region, known.get(region), now)).collect();
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
    let document = document(app, &status)?;
    let known = document.as_ref().map(orders::read).unwrap_or_default();
    let now = app.now(&status);
    // Without a token the request must say who gives the order.
    let by = if call.operator.name.is_some() { call.operator.named(new.by.trim()) } else { new.by };
    let new = NewOrder { by, ..new };
    let order = Order::give(new, &region, now, &known, app.regions.keys(), app.least_regions).map_err(refused)?;
    audit::record(app, &call.operator, order.by.clone(), describe(&region, &order) + forced, &order.reason).await;
    write(app, document, region.as_str(), orders::value(&order)).await?;
    tracing::warn!(region = %region, order = ?order.kind, "an operator gave an order for a region");
    Ok(json(StatusCode::OK, &line(&region, Some(&order), now)))
}

/// Writes a field of the cluster document, which was read as `document`.
async fn write(app: &App, document: Option<Document>, field: &str, value: Value) -> Result<(), Problem> {
    let key = orders::key();
    let change = match document.filter(|document| !document.is_empty()) {
        Some(document) => document.amend(&key, &[(field, Some(value))]),
        None => Some(Change::create(&key, &[(field, value)])),
    };
    if let Some(change) = change {
        app.write("order", Write::Change { key, change }).await?;
    }
    Ok(())
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
