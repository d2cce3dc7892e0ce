//! The requests of a guest who has the receipt: read the record, correct it, check out, erase it.
//!
//! # Invariants
//! - An erasure needs only the secret. This region need not have seen the visit; it must know the venue.
//! - A correction that the visit has already is a repeat, whatever the rules have become.
//! - A visit of a closed venue can still be corrected, because the guest's right does not end with the venue.

use api::wait::WAIT;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, ETAG, HeaderValue};
use replication::{Outcome, Reason, Row, VersionVector, Wall, Write};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;

use super::super::call::Call;
use super::super::durability::{Proof, Wanted};
use super::super::guests::Format;
use super::super::preconditions::{Preconditions, has_already};
use super::super::problem::{Kind, Problem};
use super::super::query::Query;
use super::super::reply::{Reply, full, header, json, no_content};
use super::super::session::Session;
use super::super::store::{check_preconditions, collect_needs, read_visit, why_absent};
use super::super::venues::{self, VenueLookup};
use super::super::{App, auth, body};
use super::check_in::CheckInError;
use crate::driver::SeenRows;
use api::Moment;
use api::problem::ClockDifference;
use registry::EARLIEST_ARRIVAL;
use registry::LONGEST_RETENTION;
use registry::{PolicyPack, Venue, VenueId, Visit, VisitId, VisitPatch};

/// How long an erasure waits for its venue to arrive from another region.
const VENUE_WAIT: Duration = Duration::from_secs(2);

/// The guest's own record.
#[derive(Serialize)]
struct OwnVisit<'a> {
    #[serde(flatten)]
    visit: &'a Visit,
    venue_id: VenueId,
    expires_at: Moment,
    region: &'a str,
}

/// `GET /v1/venues/{venue}/visits/{visit}`.
pub(in super::super) async fn show(call: Call) -> Result<Reply, Problem> {
    let (venue, id) = (call.venue()?, call.visit()?);
    let app = &call.app;
    auth::check_secret(&call.parts.headers, id)?;
    Format::expect_json(&call.parts.headers)?;
    let wait = Query::parse(call.parts.uri.query(), &[WAIT])?.wait()?;
    let mut session = Session::begin(app, &call.parts.headers, wait).await?;
    let rows = app.rows(&id.name(venue), app.view(&session.status))?;
    let stored = read_visit(app, id, &rows);
    let Some((visit, expires_at)) = &stored.visit else {
        let mut reply = why_absent(app, venue, id, &mut session)?.into_reply();
        session.sign_read(&mut reply);
        return Ok(reply);
    };
    let etag = stored.etag();
    let mut reply = if has_already(&call.parts.headers, &etag) {
        let mut reply = full(StatusCode::NOT_MODIFIED, "");
        reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        reply
    } else {
        record(app, visit, venue, *expires_at)?
    };
    reply.headers_mut().insert(ETAG, header(etag));
    session.sign_read(&mut reply);
    Ok(reply)
}

/// `PATCH /v1/venues/{venue}/visits/{visit}`.
pub(in super::super) async fn correct(call: Call) -> Result<Reply, Problem> {
    let (venue, id) = (call.venue()?, call.visit()?);
    let app = &call.app;
    auth::check_secret(&call.parts.headers, id)?;
    let wanted = Wanted::read(call.parts.uri.query(), app.membership.now().regions.len())?;
    let preconditions = Preconditions::read(&call.parts.headers)?;
    let body = body::read(&call.parts.headers, call.body).await?;
    let patch = VisitPatch::parse(&body)?;
    let mut session = Session::for_write(app, &call.parts.headers, wanted.wait).await?;
    let corrected = match apply_correction(app, &mut session, venue, id, &patch, &preconditions).await {
        Ok(corrected) => corrected,
        Err(error) => return session.refuse(app, error.into()),
    };
    let mut reply = record(app, &corrected.visit, venue, corrected.expires_at)?;
    reply.headers_mut().insert(ETAG, header(corrected.etag));
    wanted.confirm(app, &corrected.proof, &mut reply).await;
    session.sign_needs(&mut reply, &corrected.needs);
    Ok(reply)
}

/// A visit after its correction.
pub(in super::super) struct Corrected {
    pub(in super::super) visit: Visit,
    pub(in super::super) expires_at: Wall,
    etag: String,
    pub(in super::super) proof: Proof,
    /// What a replica must have to show the visit like this.
    pub(in super::super) needs: VersionVector,
}

