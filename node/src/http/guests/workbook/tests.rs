//! Workbooks, read back with another crate than the one that writes them.

use std::fs::File;
use std::io::BufReader;

use calamine::{Data, Range, Reader, Xlsx};
use registry::{Column, GuestRow, GuestTable, Person, PersonField, Secret, TableWords, VisitId};
use replication::Wall;
use serde_json::Value;
use tempfile::TempDir;

use super::{GuestWorkbook, LONGEST_TEXT, WorkbookError, fitting};
use api::Moment;

const CHECKINS: &str = include_str!("../../../../../tests/data/checkins.ndjson");
const HOSTILE: &str = include_str!("../../../../../tests/data/hostile.ndjson");

fn begin(folder: &TempDir, timezone: &str) -> GuestWorkbook {
    let table = GuestTable::new(TableWords::default(), timezone);
    GuestWorkbook::begin(folder.path().to_owned(), table).expect("begins")
}

fn read(file: File) -> (Range<Data>, Range<Data>) {
    let mut read = Xlsx::new(BufReader::new(file)).expect("a workbook");
    assert_eq!(read.sheet_names(), ["Guests", "Completeness"]);
    for sheet in ["Guests", "Completeness"] {
        let formulas = read.worksheet_formula(sheet).expect("a sheet");
        assert!(formulas.used_cells().next().is_none(), "{sheet} has no formula");
    }
    let mut sheet = |name| read.worksheet_range(name).expect("a sheet");
    (sheet("Guests"), sheet("Completeness"))
}

fn row(arrived: &str, left: &str, persons: Vec<Person>) -> GuestRow {
    let moment = |text: &str| text.parse::<Moment>().expect("a moment");
    GuestRow {
        visit_id: VisitId::of(moment(arrived).0, &Secret([1; 16])),
        area: None,
        arrived: moment(arrived),
        left: moment(left),
        left_estimated: false,
        persons,
        region: "eu-central".into(),
        conflicts: [].into(),
    }
}

fn named(name: &str) -> Person {
    Person { name: Some(name.into()), ..Person::default() }
}

fn at(sheet: &Range<Data>, row: u32, column: Column) -> Data {
    let index = Column::ALL.iter().position(|other| *other == column).expect("a column");
    sheet.get_value((row, index as u32)).cloned().unwrap_or(Data::Empty)
}

/// The persons of a sheet come back as what was written, each text as a string cell.
fn assert_texts(sheet: &Range<Data>, persons: &[Person]) {
    for (row, person) in (1u32..).zip(persons) {
        for field in PersonField::DETAILS {
            let expected = match person.get(field).unwrap_or_default() {
                "" => Data::Empty,
                text => Data::String(text.into()),
            };
            assert_eq!(at(sheet, row, Column::Field(field)), expected, "row {row}");
        }
    }
}

#[test]
fn the_data_set_comes_back_byte_for_byte() {
    let folder = TempDir::new().expect("a folder");
    let mut workbook = begin(&folder, "Europe/Berlin");
    let mut all = Vec::new();
    for line in CHECKINS.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let persons: Vec<Person> = serde_json::from_value(line["visit"]["persons"].clone()).expect("persons");
        all.extend(persons.clone());
        workbook.add(&row("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", persons), None).expect("adds");
    }
    let (guests, _) = read(workbook.finish(&[].into()).expect("finishes"));
    assert_eq!(guests.height(), all.len() + 1);
    assert_texts(&guests, &all);
}

/// Every text of the bodies that the registry refuses, and what a spreadsheet could take for something else than text.
#[test]
fn hostile_texts_are_strings() {
    let mut texts: Vec<String> = Vec::new();
    for line in HOSTILE.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        collect(&line["visit"], &mut texts);
    }
    texts.retain(|text| !text.is_empty());
    assert!(texts.len() > 100, "{}", texts.len());
    let more = [
        "=cmd|' /C calc'!A0",
        "=1+1",
        "{=1+1}",
        "+49 711 123",
        "-1",
        "@SUM(A1)",
        "＝1",
        "\t=1",
        "\r=1",
        "\n=1",
        "'=1",
        "''",
        "0711",
        "06108",
        "1E5",
        "2026-01-01",
        "TRUE",
        "#N/A",
        "http://example.org",
        "mailto:a@example.org",
        "<r><t>x</t></r>",
        "<r>x</r>",
        "]]>",
        "&amp;",
        "_x0041_",
        "_x005F_x0041_",
        " outer ",
        "\u{FFFE}\u{FFFF}",
        "\u{0}\u{1f}",
    ];
    texts.extend(more.map(str::to_owned));
    let persons: Vec<Person> = texts
        .iter()
        .map(|text| {
            let mut person = Person::default();
            PersonField::DETAILS.into_iter().for_each(|field| person.set(field, Some(text.clone())));
            person
        })
        .collect();
    let folder = TempDir::new().expect("a folder");
    let mut workbook = begin(&folder, "Europe/Berlin");
    let mut hostile = row("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", persons.clone());
    hostile.area = Some("=1+1".into());
    workbook.add(&hostile, None).expect("adds");
    let (guests, _) = read(workbook.finish(&[].into()).expect("finishes"));
    assert_texts(&guests, &persons);
    assert_eq!(at(&guests, 1, Column::Area), Data::String("=1+1".into()));
}

fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(fields) => fields.values().for_each(|item| collect(item, texts)),
        _ => {}
    }
}

#[test]
fn times_are_those_of_the_venue_with_their_offset() {
    let folder = TempDir::new().expect("a folder");
    let mut workbook = begin(&folder, "Europe/Berlin");
    for (arrived, left) in
        [("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"), ("2026-03-29T00:59:00Z", "2026-03-29T01:00:00.250Z")]
    {
        workbook.add(&row(arrived, left, vec![named("A")]), None).expect("adds");
    }
    let (guests, _) = read(workbook.finish(&[].into()).expect("finishes"));
    let shown = |row, time, offset| {
        let Data::DateTime(time) = at(&guests, row, time) else { panic!("a time") };
        (time.to_ymd_hms_milli(), at(&guests, row, offset).to_string())
    };
    let arrived = |row| shown(row, Column::Arrived, Column::ArrivedOffset);
    let left = |row| shown(row, Column::Left, Column::LeftOffset);
    assert_eq!(arrived(1), ((2026, 10, 25, 2, 30, 0, 0), "UTC+02:00".into()));
    assert_eq!(left(1), ((2026, 10, 25, 2, 30, 0, 0), "UTC+01:00".into()));
    assert_eq!(arrived(2), ((2026, 3, 29, 1, 59, 0, 0), "UTC+01:00".into()));
    assert_eq!(left(2), ((2026, 3, 29, 3, 0, 0, 250), "UTC+02:00".into()));
    assert_eq!(at(&guests, 1, Column::TimeZone), Data::String("Europe/Berlin".into()));
}

#[test]
fn both_sheets_say_what_is_missing() {
    let folder = TempDir::new().expect("a folder");
    let completeness = [
        ("eu-central".parse().expect("a region"), Wall(1_767_225_600_000)),
        ("us-east".parse().expect("a region"), Wall(0)),
    ];
    let text = |text: &str| Data::String(text.into());
    for unreadable in [0u32, 3] {
        let mut workbook = begin(&folder, "Europe/Berlin");
        let added = row("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", vec![named("A")]);
        workbook.add(&added, None).expect("adds");
        (0..unreadable).for_each(|_| workbook.add_unreadable());
        let (guests, last) = read(workbook.finish(&completeness.clone().into()).expect("finishes"));
        let said = guests.get_value((3, 0)).cloned();
        assert_eq!(said, (unreadable > 0).then(|| text("Unreadable rows, missing from this list: 3")));
        let cell = |row, column| last.get_value((row, column)).cloned().unwrap_or(Data::Empty);
        assert_eq!((cell(1, 0), cell(2, 0)), (text("eu-central"), text("us-east")));
        let Data::DateTime(through) = cell(1, 1) else { panic!("a time") };
        assert_eq!(through.to_ymd_hms_milli(), (2026, 1, 1, 1, 0, 0, 0));
        assert_eq!((cell(1, 2), cell(2, 1)), (text("UTC+01:00"), text("unknown")));
        assert_eq!(cell(4, 0), text("Unreadable rows, missing from this list"));
        assert_eq!(cell(4, 1), Data::Float(unreadable.into()));
    }
}

/// An empty list is a workbook too, and what lies in the folder while it is made has no name.
#[test]
fn temporary_files_have_no_name() {
    let folder = TempDir::new().expect("a folder");
    let names = || std::fs::read_dir(folder.path()).expect("a folder").count();
    let workbook = begin(&folder, "Europe/Berlin");
    assert_eq!(names(), 0);
    let file = workbook.finish(&[].into()).expect("finishes");
    assert_eq!(names(), 0);
    assert_eq!(read(file).0.height(), 1);
}

#[test]
fn a_list_that_is_too_long_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let mut workbook = begin(&folder, "Europe/Berlin");
    workbook.most_persons = 3;
    let two = row("2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", vec![named("A"), named("B")]);
    workbook.add(&two, None).expect("adds");
    assert!(matches!(workbook.add(&two, None), Err(WorkbookError::TooLong)));
}

#[test]
fn a_text_longer_than_a_cell_is_cut_and_marked() {
    let whole = "🦀".repeat(LONGEST_TEXT / 2);
    assert_eq!(fitting(&whole), whole);
    let cut = fitting("🦀🦀").into_owned() + &whole;
    let cut = fitting(&cut);
    assert!(cut.ends_with("🦀…") && cut.encode_utf16().count() <= LONGEST_TEXT);
}
