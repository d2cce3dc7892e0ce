//! What an owner changes: the venue's name, address, areas, retention; and the links to posters and to the kiosk.

use hyper::StatusCode;
use hyper::http::request::Parts;
use registry::VenuePatch;
use serde::Serialize;
use serde_json::json;

use super::access::Owner;
use super::door::{given, lines, wrong};
use crate::http::App;
use crate::http::call::Call;
use crate::http::pages::fields::ErrorLink;
use crate::http::pages::form::Form;
use crate::http::pages::page::{Frame, language, redirect, render};
use crate::http::pages::texts::Texts;
use crate::http::preconditions::Preconditions;
use crate::http::problem::Answered;
use crate::http::reply::Reply;
use crate::http::venues;
use crate::poster::{Sheet, pdf_shows};

#[derive(Serialize)]
struct SettingsPage {
    frame: Frame,
    venue: String,
    errors: Vec<ErrorLink>,
    saved: bool,
    name: String,
    address: String,
    timezone: String,
    retention: String,
    areas: String,
    checkin: String,
    /// Path of the check-in page.
    kiosk: String,
    places: Vec<String>,
    sheets: [&'static str; 3],
    /// Whether a PDF lacks characters of the names.
    pdf_lacks: bool,
}

/// `GET /console/settings`.
pub(in super::super::super) async fn settings(call: Call) -> Answered {
    let texts = language(&call.parts);
    match Owner::of_open(&call.app, &call.parts) {
        Some(owner) => Ok(page(&call.app, texts, &call.parts, &owner, None, Vec::new(), false)),
        None => Ok(redirect("/console")),
    }
}

/// `POST /console/settings`.
pub(in super::super::super) async fn change(call: Call) -> Answered {
    let texts = language(&call.parts);
    let Some(owner) = Owner::of_open(&call.app, &call.parts) else { return Ok(redirect("/console")) };
    let (app, parts) = (call.app, call.parts);
    let form = Form::read(&parts.headers, call.body).await?;
    let patch = json!({
        "name": given(&form, "name"),
        "address": given(&form, "address"),
        "timezone": given(&form, "timezone"),
        "retention": given(&form, "retention"),
        "areas": lines(&form, "areas"),
    });
    let patch = VenuePatch::parse(patch.to_string().as_bytes())?;
    if let Err(invalid) = patch.check(&owner.known.venue, &owner.known.pack, app.now(&app.handle.status())) {
        let errors = wrong(texts, &invalid);
        return Ok(page(&app, texts, &parts, &owner, Some(&form), errors, false));
    }
    let (known, _) = venues::apply(&app, owner.known.venue.id, &patch, &Preconditions::default()).await?;
    let owner = Owner { known, ..owner };
    Ok(page(&app, texts, &parts, &owner, None, Vec::new(), true))
}

/// `POST /console/close`: closes the venue, if the owner ticked that they mean it.
pub(in super::super::super) async fn close(call: Call) -> Answered {
    let Some(owner) = Owner::of_open(&call.app, &call.parts) else { return Ok(redirect("/console")) };
    let (app, parts) = (call.app, call.parts);
    let form = Form::read(&parts.headers, call.body).await?;
    if form.get("sure") != "yes" {
        return Ok(redirect("/console/settings"));
    }
    venues::apply_closing(&app, owner.known.venue.id, app.now(&owner.session.status), &Preconditions::default())
        .await?;
    Ok(redirect("/console"))
}

fn page(
    app: &App,
    texts: &Texts,
    parts: &Parts,
    owner: &Owner,
    typed: Option<&Form>,
    errors: Vec<ErrorLink>,
    saved: bool,
) -> Reply {
    let venue = &owner.known.venue;
    let value = |name: &str, stored: String| typed.map_or(stored, |form| form.get(name).to_owned());
    let status = if errors.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let content = SettingsPage {
        frame: Frame::console(texts, texts.text("console-settings").into_owned(), parts),
        venue: venue.name.clone(),
        errors,
        saved,
        name: value("name", venue.name.clone()),
        address: value("address", venue.address.clone().unwrap_or_default()),
        timezone: value("timezone", venue.timezone.clone()),
        retention: value("retention", api::duration::show(venue.retention)),
        areas: value("areas", venue.areas.join("\n")),
        checkin: format!("{}/c/{}", app.public_url, venue.id),
        kiosk: format!("/c/{}?kiosk=1", venue.id),
        places: venue.areas.clone(),
        sheets: Sheet::ALL.map(Sheet::name),
        pdf_lacks: !pdf_shows(&venue.name) || !venue.areas.iter().all(|area| pdf_shows(area)),
    };
    render(texts, status, "console-settings.html", &content)
}
