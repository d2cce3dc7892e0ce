//! Visits as they lie in the store: from rows to a visit, to the region that accepted it, and to why there is none.

use registry::{LONGEST_RETENTION, VenueId, Visit, VisitId};
use replication::{ChangeHash, DocumentKey, Row, Status, VersionVector, Wall};

use super::App;
use super::preconditions::{self, Current, Preconditions};
use super::problem::{Kind, Problem};
use super::session::Session;
use super::venues::{self, VenueLookup};

/// The contents of the rows of one name.
#[derive(Default)]
pub(super) struct StoredVisit {
    /// The visit, and when the last of its rows expires.
    pub(super) visit: Option<(Visit, Wall)>,
    /// The last changes of its rows.
    heads: Vec<ChangeHash>,
    /// Rows that do not decode. They are left out, so that the others can still be shown.
    pub(super) unreadable: u64,
}

/// Reads the rows of one name.
pub(super) fn read_visit(app: &App, id: VisitId, rows: &[(DocumentKey, Row)]) -> StoredVisit {
    let mut stored = StoredVisit::default();
    for (key, row) in rows {
        let document = match row.document() {
            Ok(document) => document,
            Err(error) => {
                stored.unreadable += 1;
                app.metrics.unreadable_rows.inc();
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    action = "check the disk; compare the list with that of another region",
                    "a stored visit does not decode: it is left out of the answer"
                );
                continue;
            }
        };
        let Some(visit) = Visit::from_document(id, &document) else { continue };
        stored.heads.extend_from_slice(document.heads());
        stored.visit = Some(match stored.visit {
            None => (visit, key.expires_at),
            Some((other, expires_at)) => (other.merge(visit), expires_at.max(key.expires_at)),
        });
    }
    stored
}

/// The visit that rows of one name hold, and when the last of them expires.
pub(super) fn visit_from_rows(app: &App, id: VisitId, rows: &[(DocumentKey, Row)]) -> Option<(Visit, Wall)> {
    read_visit(app, id, rows).visit
}

impl StoredVisit {
    /// The entity tag of the visit; the same in every region that has the same changes.
    pub(super) fn etag(&self) -> String {
        preconditions::etag(&self.heads, &[])
    }
}

/// Refuses a write to a visit that has these rows, if they do not meet its preconditions.
pub(super) fn check_preconditions(
    app: &App,
    preconditions: &Preconditions,
    stored: &StoredVisit,
    rows: &[(DocumentKey, Row)],
) -> Result<(), Problem> {
    if stored.visit.is_none() {
        return preconditions.check(None);
    }
    let mut changed = None;
    if preconditions.ask_for_time() {
        let (reader, status) = (app.handle.reader(), app.handle.status());
        for (key, row) in rows {
            changed = changed.max(reader.changed_at(key, row, app.view(&status))?);
        }
    }
    preconditions.check(Some(&Current { etag: &stored.etag(), changed }))
}

/// What a replica must have to show these rows.
pub(super) fn collect_needs(rows: &[(DocumentKey, Row)], durable: &VersionVector) -> VersionVector {
    let mut needs = VersionVector::default();
    rows.iter().for_each(|(_, row)| needs.merge(&row.needs(durable)));
    needs
}

/// The region that took the check-in; the first by name if several took the same one. `unknown` until a peer has told
/// which region an origin belongs to, which it does as soon as a link is up.
pub(super) fn accepting_region(status: &Status, rows: &[(DocumentKey, Row)]) -> String {
    let regions = rows.iter().flat_map(|(_, row)| row.creators()).filter_map(|dot| status.origins.get(&dot.origin));
    regions.min().map_or_else(|| "unknown".to_owned(), ToString::to_string)
}

/// When the first region accepted the check-in, by that region's clock; `None` if it cannot be told.
pub(super) fn first_acceptance(
    app: &App,
    status: &Status,
    rows: &[(DocumentKey, Row)],
) -> Result<Option<Wall>, Problem> {
    let mut first: Option<Wall> = None;
    for (key, row) in rows {
        let accepted = app.handle.reader().created_at(key, row, app.view(status))?;
        first = first.into_iter().chain(accepted).min();
    }
    Ok(first)
}

/// Why a visit is not here: erased, expired, or unknown.
pub(super) fn why_absent(app: &App, venue: VenueId, id: VisitId, session: &mut Session) -> Result<Problem, Problem> {
    // The tombstone is durable by now, so the rows may have gone since the session's status was taken.
    let status = app.handle.status();
    if app.handle.reader().is_erased(&id.name(venue), false, app.view(&status))? {
        session.saw(&status.durable);
        return Ok(Problem::new(Kind::Erased, "it was erased and does not come back"));
    }
    let retention = match venues::find(app, venue, session)? {
        VenueLookup::Open(known) | VenueLookup::Closed(known) => known.venue.retentions.at(id.arrival()),
        VenueLookup::Erased | VenueLookup::Unknown => LONGEST_RETENTION,
    };
    if id.arrival().plus(retention) <= app.as_of(&session.status) {
        return Ok(Problem::new(Kind::Expired, "its retention has passed, and it was deleted"));
    }
    Ok(Problem::new(
        Kind::NoVisit,
        "a check-in of a moment ago in another region may take a second; send Meridian-Session to wait for it",
    ))
}
