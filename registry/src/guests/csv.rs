//! The guest list as a table for scripts: RFC 4180 with CRLF, UTF-8 with a byte order mark (for Excel), one line per person.
//! Contacts are the same table with two columns before it ([`CONTACT_COLUMNS`]).
//!
//! A cell that a spreadsheet would take for a formula gets one leading `'` (CWE-1236; OWASP "CSV Injection").
//! Nothing is removed, so [`plain`] restores the exact text by taking that one mark off again. A telephone number gets no
//! mark, because it can hold no formula that does anything and because importers do not know the mark. Every cell of a
//! person is quoted, so a spreadsheet that is told that quoted cells are text keeps `+49...` and leading zeros (LibreOffice:
//! "Format quoted field as text").
//!
//! # Invariants
//! - No cell starts like a formula, also not behind characters that do not show, except a telephone number.
//! - `plain(cell(text)) == text` for every text.
//! - The table never changes its columns or the form of its cells, because scripts read it. The table for offices
//!   ([`crate::guests::table`]) is another one.

use std::borrow::Cow;

use csv::{QuoteStyle, Terminator, Writer, WriterBuilder};

use crate::guests::contacts::ContactRow;
use crate::guests::list::GuestRow;
use crate::person::{Person, PersonField, phone};
use crate::text::shows;

/// Marks UTF-8 for spreadsheets that would guess otherwise.
pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

pub(super) const MARK: char = '\'';

/// Columns before and after those of a person.
const BEFORE: [&str; 7] = ["visit_id", "area", "arrived", "left", "left_estimated", "person", "contact_person"];
const AFTER: [&str; 2] = ["region", "conflicts"];
const COLUMNS: usize = BEFORE.len() + PersonField::DETAILS.len() + AFTER.len();

/// A line of the table that could not be written; only memory can fail here.
#[derive(Debug, thiserror::Error)]
#[error("a line of the guest list could not be written")]
pub struct CsvError(#[source] pub(super) csv::Error);

/// The columns that contacts have before those of a guest list: the length of the overlap in minutes, and whether both
/// may have been in one area.
pub const CONTACT_COLUMNS: [&str; 2] = ["minutes", "same_area"];

/// The first line, with the byte order mark: sent once, before any visit. `first` are columns before the usual ones.
///
/// # Errors
/// [`CsvError`].
pub fn header(first: &[&str]) -> Result<Vec<u8>, CsvError> {
    let columns = BEFORE.into_iter().chain(PersonField::DETAILS.map(PersonField::json)).chain(AFTER);
    let mut writer = writer(b',', QuoteStyle::Necessary, BYTE_ORDER_MARK.to_vec());
    writer.write_record(first.iter().copied().chain(columns)).map_err(CsvError)?;
    bytes(writer)
}

/// The lines of one visit, one per person, numbered from 1. `contact_person` is the number of the person by whose
/// details this one can be reached: the first person, if this one gave none.
///
/// # Errors
/// [`CsvError`].
pub fn lines(row: &GuestRow) -> Result<Vec<u8>, CsvError> {
    lines_after(&[], row)
}

/// The lines of one contact: as [`lines`], after the cells of [`CONTACT_COLUMNS`].
///
/// # Errors
/// [`CsvError`].
pub fn contact_lines(contact: &ContactRow) -> Result<Vec<u8>, CsvError> {
    lines_after(&[contact.minutes.to_string(), contact.same_area.to_string()], &contact.visit)
}

fn lines_after(first: &[String], row: &GuestRow) -> Result<Vec<u8>, CsvError> {
    let conflicts = if row.conflicts.is_empty() {
        String::new()
    } else {
        serde_json::to_string(&row.conflicts)
            .map_err(|error| CsvError(csv::Error::from(std::io::Error::from(error))))?
    };
    let mut writer = writer(b',', QuoteStyle::Always, Vec::new());
    for (index, person) in row.persons.iter().enumerate() {
        let number = (index + 1).to_string();
        let (left, left_estimated) = row.departure(person);
        let contact = if person.has_contact() { number.clone() } else { "1".to_owned() };
        let mut cells = first.to_vec();
        cells.extend([
            row.visit_id.to_string(),
            cell(row.area.as_deref().unwrap_or_default()).into_owned(),
            row.arrived.to_string(),
            left.to_string(),
            left_estimated.to_string(),
            number,
            contact,
        ]);
        cells.extend(PersonField::DETAILS.map(|field| detail(person, field).into_owned()));
        cells.extend([&row.region, &conflicts].map(|text| cell(text).into_owned()));
        writer.write_record(&cells).map_err(CsvError)?;
    }
    bytes(writer)
}

/// A detail of a person as a cell.
fn detail(person: &Person, field: PersonField) -> Cow<'_, str> {
    let text = person.get(field).unwrap_or_default();
    if field == PersonField::Phone && phone::is_phone(text) { Cow::Borrowed(text) } else { cell(text) }
}

