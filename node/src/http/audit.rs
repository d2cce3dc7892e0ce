//! The audit trail on the admin listener: every order is written down, and `GET /v1/admin/audit` shows a month.

use std::time::Duration;

use api::Moment;
use api::operators::{AuditEntry, AuditTrail};
use hyper::StatusCode;
use replication::{Change, Document, Status, Wall, Write};

use super::call::{Call, Operator};
use super::problem::{Answered, Kind, Problem};
use super::reply::json;
use super::{App, auth};
use crate::audit::{self, FULL, Month, PARTS};

/// How long an order waits for its entry. The way out of a fault must work although the disk hangs.
const LIMIT: Duration = Duration::from_secs(2);

/// Longest description of an order, in characters.
const LONGEST: usize = 400;

impl Operator {
    /// How the trail names the operator: by the token, and by what the request says if that is more.
    pub(super) fn named(&self, by: &str) -> String {
        match &self.name {
            Some(name) if by.is_empty() || by == name => name.clone(),
            Some(name) => format!("{by} ({name})"),
            None if by.is_empty() => "unknown".to_owned(),
            None => by.to_owned(),
        }
    }

    /// The author of an order whose body has `by`: without a token it must say who gives the order
    /// ([`api::operators::check_author`]).
    pub(super) fn author(&self, by: &str) -> String {
        let by = by.trim();
        if self.name.is_some() { self.named(by) } else { by.to_owned() }
    }
}

/// Writes an order down before it is carried out. A node that cannot write now says so in its log, and the order is
/// carried out all the same: it may be the one that mends the node.
pub(super) async fn record(app: &App, operator: &Operator, who: String, what: String, why: &str) {
    let from = operator.address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
    enter(app, &from, who, what, why).await;
}

async fn enter(app: &App, from: &str, who: String, what: String, why: &str) {
    let status = app.handle.status();
    let at = app.now(&status);
    let from = format!("{from} at {}", app.name);
    let what = what.chars().take(LONGEST).collect();
    let entry = AuditEntry { at: Moment(at), who, from, what, why: why.to_owned() };
    let written = tokio::time::timeout(LIMIT, write(app, &status, at, &entry)).await;
    let missing = match written {
        Ok(Ok(())) => return,
        Ok(Err(problem)) => problem.kind().slug(),
        Err(_late) => "not in time",
    };
    tracing::error!(
        order = entry.what,
        who = entry.who,
        from = entry.from,
        reason = missing,
        action = "write it down by hand",
        "the audit trail lacks an order: the node cannot write now"
    );
}

/// Writes down what the node did by itself, under the name of the setting that told it to.
pub(super) async fn record_own(app: &App, setting: &str, what: String) {
    enter(app, "by itself", setting.to_owned(), what, "").await;
}

async fn write(app: &App, status: &Status, at: Wall, entry: &AuditEntry) -> Result<(), Problem> {
    let mut rest = [0; 8];
    auth::random(&mut rest)?;
    let field = audit::field(at, rest);
    let value = audit::value(entry);
    let month = Month::of(at);
    let (mut part, mut document) = last(app, status, month)?;
    loop {
        let key = month.name(part).expiring(Wall::NEVER);
        let change = match &document {
            Some(document) => document.amend(&key, &[(&field, Some(value.clone()))]),
            None => Some(Change::create(&key, &[(&field, value.clone())])),
        };
        let Some(change) = change else { return Ok(()) };
        match app.write("audit", Write::Change { key, change }).await.map_err(Problem::from) {
            Ok(_) => return Ok(()),
            // Long entries fill a document before it has many.
            Err(problem) if problem.kind() == Kind::Full && part + 1 < PARTS => {
                part += 1;
                document = self::document(app, status, month, part)?;
            }
            Err(problem) => return Err(problem),
        }
    }
}

/// The document of a month that takes the next entry.
fn last(app: &App, status: &Status, month: Month) -> Result<(u8, Option<Document>), Problem> {
    for part in 0..PARTS {
        match document(app, status, month, part)? {
            Some(document) if document.fields().count() >= FULL => {}
            found => return Ok((part, found)),
        }
    }
    Err(Problem::internal())
}

fn document(app: &App, status: &Status, month: Month, part: u8) -> Result<Option<Document>, Problem> {
    let rows = app.handle.reader().rows(&month.name(part), true, app.view(status))?;
    let Some((_, row)) = rows.into_iter().next() else { return Ok(None) };
    row.document().map(Some).map_err(|error| {
        app.metrics.unreadable_rows.inc();
        let action = "compare the versions of the nodes; if they are equal, the store is damaged";
        tracing::error!(
            error = &error as &dyn std::error::Error,
            action,
            "a document of the audit trail does not decode"
        );
        Problem::internal()
    })
}

/// `GET /v1/admin/audit?month=2026-11`; the present month without the parameter.
pub(super) async fn list(call: Call) -> Answered {
    let app = &call.app;
    let status = app.handle.status();
    let query = call.parts.uri.query().unwrap_or_default();
    let month = match query.strip_prefix("month=") {
        Some(text) => Month::parse(text),
        None => query.is_empty().then(|| Month::of(app.now(&status))),
    };
    let month = month.ok_or_else(|| Problem::parameter("month", "a month, such as ?month=2026-11"))?;
    let mut entries = Vec::new();
    for part in 0..PARTS {
        let Some(document) = document(app, &status, month, part)? else { break };
        entries.extend(audit::read(&document));
    }
    entries.sort_by_key(|entry| entry.at);
    Ok(json(StatusCode::OK, &AuditTrail { month: month.to_string(), entries }))
}
