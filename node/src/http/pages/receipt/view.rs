//! How a receipt looks: what is stored, where, until when, and the forms of what its holder may do.

use std::collections::BTreeSet;

use api::RegionId;
use hyper::StatusCode;
use hyper::http::request::Parts;
use jiff::Zoned;
use registry::{Person, ReceiptCode, Visit};
use replication::{VersionVector, Wall};
use serde::Serialize;

use super::super::super::App;
use super::super::super::durability::Proof;
use super::super::super::problem::Answered;
use super::super::super::reply::Reply;
use super::super::super::session::{self, Session};
use super::super::super::visits;
use super::super::fields::{self, AreaField, ErrorLink, FormErrors, PersonsForm};
use super::super::page::{Frame, render};
use super::super::shown;
use super::super::texts::Texts;
use super::super::times;
use super::Holder;
use crate::poster::code_path;

/// A visit that is shown to its holder.
pub(super) struct Shown {
    pub(super) holder: Holder,
    pub(super) visit: Visit,
    pub(super) expires_at: Wall,
    /// What a replica must have to show the visit like this.
    pub(super) needs: VersionVector,
    pub(super) note: Note,
}

/// What happened before the receipt is shown.
pub(super) enum Note {
    /// Nothing.
    None,
    /// The same check-in was sent before.
    Repeat,
    /// The guest left.
    Left,
    /// This person left before the rest of the party.
    OneLeft(String),
    /// The guest corrected something.
    Corrected,
    /// The guest wants to correct something.
    Edit,
    /// A correction was not accepted: what was typed, and why.
    Wrong(Vec<(usize, Person)>, FormErrors),
}

#[derive(Serialize)]
struct ReceiptPage {
    frame: Frame,
    venue: String,
    area: Option<String>,
    arrived: String,
    left: Option<String>,
    colour: &'static str,
    digits: String,
    note: Option<String>,
    persons: Vec<PersonView>,
    conflicts: Vec<String>,
    deleted_on: String,
    regions: Vec<RegionMark>,
    edit: Option<EditForm>,
    errors: Vec<ErrorLink>,
    /// Where the receipt is opened with its code.
    address: String,
    access: Access,
    /// The receipt's whole address as a QR code, on a tablet whose guest takes it along: an SVG path and its side.
    code: Option<(String, usize)>,
}

/// A person of the party.
#[derive(Serialize)]
struct PersonView {
    name: String,
    contact: Vec<String>,
    /// When this person left before the rest of the party.
    left: Option<String>,
    /// Whether this person can leave alone: the others stay.
    leaves: bool,
}

#[derive(Serialize)]
struct EditForm {
    form: PersonsForm,
    area: AreaField,
}

/// Whether a region has a record, or has confirmed an erasure.
#[derive(Serialize)]
struct RegionMark {
    name: String,
    yes: bool,
}

/// What each form of the receipt carries.
#[derive(Serialize)]
struct Access {
    /// The address that a browser sends.
    action: String,
    /// The address that the guest keeps.
    link: String,
    secret: String,
    session: String,
}

#[derive(Serialize)]
struct ErasedPage {
    frame: Frame,
    heading: String,
    words: String,
    regions: Vec<RegionMark>,
    /// The form that asks again.
    again: &'static str,
    access: Access,
}

#[derive(Serialize)]
struct LockedPage {
    frame: Frame,
    wrong: Option<String>,
    action: String,
}

impl Access {
    fn new(parts: &Parts, holder: &Holder, session: String) -> Access {
        let named = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let lang = named.filter(|(name, _)| name == "lang").map(|(_, tag)| format!("&lang={tag}")).next();
        let lang = lang.filter(|lang| lang.bytes().all(|b| b.is_ascii_alphanumeric() || b"&=-".contains(&b)));
        let action = format!("/r/{}?v={}{}", holder.id, holder.venue, lang.unwrap_or_default());
        let link = format!("{action}#{}", holder.secret);
        Access { action, link, secret: holder.secret.to_string(), session }
    }
}