/// The last line of a table that lacks rows: a word for what is missing (`unreadable`: visits whose rows do not decode;
/// `truncated`: contacts beyond those that are shown) and a number, with as many columns as every line. Without it a
/// reader would take the table for a complete one.
///
/// # Errors
/// [`CsvError`].
pub fn last_line(first: &[&str], word: &str, count: u64) -> Result<Vec<u8>, CsvError> {
    let mut cells = vec![word.to_owned(), count.to_string()];
    cells.resize(first.len() + COLUMNS, String::new());
    let mut writer = writer(b',', QuoteStyle::Necessary, Vec::new());
    writer.write_record(cells).map_err(CsvError)?;
    bytes(writer)
}

/// A text as a cell shows it, marked if it would start a formula. A text that already looks marked is marked once more,
/// otherwise [`plain`] would take away what a guest typed.
#[must_use]
pub fn cell(text: &str) -> Cow<'_, str> {
    if needs_mark(text) { Cow::Owned(format!("{MARK}{text}")) } else { Cow::Borrowed(text) }
}

/// The text that a cell was made of.
#[must_use]
pub fn plain(cell: &str) -> &str {
    cell.strip_prefix(MARK).filter(|text| needs_mark(text)).unwrap_or(cell)
}

fn needs_mark(text: &str) -> bool {
    text.trim_start_matches(MARK).starts_with(starts_formula)
        || text.trim_start_matches(|c| c == MARK || !shows(c)).starts_with(starts_formula)
}

/// Characters with which some spreadsheet begins a formula: OWASP's list, NUL and line feed, and the full-width forms,
/// which Excel in East Asian languages treats as equal.
pub(super) fn starts_formula(c: char) -> bool {
    matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '\0')
        || matches!(c, '\u{FF1D}' | '\u{FF0B}' | '\u{FF0D}' | '\u{FF20}')
}

pub(super) fn writer(separator: u8, quotes: QuoteStyle, out: Vec<u8>) -> Writer<Vec<u8>> {
    let mut builder = WriterBuilder::new();
    builder.delimiter(separator).terminator(Terminator::CRLF).quote_style(quotes).from_writer(out)
}

