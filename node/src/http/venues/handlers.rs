//! The handlers of venues: open one, show its profile, change it, close it.
//!
//! # Invariants
//! - The owner's key is in one answer only: the one that created it.
//! - A profile may be cached only if the request carried no session token. Otherwise a cache would hand an old token to
//!   a client that has a newer one.

use std::sync::Arc;

use api::headers::SESSION;
use api::operators::check_author;
use api::venues::RemoveVenue;
use api::wait::WAIT;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, ETAG, HeaderValue, LOCATION, VARY};
use replication::{Change, Outcome, Wall, Write};

use super::super::call::Call;
use super::super::durability::{Proof, Wanted};
use super::super::preconditions::{Preconditions, has_already};
use super::super::problem::{Kind, Problem};
use super::super::query::Query;
use super::super::reply::{Reply, full, header, json, no_content};
use super::super::session::Session;
use super::super::{App, audit, auth, body, invitations};
use super::{CachedVenue, VenueLookup, closed_venue, find_open, read, unknown_venue};
use registry::{CheckedVenue, CreatedVenue, NewVenue, OwnerKey, Venue, VenueId, VenuePatch};

/// How long any cache may keep a profile.
const PUBLIC: HeaderValue = HeaderValue::from_static("public, max-age=60");

/// `POST /v1/venues`.
pub(in super::super) async fn create(call: Call) -> Result<Reply, Problem> {
    let (app, peer) = (&call.app, call.peer());
    let wanted = Wanted::read(call.parts.uri.query(), app.membership.now().regions.len())?;
    // The list of venues has no representation.
    Preconditions::read(&call.parts.headers)?.check(None)?;
    let body = body::read(&call.parts.headers, call.body).await?;
    let checked = NewVenue::parse(&body)?.check(app.packs.default_pack())?;
    invitations::check(app, &call.parts.headers, None)?;
    app.strangers.take_venue(peer)?;
    let session = Session::for_write(app, &call.parts.headers, wanted.wait).await?;
    let (id, owner, outcome) = open(app, checked).await?;
    let created =
        CreatedVenue { venue_id: id, owner_key: owner.to_string(), checkin_url: format!("{}/c/{id}", app.public_url) };
    let mut reply = json(StatusCode::CREATED, &created);
    reply.headers_mut().insert(LOCATION, header(format!("/v1/venues/{id}")));
    wanted.confirm(app, &Proof::of(app, outcome), &mut reply).await;
    session.sign_write(&mut reply, app, outcome);
    Ok(reply)
}

/// Opens a venue with a new id and a new key for its owner. Returns once it is durable.
async fn open(app: &App, checked: CheckedVenue) -> Result<(VenueId, OwnerKey, Outcome), Problem> {
    let (mut id, mut owner) = ([0; 16], [0; 32]);
    auth::random(&mut id)?;
    auth::random(&mut owner)?;
    let (id, owner) = (VenueId(id), OwnerKey(owner));
    let outcome = open_as(app, checked, id, &owner).await?;
    Ok((id, owner, outcome))
}

/// Opens a venue under an id and a key of the caller's, once, however often it is asked for.
pub(in super::super) async fn open_as(
    app: &App,
    checked: CheckedVenue,
    id: VenueId,
    owner: &OwnerKey,
) -> Result<Outcome, Problem> {
    let venue = checked.open(id, owner);
    let key = venue.key();
    let change = Change::create(&key, &venue.to_fields());
    Ok(app.write("venue", Write::Change { key, change }).await?)
}

/// `GET /v1/venues/{venue}`.
pub(in super::super) async fn show(call: Call) -> Result<Reply, Problem> {
    let id = call.venue()?;
    let app = &call.app;
    let wait = Query::parse(call.parts.uri.query(), &[WAIT])?.wait()?;
    let mut session = Session::begin(app, &call.parts.headers, wait).await?;
    let known = find_open(app, id, &session)?;
    session.saw(&known.vector);
    let mut reply = if has_already(&call.parts.headers, &known.etag) {
        full(StatusCode::NOT_MODIFIED, "")
    } else {
        json(StatusCode::OK, &known.venue.profile(&known.pack))
    };
    let headers = reply.headers_mut();
    headers.insert(ETAG, header(known.etag.clone()));
    headers.insert(VARY, SESSION.into());
    if session.is_given() {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        session.sign_read(&mut reply);
    } else {
        headers.insert(CACHE_CONTROL, PUBLIC);
    }
    Ok(reply)
}

