//! `GET /v1/venues/{venue}/contacts?visit=`: whose visits overlap one visit.

use hyper::StatusCode;
use serde::Serialize;

use super::super::auth;
use super::super::problem::Problem;
use super::super::public::Call;
use super::super::query::Query;
use super::super::reply::{Reply, json};
use super::super::session::Session;
use super::super::visits::{missing, of_rows, region_of};
use super::completeness;
use super::pages::Pages;
use crate::registry::{ContactRow, GuestRow, VenueId, VisitId, Window, contacts as overlaps};

/// The answer. Contacts are sorted by length of overlap, so all of them are in memory: those of one visit, which
/// lasts a day at most.
#[derive(Serialize)]
struct Contacts {
    visit: GuestRow,
    contacts: Vec<ContactRow>,
    completeness: std::collections::BTreeMap<String, String>,
}

/// `GET /v1/venues/{venue}/contacts`.
pub(in super::super) async fn contacts(call: Call, venue: VenueId) -> Result<Reply, Problem> {
    let app = &call.app;
    let owner = auth::owner_key(&call.parts.headers)?;
    let query = Query::parse(call.parts.uri.query(), &["visit", "wait"])?;
    let id = query.get("visit").and_then(|text| text.parse::<VisitId>().ok());
    let id = id.ok_or_else(|| Problem::parameter("visit", "the id of a visit of this venue is expected"))?;
    let session = Session::begin(app, &call.parts.headers, query.wait()?).await?;
    let known = auth::owned(app, venue, &owner, &session)?;
    let completeness = completeness(&session.status);
    let rows = app.rows(&id.name(venue), app.as_of(&session.status))?;
    let Some((index, _)) = of_rows(app, id, &rows) else {
        return Err(missing(app, venue, id, &session)?);
    };
    let max_stay = known.pack.max_stay;
    let window = Window { from: index.arrived(), to: index.departure(max_stay).at };
    let mut pages = Pages::new(call.app.clone(), known, window, None, None);
    let mut others = Vec::new();
    while let Some(visits) = pages.next().await? {
        others.extend(visits);
    }
    let contacts = overlaps(&index, others.iter().map(|(visit, region)| (visit, region.as_str())), max_stay);
    app.handle.settled().await;
    let visit = GuestRow::of(&index, &region_of(&session.status, &rows), max_stay);
    let mut reply = json(StatusCode::OK, &Contacts { visit, contacts, completeness })?;
    session.sign_read(&mut reply);
    Ok(reply)
}
