//! Check-in: `POST` (the server makes id and secret) and `PUT` (the guest's device made them).
//!
//! # Invariants
//! - A repeat is recognised before any check. A body that was accepted once is answered 200 in every region, for as
//!   long as the visit lives, even if the rules, a bound of the pack or the stored form of a text have changed
//!   ([`VisitBody::stored_forms`]).
//! - The same body makes the same change in every region, so two copies of one check-in are one visit.

use api::Moment;
use hyper::StatusCode;
use hyper::header::LOCATION;
use replication::{Change, Outcome, Row, Status, VersionVector, View, Wall, Write};

use super::super::call::Call;
use super::super::durability::{Proof, Wanted};
use super::super::preconditions::Preconditions;
use super::super::problem::{Kind, Problem};
use super::super::reply::{Reply, header, json};
use super::super::session::Session;
use super::super::store::{check_preconditions, read_visit, visit_from_rows, why_absent};
use super::super::venues::CachedVenue;
use super::super::{App, auth, body, venues};
use registry::{CheckAt, CheckedVisit, Invalid, Receipt, Secret, VenueId, VisitBody, VisitId};

/// `POST /v1/venues/{venue}/visits`.
pub(in super::super) async fn post(call: Call) -> Result<Reply, Problem> {
    let venue = call.venue()?;
    let app = &call.app;
    let wanted = Wanted::read(call.parts.uri.query(), app.membership.now().regions.len())?;
    let preconditions = Preconditions::read(&call.parts.headers)?;
    let body = body::read(&call.parts.headers, call.body).await?;
    let written = VisitBody::parse(&body)?;
    let session = Session::for_write(app, &call.parts.headers, wanted.wait).await?;
    let known = venues::find_open(app, venue, &session)?;
    // The list of visits has no representation.
    preconditions.check(None)?;
    let at = CheckAt { now: app.now(&session.status), arrival: None };
    let checked = written.check(&known.venue, &known.pack, at)?;
    let mut secret = Secret([0; 16]);
    auth::random(&mut secret.0)?;
    let id = VisitId::of(checked.arrival, &secret);
    let (outcome, expires_at) = store(app, &known, id, &checked, &Preconditions::default()).await?;
    let mut reply = receipt(app, StatusCode::CREATED, venue, id, expires_at, &secret, true)?;
    reply.headers_mut().insert(LOCATION, header(format!("/v1/venues/{venue}/visits/{id}")));
    wanted.confirm(app, &Proof::of(app, outcome), &mut reply).await;
    session.sign_write(&mut reply, app, outcome);
    Ok(reply)
}

/// `PUT /v1/venues/{venue}/visits/{visit}`.
pub(in super::super) async fn put(call: Call) -> Result<Reply, Problem> {
    let (venue, id) = (call.venue()?, call.visit()?);
    let app = &call.app;
    let secret = auth::check_secret(&call.parts.headers, id)?;
    let wanted = Wanted::read(call.parts.uri.query(), app.membership.now().regions.len())?;
    let preconditions = Preconditions::read(&call.parts.headers)?;
    let body = body::read(&call.parts.headers, call.body).await?;
    let written = VisitBody::parse(&body)?;
    let mut session = Session::for_write(app, &call.parts.headers, wanted.wait).await?;
    let accepted = match check_in(app, &mut session, venue, id, &written, &preconditions).await {
        Ok(accepted) => accepted,
        Err(error) => return session.refuse(app, error.into()),
    };
    let status = if accepted.is_repeat() { StatusCode::OK } else { StatusCode::CREATED };
    let mut reply = receipt(app, status, venue, id, accepted.expires_at, &secret, false)?;
    wanted.confirm(app, &accepted.proof, &mut reply).await;
    match accepted.shown {
        Shown::Stored(needs) => session.sign_needs(&mut reply, &needs),
        Shown::Written(outcome) => session.sign_write(&mut reply, app, outcome),
    }
    Ok(reply)
}

/// A check-in that is durable here.
pub(in super::super) struct Accepted {
    /// When it is deleted everywhere.
    pub(in super::super) expires_at: Wall,
    pub(in super::super) proof: Proof,
    shown: Shown,
}

/// What the answer to a check-in rests on.
enum Shown {
    /// It was here before: what a replica must have to show it.
    Stored(VersionVector),
    /// This request wrote it.
    Written(Outcome),
}

impl Accepted {
    /// Whether the same check-in was accepted before.
    pub(in super::super) fn is_repeat(&self) -> bool {
        matches!(self.shown, Shown::Stored(_) | Shown::Written(Outcome::Repeat))
    }
}

/// Why a check-in is not accepted.
pub(in super::super) enum CheckInError {
    /// The body breaks these rules.
    Invalid(Invalid),
    /// Anything else.
    Problem(Problem),
}

impl From<Problem> for CheckInError {
    fn from(problem: Problem) -> CheckInError {
        CheckInError::Problem(problem)
    }
}

impl From<CheckInError> for Problem {
    fn from(error: CheckInError) -> Problem {
        match error {
            CheckInError::Invalid(invalid) => invalid.into(),
            CheckInError::Problem(problem) => problem,
        }
    }
}