/// `PATCH /v1/venues/{venue}`.
pub(in super::super) async fn change(call: Call) -> Result<Reply, Problem> {
    let id = call.venue()?;
    let app = &call.app;
    let owner = auth::owner_key(&call.parts.headers)?;
    let wanted = Wanted::read(call.parts.uri.query(), app.membership.now().regions.len())?;
    let preconditions = Preconditions::read(&call.parts.headers)?;
    let body = body::read(&call.parts.headers, call.body).await?;
    let patch = VenuePatch::parse(&body)?;
    let session = Session::for_write(app, &call.parts.headers, wanted.wait).await?;
    super::find_owned_venue(app, id, &owner, &session)?;
    let (known, outcome) = apply(app, id, &patch, &preconditions).await?;
    let mut reply = profile(&known)?;
    // The profile shows this change and all changes that it was built on.
    let needs = known.needs.clone();
    let proof = outcome.map_or_else(|| Proof::All(needs.clone()), |outcome| Proof::of(app, outcome));
    wanted.confirm(app, &proof, &mut reply).await;
    session.sign_needs(&mut reply, &needs);
    Ok(reply)
}

/// Changes a venue. Returns it as it is then, and what was written, if anything was.
pub(in super::super) async fn apply(
    app: &App,
    id: VenueId,
    patch: &VenuePatch,
    preconditions: &Preconditions,
) -> Result<(Arc<CachedVenue>, Option<Outcome>), Problem> {
    // Read from the store and not from the cache, because a change builds on the current state.
    let known = read_open(app, id)?;
    known.check(app, preconditions)?;
    let updates = patch.check(&known.venue, &known.pack, app.now(&app.handle.status()))?;
    let Some(change) = known.amend(&updates) else { return Ok((known, None)) };
    let seen = preconditions.seen([(&known.key, &known.row)]);
    let write = Write::Change { key: known.key, change };
    let outcome = app.write_if("venue_change", write, seen).await.map_err(closed)?;
    app.venues.invalidate(&id);
    Ok((read_open(app, id)?, Some(outcome)))
}

/// `DELETE /v1/venues/{venue}`. Its visits stay readable for their guests and its owner until they expire.
pub(in super::super) async fn close(call: Call) -> Result<Reply, Problem> {
    let id = call.venue()?;
    let app = &call.app;
    let owner = auth::owner_key(&call.parts.headers)?;
    let wanted = Wanted::read(call.parts.uri.query(), app.membership.now().regions.len())?;
    let preconditions = Preconditions::read(&call.parts.headers)?;
    let session = Session::for_write(app, &call.parts.headers, wanted.wait).await?;
    super::find_owned_venue(app, id, &owner, &session)?;
    let outcome = apply_closing(app, id, app.now(&session.status), &preconditions).await?;
    let mut reply = no_content();
    wanted.confirm_always(app, &Proof::of(app, outcome), &mut reply).await;
    session.sign_write(&mut reply, app, outcome);
    Ok(reply)
}

/// `DELETE /v1/admin/venues/{venue}`: an operator closes a venue, such as one that a stranger made.
pub(in super::super) async fn remove(call: Call) -> Result<Reply, Problem> {
    let (app, id) = (call.app.clone(), call.venue()?);
    let body = body::read(&call.parts.headers, call.body).await?;
    let form = r#"a removal is {"by": "...", "reason"?: "..."}"#;
    let new: RemoveVenue = serde_json::from_slice(&body).map_err(|_| Problem::new(Kind::MalformedBody, form))?;
    let by = call.operator.author(&new.by);
    check_author(&by, &new.reason).map_err(|error| Problem::new(Kind::Invalid, error.to_string()))?;
    read_open(&app, id)?;
    audit::record(&app, &call.operator, by, format!("venue {id} is closed"), &new.reason).await;
    let now = app.now(&app.handle.status());
    apply_closing(&app, id, now, &Preconditions::default()).await?;
    Ok(no_content())
}

/// Closes a venue.
pub(in super::super) async fn apply_closing(
    app: &App,
    id: VenueId,
    now: Wall,
    preconditions: &Preconditions,
) -> Result<Outcome, Problem> {
    let known = read_open(app, id)?;
    known.check(app, preconditions)?;
    let change = known.amend(&Venue::closing(now)).ok_or_else(Problem::internal)?;
    let seen = preconditions.seen([(&known.key, &known.row)]);
    let write = Write::Change { key: known.key, change };
    let outcome = app.write_if("venue_close", write, seen).await.map_err(closed)?;
    app.venues.invalidate(&id);
    Ok(outcome)
}

/// The open venue as it is stored.
fn read_open(app: &App, id: VenueId) -> Result<Arc<CachedVenue>, Problem> {
    match read(app, id)? {
        VenueLookup::Open(known) => Ok(known),
        VenueLookup::Closed(_) | VenueLookup::Erased => Err(closed_venue()),
        VenueLookup::Unknown => Err(unknown_venue()),
    }
}

fn profile(known: &CachedVenue) -> Result<Reply, Problem> {
    let mut reply = json(StatusCode::OK, &known.venue.profile(&known.pack));
    reply.headers_mut().insert(ETAG, header(known.etag.clone()));
    Ok(reply)
}

/// The problem of a write to a venue that was closed while it was being changed.
fn closed(refused: crate::driver::Refused) -> Problem {
    let problem = Problem::from(refused);
    if problem.kind() == Kind::Erased { Problem::new(Kind::Closed, "it was closed meanwhile") } else { problem }
}