/// Corrects a visit as it is durable here. Returns once the correction is durable; a correction that changes nothing
/// writes nothing.
pub(in super::super) async fn apply_correction(
    app: &App,
    session: &mut Session,
    venue: VenueId,
    id: VisitId,
    patch: &VisitPatch,
    preconditions: &Preconditions,
) -> Result<Corrected, CheckInError> {
    // A correction builds on what is durable, so the answer's token covers its dependencies.
    let rows = app.rows(&id.name(venue), app.view(&session.status))?;
    let stored = read_visit(app, id, &rows);
    let Some((visit, expires_at)) = stored.visit.clone() else {
        return Err(why_absent(app, venue, id, session)?.into());
    };
    check_preconditions(app, preconditions, &stored, &rows)?;
    let (rules, pack) = rules(app, venue, session)?;
    let updates = match patch.check(&visit, &rules, &pack) {
        Ok(updates) => updates,
        // It was accepted before, under other rules.
        Err(_) if patch.is_repeat(&visit) => Vec::new(),
        Err(invalid) => return Err(CheckInError::Invalid(invalid)),
    };
    let updates: Vec<_> = updates.iter().map(|(field, value)| (field.as_ref(), value.clone())).collect();
    let mut last = None;
    let mut seen = preconditions.seen(rows.iter().map(|(key, row)| (key, row)));
    for (key, row) in &rows {
        // A document that does not decode was counted when the visit was assembled.
        let Ok(document) = row.document() else { continue };
        if document.is_empty() {
            continue;
        }
        if let Some(change) = document.amend(key, &updates) {
            let write = Write::Change { key: *key, change };
            // The condition is about the request: once its first write is taken the others follow.
            let written = app.write_if("correction", write, std::mem::take(&mut seen)).await;
            last = Some(written.map_err(Problem::from)?);
        }
    }
    let Some(outcome) = last else {
        let needs = collect_needs(&rows, &session.status.durable);
        return Ok(Corrected { visit, expires_at, etag: stored.etag(), proof: Proof::All(needs.clone()), needs });
    };
    // The write is durable, so the present status covers it.
    let status = app.handle.status();
    let rows = app.rows(&id.name(venue), app.view(&status))?;
    // The visit was erased or expired meanwhile, and the correction with it.
    let stored = read_visit(app, id, &rows);
    let etag = stored.etag();
    let Some((visit, expires_at)) = stored.visit else {
        return Err(why_absent(app, venue, id, session)?.into());
    };
    let needs = collect_needs(&rows, &status.durable);
    Ok(Corrected { visit, expires_at, etag, proof: Proof::of(app, outcome), needs })
}

/// `DELETE /v1/venues/{venue}/visits/{visit}`.
pub(in super::super) async fn erase(call: Call) -> Result<Reply, Problem> {
    let peer = call.peer();
    let (venue, id) = (call.venue()?, call.visit()?);
    let app = &call.app;
    auth::check_secret(&call.parts.headers, id)?;
    let wanted = Wanted::read(call.parts.uri.query(), app.membership.now().regions.len())?;
    let preconditions = Preconditions::read(&call.parts.headers)?;
    let session = Session::for_write(app, &call.parts.headers, wanted.wait).await?;
    let outcome = apply_erasure(app, &session, venue, id, &preconditions, peer).await?;
    let mut reply = no_content();
    wanted.confirm_always(app, &Proof::of(app, outcome), &mut reply).await;
    session.sign_write(&mut reply, app, outcome);
    Ok(reply)
}

/// Erases a visit, whether or not this region has seen it. Returns once the tombstone is durable here.
pub(in super::super) async fn apply_erasure(
    app: &App,
    session: &Session,
    venue: VenueId,
    id: VisitId,
    preconditions: &Preconditions,
    client: Option<IpAddr>,
) -> Result<Outcome, Problem> {
    check_erasable(id, app.now(&session.status))?;
    let is_seen = is_seen(app, session, venue, id)?;
    if !is_seen {
        wait_for_venue(app, venue).await?;
    }
    let seen = check_erasure(app, session, venue, id, preconditions)?;
    if !is_seen {
        app.strangers.take_erasure(client, venue)?;
    }
    let erase = Write::Erase { name: id.name(venue), lasting: false, reason: Reason::Subject };
    Ok(app.write_if("erasure", erase, seen).await?)
}

