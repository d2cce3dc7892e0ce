//! `GET /v1/venues/{venue}/contacts?visit=`: the visits that overlap one visit.
//!
//! # Invariants
//! - A request keeps at most [`MOST`] contacts in memory, and only few requests run at one time on one node.

use api::wait::WAIT;
use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::StatusCode;
use serde::Serialize;

use super::super::call::Call;
use super::super::problem::{Kind, Problem};
use super::super::query::Query;
use super::super::reply::{Reply, json};
use super::super::session::Session;
use super::super::store::{accepting_region, visit_from_rows, why_absent};
use super::super::venues::{self, CachedVenue};
use super::super::{App, auth};
use super::completeness;
use super::pages::{Item, Pages};
use api::{Moment, RegionId};
use registry::{ContactRow, ContactSearch, GuestRow, VisitId};

/// Most contacts of one answer. A health office cannot follow up more than so many.
const MOST: usize = 10_000;

/// The answer. Contacts are sorted by length of overlap, so all of them are in memory.
#[derive(Serialize)]
struct Contacts {
    visit: GuestRow,
    contacts: Vec<ContactRow>,
    completeness: BTreeMap<RegionId, Moment>,
    /// Whether shorter contacts were left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
    /// Visits that were left out because their rows do not decode.
    #[serde(skip_serializing_if = "is_none")]
    unreadable: u64,
}

/// `GET /v1/venues/{venue}/contacts`.
pub(in super::super) async fn contacts(call: Call) -> Result<Reply, Problem> {
    let venue = call.venue()?;
    let app = &call.app;
    let owner = auth::owner_key(&call.parts.headers)?;
    let query = Query::parse(call.parts.uri.query(), &["visit", WAIT])?;
    let id = query.get("visit").and_then(|text| text.parse::<VisitId>().ok());
    let id = id.ok_or_else(|| Problem::parameter("visit", "the id of a visit of this venue is expected"))?;
    let mut session = Session::begin(app, &call.parts.headers, query.wait()?).await?;
    let known = venues::find_owned_venue(app, venue, &owner, &session)?;
    let completeness = completeness(&session.status);
    let ContactList { visit, contacts, truncated, unreadable } =
        find_contacts(&call.app, &mut session, known, id).await?;
    let answer = Contacts { visit, contacts, completeness, truncated, unreadable };
    let mut reply = json(StatusCode::OK, &answer);
    session.sign_read(&mut reply);
    Ok(reply)
}

/// The visits that overlap one visit.
pub(in super::super) struct ContactList {
    /// The visit itself.
    pub(in super::super) visit: GuestRow,
    /// Longest overlap first.
    pub(in super::super) contacts: Vec<ContactRow>,
    /// Whether shorter contacts were left out.
    pub(in super::super) truncated: bool,
    /// Visits that were left out because their rows do not decode.
    pub(in super::super) unreadable: u64,
}

/// Finds the visits that overlap one visit.
pub(in super::super) async fn find_contacts(
    app: &Arc<App>,
    session: &mut Session,
    known: Arc<CachedVenue>,
    id: VisitId,
) -> Result<ContactList, Problem> {
    let busy = |_| Problem::new(Kind::Busy, "repeat the request in a moment, or elsewhere");
    let _one_of_few = app.contact_searches.try_acquire().map_err(busy)?;
    let venue = known.venue.id;
    let rows = app.rows(&id.name(venue), app.view(&session.status))?;
    let Some((index, _)) = visit_from_rows(app, id, &rows) else {
        return Err(why_absent(app, venue, id, session)?);
    };
    let max_stay = known.pack.max_stay;
    let mut search = ContactSearch::new(&index, max_stay, MOST);
    let mut pages = Pages::new(app.clone(), session.status.clone(), known, search.window(), None, None);
    let mut unreadable = 0;
    while let Some(items) = pages.next().await? {
        for item in items {
            match item {
                Item::Visit(found) => search.see(&found.visit, &found.region),
                Item::Unreadable => unreadable += 1,
            }
        }
    }
    let (contacts, truncated) = search.finish();
    let visit = GuestRow::of(&index, &accepting_region(&session.status, &rows), max_stay);
    Ok(ContactList { visit, contacts, truncated, unreadable })
}

// serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_none(unreadable: &u64) -> bool {
    *unreadable == 0
}
