//! The guest list as a table for offices: one line per person, local times, typed cells.
//!
//! # Invariants
//! - Times are those of the venue's time zone. Each has its UTC offset beside it, because in the night in which summer
//!   time ends the local time alone names two moments.
//! - Text is never interpreted: a cell holds exactly what the row holds. The encoding for a format happens at that
//!   format, and so does its protection against formulas.
//!
//! # Not here
//! CSV: [`crate::guests::excel_csv`]. XLSX: the node, because it writes files.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use replication::Wall;

use crate::guests::certainty::Certainty;
use crate::guests::list::GuestRow;
use crate::guests::words::TableWords;
use crate::person::PersonField;
use api::Moment;

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Column {
    /// When the guests came.
    Arrived,
    /// The offset from UTC at the arrival.
    ArrivedOffset,
    /// When the person left.
    Left,
    /// The offset from UTC at the departure.
    LeftOffset,
    /// The venue's time zone.
    TimeZone,
    /// Whether the departure is an estimate.
    LeftEstimated,
    /// How far the row can be relied on.
    Certainty,
    /// Table or room.
    Area,
    /// The number of the person within the visit, from 1.
    Person,
    /// The number of the person through whom this person can be reached.
    ContactPerson,
    /// A field of the person.
    Field(PersonField),
    /// The region that accepted the check-in.
    Region,
    /// Concurrent values as JSON, if there are any.
    Conflicts,
    /// The visit's id.
    VisitId,
}

impl Column {
    /// All columns in order: what an office reads comes first, what identifies a row for a machine comes last.
    pub const ALL: [Column; 20] = [
        Column::Arrived,
        Column::ArrivedOffset,
        Column::Left,
        Column::LeftOffset,
        Column::Certainty,
        Column::Area,
        Column::Person,
        Column::ContactPerson,
        Column::Field(PersonField::Name),
        Column::Field(PersonField::Phone),
        Column::Field(PersonField::Email),
        Column::Field(PersonField::Street),
        Column::Field(PersonField::PostalCode),
        Column::Field(PersonField::City),
        Column::Field(PersonField::Country),
        Column::LeftEstimated,
        Column::Region,
        Column::Conflicts,
        Column::TimeZone,
        Column::VisitId,
    ];
}

/// A cell and its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Text, possibly empty.
    Text(Cow<'a, str>),
    /// A local time to the millisecond.
    Time(DateTime),
    /// A whole number.
    Number(u32),
}

/// A moment in the venue's time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// What a clock at the venue shows.
    pub time: DateTime,
    /// The offset from UTC, such as `UTC+01:00`. The letters keep a spreadsheet from reading it as a time or a formula.
    pub offset: String,
}

/// The table of one venue in one language.
#[derive(Clone, Debug)]
pub struct GuestTable {
    words: TableWords,
    zone: TimeZone,
    zone_name: String,
}

impl GuestTable {
    /// A table in the time zone of a venue, which is an IANA name. A name that this build does not know gives UTC, and
    /// the table says so.
    #[must_use]
    pub fn new(words: TableWords, timezone: &str) -> GuestTable {
        let known = TimeZoneDatabase::bundled().get(timezone).ok();
        let (zone, zone_name) = known.map_or((TimeZone::UTC, "UTC"), |zone| (zone, timezone));
        GuestTable { words, zone, zone_name: zone_name.to_owned() }
    }

    /// Its words.
    #[must_use]
    pub fn words(&self) -> &TableWords {
        &self.words
    }

    /// The titles of all columns.
    pub fn titles(&self) -> impl Iterator<Item = &str> {
        Column::ALL.into_iter().map(|column| title(&self.words, column))
    }

    /// The titles of the columns that contacts have before those: the overlap in minutes, and whether both may have been in
    /// one area.
    #[must_use]
    pub fn contact_titles(&self) -> [&str; 2] {
        [&self.words.minutes, &self.words.same_area]
    }

    /// A moment as clocks at the venue show it.
    #[must_use]
    pub fn local(&self, moment: Moment) -> LocalTime {
        let zoned = Timestamp::from(moment).to_zoned(self.zone.clone());
        LocalTime { time: zoned.datetime(), offset: offset(zoned.offset()) }
    }

    /// The lines of one visit, one per person, with the cells in the order of [`Column::ALL`]. `accepted` is when the
    /// first region accepted the check-in, if that is known.
    pub fn lines<'a>(
        &'a self,
        row: &'a GuestRow,
        accepted: Option<Wall>,
    ) -> impl Iterator<Item = [Cell<'a>; Column::ALL.len()]> {
        let arrived = self.local(row.arrived);
        let visit_id = row.visit_id.to_string();
        let conflicts = conflicts(row);
        (1u32..).zip(&row.persons).map(move |(number, person)| {
            let (left, estimated) = row.departure(person);
            let left = self.local(left);
            let marks = Certainty::of_line(row, estimated, accepted);
            let marks = marks.into_iter().map(|mark| self.words.mark(mark)).collect::<Vec<_>>().join(", ");
            Column::ALL.map(|column| match column {
                Column::Arrived => Cell::Time(arrived.time),
                Column::ArrivedOffset => Cell::Text(arrived.offset.clone().into()),
                Column::Left => Cell::Time(left.time),
                Column::LeftOffset => Cell::Text(left.offset.clone().into()),
                Column::TimeZone => Cell::Text(self.zone_name.as_str().into()),
                Column::LeftEstimated if estimated => Cell::Text(self.words.yes.as_ref().into()),
                Column::LeftEstimated => Cell::Text(self.words.no.as_ref().into()),
                Column::Certainty => Cell::Text(marks.clone().into()),
                Column::Area => Cell::Text(row.area.as_deref().unwrap_or_default().into()),
                Column::Person => Cell::Number(number),
                Column::ContactPerson => Cell::Number(if person.has_contact() { number } else { 1 }),
                Column::Field(field) => Cell::Text(person.get(field).unwrap_or_default().into()),
                Column::Region => Cell::Text(row.region.as_str().into()),
                Column::Conflicts => Cell::Text(conflicts.clone().into()),
                Column::VisitId => Cell::Text(visit_id.clone().into()),
            })
        })
    }
}

