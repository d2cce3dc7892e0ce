//! Looks after venues that no guest uses: those that never had a check-in are closed after `registry.unused_venues_days`,
//! and closed ones of which no visit is left are erased. What is due: [`registry::Upkeep`].
//!
//! # Invariants
//! - A round reads a bounded number of documents, beside the driver and away from the threads that serve clients, and goes
//!   on at the next round where it ended.
//! - A node that doubts its clock, or may lack what others have, does nothing.
//! - A round writes one entry into the audit trail at most, because strangers can make many venues.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use replication::{
    Change, ChangeHash, DocumentId, DocumentKey, DocumentName, Outcome, Query, Reason, Row, Status, StorageError, Wall,
    Write, WriteError,
};
use tokio::sync::watch;
use tokio::time::{Instant, interval_at};

use super::{App, audit};
use crate::driver::Refused;
use registry::{LONGEST_RETENTION, Upkeep, VENUES, VISITS, Venue, VenueId, VenueSeen};

/// When the first round begins after a start, so that the peers have been heard.
const FIRST: Duration = Duration::from_mins(2);

/// Time between two rounds.
const EVERY: Duration = Duration::from_mins(10);

/// Venues that are read at one time.
const PAGE: usize = 100;

/// Pages of one round.
const PAGES: usize = 20;

/// Venues of each kind that an entry of the audit trail names.
const NAMED: usize = 4;

/// Looks after the venues until `stop` is true.
pub(crate) async fn keep(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut rounds = interval_at(Instant::now() + FIRST, EVERY);
    let mut after = None;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = rounds.tick() => {}
        }
        after = round(&app, after).await;
    }
}

/// Something that is due.
struct Due {
    id: VenueId,
    key: DocumentKey,
    what: Upkeep,
    /// The change that does it; none for an erasure.
    change: Option<Change>,
    /// The changes that it is built on.
    seen: BTreeSet<ChangeHash>,
}

/// The venues that a round closed and erased.
#[derive(Default)]
struct Done {
    expired: Vec<VenueId>,
    forgotten: Vec<VenueId>,
}

/// Looks after the venues behind `after`. Returns where the next round goes on; `None` for the beginning.
pub(super) async fn round(app: &Arc<App>, mut after: Option<DocumentName>) -> Option<DocumentName> {
    let mut done = Done::default();
    for _ in 0..PAGES {
        let own = app.clone();
        let page = tokio::task::spawn_blocking(move || read(&own, after.as_ref())).await;
        let (due, last) = match page {
            Ok(Ok(Some(page))) => page,
            Ok(Ok(None)) => break,
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, action = "check the disk", "venues cannot be read: none is closed or forgotten");
                break;
            }
            Err(_panicked) => break,
        };
        // Together, so that they share a batch.
        let carried_out = join_all(due.iter().map(|due| carry_out(app, due))).await;
        for (due, _) in due.iter().zip(carried_out).filter(|(_, is_done)| *is_done) {
            match due.what {
                Upkeep::Expire(_) => done.expired.push(due.id),
                Upkeep::Forget => done.forgotten.push(due.id),
                Upkeep::Keep | Upkeep::Use => {}
            }
        }
        after = last;
        if after.is_none() {
            break;
        }
    }
    if let Some(what) = done.said() {
        audit::record_own(app, "registry.unused_venues_days", what).await;
    }
    after
}

type DuePage = (Vec<Due>, Option<DocumentName>);

/// What is due of the next venues; `None` if this node cannot tell now.
fn read(app: &App, after: Option<&DocumentName>) -> Result<Option<DuePage>, StorageError> {
    let status = app.handle.status();
    let Some(complete) = complete(app, &status) else { return Ok(None) };
    let page = app.handle.reader().lasting(VENUES, after, PAGE, app.view(&status))?;
    let mut due = Vec::new();
    for (key, row) in &page.rows {
        due.extend(of_venue(app, &status, complete, key, row)?);
    }
    Ok(Some((due, page.last)))
}

/// The moment before which this node has everything that any region acknowledged; `None` if it cannot tell.
fn complete(app: &App, status: &Status) -> Option<Wall> {
    let lacks = status.starting || status.filling || status.recovering || status.dropped_too_early;
    let members = app.membership.now();
    if status.doubt.is_some() || lacks || members.is_removed || app.handle.stalled().is_some() {
        return None;
    }
    let regions = members.regions.keys().map(|region| status.complete_through.get(region).copied().unwrap_or_default());
    regions.chain([app.now(status)]).min()
}

