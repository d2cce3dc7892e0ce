//! The guest's receipt: `/r/{visit}?v={venue}#secret`.
//!
//! The address that a browser sends names the visit alone. The secret follows the `#`, which stays in the browser: a
//! script sends it in a body, and without scripts the guest types it into a form. Each act is a form of its own.
//!
//! # Invariants
//! - Opening the receipt changes nothing: mail scanners and link previews open addresses too.
//! - Without the secret the page says nothing about the visit, not even whether it exists.

mod view;

use std::time::Duration;

use api::Moment;
use api::headers::SESSION;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode};
use registry::{Person, Secret, VenueId, VisitId, VisitPatch};
use serde_json::json;

use super::super::App;
use super::super::call::Call;
use super::super::durability::{Proof, confirmed};
use super::super::problem::{Answered, Kind, Problem};
use super::super::reply::Reply;
use super::super::session::Session;
use super::super::store::{collect_needs, visit_from_rows, why_absent};
use super::super::visits::{self, CheckInError};
use super::fields::FormErrors;
use super::form::Form;
use super::page::{language, trouble};
use super::texts::Texts;
use view::{Note, Shown};

/// How long the answer to an erasure waits for the other regions.
const REGIONS_WAIT: Duration = Duration::from_secs(2);

/// How long a receipt waits for what the guest has seen in another region.
const SESSION_WAIT: Duration = Duration::from_secs(2);

/// The holder of a receipt has proven the right to a visit.
#[derive(Clone, Copy)]
pub(super) struct Holder {
    pub(super) venue: VenueId,
    pub(super) id: VisitId,
    pub(super) secret: Secret,
}

/// `GET /r/{visit}`: the page that asks for the secret.
pub(in super::super) async fn open(call: Call) -> Answered {
    let texts = language(&call.parts);
    named(&call)?;
    Ok(view::locked(texts, &call.parts, StatusCode::OK, false))
}

/// `POST /r/{visit}`: shows the receipt, or does what the form says.
pub(in super::super) async fn act(call: Call) -> Answered {
    let texts = language(&call.parts);
    let (venue, id) = named(&call)?;
    let (app, parts) = (call.app, call.parts);
    let form = Form::read(&parts.headers, call.body).await?;
    // Some people paste the whole address.
    let secret = form.get("secret").trim().rsplit('#').next().unwrap_or_default().parse::<Secret>();
    let Some(secret) = secret.ok().filter(|secret| id.proves(secret)) else {
        return Ok(view::locked(texts, &parts, StatusCode::FORBIDDEN, true));
    };
    let holder = Holder { venue, id, secret };
    let session = session(&app, &form).await?;
    let answered = match form.get("do") {
        "leave" => leave(&app, texts, &parts, session, holder).await,
        "edit" => shown(&app, texts, &parts, session, holder, Note::Edit).await,
        "correct" => correct(&app, texts, &parts, session, holder, &form).await,
        "erase" => erase(&app, texts, &parts, &session, holder).await,
        _ => shown(&app, texts, &parts, session, holder, Note::None).await,
    };
    answered.or_else(|problem| Ok(absent(texts, &parts, &holder, &problem)))
}

/// The venue and the visit that the address names.
fn named(call: &Call) -> Result<(VenueId, VisitId), Problem> {
    let query = call.parts.uri.query().unwrap_or_default();
    let venue = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "v");
    let venue = venue.and_then(|(_, id)| id.parse().ok());
    let venue = venue.ok_or_else(|| Problem::new(Kind::MalformedId, "`v` names the venue"))?;
    Ok((venue, call.visit()?))
}

/// The session of a form, which carries the token that the page before had.
async fn session(app: &App, form: &Form) -> Result<Session, Problem> {
    let mut headers = HeaderMap::new();
    if let Ok(token) = HeaderValue::from_str(form.get("session"))
        && !token.is_empty()
    {
        headers.insert(SESSION, token);
    }
    match Session::begin(app, &headers, Some(SESSION_WAIT)).await {
        Ok(session) => Ok(session),
        // A token of an older version is no reason to refuse a guest.
        Err(_) => Ok(Session::without(app)),
    }
}

/// The receipt as the answer to a check-in.
pub(super) async fn after_check_in(
    app: &App,
    texts: &Texts,
    parts: &Parts,
    mut session: Session,
    holder: Holder,
    repeat: bool,
) -> Answered {
    session.status = app.handle.status();
    let note = if repeat { Note::Repeat } else { Note::None };
    let answered = shown(app, texts, parts, session, holder, note).await;
    answered.or_else(|problem| Ok(absent(texts, parts, &holder, &problem)))
}

