//! Members of the deployment on the admin listener: `/v1/admin/members` and `/v1/admin/members/{node}`.

use std::collections::BTreeMap;

use api::NodeName;
use api::members::{Member, NewMember, RemoveMember};
use hyper::StatusCode;
use replication::{Document, Value};

use super::call::Call;
use super::problem::{Answered, Kind, Problem};
use super::reply::json;
use super::{App, audit, body, lasting, orders};
use crate::members::{self, MemberError, Members};

/// `GET /v1/admin/members`: what operators changed, by node.
pub(super) async fn list(call: Call) -> Answered {
    let members = call.app.membership.now();
    let changes: Vec<&Member> = members.changes.values().filter(|one| !one.introduced).collect();
    Ok(json(StatusCode::OK, &changes))
}

/// `PUT /v1/admin/members/{node}`: a node is added, or its addresses change.
pub(super) async fn add(call: Call) -> Answered {
    let (app, node) = (call.app.clone(), name(&call)?);
    app.check_member()?;
    let body = body::read(&call.parts.headers, call.body).await?;
    let form = r#"a member is {"region": "sa-east", "replication": "HOST:7081", "public"?: "IP:7080", "public_tls"?: "HOST:7443", "server_name"?: "...", "position"?: {...}, "by": "..."}"#;
    let new: NewMember = serde_json::from_slice(&body).map_err(|_| Problem::new(Kind::MalformedBody, form))?;
    let new = NewMember { by: call.operator.author(&new.by), ..new };
    let (document, members) = read(&app)?;
    let now = app.now(&app.handle.status());
    let change = members.add(app.membership.configured(), &node, new, now).map_err(refused)?;
    let at = change.replication.as_deref().unwrap_or_default();
    let what = format!("node {node} of {} is a member, at {at}", change.region);
    let mut introductions = app.membership.configured().introductions(&members.changes);
    introductions.retain(|one| one.name != node);
    commit(&app, &call.operator, document, &change, introductions, what).await?;
    tracing::warn!(%node, region = %change.region, "an operator added a node, or changed its addresses");
    Ok(json(StatusCode::OK, &change))
}

/// `DELETE /v1/admin/members/{node}`: a node is removed for good.
pub(super) async fn remove(call: Call) -> Answered {
    let (app, node) = (call.app.clone(), name(&call)?);
    app.check_member()?;
    let body = body::read(&call.parts.headers, call.body).await?;
    let form = r#"a removal is {"by": "...", "reason"?: "...", "force"?: true}"#;
    let new: RemoveMember = serde_json::from_slice(&body).map_err(|_| Problem::new(Kind::MalformedBody, form))?;
    let new = RemoveMember { by: call.operator.author(&new.by), ..new };
    let forced = if new.force { ", by force" } else { "" };
    let (document, members) = read(&app)?;
    let status = app.handle.status();
    let (known, now) = (orders::read(&app, &status)?, app.now(&status));
    let own = app.membership.configured();
    let change = members.remove(own, &node, new, now, &known, app.least_regions).map_err(refused)?;
    let what = format!("node {node} of {} is removed for good{forced}", change.region);
    commit(&app, &call.operator, document, &change, Vec::new(), what).await?;
    tracing::warn!(%node, region = %change.region, "an operator removed a node for good");
    Ok(json(StatusCode::OK, &change))
}

/// The document of changes and the members by it. The task that follows the document may be a moment behind.
fn read(app: &App) -> Result<(Option<Document>, Members), Problem> {
    let document = lasting::document(app, &app.handle.status(), &members::name())?;
    let changes = document.as_ref().map(members::read).unwrap_or_else(BTreeMap::new);
    let members = Members::new(app.membership.configured(), changes);
    Ok((document, members))
}

/// Writes a change down in the audit trail and then in the document.
async fn commit(
    app: &App,
    operator: &super::call::Operator,
    document: Option<Document>,
    change: &Member,
    introductions: Vec<Member>,
    what: String,
) -> Result<(), Problem> {
    let (by, reason) = (change.by.clone().unwrap_or_default(), change.reason.clone().unwrap_or_default());
    audit::record(app, operator, by, what, &reason).await;
    let fields: Vec<(&str, Value)> =
        [change].into_iter().chain(&introductions).map(|one| (one.name.as_str(), members::value(one))).collect();
    lasting::set(app, "member", &members::key(), document, &fields).await
}

fn name(call: &Call) -> Result<NodeName, Problem> {
    let detail = "a node's name is 1 to 40 of a-z, 0-9 and '-', as on its certificate";
    call.name("node").parse().map_err(|_| Problem::new(Kind::MalformedId, detail))
}

fn refused(error: MemberError) -> Problem {
    let kind = match &error {
        MemberError::TooFew { .. } => Kind::NobodyLeft,
        MemberError::StillServes(_) => Kind::RegionServes,
        MemberError::Unknown(_) => Kind::NoNode,
        _ => Kind::Invalid,
    };
    Problem::new(kind, error.to_string())
}

/// The problem of a client that reaches a node which was removed; `None` for a member.
pub(super) fn gone(app: &App, template: &str) -> Option<Problem> {
    let is_probe = template == "/healthz" || template == "/readyz";
    let is_removed = !is_probe && app.membership.now().is_removed;
    is_removed.then(|| Problem::new(Kind::Removed, "repeat the request at another node of the deployment"))
}

/// The changes that the public sees.
pub(super) fn shown(members: &Members) -> Vec<Member> {
    members.changes.values().filter(|one| !one.introduced).map(members::to_public).collect()
}
