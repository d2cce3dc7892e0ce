//! The page behind the code at the door: `/c/{venue}` and `/c/{venue}/{area}`.
//!
//! The form carries an id and a secret of its own, so that sending it twice is one visit. A browser with JavaScript
//! makes others on the device, which also works without a network.
//!
//! # Invariants
//! - The page is there while the node refuses writes, and says so.
//! - A form that is not accepted comes back with everything that was typed.
//! - A form that names no visit is not accepted, because a router may send it to two nodes, which would make two visits.

use std::sync::Arc;

use api::headers::NOW;
use api::problem::ClockDifference;
use hyper::StatusCode;
use hyper::header::RETRY_AFTER;
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;
use registry::{Invalid, Person, PolicyPack, Secret, Venue, VenueId, VisitBody, VisitId};
use serde::Serialize;

use super::super::App;
use super::super::call::Call;
use super::super::preconditions::Preconditions;
use super::super::problem::{Answered, Kind, Problem};
use super::super::reply::{Reply, header};
use super::super::session::Session;
use super::super::venues::{self, CachedVenue};
use super::super::visits::{self, CheckInError};
use super::fields::{self, AreaField, ErrorLink, FormErrors, PersonsForm};
use super::form::{Form, identity};
use super::page::{Frame, is_kiosk, language, render};
use super::receipt::{Holder, Visitor};
use super::texts::Texts;
use super::times;

/// How soon a guest should try again if the node cannot store a check-in.
const AGAIN_S: u32 = 30;

/// The form.
#[derive(Serialize)]
struct CheckInPage<'a> {
    frame: Frame,
    venue: &'a str,
    action: String,
    now: String,
    deleted_on: String,
    notice: &'a str,
    form: PersonsForm,
    area: AreaField,
    errors: Vec<ErrorLink>,
    /// Why check-ins are not stored at the moment.
    trouble: Option<String>,
    visit: String,
    secret: String,
}

/// Where a guest is: the venue, and the area that the address names.
struct Place {
    known: Arc<CachedVenue>,
    area: Option<String>,
}

/// The values that were typed, and the node's answer to them.
#[derive(Default)]
struct Typed {
    persons: Vec<(usize, Person)>,
    area: String,
    errors: FormErrors,
    identity: Option<(VisitId, Secret)>,
    trouble: Option<String>,
}

/// `GET /c/{venue}` and `/c/{venue}/{area}`.
pub(in super::super) async fn show(call: Call) -> Answered {
    let texts = language(&call.parts);
    let app = &call.app;
    let session = Session::without(app);
    let place = find(&call, venues::find_open(app, call.venue()?, &session)?);
    let refuses = session.status.doubt.is_some() || session.status.starting || app.handle.stalled().is_some();
    let trouble = refuses.then(|| texts.text("checkin-refusing").into_owned());
    let typed = Typed { trouble, ..Typed::default() };
    form_page(app, texts, &call.parts, &session, &place, StatusCode::OK, typed)
}

/// `POST /c/{venue}` and `/c/{venue}/{area}`: the answer is the receipt, or the form with what is wrong.
pub(in super::super) async fn accept(call: Call) -> Answered {
    let texts = language(&call.parts);
    let app = call.app.clone();
    let mut session = Session::without(&app);
    let place = find(&call, venues::find_kept(&app, call.venue()?, &session)?);
    let parts = call.parts;
    let form = Form::read(&parts.headers, call.body).await?;
    let venue = place.known.venue.id;
    let persons = form.persons();
    let area = place.area.clone().unwrap_or_else(|| form.get("area").trim().to_owned());
    let Some((id, secret)) = form.identity() else {
        let trouble = Some(texts.text("checkin-incomplete").into_owned());
        let typed = Typed { persons, area, trouble, ..Typed::default() };
        return form_page(&app, texts, &parts, &session, &place, StatusCode::UNPROCESSABLE_ENTITY, typed);
    };
    let body = VisitBody {
        area: Some(area.clone()).filter(|area| !area.is_empty()),
        persons: persons.iter().map(|(_, person)| person.clone()).collect(),
        ..VisitBody::default()
    };
    let visitor = Visitor { app: &app, texts, parts: &parts, holder: Holder { venue, id, secret } };
    let error = match check_in(&app, &mut session, venue, id, &body).await {
        Ok(repeat) => return visitor.checked_in(session, repeat).await,
        Err(error) => error,
    };
    let mut typed = Typed { persons, area, identity: Some((id, secret)), ..Typed::default() };
    match error {
        CheckInError::Invalid(invalid) => {
            typed.errors = errors(texts, &place.known.pack, &invalid, &typed.persons);
            // The id carries the arrival, so a form that is too old needs a new one.
            typed.identity = typed.identity.filter(|_| invalid.clock.is_none());
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let reply = form_page(&app, texts, &parts, &session, &place, status, typed)?;
            Ok(with_time(reply, invalid.clock))
        }
        // The guest went back, changed the form and sent it again: a correction.
        CheckInError::Problem(problem) if problem.kind() == Kind::Conflict => visitor.correct(session, &form).await,
        CheckInError::Problem(problem) if problem.kind().status().is_server_error() => {
            typed.trouble = Some(texts.text("checkin-not-stored").into_owned());
            let mut reply = form_page(&app, texts, &parts, &session, &place, StatusCode::SERVICE_UNAVAILABLE, typed)?;
            reply.headers_mut().insert(RETRY_AFTER, header(AGAIN_S.to_string()));
            Ok(reply)
        }
        CheckInError::Problem(problem) => Ok(with_time(visitor.absent(&problem), problem.clock())),
    }
}

