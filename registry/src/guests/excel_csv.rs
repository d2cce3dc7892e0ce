//! The table for offices as a CSV that a German Excel opens by a double click: UTF-8 with a byte order mark, `;`, CRLF,
//! times as `2026-11-28 14:05` in the venue's time zone. Countries that write a decimal comma have the same list
//! separator.
//!
//! # Invariants
//! - As in [`crate::guests::csv`]: no cell starts like a formula, and [`plain`] restores each text.
//! - No cell starts like a formula either if a spreadsheet whose own separator is the comma or the tab splits the lines
//!   there: quotes do not help, because they no longer begin a cell. What follows such a separator is marked as well.
//!
//! # Limits
//! CSV has no types: Excel reads a cell of digits as a number and drops its leading zeros (postal code 06108). XLSX does
//! not have this problem.

use crate::guests::csv::{self, BYTE_ORDER_MARK, CsvError, MARK, bytes, cell, starts_formula, writer};
use crate::guests::list::GuestRow;
use crate::guests::table::{Cell, Column, GuestTable};
use replication::Wall;

const SEPARATOR: u8 = b';';

/// The first line, with the byte order mark: sent once, before any visit.
///
/// # Errors
/// [`CsvError`].
pub fn header(table: &GuestTable) -> Result<Vec<u8>, CsvError> {
    let mut writer = writer(SEPARATOR, BYTE_ORDER_MARK.to_vec());
    writer.write_record(table.titles().map(|title| cell(title).into_owned())).map_err(CsvError)?;
    bytes(writer)
}

/// The lines of one visit, one per person. `accepted` is when the first region accepted the check-in, if that is known.
///
/// # Errors
/// [`CsvError`].
pub fn lines(table: &GuestTable, row: &GuestRow, accepted: Option<Wall>) -> Result<Vec<u8>, CsvError> {
    let mut writer = writer(SEPARATOR, Vec::new());
    for line in table.lines(row, accepted) {
        writer.write_record(line.map(shown)).map_err(CsvError)?;
    }
    bytes(writer)
}

/// The last line of a table that lacks visits whose rows do not decode: says so, and their number.
///
/// # Errors
/// [`CsvError`].
pub fn unreadable(table: &GuestTable, count: u64) -> Result<Vec<u8>, CsvError> {
    let mut cells = vec![cell(&table.words().unreadable).into_owned(), count.to_string()];
    cells.resize(Column::ALL.len(), String::new());
    let mut writer = writer(SEPARATOR, Vec::new());
    writer.write_record(cells).map_err(CsvError)?;
    bytes(writer)
}

/// The text that a cell was made of.
#[must_use]
pub fn plain(cell: &str) -> String {
    let mut rest = csv::plain(cell);
    let mut text = String::with_capacity(rest.len());
    while let Some((head, tail)) = split_after_separator(rest) {
        text.push_str(head);
        rest = tail.strip_prefix(MARK).filter(|_| begins_formula(tail)).unwrap_or(tail);
    }
    text + rest
}

/// A text as a cell shows it: marked at its start and after each foreign separator, wherever a formula would start.
fn marked(text: &str) -> String {
    let mut rest = text;
    let mut shown = String::with_capacity(text.len() + 1);
    while let Some((head, tail)) = split_after_separator(rest) {
        shown.push_str(head);
        if begins_formula(tail) {
            shown.push(MARK);
        }
        rest = tail;
    }
    cell(&(shown + rest)).into_owned()
}

/// The text through its first foreign separator, and what follows.
fn split_after_separator(text: &str) -> Option<(&str, &str)> {
    text.find([',', '\t']).map(|at| text.split_at(at + 1))
}

/// Whether a spreadsheet would begin a formula here. Quotes and white space are skipped, because it may drop them.
fn begins_formula(text: &str) -> bool {
    text.trim_start_matches([MARK, '"', ' ']).starts_with(starts_formula)
}

