//! The guest list: first how many guests, then, for a stated reason, who they are.
//!
//! # Invariants
//! - Persons are shown and handed out only for a reason, and each time is counted.
//! - A list says in plain words which region it may miss something of, and what came since the owner's last look.
//! - A page has at most [`MOST`] rows; a longer list is handed out as a file.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{CONTENT_DISPOSITION, HeaderValue, SET_COOKIE};
use hyper::http::request::Parts;
use registry::{GuestRow, TableWords};
use serde::Serialize;

use super::access::Owner;
use super::completeness::{Completeness, completeness, destroy_by};
use super::look::{last_look, name_of, remember};
use super::rows::{RowView, Rows};
use super::window::{self, Asked, WindowFields};
use crate::http::App;
use crate::http::call::Call;
use crate::http::guests::{self, Export, Format, Item, Pages};
use crate::http::pages::form::Form;
use crate::http::pages::page::{Frame, language, redirect, render};
use crate::http::pages::texts::Texts;
use crate::http::pages::times;
use crate::http::problem::{Answered, Problem};
use crate::http::reply::Reply;

/// Visits on one page.
pub(super) const MOST: usize = 500;

/// The reasons that an owner can state.
pub(super) const REASONS: [&str; 4] = ["health-office", "infection", "guest-asked", "check"];

#[derive(Serialize)]
struct AskPage {
    frame: Frame,
    venue: String,
    fields: WindowFields,
    areas: Vec<String>,
    error: Option<String>,
    reasons: [&'static str; 4],
    counted: Option<Counted>,
}

/// What a list would have.
#[derive(Serialize)]
struct Counted {
    visits: u64,
    persons: u64,
    unreadable: u64,
    completeness: Completeness,
}

#[derive(Serialize)]
struct ListPage {
    frame: Frame,
    venue: String,
    fields: WindowFields,
    day: String,
    reason: String,
    rows: Vec<RowView>,
    ticks: Vec<(u64, String)>,
    visits: usize,
    persons: usize,
    more: bool,
    unreadable: u64,
    completeness: Completeness,
    /// When the last look was, and how many visits came since.
    since: Option<(String, usize)>,
    printed: String,
    destroy_by: String,
}

/// `GET /console/guests`.
pub(in super::super::super) async fn ask(call: Call) -> Answered {
    let texts = language(&call.parts);
    let Some(owner) = Owner::of(&call.app, &call.parts) else { return Ok(redirect("/console")) };
    let zone = times::zone(&owner.known.venue.timezone);
    let now = times::local(call.app.now(&owner.session.status), &zone);
    Ok(ask_page(texts, &call.parts, &owner, WindowFields::today(&now), None, None))
}

/// `POST /console/guests`: the count, or with a reason the rows.
pub(in super::super::super) async fn list(call: Call) -> Answered {
    answer(call, Wish::Page).await
}

/// `POST /console/export`: the whole list as a file.
pub(in super::super::super) async fn export(call: Call) -> Answered {
    answer(call, Wish::File).await
}

/// What a form about a list wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Page,
    File,
}

/// Reads the form of a list and answers it. A window that cannot be read gets the form again, and without a reason there
/// is only the count.
async fn answer(call: Call, wish: Wish) -> Answered {
    let texts = language(&call.parts);
    let Some(owner) = Owner::of(&call.app, &call.parts) else { return Ok(redirect("/console")) };
    let (app, parts) = (call.app, call.parts);
    let form = Form::read(&parts.headers, call.body).await?;
    let fields = WindowFields::of(&form);
    let asked = match window::read(fields.clone(), &times::zone(&owner.known.venue.timezone)) {
        Ok(asked) => asked,
        Err(key) => {
            return Ok(ask_page(texts, &parts, &owner, fields, Some(texts.text(key).into_owned()), None));
        }
    };
    let reason = form.get("reason");
    match wish {
        _ if !REASONS.contains(&reason) => count(&app, texts, &parts, &owner, asked).await,
        Wish::Page => rows(&app, texts, &parts, &owner, asked, reason).await,
        Wish::File => file(&app, texts, &owner, asked, reason, form.get("format")).await,
    }
}

async fn file(app: &Arc<App>, texts: &Texts, owner: &Owner, asked: Asked, reason: &str, format: &str) -> Answered {
    let format = match format {
        "xlsx" => Format::Xlsx,
        "ndjson" => Format::Ndjson,
        _ => Format::ExcelCsv,
    };
    app.metrics.released(reason);
    let asked = Export { window: asked.window, area: asked.area, format, words: table_words(texts) };
    let mut reply = guests::export(app, owner.session.status.clone(), owner.known.clone(), asked).await?;
    if format == Format::Ndjson {
        let name = HeaderValue::from_static("attachment; filename=\"guests.ndjson\"");
        reply.headers_mut().insert(CONTENT_DISPOSITION, name);
    }
    Ok(reply)
}