pub(super) fn bytes(writer: Writer<Vec<u8>>) -> Result<Vec<u8>, CsvError> {
    writer.into_inner().map_err(|error| CsvError(csv::Error::from(error.into_error())))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, any, prop_oneof, proptest};
    use proptest::{prop_assert, prop_assert_eq};
    use replication::Wall;

    use super::{CONTACT_COLUMNS, cell, contact_lines, header, last_line, lines, plain, starts_formula};
    use crate::guests::contacts::ContactRow;
    use crate::guests::list::GuestRow;
    use crate::person::{Person, PersonField, phone};
    use crate::text::shows;
    use crate::visit::id::{Secret, VisitId};

    fn row(persons: Vec<Person>, area: &str) -> GuestRow {
        GuestRow {
            visit_id: VisitId::of(Wall(1_767_225_600_000), &Secret([1; 16])),
            area: Some(area.to_owned()),
            arrived: "2026-01-01T00:00:00Z".parse().unwrap(),
            left: "2026-01-01T01:00:00Z".parse().unwrap(),
            left_estimated: false,
            persons,
            region: "eu-central".into(),
            conflicts: [("/area".to_owned(), vec!["=1+1".into(), "b,\"c\"".into()])].into(),
        }
    }

    fn parsed(bytes: &[u8]) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
        reader.records().map(|record| record.expect("parses").iter().map(str::to_owned).collect()).collect()
    }

    #[test]
    fn one_line_per_person_with_crlf() {
        let named = |name: &str, phone: Option<&str>| Person {
            name: Some(name.into()),
            phone: phone.map(str::to_owned),
            ..Person::default()
        };
        let text =
            lines(&row(vec![named("O'Connor", Some("+49 711 1")), named("Ærø, \"Jr\"", None)], "5/2")).expect("writes");
        let text = String::from_utf8(text).expect("UTF-8");
        assert_eq!(text.matches("\r\n").count(), 2);
        assert!(text.contains(",\"O'Connor\",\"+49 711 1\","));
        assert!(text.contains(",\"Ærø, \"\"Jr\"\"\","));
        let cells = parsed(text.as_bytes());
        assert_eq!((cells[0][5].as_str(), cells[0][6].as_str()), ("1", "1"));
        assert_eq!((cells[1][5].as_str(), cells[1][6].as_str()), ("2", "1"));
    }

    #[test]
    fn the_header_is_marked_as_utf_8_and_fits_the_lines() {
        let header = header(&[]).expect("writes");
        assert!(header.starts_with(b"\xEF\xBB\xBFvisit_id,"));
        assert!(header.ends_with(b"region,conflicts\r\n"));
        let line = lines(&row(vec![Person::default()], "")).expect("writes");
        assert_eq!(parsed(&header)[0].len(), parsed(&line)[0].len());
        let last = parsed(&last_line(&[], "unreadable", 3).expect("writes"));
        assert_eq!(
            (last[0].len(), &last[0][0], &last[0][1]),
            (parsed(&line)[0].len(), &"unreadable".into(), &"3".into())
        );
    }

    #[test]
    fn contacts_have_two_more_columns() {
        let contact = ContactRow {
            minutes: 7,
            same_area: true,
            visit: row(vec![Person::default(), Person::default()], "1"),
            accepted: None,
        };
        let header = parsed(&header(&CONTACT_COLUMNS).expect("writes"));
        let cells = parsed(&contact_lines(&contact).expect("writes"));
        let last = parsed(&last_line(&CONTACT_COLUMNS, "truncated", 9).expect("writes"));
        assert_eq!(cells.len(), 2);
        assert!(cells.iter().all(|line| line[..2] == ["7", "true"]));
        assert!([&cells[0], &cells[1], &last[0]].iter().all(|line| line.len() == header[0].len()));
        // The byte order mark was read as the end of nothing.
        assert!(header[0][0].ends_with("minutes") && header[0][2] == "visit_id");
    }

    #[test]
    fn a_telephone_number_stays_what_it_is() {
        let shown = |phone: &str| {
            let person = Person { phone: Some(phone.into()), ..Person::default() };
            parsed(&lines(&row(vec![person], "")).expect("writes"))[0][8].clone()
        };
        for phone in ["+49711123", "+49 711 123", "+49-711-123", "-711", "０３0 1234", "(+49) 711"] {
            assert_eq!(shown(phone), phone);
        }
        // An earlier version accepted what is none.
        for text in ["+A1+1", "-x123", "@123", "=1234"] {
            assert_eq!(shown(text), format!("'{text}"));
        }
    }

    #[test]
    fn marks_only_what_needs_it() {
        for (text, shown) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+49", "'+49"),
            ("-1", "'-1"),
            ("@SUM", "'@SUM"),
            ("＝1", "'＝1"),
            ("\t=1", "'\t=1"),
            ("\u{200b}=1", "'\u{200b}=1"),
            ("\u{feff}\u{200e} +1", "'\u{feff}\u{200e} +1"),
            ("'\u{ad}'@1", "''\u{ad}'@1"),
            ("\u{200b}a=1", "\u{200b}a=1"),
            ("'=1", "''=1"),
            ("''", "''"),
            ("'t Hooft", "'t Hooft"),
            ("O'Connor", "O'Connor"),
            ("", ""),
        ] {
            assert_eq!(cell(text), shown);
            assert_eq!(plain(shown), text);
        }
    }

    fn nasty() -> impl Strategy<Value = String> {
        let start = prop_oneof![
            "[=+@'\t\r\n\0＝＋－＠-]{0,3}",
            "[\"',;= ]{0,3}",
            "['\u{200b}\u{feff}\u{ad}\u{3164}\u{2800}\u{301}\u{2066} ]{0,3}[=+@-]?",
        ];
        (start, any::<String>()).prop_map(|(start, rest)| start + &rest)
    }

    proptest! {
        /// For any text that guests type: after parsing no cell starts a formula, and every text comes back.
        #[test]
        fn no_cell_starts_a_formula_and_every_text_comes_back(texts in vec(nasty(), PersonField::DETAILS.len()), area in nasty()) {
            let mut person = Person::default();
            for (field, text) in PersonField::DETAILS.into_iter().zip(&texts) {
                person.set(field, Some(text.clone()));
            }
            let cells = parsed(&lines(&row(vec![person], &area)).expect("writes"));
            prop_assert_eq!(cells.len(), 1);
            for shown in cells[0].iter().filter(|shown| !phone::is_phone(shown)) {
                let seen = shown.trim_start_matches(|c| !shows(c));
                prop_assert!(!shown.starts_with(starts_formula), "{:?}", shown);
                prop_assert!(!seen.starts_with(starts_formula), "{:?}", shown);
            }
            let back: Vec<&str> = cells[0][7..14].iter().map(|shown| plain(shown)).collect();
            prop_assert_eq!(back, texts);
            prop_assert_eq!(plain(&cells[0][1]), area);
        }
    }
}