fn of_venue(
    app: &App,
    status: &Status,
    complete: Wall,
    key: &DocumentKey,
    row: &Row,
) -> Result<Option<Due>, StorageError> {
    let id = VenueId(key.name.tenant.0);
    // A venue that does not decode is counted and reported when it is asked for.
    let Ok(document) = row.document() else { return Ok(None) };
    let Some(venue) = Venue::from_document(id, &document) else { return Ok(None) };
    if !venue.unused && venue.closed.is_none() {
        return Ok(None);
    }
    let (reader, view) = (app.handle.reader(), app.view(status));
    let needs = row.needs(&status.durable);
    let mut seen = VenueSeen {
        created: reader.created_at(key, row, view)?,
        changed: reader.changed_at(key, row, view)?,
        complete,
        known_everywhere: status.peers.iter().all(|peer| peer.vector.covers(&needs)),
        has_visits: false,
    };
    let mut what = venue.upkeep(&seen, app.unused_venues);
    // Looking for visits reads every day of the store, so only where it decides.
    if what != Upkeep::Keep || (venue.unused && venue.closed.is_some()) {
        seen.has_visits = has_visits(app, status, &venue)?;
        what = venue.upkeep(&seen, app.unused_venues);
    }
    let change = match what {
        Upkeep::Keep => return Ok(None),
        Upkeep::Use => document.amend(key, &Venue::used()),
        Upkeep::Expire(at) => document.amend(key, &Venue::expiring(at)),
        Upkeep::Forget => None,
    };
    Ok(Some(Due { id, key: *key, what, change, seen: row.hashes() }))
}

/// Whether the store has a visit of the venue that has not expired.
fn has_visits(app: &App, status: &Status, venue: &Venue) -> Result<bool, StorageError> {
    let now = app.now(status);
    let query = Query {
        collection: VISITS,
        tenant: venue.id.tenant(),
        from: DocumentId::first_of(now.minus(LONGEST_RETENTION * 2)),
        to: DocumentId::arriving(now.plus(LONGEST_RETENTION), [0xff; 10]),
        limit: 1,
    };
    let page = app.handle.reader().scan(&query, app.view(status))?;
    // A row that does not decode, or is not durable yet, is a visit as well.
    Ok(page.last.is_some())
}

/// Does what is due, unless the venue has changed meanwhile. Returns whether it was done here.
async fn carry_out(app: &App, due: &Due) -> bool {
    let write = match (&due.change, due.what) {
        (Some(change), _) => Write::Change { key: due.key, change: change.clone() },
        (None, Upkeep::Forget) => Write::Erase { name: due.key.name, lasting: true, reason: Reason::Owner },
        (None, _) => return false,
    };
    let written = app.write_if("venue_upkeep", write, vec![(due.key, due.seen.clone())]).await;
    app.venues.invalidate(&due.id);
    let outcome = match (written, due.what) {
        // Another node did it before, or a client changed the venue.
        (Ok(Outcome::Repeat | Outcome::AlreadyErased) | Err(Refused::Replica(WriteError::Changed)), _) => return false,
        (Err(_), _) => "failed",
        (Ok(_), Upkeep::Expire(_)) => "expired",
        (Ok(_), Upkeep::Forget) => "forgotten",
        (Ok(_), Upkeep::Use | Upkeep::Keep) => "used",
    };
    app.metrics.kept_up(outcome);
    outcome != "failed"
}

impl Done {
    /// For the audit trail; `None` if the round did nothing.
    fn said(&self) -> Option<String> {
        let one = |ids: &[VenueId], what: &str| {
            let named: Vec<String> = ids.iter().take(NAMED).map(ToString::to_string).collect();
            let more = if ids.len() > named.len() { ", ..." } else { "" };
            format!("{} {what} ({}{more})", ids.len(), named.join(", "))
        };
        let each =
            [(&self.expired, "closed, because no guest ever came"), (&self.forgotten, "closed before are erased")];
        let said: Vec<String> =
            each.into_iter().filter(|(ids, _)| !ids.is_empty()).map(|(ids, what)| one(ids, what)).collect();
        (!said.is_empty()).then(|| format!("venues: {}", said.join("; ")))
    }
}

#[cfg(test)]
mod tests;