fn ask_page(
    texts: &Texts,
    parts: &Parts,
    owner: &Owner,
    fields: WindowFields,
    error: Option<String>,
    counted: Option<Counted>,
) -> Reply {
    let status = if error.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let page = AskPage {
        frame: Frame::console(texts, texts.text("console-list").into_owned(), parts),
        venue: owner.known.venue.name.clone(),
        fields,
        areas: owner.known.venue.areas.clone(),
        error,
        reasons: REASONS,
        counted,
    };
    render(texts, status, "console-ask.html", &page)
}

async fn count(app: &Arc<App>, texts: &Texts, parts: &Parts, owner: &Owner, asked: Asked) -> Answered {
    let mut pages = pages(app, owner, &asked);
    let (mut visits, mut persons, mut unreadable) = (0, 0, 0);
    while let Some(items) = pages.next().await? {
        for item in items {
            match item {
                Item::Visit(found) => {
                    visits += 1;
                    persons += found.visit.persons().len() as u64;
                }
                Item::Unreadable => unreadable += 1,
            }
        }
    }
    let completeness = completeness(app, texts, owner, asked.window.to);
    let counted = Counted { visits, persons, unreadable, completeness };
    Ok(ask_page(texts, parts, owner, asked.fields, None, Some(counted)))
}

async fn rows(
    app: &Arc<App>,
    texts: &'static Texts,
    parts: &Parts,
    owner: &Owner,
    asked: Asked,
    reason: &str,
) -> Answered {
    let zone = times::zone(&owner.known.venue.timezone);
    let name = name_of(owner.known.venue.id, &asked.fields);
    let look = last_look(parts, &name);
    let mut pages = pages(app, owner, &asked).with_acceptance();
    if let Some((_, seen)) = &look {
        pages = pages.since(seen.clone());
    }
    let (assumed_stay, rows) = (pages.assumed_stay(), Rows { texts, zone: &zone, window: asked.window });
    let (mut shown, mut visits, mut persons, mut unreadable) = (Vec::new(), 0, 0, 0);
    while let Some(items) = pages.next().await? {
        for item in items {
            let Item::Visit(found) = item else {
                unreadable += 1;
                continue;
            };
            visits += 1;
            // The head of a list counts all of it.
            if visits > MOST {
                persons += found.visit.persons().len();
                continue;
            }
            let row = GuestRow::of(&found.visit, &found.region, assumed_stay);
            persons += row.persons.len();
            shown.push((rows.row(&row, row.overlap_minutes(asked.window), found.accepted, found.is_new), found.is_new));
        }
    }
    app.metrics.released(reason);
    let now = times::local(app.now(&owner.session.status), &zone);
    let added = shown.iter().filter(|(_, is_new)| *is_new).count();
    let since = look.map(|(at, _)| (times::moment(texts, &times::local(at, &zone), &now), added));
    let day = times::day(texts, &times::local(asked.window.from, &zone));
    let page = ListPage {
        frame: Frame::console(texts, texts.text("console-list").into_owned(), parts),
        venue: owner.known.venue.name.clone(),
        day,
        reason: reason.to_owned(),
        rows: shown.into_iter().map(|(row, _)| row).collect(),
        ticks: rows.ticks(),
        visits,
        persons,
        more: visits > MOST,
        unreadable,
        completeness: completeness(app, texts, owner, asked.window.to),
        since,
        printed: times::day_and_clock(texts, &now),
        destroy_by: destroy_by(texts, owner, &now, &zone),
        fields: asked.fields,
    };
    // A long list takes a while, and other requests wait for the threads of the runtime.
    let rendered = tokio::task::spawn_blocking(move || render(texts, StatusCode::OK, "console-list.html", &page));
    let mut reply = rendered.await.map_err(|_| Problem::internal())?;
    // What was not shown was not seen.
    if visits > MOST {
        return Ok(reply);
    }
    let now = app.now(&owner.session.status);
    reply.headers_mut().insert(SET_COOKIE, remember(app, parts, now, &name, owner.session.status.durable.clone()));
    Ok(reply)
}

fn pages(app: &Arc<App>, owner: &Owner, asked: &Asked) -> Pages {
    let (status, known) = (owner.session.status.clone(), owner.known.clone());
    Pages::new(app.clone(), status, known, asked.window, asked.area.clone(), None)
}

/// The words of the tables that offices open.
fn table_words(texts: &Texts) -> TableWords {
    let word =
        |name: &&'static str| Some(((*name).to_owned(), texts.text(&format!("table-{name}")).into_owned().into()));
    let words: serde_json::Map<String, serde_json::Value> = TableWords::NAMES.iter().filter_map(word).collect();
    serde_json::from_value(words.into()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use registry::TableWords;

    use super::table_words;
    use crate::http::pages::texts::Texts;

    #[test]
    fn every_language_has_the_words_of_the_tables() {
        for texts in Texts::all() {
            assert!(TableWords::NAMES.iter().all(|name| texts.has(&format!("table-{name}"))), "{}", texts.tag);
        }
        let german = table_words(Texts::of("de").expect("German"));
        assert_eq!(german.arrived, "Ankunft");
        assert_eq!(german.page_of, "Seite {page} von {pages}");
    }
}