/// The conflicts as JSON; empty if there are none. JSON values have a JSON form, so this cannot fail.
fn conflicts(row: &GuestRow) -> String {
    if row.conflicts.is_empty() {
        return String::new();
    }
    serde_json::to_string(&row.conflicts).unwrap_or_default()
}

fn offset(offset: Offset) -> String {
    let minutes = offset.seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("UTC{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

/// The title of a column.
fn title(words: &TableWords, column: Column) -> &str {
    match column {
        Column::Arrived => &words.arrived,
        Column::ArrivedOffset => &words.arrived_offset,
        Column::Left | Column::Field(PersonField::Left) => &words.left,
        Column::LeftOffset => &words.left_offset,
        Column::TimeZone => &words.time_zone,
        Column::LeftEstimated => &words.left_estimated,
        Column::Certainty => &words.certainty,
        Column::Area => &words.area,
        Column::Person => &words.person,
        Column::ContactPerson => &words.contact_person,
        Column::Field(PersonField::Name) => &words.name,
        Column::Field(PersonField::Phone) => &words.phone,
        Column::Field(PersonField::Email) => &words.email,
        Column::Field(PersonField::Street) => &words.street,
        Column::Field(PersonField::PostalCode) => &words.postal_code,
        Column::Field(PersonField::City) => &words.city,
        Column::Field(PersonField::Country) => &words.country,
        Column::Region => &words.region,
        Column::Conflicts => &words.conflicts,
        Column::VisitId => &words.visit_id,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use replication::Wall;

    use super::{Cell, Column, GuestTable};
    use crate::guests::list::GuestRow;
    use crate::guests::words::TableWords;
    use crate::visit::document::tests::{BASE, visit};
    use api::Moment;

    #[test]
    fn titles_are_distinct() {
        let table = table("UTC");
        let titles: BTreeSet<&str> = table.titles().collect();
        assert_eq!(titles.len(), Column::ALL.len());
    }

    fn table(timezone: &str) -> GuestTable {
        GuestTable::new(TableWords::default(), timezone)
    }

    fn local(table: &GuestTable, moment: &str) -> (String, String) {
        let local = table.local(moment.parse::<Moment>().expect("a moment"));
        (local.time.to_string(), local.offset)
    }

    #[test]
    fn every_column_is_there_once() {
        assert_eq!(Column::ALL.iter().collect::<BTreeSet<_>>().len(), Column::ALL.len());
    }

    #[test]
    fn the_offset_tells_the_two_half_past_two_apart() {
        let berlin = table("Europe/Berlin");
        let of = |time: &str, offset: &str| (time.to_owned(), offset.to_owned());
        assert_eq!(local(&berlin, "2026-10-25T00:30:00Z"), of("2026-10-25T02:30:00", "UTC+02:00"));
        assert_eq!(local(&berlin, "2026-10-25T01:30:00Z"), of("2026-10-25T02:30:00", "UTC+01:00"));
        assert_eq!(local(&berlin, "2026-03-29T00:59:00Z"), of("2026-03-29T01:59:00", "UTC+01:00"));
        assert_eq!(local(&berlin, "2026-03-29T01:00:00Z"), of("2026-03-29T03:00:00", "UTC+02:00"));
        assert_eq!(local(&table("Asia/Kathmandu"), "2026-01-01T00:00:00Z").1, "UTC+05:45");
        assert_eq!(local(&table("America/St_Johns"), "2026-01-01T00:00:00Z").1, "UTC-03:30");
    }

    #[test]
    fn an_unknown_zone_is_utc_and_said_so() {
        let table = table("Mars/Olympus");
        let row = GuestRow::of(&visit(BASE, None, None, &["A"]), "eu-central", Duration::from_hours(1));
        let line = table.lines(&row, None).next().expect("a line");
        let at = |wanted| line[Column::ALL.iter().position(|column| *column == wanted).expect("a column")].clone();
        assert_eq!(at(Column::TimeZone), Cell::Text("UTC".into()));
        assert_eq!(at(Column::ArrivedOffset), Cell::Text("UTC+00:00".into()));
        assert_eq!(at(Column::Certainty), Cell::Text("end estimated".into()));
        assert_eq!(at(Column::LeftEstimated), Cell::Text("yes".into()));
    }

    #[test]
    fn one_line_per_person_with_all_marks() {
        let row = GuestRow::of(&visit(BASE, None, Some("1"), &["A", "B"]), "eu-central", Duration::from_hours(1));
        let table = table("Europe/Berlin");
        let lines: Vec<_> = table.lines(&row, Some(Wall(BASE + 3_600_000))).collect();
        assert_eq!(lines.len(), 2);
        let certainty = Column::ALL.iter().position(|column| *column == Column::Certainty).expect("a column");
        assert!(lines.iter().all(|line| line[certainty] == Cell::Text("end estimated, arrived late".into())));
    }
}
