//! The contacts of one visit: all visits that overlap it, the longest first.

use hyper::StatusCode;
use hyper::http::request::Parts;
use registry::{VisitId, Window};
use serde::Serialize;

use super::access::Owner;
use super::completeness::{Completeness, completeness, destroy_by};
use super::list::{MOST, REASONS};
use super::rows::{RowView, Rows};
use super::window::WindowFields;
use crate::http::App;
use crate::http::call::Call;
use crate::http::guests::{self, ContactList};
use crate::http::pages::form::Form;
use crate::http::pages::page::{Frame, language, redirect, render};
use crate::http::pages::texts::Texts;
use crate::http::pages::times;
use crate::http::problem::Answered;
use crate::http::reply::Reply;

#[derive(Serialize)]
struct ContactsPage {
    frame: Frame,
    venue: String,
    index: RowView,
    rows: Vec<RowView>,
    more: bool,
    unreadable: u64,
    day: String,
    /// The list from which the owner came.
    reason: String,
    fields: WindowFields,
    printed: String,
    completeness: Completeness,
    destroy_by: String,
}

/// `POST /console/contacts`: the visits that overlap one visit.
pub(in super::super::super) async fn contacts(call: Call) -> Answered {
    let texts = language(&call.parts);
    let Some(mut owner) = Owner::of(&call.app, &call.parts) else { return Ok(redirect("/console")) };
    let (app, parts) = (call.app, call.parts);
    let form = Form::read(&parts.headers, call.body).await?;
    let Ok(id) = form.get("visit").parse::<VisitId>() else { return Ok(redirect("/console/guests")) };
    let reason = form.get("reason").to_owned();
    if !REASONS.contains(&&*reason) {
        return Ok(redirect("/console/guests"));
    }
    let fields = WindowFields::of(&form);
    let found = guests::find_contacts(&app, &mut owner.session, owner.known.clone(), id).await?;
    app.metrics.released(&reason);
    Ok(contacts_page(&app, texts, &parts, &owner, &found, (reason, fields)))
}

fn contacts_page(
    app: &App,
    texts: &Texts,
    parts: &Parts,
    owner: &Owner,
    found: &ContactList,
    back: (String, WindowFields),
) -> Reply {
    let zone = times::zone(&owner.known.venue.timezone);
    let now = times::local(app.now(&owner.session.status), &zone);
    let stay = Window { from: found.visit.arrived.0, to: found.visit.left.0 };
    let rows = Rows { texts, zone: &zone, window: stay };
    let page = ContactsPage {
        frame: Frame::console(texts, texts.text("console-contacts").into_owned(), parts),
        venue: owner.known.venue.name.clone(),
        index: rows.row(&found.visit, found.visit.overlap_minutes(stay), None, false),
        rows: found.contacts.iter().take(MOST).map(|row| rows.row(&row.visit, row.minutes, None, false)).collect(),
        more: found.truncated || found.contacts.len() > MOST,
        unreadable: found.unreadable,
        day: times::day(texts, &times::local(stay.from, &zone)),
        reason: back.0,
        fields: back.1,
        printed: times::day_and_clock(texts, &now),
        completeness: completeness(app, texts, owner, stay.to),
        destroy_by: destroy_by(texts, owner, &now, &zone),
    };
    render(texts, StatusCode::OK, "console-contacts.html", &page)
}
