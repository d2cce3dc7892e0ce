//! How a row of a guest list looks, and the timeline beside the rows.
//!
//! The timeline is a few rectangles in the template. plotters, which draws the plots of the simulations, was passed over:
//! its SVG has inline styles, which the pages' policy forbids.

use jiff::tz::TimeZone;
use registry::{Certainty, GuestRow, Person, ReceiptCode, Window};
use replication::Wall;
use serde::Serialize;

use crate::http::pages::shown;
use crate::http::pages::texts::Texts;
use crate::http::pages::times;

/// Parts of the timeline between hours that are written out.
const TICKS: u64 = 6;

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
    /// When this person left before the rest of the party.
    left: Option<String>,
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
        let first = times::local(self.window.from, self.zone);
        let clock = |at: Wall| times::clock_on(self.texts, &times::local(at, self.zone), &first);
        let person = |person: &Person| PersonView {
            name: person.name.clone().unwrap_or_default(),
            contact: shown::contact(person),
            left: person.left_at().map(clock),
        };
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
            conflicts: shown::conflicts(self.texts, &row.conflicts),
            is_new,
            bar: self.bar(row),
        }
    }

    /// The hours below the timeline: where each lies, in thousandths, and what a clock shows.
    pub(super) fn ticks(&self) -> Vec<(u64, String)> {
        let (from, to) = (self.window.from.0, self.window.to.0);
        let tick = |part: u64| {
            let at = from + (to - from) * part / TICKS;
            (part * 1_000 / TICKS, times::clock(self.texts, &times::local(Wall(at), self.zone)))
        };
        (0..=TICKS).map(tick).collect()
    }

    fn bar(&self, row: &GuestRow) -> Bar {
        let (from, to) = (self.window.from.0, self.window.to.0);
        let length = (to - from).max(1);
        let at = |wall: Wall| (wall.0.clamp(from, to) - from) * 1_000 / length;
        let (x, end) = (at(row.arrived.0), at(row.left.0));
        Bar { x, width: (end - x).max(2), estimated: row.left_estimated }
    }
}

fn mark(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Exact => "exact",
        Certainty::EndEstimated => "end_estimated",
        Certainty::Conflicting => "conflicting",
        Certainty::Late => "late",
    }
}
