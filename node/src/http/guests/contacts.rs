//! `GET /v1/venues/{venue}/contacts?visit=`: the visits that overlap one visit, as JSON or as either table of CSV.
//!
//! # Invariants
//! - A request keeps at most [`MOST`] contacts in memory, and only few requests run at one time on one node.
//! - Every format says whether contacts are missing. A table has no place for the visit itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::wait::WAIT;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, VARY};
use serde::Serialize;

use super::super::call::Call;
use super::super::problem::{Kind, Problem};
use super::super::query::Query;
use super::super::reply::{Reply, full, json};
use super::super::session::Session;
use super::super::store::{accepting_region, visit_from_rows, why_absent};
use super::super::venues::{self, CachedVenue};
use super::super::{App, auth};
use super::accept::{CONTACTS, Format};
use super::completeness;
use super::list::describe_file;
use super::listing::unwritable;
use super::pages::{Item, Pages};
use api::{Moment, RegionId};
use registry::{ContactRow, ContactSearch, GuestRow, GuestTable, TableWords, VisitId, guest_csv, guest_excel_csv};

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
    let format = Format::of(&call.parts.headers, CONTACTS)?;
    let query = Query::parse(call.parts.uri.query(), &["visit", "dialect", WAIT])?;
    let format = format.in_dialect(query.get("dialect"))?;
    let id = query.get("visit").and_then(|text| text.parse::<VisitId>().ok());
    let id = id.ok_or_else(|| Problem::parameter("visit", "the id of a visit of this venue is expected"))?;
    let mut session = Session::begin(app, &call.parts.headers, query.wait()?).await?;
    let known = venues::find_owned_venue(app, venue, &owner, &session)?;
    let completeness = completeness(&session.status);
    let timezone = known.venue.timezone.clone();
    let found = find_contacts(&call.app, &mut session, known, id).await?;
    let mut reply = match format {
        Format::Csv => table(format, &completeness, script_table(&found)?),
        Format::ExcelCsv => table(format, &completeness, office_table(&found, &timezone)?),
        Format::Json | Format::Ndjson | Format::Xlsx => {
            let ContactList { visit, contacts, truncated, unreadable } = found;
            json(StatusCode::OK, &Contacts { visit, contacts, completeness, truncated, unreadable })
        }
    };
    reply.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    session.sign_read(&mut reply);
    Ok(reply)
}

/// The answer with a table.
fn table(format: Format, completeness: &BTreeMap<RegionId, Moment>, lines: Vec<u8>) -> Reply {
    let mut reply = full(StatusCode::OK, lines);
    reply.headers_mut().insert(CONTENT_TYPE, format.media_type());
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    describe_file(&mut reply, format, "contacts", completeness);
    reply
}

fn script_table(found: &ContactList) -> Result<Vec<u8>, Problem> {
    let first = &guest_csv::CONTACT_COLUMNS;
    let mut out = guest_csv::header(first).map_err(unwritable)?;
    for contact in &found.contacts {
        out.extend(guest_csv::contact_lines(contact).map_err(unwritable)?);
    }
    if found.truncated {
        out.extend(guest_csv::last_line(first, "truncated", MOST as u64).map_err(unwritable)?);
    }
    if found.unreadable > 0 {
        out.extend(guest_csv::last_line(first, "unreadable", found.unreadable).map_err(unwritable)?);
    }
    Ok(out)
}

fn office_table(found: &ContactList, timezone: &str) -> Result<Vec<u8>, Problem> {
    let table = GuestTable::new(TableWords::default(), timezone);
    let (first, words) = (&table.contact_titles(), table.words());
    let mut out = guest_excel_csv::header(&table, first).map_err(unwritable)?;
    for contact in &found.contacts {
        out.extend(guest_excel_csv::contact_lines(&table, contact).map_err(unwritable)?);
    }
    if found.truncated {
        out.extend(guest_excel_csv::last_line(first, &words.truncated, MOST as u64).map_err(unwritable)?);
    }
    if found.unreadable > 0 {
        out.extend(guest_excel_csv::last_line(first, &words.unreadable, found.unreadable).map_err(unwritable)?);
    }
    Ok(out)
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
    let assumed_stay = known.pack.assumed_stay;
    let mut search = ContactSearch::new(&index, assumed_stay, MOST);
    let mut pages =
        Pages::new(app.clone(), session.status.clone(), known, search.window(), None, None).with_acceptance();
    let mut unreadable = 0;
    while let Some(items) = pages.next().await? {
        for item in items {
            match item {
                Item::Visit(found) => search.see(&found.visit, &found.region, found.accepted),
                Item::Unreadable => unreadable += 1,
            }
        }
    }
    let (contacts, truncated) = search.finish();
    let visit = GuestRow::of(&index, &accepting_region(&session.status, &rows), assumed_stay);
    Ok(ContactList { visit, contacts, truncated, unreadable })
}

// serde passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_none(unreadable: &u64) -> bool {
    *unreadable == 0
}
