//! Operators' orders on the admin listener: `/v1/admin/regions` and `/v1/admin/regions/{region}/order`.
//!
//! An order lies in the replicated cluster document, so an operator can give it to any live node, every node shows it,
//! and routers read it from any node. Its author and reason are shown here and not to the public.

use std::collections::BTreeMap;

use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use replication::replica::Status;
use replication::{Change, Document, RegionId, Wall, Write};
use serde::Serialize;

use super::problem::{Kind, Problem};
use super::reply::{Reply, json};
use super::{App, body};
use crate::orders::{self, NewOrder, Order, OrderError, OrderKind};
use api::instant;

/// An order as it is shown.
#[derive(Serialize)]
pub(super) struct Shown {
    order: OrderKind,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Shown {
    /// For the public: without its author.
    pub(super) fn to_public(order: &Order) -> Shown {
        Shown {
            order: order.kind,
            since: instant::show(order.since),
            until: order.until.map(instant::show),
            by: None,
            reason: None,
        }
    }

    fn to_operators(order: &Order) -> Shown {
        let reason = Some(order.reason.clone()).filter(|reason| !reason.is_empty());
        Shown { by: Some(order.by.clone()), reason, ..Shown::to_public(order) }
    }
}

#[derive(Serialize)]
struct Line {
    region: String,
    /// Whether new clients are now sent elsewhere.
    drain: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Shown>,
}

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
pub(super) async fn list(app: &App) -> Result<Reply, Problem> {
    let status = app.handle.status();
    let known = read(app, &status)?;
    let now = app.now(&status);
    let lines: Vec<Line> = app.regions.keys().map(|region| line(region, known.get(region), now)).collect();
    json(StatusCode::OK, &lines)
}

fn line(region: &RegionId, order: Option<&Order>, now: Wall) -> Line {
    Line {
        region: region.to_string(),
        drain: order.is_some_and(|order| order.at(now) != OrderKind::Serving),
        order: order.map(Shown::to_operators),
    }
}

/// `PUT /v1/admin/regions/{region}/order`.
pub(super) async fn give(app: &App, region: &str, parts: &Parts, body: Incoming) -> Result<Reply, Problem> {
    let region = region.parse::<RegionId>().ok().filter(|region| app.regions.contains_key(region));
    let Some(region) = region else {
        let names: Vec<&str> = app.regions.keys().map(RegionId::as_str).collect();
        return Err(Problem::new(Kind::NoRegion, format!("the regions are {}", names.join(", "))));
    };
    let body = body::read(&parts.headers, body).await?;
    let new: NewOrder = serde_json::from_slice(&body).map_err(|_| {
        let form = r#"{"order": "drained", "by": "...", "reason"?: "...", "until"?: "2026-...Z", "force"?: true}"#;
        Problem::new(Kind::MalformedBody, format!("an order is {form}; `order` is drained, maintenance or serving"))
    })?;
    let status = app.handle.status();
    let document = document(app, &status)?;
    let known = document.as_ref().map(orders::read).unwrap_or_default();
    let now = app.now(&status);
    let order = new.give(&region, now, &known, app.regions.keys()).map_err(refused)?;
    let (field, value) = (region.as_str(), orders::value(&order));
    let key = orders::key();
    let change = match document.filter(|document| !document.is_empty()) {
        Some(document) => document.amend(&key, &[(field, Some(value))]),
        None => Some(Change::create(&key, &[(field, value)])),
    };
    if let Some(change) = change {
        app.write("order", Write::Change { key, change }).await?;
    }
    tracing::warn!(region = %region, order = ?order.kind, "an operator gave an order for a region");
    json(StatusCode::OK, &line(&region, Some(&order), now))
}

fn refused(error: OrderError) -> Problem {
    let kind = if error == OrderError::NobodyLeft { Kind::NobodyLeft } else { Kind::Invalid };
    Problem::new(kind, error.to_string())
}
