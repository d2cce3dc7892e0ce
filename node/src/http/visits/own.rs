//! The requests of a guest who has the receipt: read the record, correct it, check out, erase it.
//!
//! # Invariants
//! - An erasure needs only the secret. This region need not have seen the visit or the venue.
//! - A visit of a closed venue can still be corrected, because the guest's right does not end with the venue.

use api::wait::WAIT;
use std::sync::Arc;

use hyper::StatusCode;
use replication::{Outcome, Reason, VersionVector, Wall, Write};
use serde::Serialize;

use super::super::call::Call;
use super::super::durability::{Proof, Wanted};
use super::super::problem::{Kind, Problem};
use super::super::query::Query;
use super::super::reply::{Reply, json, no_content};
use super::super::session::Session;
use super::super::store::{collect_needs, visit_from_rows, why_absent};
use super::super::venues::{self, VenueLookup};
use super::super::{App, auth, body};
use super::check_in::CheckInError;
use api::Moment;
use registry::EARLIEST_ARRIVAL;
use registry::LONGEST_RETENTION;
use registry::{PolicyPack, Venue, VenueId, Visit, VisitId, VisitPatch};

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
    let wait = Query::parse(call.parts.uri.query(), &[WAIT])?.wait()?;
    let mut session = Session::begin(app, &call.parts.headers, wait).await?;
    let rows = app.rows(&id.name(venue), app.view(&session.status))?;
    let Some((visit, expires_at)) = visit_from_rows(app, id, &rows) else {
        let mut reply = why_absent(app, venue, id, &mut session)?.into_reply();
        session.sign_read(&mut reply);
        return Ok(reply);
    };
    let mut reply = record(app, &visit, venue, expires_at)?;
    session.sign_read(&mut reply);
    Ok(reply)
}

/// `PATCH /v1/venues/{venue}/visits/{visit}`.
pub(in super::super) async fn correct(call: Call) -> Result<Reply, Problem> {
    let (venue, id) = (call.venue()?, call.visit()?);
    let app = &call.app;
    auth::check_secret(&call.parts.headers, id)?;
    let wanted = Wanted::read(call.parts.uri.query(), app.membership.now().regions.len())?;
    let body = body::read(&call.parts.headers, call.body).await?;
    let patch = VisitPatch::parse(&body)?;
    let mut session = Session::for_write(app, &call.parts.headers, wanted.wait).await?;
    let corrected = apply_correction(app, &mut session, venue, id, &patch).await?;
    let mut reply = record(app, &corrected.visit, venue, corrected.expires_at)?;
    wanted.confirm(app, &corrected.proof, &mut reply).await;
    session.sign_needs(&mut reply, &corrected.needs);
    Ok(reply)
}

/// A visit after its correction.
pub(in super::super) struct Corrected {
    pub(in super::super) visit: Visit,
    pub(in super::super) expires_at: Wall,
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
) -> Result<Corrected, CheckInError> {
    // A correction builds on what is durable, so the answer's token covers its dependencies.
    let rows = app.rows(&id.name(venue), app.view(&session.status))?;
    let Some((visit, expires_at)) = visit_from_rows(app, id, &rows) else {
        return Err(why_absent(app, venue, id, session)?.into());
    };
    let (rules, pack) = rules(app, venue, session)?;
    let updates = patch.check(&visit, &rules, &pack).map_err(CheckInError::Invalid)?;
    let updates: Vec<_> = updates.iter().map(|(field, value)| (field.as_ref(), value.clone())).collect();
    let mut last = None;
    for (key, row) in &rows {
        // A document that does not decode was counted when the visit was assembled.
        let Ok(document) = row.document() else { continue };
        if document.is_empty() {
            continue;
        }
        if let Some(change) = document.amend(key, &updates) {
            let write = Write::Change { key: *key, change };
            last = Some(app.write("correction", write).await.map_err(Problem::from)?);
        }
    }
    let Some(outcome) = last else {
        let needs = collect_needs(&rows, &session.status.durable);
        return Ok(Corrected { visit, expires_at, proof: Proof::All(needs.clone()), needs });
    };
    // The write is durable, so the present status covers it.
    let status = app.handle.status();
    let rows = app.rows(&id.name(venue), app.view(&status))?;
    // The visit was erased or expired meanwhile, and the correction with it.
    let Some((visit, expires_at)) = visit_from_rows(app, id, &rows) else {
        return Err(why_absent(app, venue, id, session)?.into());
    };
    let needs = collect_needs(&rows, &status.durable);
    Ok(Corrected { visit, expires_at, proof: Proof::of(app, outcome), needs })
}

/// `DELETE /v1/venues/{venue}/visits/{visit}`.
pub(in super::super) async fn erase(call: Call) -> Result<Reply, Problem> {
    let (venue, id) = (call.venue()?, call.visit()?);
    let app = &call.app;
    auth::check_secret(&call.parts.headers, id)?;
    let wanted = Wanted::read(call.parts.uri.query(), app.membership.now().regions.len())?;
    let session = Session::for_write(app, &call.parts.headers, wanted.wait).await?;
    let outcome = apply_erasure(app, &session, venue, id).await?;
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
) -> Result<Outcome, Problem> {
    check_erasable(id, app.now(&session.status))?;
    let erase = Write::Erase { name: id.name(venue), lasting: false, reason: Reason::Subject };
    Ok(app.write("erasure", erase).await?)
}

/// Refuses an erasure of a visit that cannot exist, because every tombstone takes room in every region.
fn check_erasable(id: VisitId, now: Wall) -> Result<(), Problem> {
    if id.arrival().plus(LONGEST_RETENTION) <= now {
        return Err(Problem::new(Kind::Expired, "its retention has passed, and it was deleted"));
    }
    if id.arrival() > now.plus(EARLIEST_ARRIVAL) {
        return Err(Problem::new(Kind::Invalid, "the visit id lies more than 5 minutes ahead"));
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
