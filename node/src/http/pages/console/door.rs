//! Logging in and out, and registering a venue.

use hyper::StatusCode;
use hyper::http::request::Parts;
use registry::{CheckedVenue, Code, Invalid, NewVenue, OwnerKey, VenueId};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::access::{self, is_own, redirect_with};
use crate::http::App;
use crate::http::auth;
use crate::http::call::Call;
use crate::http::invitations;
use crate::http::pages::fields::ErrorLink;
use crate::http::pages::form::Form;
use crate::http::pages::page::{Frame, LANGUAGE, language, redirect, render};
use crate::http::pages::texts::Texts;
use crate::http::problem::{Answered, Kind};
use crate::http::reply::header;
use crate::http::session::Session;
use crate::http::venues;

/// Time zones that the form offers first; any other can be typed.
const ZONES: [&str; 6] =
    ["Europe/Berlin", "Europe/Vienna", "Europe/Zurich", "America/New_York", "America/Sao_Paulo", "Asia/Singapore"];

#[derive(Serialize)]
struct LoginPage {
    frame: Frame,
    wrong: Option<String>,
    venue: String,
}

#[derive(Serialize)]
struct RegisterPage<'a> {
    frame: Frame,
    errors: Vec<ErrorLink>,
    name: &'a str,
    address: &'a str,
    timezone: &'a str,
    areas: &'a str,
    invitation: &'a str,
    zones: [&'static str; 6],
    /// Makes the venue's id and key, so that a form that is sent twice is one venue.
    seed: String,
}

#[derive(Serialize)]
struct MadePage {
    frame: Frame,
    name: String,
    venue: String,
    key: String,
    checkin: String,
}

/// The page of an owner who is not logged in.
pub(super) fn login(texts: &Texts, parts: &Parts, venue: &str, wrong: bool) -> Answered {
    let status = if wrong { StatusCode::FORBIDDEN } else { StatusCode::OK };
    let page = LoginPage {
        frame: Frame::new(texts, texts.text("console-login").into_owned(), parts),
        wrong: wrong.then(|| texts.text("console-wrong").into_owned()),
        venue: venue.to_owned(),
    };
    Ok(render(texts, status, "console-login.html", &page))
}

/// `POST /console/login`: exchanges the owner's key for the cookie.
pub(in super::super::super) async fn enter(call: Call) -> Answered {
    let texts = language(&call.parts);
    let (app, parts) = (call.app, call.parts);
    let form = Form::read(&parts.headers, call.body).await?;
    let session = Session::without(&app);
    let venue = form.get("venue").trim().to_owned();
    let keys = (venue.parse::<VenueId>(), form.get("key").trim().parse::<OwnerKey>());
    let (Ok(id), Ok(key), true) = (keys.0, keys.1, is_own(&parts)) else {
        return login(texts, &parts, &venue, true);
    };
    match access::cookie(&app, id, &key, &session) {
        Ok(cookie) => Ok(redirect_with("/console", cookie)),
        Err(problem) if problem.kind() == Kind::Closed => Err(problem),
        Err(_) => login(texts, &parts, &venue, true),
    }
}

/// `POST /console/logout`.
pub(in super::super::super) async fn leave(call: Call) -> Answered {
    Ok(if is_own(&call.parts) { redirect_with("/console", access::forget()) } else { redirect("/console") })
}

/// `GET /console/language`: remembers the language and goes back to the page.
pub(in super::super::super) async fn speak(call: Call) -> Answered {
    let query = call.parts.uri.query().unwrap_or_default();
    let get = |wanted: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, _)| name == wanted).map(|(_, text)| text.into_owned()).unwrap_or_default()
    };
    let to = match &*get("page") {
        "guests" | "contacts" | "export" => "/console/guests",
        "settings" => "/console/settings",
        "slips" => "/console/slips",
        "register" => "/console/register",
        _ => "/console",
    };
    Ok(match Texts::of(&get("lang")) {
        Some(texts) => {
            let year = 365 * 86_400;
            let kept = format!("{LANGUAGE}={}; Path=/console; Max-Age={year}; HttpOnly; SameSite=Strict", texts.tag);
            redirect_with(to, header(kept))
        }
        None => redirect(to),
    })
}

/// `GET /console/register`.
pub(in super::super::super) async fn registration(call: Call) -> Answered {
    let texts = language(&call.parts);
    // A link of the operator's brings the invitation along, and nothing else: the seed makes the owner's key, so a link must
    // not choose it.
    let form = Form::of_query(&call.parts, "invitation");
    register_page(texts, &call.parts, StatusCode::OK, &form, Vec::new())
}