/// Refuses an erasure whose preconditions are not met. Returns the rows that it must still find.
fn check_erasure(
    app: &App,
    session: &Session,
    venue: VenueId,
    id: VisitId,
    preconditions: &Preconditions,
) -> Result<SeenRows, Problem> {
    if preconditions.are_none() {
        return Ok(SeenRows::new());
    }
    let view = app.view(&session.status);
    // What is erased already is as the client wants it (RFC 9110, section 13.1.1): a repeat succeeds.
    if app.handle.reader().is_erased(&id.name(venue), false, view)? {
        return Ok(SeenRows::new());
    }
    let rows = app.rows(&id.name(venue), view)?;
    check_preconditions(app, preconditions, &read_visit(app, id, &rows), &rows)?;
    if let (true, VenueLookup::Open(known) | VenueLookup::Closed(known)) =
        (rows.is_empty(), venues::find(app, venue, session)?)
    {
        // `If-None-Match: *` on a visit that this region has not seen: it must not arrive in between.
        let key = id.name(venue).expiring(id.arrival().plus(known.venue.retentions.at(id.arrival())));
        return Ok(preconditions.seen([(&key, &Row::default())]));
    }
    Ok(preconditions.seen(rows.iter().map(|(key, row)| (key, row))))
}

/// Whether this node has the visit or its tombstone. An erasure of another visit makes a tombstone in every region, whatever
/// its id is.
fn is_seen(app: &App, session: &Session, venue: VenueId, id: VisitId) -> Result<bool, Problem> {
    let name = id.name(venue);
    let view = app.view(&session.status);
    Ok(!app.rows(&name, view)?.is_empty() || app.handle.reader().is_erased(&name, false, view)?)
}

/// Waits for a venue that may be on its way from the region in which it was made. Few requests wait at one time, because
/// strangers can name venues that do not exist.
async fn wait_for_venue(app: &App, venue: VenueId) -> Result<(), Problem> {
    let is_known = || Ok::<bool, Problem>(!matches!(venues::read(app, venue)?, VenueLookup::Unknown));
    let mut changes = app.handle.changes(venue.tenant());
    if is_known()? {
        return Ok(());
    }
    let _one_of_few = app.venue_waits.try_acquire().map_err(|_| venues::unknown_venue())?;
    let arrives = async {
        loop {
            // A follower that was too slow looks as well: the venue may be among the changes that it missed.
            let follows = !matches!(changes.next().await, Err(RecvError::Closed));
            if is_known()? {
                return Ok(());
            }
            if !follows {
                return Err(venues::unknown_venue());
            }
        }
    };
    tokio::time::timeout(VENUE_WAIT, arrives).await.unwrap_or_else(|_| Err(venues::unknown_venue()))
}

/// Refuses an erasure of a visit that cannot exist, because every tombstone takes room in every region.
fn check_erasable(id: VisitId, now: Wall) -> Result<(), Problem> {
    if id.arrival().plus(LONGEST_RETENTION) <= now {
        return Err(Problem::new(Kind::Expired, "its retention has passed, and it was deleted"));
    }
    if id.arrival() > now.plus(EARLIEST_ARRIVAL) {
        let early = Problem::new(Kind::Invalid, "the visit id lies more than 5 minutes ahead");
        return Err(early.with_clock(Some(ClockDifference::of(id.arrival(), now))));
    }
    Ok(())
}

/// The rules for a correction: the venue's, or the node's own if nothing of the venue is here.
pub(in super::super) fn rules(app: &App, id: VenueId, session: &Session) -> Result<(Venue, Arc<PolicyPack>), Problem> {
    if let VenueLookup::Open(known) | VenueLookup::Closed(known) = venues::find(app, id, session)? {
        return Ok((known.venue.clone(), known.pack.clone()));
    }
    Ok((Venue::placeholder(id), app.packs.default_pack().clone()))
}

fn record(app: &App, visit: &Visit, venue: VenueId, expires_at: Wall) -> Result<Reply, Problem> {
    let expires_at = Moment(expires_at);
    Ok(json(StatusCode::OK, &OwnVisit { visit, venue_id: venue, expires_at, region: app.region.as_str() }))
}

#[cfg(test)]
mod tests {
    use replication::Wall;

    use super::check_erasable;
    use registry::{Secret, VisitId};

    #[test]
    fn an_erasure_is_taken_for_ids_that_can_live() {
        const DAY: u64 = 86_400_000;
        let now = Wall(1_767_225_600_000);
        let taken = |ms: u64| check_erasable(VisitId::of(Wall(ms), &Secret([1; 16])), now).is_ok();
        assert!(taken(now.0) && taken(now.0 + 300_000) && taken(now.0 - 28 * DAY + 1));
        assert!(!taken(now.0 + 300_001) && !taken(now.0 - 28 * DAY));
    }
}
