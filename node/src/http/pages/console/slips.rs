//! Typing in paper slips: a check-in that the staff enters later, with the time that the guest wrote.

use hyper::StatusCode;
use hyper::http::request::Parts;
use jiff::civil::{Date, Time};
use registry::{ReceiptCode, Secret, VisitBody, VisitId};
use replication::Wall;
use serde::Serialize;

use super::access::Owner;
use super::window;
use crate::http::App;
use crate::http::call::Call;
use crate::http::pages::fields::{self, AreaField, ErrorLink, FormErrors, PersonsForm};
use crate::http::pages::form::{Form, identity};
use crate::http::pages::page::{Frame, language, redirect, render};
use crate::http::pages::texts::Texts;
use crate::http::pages::times;
use crate::http::preconditions::Preconditions;
use crate::http::problem::{Answered, Kind};
use crate::http::visits::{self, CheckInError};

#[derive(Serialize)]
struct SlipPage {
    frame: Frame,
    venue: String,
    form: PersonsForm,
    area: AreaField,
    errors: Vec<ErrorLink>,
    date: String,
    time: String,
    bad_time: bool,
    /// Makes a slip that is sent twice one visit.
    secret: String,
    /// The code of the slip that was stored.
    stored: Option<String>,
    trouble: Option<String>,
}

/// What stands in the form.
#[derive(Default)]
struct Typed {
    persons: Vec<(usize, registry::Person)>,
    area: String,
    date: String,
    time: String,
    bad_time: bool,
    errors: FormErrors,
    secret: Option<String>,
    stored: Option<String>,
    trouble: Option<String>,
}

/// `GET /console/slips`.
pub(in super::super::super) async fn slip(call: Call) -> Answered {
    let texts = language(&call.parts);
    match Owner::of_open(&call.app, &call.parts) {
        Some(owner) => page(&call.app, texts, &call.parts, &owner, StatusCode::OK, Typed::default()),
        None => Ok(redirect("/console")),
    }
}

/// `POST /console/slips`.
pub(in super::super::super) async fn take(call: Call) -> Answered {
    let texts = language(&call.parts);
    let Some(mut owner) = Owner::of_open(&call.app, &call.parts) else { return Ok(redirect("/console")) };
    let (app, parts) = (call.app, call.parts);
    let form = Form::read(&parts.headers, call.body).await?;
    let secret = form.get("secret").parse::<Secret>().ok();
    let mut typed = Typed {
        persons: form.persons(),
        area: form.get("area").trim().to_owned(),
        date: form.get("date").trim().to_owned(),
        time: form.get("time").trim().to_owned(),
        secret: secret.map(|secret| secret.to_string()),
        ..Typed::default()
    };
    let (Some(arrived), Some(secret)) = (arrival(&owner, &typed), secret) else {
        typed.bad_time = true;
        return page(&app, texts, &parts, &owner, StatusCode::UNPROCESSABLE_ENTITY, typed);
    };
    let id = VisitId::of(arrived, &secret);
    let body = VisitBody {
        area: Some(typed.area.clone()).filter(|area| !area.is_empty()),
        persons: typed.persons.iter().map(|(_, person)| person.clone()).collect(),
        ..VisitBody::default()
    };
    let venue = owner.known.venue.id;
    match visits::check_in(&app, &mut owner.session, venue, id, &body, &Preconditions::default()).await {
        Ok(_) => {
            let code = ReceiptCode::of(id);
            let colour = texts.text(&format!("colour-{}", code.colour.name())).into_owned();
            let stored = Some(format!("{colour} {}", code.digits()));
            let (date, time) = (typed.date, typed.time);
            page(&app, texts, &parts, &owner, StatusCode::OK, Typed { stored, date, time, ..Typed::default() })
        }
        Err(CheckInError::Invalid(mut invalid)) => {
            let places: Vec<usize> = typed.persons.iter().map(|(place, _)| *place).collect();
            // The form has a field of its own for the time, with words of its own.
            invalid.errors.retain(|error| error.pointer != "/visit_id");
            typed.bad_time = invalid.clock.is_some();
            typed.errors = FormErrors::of_visit(texts, &owner.known.pack, &invalid, &places);
            page(&app, texts, &parts, &owner, StatusCode::UNPROCESSABLE_ENTITY, typed)
        }
        Err(CheckInError::Problem(problem)) if problem.kind() == Kind::Conflict => {
            typed.secret = None;
            typed.trouble = Some(texts.text("slip-twice").into_owned());
            page(&app, texts, &parts, &owner, StatusCode::CONFLICT, typed)
        }
        Err(CheckInError::Problem(problem)) => {
            typed.trouble = Some(texts.text("checkin-not-stored").into_owned());
            page(&app, texts, &parts, &owner, problem.kind().status(), typed)
        }
    }
}

/// The moment that the slip states. Where it exists twice the earlier one counts.
fn arrival(owner: &Owner, typed: &Typed) -> Option<Wall> {
    let (date, time): (Date, Time) = (typed.date.parse().ok()?, typed.time.parse().ok()?);
    let zone = times::zone(&owner.known.venue.timezone);
    window::wall(&zone.to_ambiguous_zoned(date.to_datetime(time)).earlier().ok()?)
}

fn page(app: &App, texts: &Texts, parts: &Parts, owner: &Owner, status: StatusCode, typed: Typed) -> Answered {
    let (venue, pack) = (&owner.known.venue, &owner.known.pack);
    let now = times::local(app.now(&owner.session.status), &times::zone(&venue.timezone));
    let secret = match typed.secret {
        Some(secret) => secret,
        None => identity(Wall(0))?.1.to_string(),
    };
    let mut errors = typed.errors.summary();
    if typed.bad_time {
        errors.insert(0, ErrorLink::new("time".to_owned(), texts.text("slip-bad").into_owned()));
    }
    let content = SlipPage {
        frame: Frame::console(texts, texts.text("console-slips").into_owned(), parts),
        venue: venue.name.clone(),
        form: fields::persons(texts, pack, true, &typed.persons, &typed.errors),
        area: fields::area(venue, pack, None, &typed.area, &typed.errors),
        errors,
        date: if typed.date.is_empty() { now.date().to_string() } else { typed.date },
        time: typed.time,
        bad_time: typed.bad_time,
        secret,
        stored: typed.stored,
        trouble: typed.trouble,
    };
    Ok(render(texts, status, "console-slips.html", &content))
}
