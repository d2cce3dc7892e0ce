//! Venues: finds the venue of a request; the handlers of `/v1/venues` and `/v1/venues/{venue}`.
//!
//! # Invariants
//! - A cached venue is used only if the vector that it was read at covers the client's session token.
//! - Only venues that exist are cached, so one that arrives from another region is visible at once.

mod handlers;

use std::sync::Arc;

use replication::{Change, ChangeHash, Document, DocumentKey, Row, VersionVector, Wall, Write};

use super::App;
use super::preconditions::{self, Current, Preconditions};
use super::problem::{Kind, Problem};
use super::session::Session;
use registry::{OwnerKey, PolicyPack, Venue, VenueId};

pub(super) use handlers::{apply, apply_closing, change, close, create, open_as, remove, show};

/// A venue as it was read.
#[derive(Clone)]
pub(super) struct CachedVenue {
    pub(super) venue: Venue,
    /// The pack that says what its guests are asked for.
    pub(super) pack: Arc<PolicyPack>,
    /// The ETag of its public profile; the same in every region that has the same changes.
    etag: String,
    key: DocumentKey,
    document: Document,
    /// What a replica must have to show the same venue.
    needs: VersionVector,
    /// Its changes.
    row: Row,
    /// The vector that was durable before it was read.
    vector: VersionVector,
}

impl CachedVenue {
    /// The change that makes `updates`; `None` if the venue has these values already.
    fn amend(&self, updates: &[(&str, Option<replication::Value>)]) -> Option<Change> {
        self.document.amend(&self.key, updates)
    }

    /// The write that removes the mark of a venue that no guest has used yet. A check-in succeeds all the same if it is
    /// refused, as by a document that is at its bounds, because such a venue cannot expire either.
    pub(super) fn first_use(&self) -> Option<Write> {
        let change = if self.venue.unused { self.amend(&Venue::used()) } else { None };
        change.map(|change| Write::Change { key: self.key, change })
    }

    /// Refuses a write whose preconditions this state does not meet.
    fn check(&self, app: &App, preconditions: &Preconditions) -> Result<(), Problem> {
        let mut changed = None;
        if preconditions.ask_for_time() {
            changed = app.handle.reader().changed_at(&self.key, &self.row, app.view(&app.handle.status()))?;
        }
        preconditions.check(Some(&Current { etag: &self.etag, changed }))
    }
}

/// The result of looking for a venue.
pub(super) enum VenueLookup {
    /// It takes check-ins.
    Open(Arc<CachedVenue>),
    /// It was closed; its list is kept until the last visit expires.
    Closed(Arc<CachedVenue>),
    /// It was closed and is forgotten, or a version before this closed it.
    Erased,
    /// This node does not know it.
    Unknown,
}

/// Looks a venue up, in the cache if the cached state is new enough for the client.
pub(super) fn find(app: &App, id: VenueId, session: &Session) -> Result<VenueLookup, Problem> {
    if let Some(known) = app.venues.get(&id)
        && session.is_covered_by(&known.vector)
    {
        return Ok(known.into());
    }
    read(app, id)
}

impl From<Arc<CachedVenue>> for VenueLookup {
    fn from(known: Arc<CachedVenue>) -> VenueLookup {
        if known.venue.closed.is_some() { VenueLookup::Closed(known) } else { VenueLookup::Open(known) }
    }
}

/// Reads a venue from the store.
pub(super) fn read(app: &App, id: VenueId) -> Result<VenueLookup, Problem> {
    let status = app.handle.status();
    let (reader, view) = (app.handle.reader(), app.view(&status));
    let rows = reader.rows(&id.name(), true, view)?;
    let Some((key, row)) = rows.into_iter().next() else {
        app.venues.invalidate(&id);
        // The tombstone is durable by now, so the rows may have gone since the view was taken.
        let status = app.handle.status();
        return Ok(if reader.is_erased(&id.name(), true, app.view(&status))? {
            VenueLookup::Erased
        } else {
            VenueLookup::Unknown
        });
    };
    let document = row.document().map_err(|error| {
        app.metrics.unreadable_rows.inc();
        tracing::error!(
            error = &error as &dyn std::error::Error,
            action = "check the disk",
            "a stored venue does not decode: its requests fail"
        );
        Problem::internal()
    })?;
    // The venue is incomplete: its creation has not arrived yet.
    let Some(venue) = Venue::from_document(id, &document) else { return Ok(VenueLookup::Unknown) };
    let pack = app.packs.of(&venue.policy).clone();
    let etag = etag(document.heads(), &pack);
    let (needs, vector) = (row.needs(&status.durable), status.durable.clone());
    let known = Arc::new(CachedVenue { venue, pack, etag, key, document, needs, row, vector });
    app.venues.insert(id, known.clone());
    Ok(known.into())
}

/// The venue, or the problem that says why it is not open.
pub(super) fn find_open(app: &App, id: VenueId, session: &Session) -> Result<Arc<CachedVenue>, Problem> {
    match find(app, id, session)? {
        VenueLookup::Open(known) => Ok(known),
        VenueLookup::Closed(_) | VenueLookup::Erased => Err(closed_venue()),
        VenueLookup::Unknown => Err(unknown_venue()),
    }
}

/// The venue, if it takes a check-in of this arrival: one that waited on a phone may reach a venue that closed meanwhile.
pub(super) fn find_taking(
    app: &App,
    id: VenueId,
    session: &Session,
    arrival: Wall,
) -> Result<Arc<CachedVenue>, Problem> {
    let known = find_kept(app, id, session)?;
    if known.venue.closed.is_none_or(|closed| arrival < closed) { Ok(known) } else { Err(closed_venue()) }
}

/// The venue, open or closed.
pub(super) fn find_kept(app: &App, id: VenueId, session: &Session) -> Result<Arc<CachedVenue>, Problem> {
    match find(app, id, session)? {
        VenueLookup::Open(known) | VenueLookup::Closed(known) => Ok(known),
        VenueLookup::Erased => Err(closed_venue()),
        VenueLookup::Unknown => Err(unknown_venue()),
    }
}

/// The venue, open or closed, if `key` is its owner's key. A key of another venue gets the same answer as a venue that
/// does not exist.
pub(super) fn find_owned_venue(
    app: &App,
    id: VenueId,
    key: &OwnerKey,
    session: &Session,
) -> Result<Arc<CachedVenue>, Problem> {
    let known = find_kept(app, id, session)?;
    if known.venue.owned_by(key) { Ok(known) } else { Err(unknown_venue()) }
}

/// The answer for a venue that takes no check-ins any more.
pub(super) fn closed_venue() -> Problem {
    Problem::new(Kind::Closed, "it takes no check-ins any more")
}

/// The answer for a venue that is unknown, and for an owner's key that is not its own.
pub(super) fn unknown_venue() -> Problem {
    Problem::new(
        Kind::NoVenue,
        "a venue made a moment ago in another region may take a second; send Meridian-Session to wait for it",
    )
}

fn etag(heads: &[ChangeHash], pack: &PolicyPack) -> String {
    preconditions::etag(heads, &[pack.id.as_bytes(), &pack.version.to_be_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use replication::ChangeHash;

    use super::etag;
    use registry::PolicyPack;

    #[test]
    fn an_etag_follows_the_version_of_the_pack() {
        let heads = [ChangeHash([1; 32])];
        let mut pack = PolicyPack::built_in("default").expect("a pack");
        let first = etag(&heads, &pack);
        pack.version += 1;
        assert_ne!(first, etag(&heads, &pack));
    }
}