/// `POST /console/register`.
pub(in super::super::super) async fn register(call: Call) -> Answered {
    let texts = language(&call.parts);
    let peer = call.peer();
    let (app, parts) = (call.app, call.parts);
    let form = Form::read(&parts.headers, call.body).await?;
    if !is_own(&parts) {
        return Ok(redirect("/console"));
    }
    let new = NewVenue {
        name: given(&form, "name"),
        address: given(&form, "address"),
        timezone: given(&form, "timezone"),
        retention: None,
        areas: Some(lines(&form, "areas")),
    };
    let checked = match new.check(app.packs.default_pack()) {
        Ok(checked) => checked,
        Err(invalid) => {
            let errors = wrong(texts, &invalid);
            return register_page(texts, &parts, StatusCode::UNPROCESSABLE_ENTITY, &form, errors);
        }
    };
    let name = form.get("name").trim().to_owned();
    let Ok(seed) = form.get("seed").parse::<OwnerKey>() else { return Ok(redirect("/console/register")) };
    invitations::check(&app, &parts.headers, Some(form.get("invitation")))?;
    app.strangers.take_venue(peer)?;
    made(&app, texts, &parts, name, checked, &seed).await
}

async fn made(
    app: &App,
    texts: &Texts,
    parts: &Parts,
    name: String,
    checked: CheckedVenue,
    seed: &OwnerKey,
) -> Answered {
    let (venue, key) = identity(seed);
    venues::open_as(app, checked, venue, &key).await?;
    let session = Session::without(app);
    let page = MadePage {
        frame: Frame::new(texts, texts.text("console-made").into_owned(), parts),
        name,
        venue: venue.to_string(),
        key: key.to_string(),
        checkin: format!("{}/c/{venue}", app.public_url),
    };
    let mut reply = render(texts, StatusCode::CREATED, "console-made.html", &page);
    reply.headers_mut().insert(hyper::header::SET_COOKIE, access::fresh_cookie(app, venue, &session));
    Ok(reply)
}

/// The id and the key of the venue that a form with this seed makes.
fn identity(seed: &OwnerKey) -> (VenueId, OwnerKey) {
    let derive = |use_for: &[u8]| Sha256::new().chain_update(use_for).chain_update(seed.0).finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&derive(b"meridian venue id")[..16]);
    let mut key = [0; 32];
    key.copy_from_slice(&derive(b"meridian owner key"));
    (VenueId(id), OwnerKey(key))
}

fn register_page(texts: &Texts, parts: &Parts, status: StatusCode, form: &Form, errors: Vec<ErrorLink>) -> Answered {
    let title = texts.text("console-register").into_owned();
    let zone = form.get("timezone");
    let mut seed = OwnerKey([0; 32]);
    auth::random(&mut seed.0)?;
    let page = RegisterPage {
        frame: Frame::new(texts, title, parts),
        errors,
        name: form.get("name"),
        address: form.get("address"),
        timezone: if zone.is_empty() { ZONES[0] } else { zone },
        areas: form.get("areas"),
        invitation: form.get("invitation"),
        zones: ZONES,
        seed: form.get("seed").parse::<OwnerKey>().unwrap_or(seed).to_string(),
    };
    Ok(render(texts, status, "console-register.html", &page))
}

/// A field that is not empty.
pub(super) fn given(form: &Form, name: &str) -> Option<String> {
    Some(form.get(name).trim().to_owned()).filter(|text| !text.is_empty())
}

/// The lines of a field that are not empty.
pub(super) fn lines(form: &Form, name: &str) -> Vec<String> {
    form.get(name).lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The errors of a venue's fields, in words.
pub(super) fn wrong(texts: &Texts, invalid: &Invalid) -> Vec<ErrorLink> {
    let one = |error: &registry::FieldError| {
        let field = error.pointer.split('/').nth(1).unwrap_or("name").to_owned();
        let label = texts.text(&format!("venue-{field}")).into_owned();
        let key = match error.code {
            Code::Required => "error-required",
            Code::TooLong => "error-too_long",
            Code::Timezone => "error-timezone",
            Code::Retention | Code::Duration => "error-retention",
            Code::Repeated => "error-repeated",
            _ => "error-other",
        };
        ErrorLink::new(field, texts.with(key, &[("field", &label)]))
    };
    invalid.errors.iter().map(one).collect()
}
