//! How a row of a guest list looks, and the timeline beside the rows.
//!
//! The timeline is a few rectangles in the template. plotters, which draws the plots of the simulations, was passed over:
//! its SVG has inline styles, which the pages' policy forbids.

use jiff::tz::TimeZone;
use registry::{Certainty, GuestRow, Person, ReceiptCode, Window};
use replication::Wall;
use serde::Serialize;

use crate::http::pages::texts::Texts;
use crate::http::pages::times;

/// A visit as the console shows it.
#[derive(Serialize)]
pub(super) struct RowView {
    visit: String,
    code: String,
    arrived: String,
    left: String,
    minutes: u64,
    area: Option<String>,
    persons: Vec<PersonView>,
    /// Names of the marks, such as `late`.
    marks: Vec<&'static str>,
    conflicts: Vec<String>,
    is_new: bool,
    /// Where the visit lies in the timeline, in thousandths of its width.
    bar: Bar,
}

#[derive(Serialize)]
struct PersonView {
    name: String,
    contact: Vec<String>,
}

#[derive(Serialize)]
struct Bar {
    x: u64,
    width: u64,
    estimated: bool,
}

/// What all rows of a list have in common.
pub(super) struct Rows<'a> {
    pub(super) texts: &'a Texts,
    pub(super) zone: &'a TimeZone,
    pub(super) window: Window,
}

impl Rows<'_> {
    /// A row of the list.
    pub(super) fn row(&self, row: &GuestRow, minutes: u64, accepted: Option<Wall>, is_new: bool) -> RowView {
        let code = ReceiptCode::of(row.visit_id);
        let colour = self.texts.text(&format!("colour-{}", code.colour.name())).into_owned();
        let clock = |at: Wall| times::clock(self.texts, &times::local(at, self.zone));
        let marks = Certainty::of(row, accepted).into_iter().map(mark).collect();
        RowView {
            visit: row.visit_id.to_string(),
            code: format!("{colour} {}", code.digits()),
            arrived: clock(row.arrived.0),
            left: clock(row.left.0),
            minutes,
            area: row.area.clone(),
            persons: row.persons.iter().map(person).collect(),
            marks,
            conflicts: conflicts(self.texts, row),
            is_new,
            bar: self.bar(row),
        }
    }

    fn bar(&self, row: &GuestRow) -> Bar {
        let (from, to) = (self.window.from.0, self.window.to.0);
        let length = (to - from).max(1);
        let at = |wall: Wall| (wall.0.clamp(from, to) - from) * 1_000 / length;
        let (x, end) = (at(row.arrived.0), at(row.left.0));
        Bar { x, width: (end - x).max(2), estimated: row.left_estimated }
    }
}

fn person(person: &Person) -> PersonView {
    let town = [&person.postal_code, &person.city].into_iter().flatten().cloned().collect::<Vec<_>>().join(" ");
    let all = [&person.phone, &person.email, &person.street].into_iter().flatten().cloned();
    let contact = all.chain(Some(town).filter(|town| !town.is_empty())).chain(person.country.clone());
    PersonView { name: person.name.clone().unwrap_or_default(), contact: contact.collect() }
}

fn mark(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Exact => "exact",
        Certainty::EndEstimated => "end_estimated",
        Certainty::Conflicting => "conflicting",
        Certainty::Late => "late",
    }
}

/// All concurrent values of each field.
fn conflicts(texts: &Texts, row: &GuestRow) -> Vec<String> {
    let shown = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Object(fields) => {
            fields.values().filter_map(|value| value.as_str()).collect::<Vec<_>>().join(", ")
        }
        _ => "–".to_owned(),
    };
    let all = row.conflicts.values().map(|values| values.iter().map(shown).collect::<Vec<_>>());
    all.map(|values| texts.any_of(&values)).collect()
}
