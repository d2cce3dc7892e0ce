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
use registry::{Person, Secret, VenueId, Visit, VisitId, VisitPatch};
use replication::{DocumentKey, Row};
use serde_json::json;

use super::super::App;
use super::super::call::{self, Call};
use super::super::durability::{Proof, confirmed};
use super::super::preconditions::Preconditions;
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
    let visitor = Visitor { app: &app, texts, parts: &parts, holder: Holder { venue, id, secret } };
    let session = session(&app, &form).await?;
    let answered = match form.get("do") {
        "leave" => visitor.leave(session, &form).await,
        "edit" => visitor.shown(session, Note::Edit).await,
        "correct" => return visitor.correct(session, &form).await,
        "erase" => visitor.erase(&session).await,
        _ => visitor.shown(session, Note::None).await,
    };
    answered.or_else(|problem| Ok(visitor.absent(&problem)))
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

/// The holder of a receipt with the request that they made.
pub(super) struct Visitor<'a> {
    pub(super) app: &'a App,
    pub(super) texts: &'a Texts,
    pub(super) parts: &'a Parts,
    pub(super) holder: Holder,
}

impl Visitor<'_> {
    /// The receipt as the answer to a check-in.
    pub(super) async fn checked_in(&self, mut session: Session, repeat: bool) -> Answered {
        session.status = self.app.handle.status();
        let answered = self.shown(session, if repeat { Note::Repeat } else { Note::None }).await;
        answered.or_else(|problem| Ok(self.absent(&problem)))
    }

    /// Corrects persons and area to what the form says.
    pub(super) async fn correct(&self, session: Session, form: &Form) -> Answered {
        let typed = form.persons();
        let mut persons: Vec<Person> = typed.iter().map(|(_, person)| person.clone()).collect();
        // The form of a check-in does not know who left meanwhile.
        if form.get("do") != "correct"
            && let Some(visit) = self.stored(&session)?
        {
            visit.keep_departures(&mut persons);
        }
        let mut patch = json!({"persons": persons});
        if form.has("area") {
            let area = Some(form.get("area").trim()).filter(|area| !area.is_empty());
            patch["area"] = area.into();
        }
        let answered = self.change(session, &patch, &typed, Note::Corrected).await;
        answered.or_else(|problem| Ok(self.absent(&problem)))
    }

    /// The page for a visit that is not there, or for a request that failed.
    pub(super) fn absent(&self, problem: &Problem) -> Reply {
        let (status, heading, words) = match problem.kind() {
            Kind::Erased => (StatusCode::GONE, "receipt-erased-title", "receipt-erased"),
            Kind::Expired => (StatusCode::GONE, "receipt-title-plain", "receipt-expired"),
            Kind::NoVisit => (StatusCode::NOT_FOUND, "receipt-title-plain", "receipt-unknown"),
            _ => return trouble(self.parts, problem.clone()),
        };
        view::gone(self.texts, self.parts, status, heading, words, &self.holder)
    }

    fn rows(&self, session: &Session) -> Result<Vec<(DocumentKey, Row)>, Problem> {
        let name = self.holder.id.name(self.holder.venue);
        self.app.rows(&name, self.app.view(&session.status))
    }

    /// The visit as it is durable here.
    fn stored(&self, session: &Session) -> Result<Option<Visit>, Problem> {
        Ok(visit_from_rows(self.app, self.holder.id, &self.rows(session)?).map(|(visit, _)| visit))
    }

    async fn shown(&self, mut session: Session, note: Note) -> Answered {
        let Visitor { app, texts, parts, holder } = *self;
        let rows = self.rows(&session)?;
        let Some((visit, expires_at)) = visit_from_rows(app, holder.id, &rows) else {
            return Err(why_absent(app, holder.venue, holder.id, &mut session)?);
        };
        let needs = collect_needs(&rows, &session.status.durable);
        view::receipt(app, texts, parts, &session, &Shown { holder, visit, expires_at, needs, note })
    }

    /// Records that the party left, or that one of it did.
    async fn leave(&self, session: Session, form: &Form) -> Answered {
        let visit = self.stored(&session)?;
        // A form that is sent again does not move the departure.
        if visit.as_ref().is_some_and(|visit| visit.ended().is_some()) {
            return self.shown(session, Note::Left).await;
        }
        let arrived = self.holder.id.arrival();
        // A phone's clock may have been ahead at the arrival.
        let (now, earliest) = (self.app.now(&session.status), arrived.plus(Duration::from_secs(1)));
        // A departure that waited on a phone without a network says how long, because the phone's clock may be wrong.
        let waited = Duration::from_millis(form.get("waited").parse().unwrap_or_default());
        let left = Moment(now.minus(waited).max(earliest)).to_string();
        let mut persons = visit.map(|visit| visit.persons()).unwrap_or_default();
        if !form.has("person") {
            return self.change(session, &json!({"left": left}), &[], Note::Left).await;
        }
        // The party may have been corrected since the form was shown, so the name finds the person.
        let name = form.get("name").to_owned();
        let stays = |person: &Person| person.left.is_none() && person.name.as_deref().unwrap_or_default() == name;
        let said = form.get("person").parse::<usize>().ok();
        // A form that is sent again marks nobody else.
        let gone = |person: &Person| person.left.is_some() && person.name.as_deref().unwrap_or_default() == name;
        if said.is_some_and(|place| persons.get(place).is_some_and(gone)) {
            return self.shown(session, Note::OneLeft(name)).await;
        }
        let said = said.filter(|place| persons.get(*place).is_some_and(stays));
        let Some(place) = said.or_else(|| persons.iter().position(stays)) else {
            return self.shown(session, Note::None).await;
        };
        persons[place].left = Some(left);
        let patch = json!({"persons": persons});
        self.change(session, &patch, &[], Note::OneLeft(name)).await
    }

    async fn change(
        &self,
        mut session: Session,
        patch: &serde_json::Value,
        typed: &[(usize, Person)],
        note: Note,
    ) -> Answered {
        let Visitor { app, texts, parts, holder } = *self;
        if session.status.doubt.is_some() {
            return Err(Problem::clock_in_doubt());
        }
        let patch = VisitPatch::parse(patch.to_string().as_bytes())?;
        match visits::apply_correction(app, &mut session, holder.venue, holder.id, &patch, &Preconditions::default())
            .await
        {
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
                self.shown(session, Note::Wrong(typed.to_vec(), errors)).await
            }
        }
    }

    async fn erase(&self, session: &Session) -> Answered {
        let Visitor { app, texts, parts, holder } = *self;
        if session.status.doubt.is_some() {
            return Err(Problem::clock_in_doubt());
        }
        let outcome =
            visits::apply_erasure(app, session, holder.venue, holder.id, &Preconditions::default(), call::peer(parts))
                .await?;
        let has = confirmed(app, &Proof::of(app, outcome), app.membership.now().regions.len(), REGIONS_WAIT).await;
        Ok(view::erased(app, texts, parts, &holder, &has))
    }
}
