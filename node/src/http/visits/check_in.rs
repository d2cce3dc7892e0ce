//! Check-in: `POST` (the server makes id and secret) and `PUT` (the guest's device made them).
//!
//! # Invariants
//! - A repeat is recognised before any check. A body that was accepted once is answered 200 in every region, for as
//!   long as the visit lives, even if the rules have changed.
//! - The same body makes the same change in every region, so two copies of one check-in are one visit.

use api::Moment;
use hyper::StatusCode;
use hyper::header::LOCATION;
use replication::{Change, DocumentKey, Outcome, Row, Status, VersionVector, View, Wall, Write};

use super::super::call::Call;
use super::super::durability::{Proof, Wanted};
use super::super::problem::{Kind, Problem};
use super::super::reply::{Reply, header, json};
use super::super::session::Session;
use super::super::store::{visit_from_rows, why_absent};
use super::super::venues::CachedVenue;
use super::super::{App, auth, body, venues};
use registry::{CheckAt, CheckedVisit, Invalid, Receipt, Secret, VenueId, VisitBody, VisitId};

/// `POST /v1/venues/{venue}/visits`.
pub(in super::super) async fn post(call: Call) -> Result<Reply, Problem> {
    let venue = call.venue()?;
    let app = &call.app;
    let wanted = Wanted::read(call.parts.uri.query(), app.membership.now().regions.len())?;
    let body = body::read(&call.parts.headers, call.body).await?;
    let written = VisitBody::parse(&body)?;
    let session = Session::for_write(app, &call.parts.headers, wanted.wait).await?;
    let known = venues::find_open(app, venue, &session)?;
    let at = CheckAt { now: app.now(&session.status), arrival: None };
    let checked = written.check(&known.venue, &known.pack, at)?;
    let mut secret = Secret([0; 16]);
    auth::random(&mut secret.0)?;
    let id = VisitId::of(checked.arrival, &secret);
    let (outcome, expires_at) = store(app, &known, id, &checked).await?;
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
    let body = body::read(&call.parts.headers, call.body).await?;
    let written = VisitBody::parse(&body)?;
    let mut session = Session::for_write(app, &call.parts.headers, wanted.wait).await?;
    let accepted = check_in(app, &mut session, venue, id, &written).await?;
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
) -> Result<Accepted, CheckInError> {
    let known = venues::find_taking(app, venue, session, id.arrival());
    let at = CheckAt { now: app.now(&session.status), arrival: Some(id.arrival()) };
    let checked = known.as_ref().ok().map(|known| written.check(&known.venue, &known.pack, at));
    // The search includes rows that are not durable yet, because this check-in may be on its way to the disk. If the
    // body is valid today and the venue never changed, its key is known: one point read. Otherwise an earlier rule may
    // have stored it under another expiry: search all buckets.
    let applied = View::applied(app.as_of(&session.status));
    let stored = match (&known, &checked) {
        (Ok(known), Some(Ok(checked))) if !known.has_changed() => app.row(&checked.key(id, &known.venue), applied)?,
        _ => app.rows(&id.name(venue), applied)?,
    };
    if let Some((key, row, change)) = find_repeat(written, id, &stored) {
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
    let checked = match checked {
        Some(Ok(checked)) => checked,
        None => return Err(Problem::internal().into()),
        Some(Err(invalid)) => {
            // If the visit is gone, the guest should be told that instead of what is wrong with its time.
            let gone = why_absent(app, venue, id, session)?;
            return Err(if gone.kind() == Kind::NoVisit { CheckInError::Invalid(invalid) } else { gone.into() });
        }
    };
    let (outcome, expires_at) = store(app, &known, id, &checked).await?;
    Ok(Accepted { expires_at, proof: Proof::of(app, outcome), shown: Shown::Written(outcome) })
}

async fn store(
    app: &App,
    known: &CachedVenue,
    id: VisitId,
    checked: &CheckedVisit,
) -> Result<(Outcome, Wall), Problem> {
    let key = checked.key(id, &known.venue);
    let change = Change::create(&key, &checked.to_fields());
    match app.write("check_in", Write::Change { key, change }).await {
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

/// The stored document that this exact body made, if there is one, and the change that made it.
fn find_repeat<'a>(
    written: &VisitBody,
    id: VisitId,
    stored: &'a [(DocumentKey, Row)],
) -> Option<(&'a DocumentKey, &'a Row, Change)> {
    if stored.is_empty() {
        return None;
    }
    let fields = written.normalised(id)?;
    stored.iter().find_map(|(key, row)| {
        let change = Change::create(key, &fields);
        row.contains(change.hash()).then_some((key, row, change))
    })
}

#[cfg(test)]
mod tests {
    use replication::{Change, Dot, ReplicaId, Row, Wall};

    use super::find_repeat;
    use registry::{CheckAt, NewVenue, OwnerKey, PolicyPack, Secret, VenueId, VisitBody, VisitId};

    const ARRIVAL: Wall = Wall(1_767_225_600_000);

    /// A repeat must be recognised for any body that the real rules accept, so both must make the same stored form.
    #[test]
    fn a_repeat_is_recognised_after_the_rules_have_changed() {
        let pack = PolicyPack::built_in("de-bw").expect("a pack");
        let new = NewVenue::parse(br#"{"name": "Adler", "timezone": "Europe/Berlin", "areas": ["Garten"]}"#);
        let venue = new.and_then(|new| new.check(&pack)).expect("a venue").open(VenueId([1; 16]), &OwnerKey([2; 32]));
        let id = VisitId::of(ARRIVAL, &Secret([3; 16]));
        let body = "{\"area\": \" Garten \", \"arrived\": \"2026-01-01T01:00:00+01:00\", \"persons\": [{\"name\": \
            \"  Ju\u{308}rgen  Ærø\", \"phone\": \"0711 / 123-45\", \"street\": \"Weg 1\", \"postal_code\": \
            \"70173\", \"city\": \"Stuttgart\", \"country\": \"DE\"}, {\"name\": \"Zoë\"}]}";
        let written = VisitBody::parse(body.as_bytes()).expect("reads");
        let checked = written.check(&venue, &pack, CheckAt { now: ARRIVAL, arrival: Some(ARRIVAL) });
        let checked = checked.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(written.normalised(id), Some(checked.to_fields()));

        let key = checked.key(id, &venue);
        let mut row = Row::default();
        row.add(Dot { origin: ReplicaId(1), seq: 1 }, Change::create(&key, &checked.to_fields()));
        let stored = [(key, row)];
        assert!(find_repeat(&written, id, &stored).is_some());
        assert!(find_repeat(&written, id, &[]).is_none());
        let other = VisitBody::parse(body.replace("Zoë", "Zoe").as_bytes()).expect("reads");
        assert!(find_repeat(&other, id, &stored).is_none());
    }
}