/// Tells the time to a device whose check-in was refused for its time, so that it can see whether its clock is wrong.
fn with_time(mut reply: Reply, clock: Option<ClockDifference>) -> Reply {
    if let Some(clock) = clock {
        reply.headers_mut().insert(NOW, header(clock.now.to_string()));
    }
    reply
}

/// Whether the check-in was a repeat. While the clock is in doubt the node judges no time.
async fn check_in(
    app: &App,
    session: &mut Session,
    venue: VenueId,
    id: VisitId,
    body: &VisitBody,
) -> Result<bool, CheckInError> {
    if session.status.doubt.is_some() {
        return Err(Problem::clock_in_doubt().into());
    }
    Ok(visits::check_in(app, session, venue, id, body, &Preconditions::default()).await?.is_repeat())
}

fn errors(texts: &Texts, pack: &PolicyPack, invalid: &Invalid, persons: &[(usize, Person)]) -> FormErrors {
    let places: Vec<usize> = persons.iter().map(|(place, _)| *place).collect();
    FormErrors::of_visit(texts, pack, invalid, &places)
}

/// The venue and the area of the address. An area that the venue does not have is no area: the guest chooses one.
fn find(call: &Call, known: Arc<CachedVenue>) -> Place {
    let area = percent_decode_str(call.name("area")).decode_utf8().ok().map(|area| area.trim().to_owned());
    let area = area.filter(|area| known.venue.areas.contains(area));
    Place { known, area }
}

fn form_page(
    app: &App,
    texts: &Texts,
    parts: &Parts,
    session: &Session,
    place: &Place,
    status: StatusCode,
    typed: Typed,
) -> Answered {
    let (venue, pack): (&Venue, &PolicyPack) = (&place.known.venue, &place.known.pack);
    let now = app.now(&session.status);
    let (id, secret) = match typed.identity {
        Some(identity) => identity,
        None => identity(now)?,
    };
    let zone = times::zone(&venue.timezone);
    let clock = times::local(now, &zone);
    let title = texts.with("checkin-title", &[("venue", &venue.name)]);
    let form = fields::persons(texts, pack, is_kiosk(parts), &typed.persons, &typed.errors);
    let area = fields::area(venue, pack, place.area.as_deref(), &typed.area, &typed.errors);
    let page = CheckInPage {
        frame: Frame::new(texts, title, parts),
        venue: &venue.name,
        action: address(parts),
        now: times::moment(texts, &times::local(id.arrival(), &zone), &clock),
        deleted_on: times::day(texts, &times::local(id.arrival().plus(venue.retentions.at(id.arrival())), &zone)),
        notice: pack.notice.get(texts.tag).or_else(|| pack.notice.get("en")).map_or("", |notice| notice.trim()),
        form,
        area,
        errors: typed.errors.summary(),
        trouble: typed.trouble,
        visit: id.to_string(),
        secret: secret.to_string(),
    };
    Ok(render(texts, status, "check-in.html", &page))
}

/// The address of the page itself, for its form.
fn address(parts: &Parts) -> String {
    parts.uri.path_and_query().map_or_else(|| parts.uri.path().to_owned(), ToString::to_string)
}