fn shown(typed: Cell<'_>) -> String {
    match typed {
        Cell::Text(text) => marked(&text),
        Cell::Time(time) => time.strftime("%Y-%m-%d %H:%M").to_string(),
        Cell::Number(number) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::collection::vec;
    use proptest::prelude::{any, proptest};
    use proptest::{prop_assert, prop_assert_eq};

    use super::{header, lines, marked, plain, unreadable};
    use crate::guests::csv::starts_formula;
    use crate::guests::list::GuestRow;
    use crate::guests::table::{Column, GuestTable};
    use crate::guests::words::TableWords;
    use crate::person::PersonField;
    use crate::visit::document::tests::{BASE, visit};
    use api::Moment;

    fn berlin() -> GuestTable {
        GuestTable::new(TableWords::default(), "Europe/Berlin")
    }

    fn row() -> GuestRow {
        GuestRow::of(&visit(BASE, None, Some("5/2"), &["Ærø; \"Jr\""]), "eu-central", Duration::from_hours(1))
    }

    fn parsed(bytes: &[u8]) -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).delimiter(b';').from_reader(bytes);
        reader.records().map(|record| record.expect("parses").iter().map(str::to_owned).collect()).collect()
    }

    fn at(column: Column) -> usize {
        Column::ALL.iter().position(|other| *other == column).expect("a column")
    }

    #[test]
    fn semicolons_crlf_and_a_byte_order_mark() {
        let table = berlin();
        let written = [
            header(&table).expect("writes"),
            lines(&table, &row(), None).expect("writes"),
            unreadable(&table, 3).expect("writes"),
        ]
        .concat();
        assert!(written.starts_with("\u{FEFF}Arrived;UTC offset (arrived);Left;".as_bytes()));
        let text = String::from_utf8(written.clone()).expect("UTF-8");
        assert_eq!(text.matches("\r\n").count(), 3);
        assert_eq!(text.matches('\n').count(), 3);
        let read = parsed(&written);
        assert!(read.iter().all(|line| line.len() == Column::ALL.len()));
        assert_eq!(read[1][at(Column::Field(PersonField::Name))], "Ærø; \"Jr\"");
        assert_eq!(read[1][at(Column::Arrived)], "2026-01-01 01:00");
        assert_eq!(read[1][at(Column::ArrivedOffset)], "UTC+01:00");
        assert_eq!(read[2][..2], ["Unreadable rows, missing from this list".to_owned(), "3".to_owned()]);
    }

    #[test]
    fn the_hour_that_comes_twice_has_two_offsets() {
        let moment = |text: &str| text.parse::<Moment>().expect("a moment");
        let row = GuestRow { arrived: moment("2026-10-25T00:30:00Z"), left: moment("2026-10-25T01:30:00Z"), ..row() };
        let read = parsed(&lines(&berlin(), &row, None).expect("writes"));
        assert_eq!(read[0][..4], ["2026-10-25 02:30", "UTC+02:00", "2026-10-25 02:30", "UTC+01:00"]);
        let row = GuestRow { arrived: moment("2026-03-29T00:59:59Z"), left: moment("2026-03-29T01:00:00Z"), ..row };
        let read = parsed(&lines(&berlin(), &row, None).expect("writes"));
        assert_eq!(read[0][..4], ["2026-03-29 01:59", "UTC+01:00", "2026-03-29 03:00", "UTC+02:00"]);
    }

    #[test]
    fn a_formula_is_marked_after_separators_of_other_languages_too() {
        for (text, shown) in [
            ("x,=1+1", "x,'=1+1"),
            ("x, \"=1+1,b", "x,' \"=1+1,b"),
            ("x\t@SUM", "x\t'@SUM"),
            ("=1,=1", "'=1,'=1"),
            ("x,'=1", "x,''=1"),
            ("x,'t Hooft", "x,'t Hooft"),
            ("Rua do Açúcar, 77", "Rua do Açúcar, 77"),
            ("x;=1", "x;=1"),
        ] {
            assert_eq!(marked(text), shown);
            assert_eq!(plain(shown), text);
        }
    }

    proptest! {
        /// For any text that guests type: after parsing no cell starts a formula, and every text comes back.
        #[test]
        fn no_cell_starts_a_formula_and_every_text_comes_back(
            starts in vec("[=+@' \t\r\n\0＝＋－＠;,\"-]{0,6}", PersonField::DETAILS.len()), rest in any::<String>(),
        ) {
            let mut row = row();
            row.area = Some(format!("{}{rest}", starts[0]));
            row.region = format!("{}{rest}", starts[1]);
            for (field, start) in PersonField::DETAILS.into_iter().zip(&starts) {
                row.persons[0].set(field, Some(format!("{start}{rest}")));
            }
            let read = parsed(&lines(&berlin(), &row, None).expect("writes"));
            prop_assert_eq!(read.len(), 1);
            for shown in &read[0] {
                prop_assert!(!shown.starts_with(starts_formula), "{:?}", shown);
                for piece in shown.split([',', '\t']).skip(1) {
                    prop_assert!(!piece.trim_start_matches(['"', ' ']).starts_with(starts_formula), "{:?}", shown);
                }
            }
            for field in PersonField::DETAILS {
                prop_assert_eq!(plain(&read[0][at(Column::Field(field))]), row.persons[0].get(field).expect("set"));
            }
            prop_assert_eq!(Some(plain(&read[0][at(Column::Area)])), row.area);
        }
    }
}