/// The receipt.
pub(super) fn receipt(app: &App, texts: &Texts, parts: &Parts, session: &Session, shown: &Shown) -> Answered {
    let Shown { holder, visit, expires_at, needs, note } = shown;
    let (venue, pack) = visits::rules(app, holder.venue, session)?;
    let zone = times::zone(&venue.timezone);
    let now = times::local(app.now(&session.status), &zone);
    let local = |at: Wall| times::local(at, &zone);
    let ended = visit.ended().map(local);
    let gone = ended.as_ref().map_or_else(String::new, |ended| times::clock_on(texts, ended, &now));
    let words = match note {
        Note::None | Note::Edit | Note::Wrong(..) => None,
        Note::Repeat => Some(texts.text("receipt-repeat").into_owned()),
        Note::Left => Some(texts.with("receipt-gone", &[("time", &gone)])),
        Note::OneLeft(name) => Some(texts.with("receipt-one-gone", &[("name", name)])),
        Note::Corrected => Some(texts.text("receipt-corrected").into_owned()),
    };
    let none = FormErrors::default();
    let stored: Vec<(usize, Person)> = visit.persons().into_iter().enumerate().collect();
    let (typed, errors) = match note {
        Note::Wrong(typed, errors) if !typed.is_empty() => (typed, errors),
        Note::Wrong(_, errors) => (&stored, errors),
        _ => (&stored, &none),
    };
    let edits = matches!(note, Note::Edit | Note::Wrong(..));
    let area = visit.area().unwrap_or_default();
    let edit = edits.then(|| EditForm {
        form: fields::persons(texts, &pack, false, typed, errors),
        area: fields::area(&venue, &pack, None, area, errors),
    });
    let code = ReceiptCode::of(holder.id);
    let title = texts.with("receipt-title", &[("venue", &venue.name)]);
    let wrong = matches!(note, Note::Wrong(..));
    let has = Proof::All(needs.clone()).regions(&session.status, &app.region);
    let frame = Frame::new(texts, title, parts);
    let access = Access::new(parts, holder, session::write(needs.clone()));
    let page = ReceiptPage {
        venue: venue.name.clone(),
        area: visit.area().map(str::to_owned),
        arrived: times::moment(texts, &local(visit.arrived()), &now),
        left: ended.map(|ended| times::moment(texts, &ended, &now)),
        colour: code.colour.name(),
        digits: code.digits(),
        note: words,
        persons: persons(texts, visit, &local),
        conflicts: conflicts(texts, visit),
        deleted_on: times::day_and_clock(texts, &local(*expires_at)),
        regions: marks(app, texts, &has),
        edit,
        errors: errors.summary(),
        address: format!("{}/r/{}?v={}", app.public_url, holder.id, holder.venue),
        code: frame.kiosk.then(|| code_path(&format!("{}{}", app.public_url, access.link)).ok()).flatten(),
        access,
        frame,
    };
    let status = if wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok(render(texts, status, "receipt.html", &page))
}

/// The answer to an erasure: which regions have confirmed it.
pub(super) fn erased(app: &App, texts: &Texts, parts: &Parts, holder: &Holder, has: &BTreeSet<RegionId>) -> Reply {
    let heading = texts.text("receipt-erased-title").into_owned();
    let page = ErasedPage {
        frame: Frame::new(texts, heading.clone(), parts),
        heading,
        words: texts.text("receipt-erased").into_owned(),
        regions: marks(app, texts, has),
        again: "erase",
        access: Access::new(parts, holder, String::new()),
    };
    render(texts, StatusCode::OK, "erased.html", &page)
}

/// The page for a visit that cannot be shown, with a button to ask again.
pub(super) fn gone(
    texts: &Texts,
    parts: &Parts,
    status: StatusCode,
    heading: &str,
    words: &str,
    holder: &Holder,
) -> Reply {
    let heading = texts.text(heading).into_owned();
    let page = ErasedPage {
        frame: Frame::new(texts, heading.clone(), parts),
        heading,
        words: texts.text(words).into_owned(),
        regions: Vec::new(),
        again: "show",
        access: Access::new(parts, holder, String::new()),
    };
    render(texts, status, "erased.html", &page)
}

/// The page that asks for the secret.
pub(super) fn locked(texts: &Texts, parts: &Parts, status: StatusCode, wrong: bool) -> Reply {
    let page = LockedPage {
        frame: Frame::new(texts, texts.text("receipt-title-plain").into_owned(), parts),
        wrong: wrong.then(|| texts.text("receipt-code-wrong").into_owned()),
        action: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
    };
    render(texts, status, "locked.html", &page)
}

fn marks(app: &App, texts: &Texts, has: &BTreeSet<RegionId>) -> Vec<RegionMark> {
    let mark = |region: &RegionId| RegionMark { name: texts.region(region.as_str()), yes: has.contains(region) };
    app.membership.now().regions.keys().map(mark).collect()
}

/// The party: one of it can leave alone while others are still there.
fn persons(texts: &Texts, visit: &Visit, local: &impl Fn(Wall) -> Zoned) -> Vec<PersonView> {
    let persons = visit.persons();
    // Guests of a hotel leave on another day.
    let arrived = local(visit.arrived());
    let here = persons.iter().filter(|person| person.left.is_none()).count();
    let splits = visit.ended().is_none() && here > 1;
    let view = |person: &Person| PersonView {
        name: person.name.clone().unwrap_or_default(),
        contact: shown::contact(person),
        left: person.left_at().map(|left| times::clock_on(texts, &local(left), &arrived)),
        leaves: splits && person.left.is_none(),
    };
    persons.iter().map(view).collect()
}

/// Concurrent values, as sentences.
fn conflicts(texts: &Texts, visit: &Visit) -> Vec<String> {
    let all = shown::conflicts(texts, &visit.conflicts()).into_iter();
    all.map(|values| texts.with("receipt-conflict", &[("values", &values)])).collect()
}