/// The visit as it is durable here.
async fn shown(app: &App, texts: &Texts, parts: &Parts, mut session: Session, holder: Holder, note: Note) -> Answered {
    let rows = app.rows(&holder.id.name(holder.venue), app.view(&session.status))?;
    let Some((visit, expires_at)) = visit_from_rows(app, holder.id, &rows) else {
        return Err(why_absent(app, holder.venue, holder.id, &mut session)?);
    };
    let needs = collect_needs(&rows, &session.status.durable);
    view::receipt(app, texts, parts, &session, &Shown { holder, visit, expires_at, needs, note })
}

async fn leave(app: &App, texts: &Texts, parts: &Parts, session: Session, holder: Holder) -> Answered {
    let rows = app.rows(&holder.id.name(holder.venue), app.view(&session.status))?;
    // A form that is sent again does not move the departure.
    if visit_from_rows(app, holder.id, &rows).is_some_and(|(visit, _)| visit.left().is_some()) {
        return shown(app, texts, parts, session, holder, Note::Left).await;
    }
    let arrived = holder.id.arrival();
    // A phone's clock may have been ahead at the arrival.
    let left = app.now(&session.status).max(arrived.plus(Duration::from_secs(1)));
    let patch = json!({"left": Moment(left).to_string()});
    change(app, texts, parts, session, holder, &patch, &[], Note::Left).await
}

/// Corrects persons and area to what the form says.
pub(super) async fn correct(
    app: &App,
    texts: &Texts,
    parts: &Parts,
    session: Session,
    holder: Holder,
    form: &Form,
) -> Answered {
    let typed = form.persons();
    let persons: Vec<&Person> = typed.iter().map(|(_, person)| person).collect();
    let mut patch = json!({"persons": persons});
    if form.has("area") {
        let area = Some(form.get("area").trim()).filter(|area| !area.is_empty());
        patch["area"] = area.into();
    }
    change(app, texts, parts, session, holder, &patch, &typed, Note::Corrected).await
}

#[allow(clippy::too_many_arguments)]
async fn change(
    app: &App,
    texts: &Texts,
    parts: &Parts,
    mut session: Session,
    holder: Holder,
    patch: &serde_json::Value,
    typed: &[(usize, Person)],
    note: Note,
) -> Answered {
    if session.status.doubt.is_some() {
        return Err(Problem::clock_in_doubt());
    }
    let patch = VisitPatch::parse(patch.to_string().as_bytes())?;
    match visits::apply_correction(app, &mut session, holder.venue, holder.id, &patch).await {
        Ok(corrected) => {
            let visits::Corrected { visit, expires_at, needs, .. } = corrected;
            session.status = app.handle.status();
            view::receipt(app, texts, parts, &session, &Shown { holder, visit, expires_at, needs, note })
        }
        Err(CheckInError::Problem(problem)) => Err(problem),
        Err(CheckInError::Invalid(invalid)) => {
            let (_, pack) = visits::rules(app, holder.venue, &session)?;
            let places: Vec<usize> = typed.iter().map(|(place, _)| *place).collect();
            let errors = FormErrors::of_visit(texts, &pack, &invalid, &places);
            shown(app, texts, parts, session, holder, Note::Wrong(typed.to_vec(), errors)).await
        }
    }
}

async fn erase(app: &App, texts: &Texts, parts: &Parts, session: &Session, holder: Holder) -> Answered {
    if session.status.doubt.is_some() {
        return Err(Problem::clock_in_doubt());
    }
    let outcome = visits::apply_erasure(app, session, holder.venue, holder.id).await?;
    let has = confirmed(app, &Proof::of(app, outcome), app.regions.len(), REGIONS_WAIT).await;
    Ok(view::erased(app, texts, parts, &holder, &has))
}

/// The page for a visit that is not there, or for a request that failed.
pub(super) fn absent(texts: &Texts, parts: &Parts, holder: &Holder, problem: &Problem) -> Reply {
    match problem.kind() {
        Kind::Erased => view::gone(texts, parts, StatusCode::GONE, "receipt-erased-title", "receipt-erased", holder),
        Kind::Expired => view::gone(texts, parts, StatusCode::GONE, "receipt-title-plain", "receipt-expired", holder),
        Kind::NoVisit => {
            view::gone(texts, parts, StatusCode::NOT_FOUND, "receipt-title-plain", "receipt-unknown", holder)
        }
        _ => trouble(parts, problem),
    }
}