/// Stores the check-in that `written` states under an id of the guest's, once, however often it is sent.
pub(in super::super) async fn check_in(
    app: &App,
    session: &mut Session,
    venue: VenueId,
    id: VisitId,
    written: &VisitBody,
    preconditions: &Preconditions,
) -> Result<Accepted, CheckInError> {
    let known = venues::find_taking(app, venue, session, id.arrival());
    let at = CheckAt { now: app.now(&session.status), arrival: Some(id.arrival()) };
    let checked = known.as_ref().ok().map(|known| written.check(&known.venue, &known.pack, at));
    // The search includes rows that are not durable yet, because this check-in may be on its way to the disk. If the
    // body is valid today and the venue's retention never changed, its key is known: one point read. Otherwise an earlier
    // rule may have stored it under another expiry: search all buckets.
    let applied = View::applied(app.as_of(&session.status));
    let stored = match (&known, &checked) {
        (Ok(known), Some(Ok(_))) if !known.venue.retentions.have_changed() => {
            app.row(&id.key(&known.venue), applied)?
        }
        _ => app.rows(&id.name(venue), applied)?,
    };
    if !preconditions.are_none() && !stored.is_empty() {
        // Evaluated on what is durable: the answer must not tell of what a crash may undo.
        app.settle().await?;
        let status = app.handle.status();
        let rows = app.rows(&id.name(venue), app.view(&status))?;
        let visit = read_visit(app, id, &rows);
        if visit.visit.is_some() {
            check_preconditions(app, preconditions, &visit, &rows)?;
        }
    }
    if let Some((key, row, change)) = written.repeated(id, &stored) {
        if !durably(row, &session.status)?.contains(change.hash()) {
            // The first one is not durable yet. The replica answers the repeat once it is durable.
            app.write("check_in", Write::Change { key: *key, change }).await.map_err(Problem::from)?;
        }
        let status = app.handle.status();
        let needs = durably(row, &status)?.needs(&status.durable);
        let proof = Proof::AnyOf(row.dots());
        return Ok(Accepted { expires_at: key.expires_at, proof, shown: Shown::Stored(needs) });
    }
    // Rows without a visible field hold corrections that arrived before their check-in, which this request may be.
    if visit_from_rows(app, id, &stored).is_some() {
        let durable = stored.iter().map(|(key, row)| Ok((*key, durably(row, &session.status)?)));
        if visit_from_rows(app, id, &durable.collect::<Result<Vec<_>, Problem>>()?).is_none() {
            app.settle().await?;
        }
        return Err(Problem::new(Kind::Conflict, "correct it with PATCH").into());
    }
    let known = known?;
    if !preconditions.are_none() {
        // The problem of a visit that is gone comes first, because without preconditions it would be the answer as well
        // (RFC 9110, section 13.2.1).
        let gone = why_absent(app, venue, id, session)?;
        if gone.kind() != Kind::NoVisit {
            return Err(gone.into());
        }
        preconditions.check(None)?;
    }
    let checked = match checked {
        Some(Ok(checked)) => checked,
        None => return Err(Problem::internal().into()),
        Some(Err(invalid)) => {
            // If the visit is gone, the guest should be told that instead of what is wrong with its time.
            let gone = why_absent(app, venue, id, session)?;
            // A phone whose clock is weeks behind makes ids that look like those of expired visits.
            let clock = invalid.clock;
            return Err(match gone.kind() {
                Kind::NoVisit => CheckInError::Invalid(invalid),
                _ => gone.with_clock(clock).into(),
            });
        }
    };
    let (outcome, expires_at) = store(app, &known, id, &checked, preconditions).await?;
    Ok(Accepted { expires_at, proof: Proof::of(app, outcome), shown: Shown::Written(outcome) })
}

async fn store(
    app: &App,
    known: &CachedVenue,
    id: VisitId,
    checked: &CheckedVisit,
    preconditions: &Preconditions,
) -> Result<(Outcome, Wall), Problem> {
    let key = id.key(&known.venue);
    let change = Change::create(&key, &checked.to_fields());
    let seen = preconditions.seen([(&key, &Row::default())]);
    // An acknowledged check-in has always removed the mark of an unused venue, whatever crashes.
    let first_use = known.first_use();
    let is_first = first_use.is_some();
    let written = app.write_after("check_in", first_use, Write::Change { key, change }, seen).await;
    if is_first {
        // Later check-ins read a venue without the mark.
        app.venues.invalidate(&known.venue.id);
    }
    match written {
        Ok(outcome) => Ok((outcome, key.expires_at)),
        Err(refused) => {
            let problem = Problem::from(refused);
            let expired = problem.kind() == Kind::Erased && key.expires_at <= app.as_of(&app.handle.status());
            Err(if expired { Problem::new(Kind::Expired, "its time is over") } else { problem })
        }
    }
}

fn receipt(
    app: &App,
    status: StatusCode,
    venue: VenueId,
    id: VisitId,
    expires_at: Wall,
    secret: &Secret,
    minted: bool,
) -> Result<Reply, Problem> {
    let receipt = Receipt {
        visit_id: id,
        secret: minted.then(|| secret.to_string()),
        expires_at: Moment(expires_at),
        region: app.region.clone(),
        // The browser sends nothing that follows the #, so no log and no referrer has the secret.
        receipt_url: format!("{}/r/{id}?v={venue}#{secret}", app.public_url),
    };
    Ok(json(status, &receipt))
}

/// The durable part of a row.
fn durably(row: &Row, status: &Status) -> Result<Row, Problem> {
    row.clone().within(&status.durable).map_err(|error| {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            action = "check the disk",
            "a stored visit does not decode: its requests fail"
        );
        Problem::internal()
    })
}
