//! The table for offices as a CSV that a German Excel opens by a double click: UTF-8 with a byte order mark, `;`, CRLF,
//! times as `2026-11-28 14:05` in the venue's time zone. Countries that write a decimal comma have the same list
//! separator.
//!
//! # Invariants
//! - As in [`crate::guests::csv`]: no cell starts like a formula, and [`plain`] restores each text.
//! - No cell starts like a formula either if a spreadsheet whose own separator is the comma or the tab splits the lines
//!   there: quotes do not help, because they no longer begin a cell. What follows such a separator is marked as well.
//!
//! - A telephone number with a space between its digits has no mark: no spreadsheet takes it for a number or computes with
//!   it. One without (`+49711`) keeps the mark, otherwise Excel would show the number 49711.
//!
//! # Limits
//! CSV has no types: Excel reads a cell of digits as a number and drops its leading zeros (postal code 06108). XLSX does
//! not have this problem.

use ::csv::QuoteStyle;

use crate::guests::contacts::ContactRow;
use crate::guests::csv::{self, BYTE_ORDER_MARK, CsvError, MARK, bytes, cell, starts_formula, writer};
use crate::guests::list::GuestRow;
use crate::guests::table::{Cell, Column, GuestTable};
use crate::person::{PersonField, phone};
use crate::text::shows;
use replication::Wall;

const SEPARATOR: u8 = b';';

/// The first line, with the byte order mark: sent once, before any visit. `first` are titles before the usual ones.
///
/// # Errors
/// [`CsvError`].
pub fn header(table: &GuestTable, first: &[&str]) -> Result<Vec<u8>, CsvError> {
    let mut writer = writer(SEPARATOR, QuoteStyle::Necessary, BYTE_ORDER_MARK.to_vec());
    let titles = first.iter().copied().chain(table.titles());
    writer.write_record(titles.map(|title| cell(title).into_owned())).map_err(CsvError)?;
    bytes(writer)
}

/// The lines of one visit, one per person. `accepted` is when the first region accepted the check-in, if that is known.
///
/// # Errors
/// [`CsvError`].
pub fn lines(table: &GuestTable, row: &GuestRow, accepted: Option<Wall>) -> Result<Vec<u8>, CsvError> {
    lines_after(&[], table, row, accepted)
}

/// The lines of one contact: as [`lines`], after the cells of [`GuestTable::contact_titles`].
///
/// # Errors
/// [`CsvError`].
pub fn contact_lines(table: &GuestTable, contact: &ContactRow) -> Result<Vec<u8>, CsvError> {
    let words = table.words();
    let same_area = if contact.same_area { &words.yes } else { &words.no };
    let first = [contact.minutes.to_string(), marked(same_area)];
    lines_after(&first, table, &contact.visit, contact.accepted)
}

fn lines_after(
    first: &[String],
    table: &GuestTable,
    row: &GuestRow,
    accepted: Option<Wall>,
) -> Result<Vec<u8>, CsvError> {
    let mut writer = writer(SEPARATOR, QuoteStyle::Necessary, Vec::new());
    for line in table.lines(row, accepted) {
        let cells = Column::ALL.into_iter().zip(line).map(|(column, cell)| shown(column, cell));
        writer.write_record(first.iter().cloned().chain(cells)).map_err(CsvError)?;
    }
    bytes(writer)
}

/// The last line of a table that lacks rows: what is missing in words, and a number.
///
/// # Errors
/// [`CsvError`].
pub fn last_line(first: &[&str], words: &str, count: u64) -> Result<Vec<u8>, CsvError> {
    let mut cells = vec![cell(words).into_owned(), count.to_string()];
    cells.resize(first.len() + Column::ALL.len(), String::new());
    let mut writer = writer(SEPARATOR, QuoteStyle::Necessary, Vec::new());
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

/// Whether a spreadsheet would begin a formula here. Quotes, white space and what does not show are skipped, because it
/// may drop them.
fn begins_formula(text: &str) -> bool {
    text.trim_start_matches([MARK, '"', ' ']).starts_with(starts_formula)
        || text.trim_start_matches(|c| matches!(c, MARK | '"') || !shows(c)).starts_with(starts_formula)
}

fn shown(column: Column, typed: Cell<'_>) -> String {
    match typed {
        Cell::Text(text) if column == Column::Field(PersonField::Phone) && phone::stays_text(&text) => {
            text.into_owned()
        }
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

    use super::{contact_lines, header, last_line, lines, marked, plain};
    use crate::guests::contacts::ContactRow;
    use crate::guests::csv::starts_formula;
    use crate::guests::list::GuestRow;
    use crate::guests::table::{Column, GuestTable};
    use crate::guests::words::TableWords;
    use crate::person::{PersonField, phone};
    use crate::text::shows;
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
            header(&table, &[]).expect("writes"),
            lines(&table, &row(), None).expect("writes"),
            last_line(&[], &table.words().unreadable, 3).expect("writes"),
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

    #[test]
    fn contacts_have_two_more_columns() {
        let table = berlin();
        let contact = ContactRow { minutes: 7, same_area: true, visit: row(), accepted: None };
        let first = table.contact_titles();
        let header = parsed(&header(&table, &first).expect("writes"));
        let cells = parsed(&contact_lines(&table, &contact).expect("writes"));
        assert_eq!((cells[0].len(), &cells[0][..2]), (header[0].len(), &["7".to_owned(), "yes".to_owned()][..]));
        assert_eq!(parsed(&last_line(&first, "more", 1).expect("writes"))[0].len(), header[0].len());
        assert_eq!(header[0][1..3], ["Same area".to_owned(), "Arrived".to_owned()]);
    }

    /// LibreOffice and Excel show both as they are written here.
    #[test]
    fn a_telephone_number_has_a_mark_only_if_a_spreadsheet_would_change_it() {
        let shown = |phone: &str| {
            let mut row = row();
            row.persons[0].phone = Some(phone.to_owned());
            let read = parsed(&lines(&berlin(), &row, None).expect("writes"));
            let cell = &read[0][at(Column::Field(PersonField::Phone))];
            assert_eq!(plain(cell), phone);
            cell.clone()
        };
        assert_eq!(shown("+49 711 123"), "+49 711 123");
        assert_eq!(shown("+49711123"), "'+49711123");
        assert_eq!(shown("+49-711-123"), "'+49-711-123");
        assert_eq!(shown("=1 2 3"), "'=1 2 3");
    }

    proptest! {
        /// For any text that guests type: after parsing no cell starts a formula, and every text comes back.
        #[test]
        fn no_cell_starts_a_formula_and_every_text_comes_back(
            starts in vec("[=+@' \t\r\n\0＝＋－＠;,\"\u{200b}\u{feff}\u{2800}-]{0,6}", PersonField::DETAILS.len()), rest in any::<String>(),
        ) {
            let mut row = row();
            row.area = Some(format!("{}{rest}", starts[0]));
            row.region = format!("{}{rest}", starts[1]);
            for (field, start) in PersonField::DETAILS.into_iter().zip(&starts) {
                row.persons[0].set(field, Some(format!("{start}{rest}")));
            }
            let read = parsed(&lines(&berlin(), &row, None).expect("writes"));
            prop_assert_eq!(read.len(), 1);
            for shown in read[0].iter().filter(|shown| !phone::stays_text(shown)) {
                prop_assert!(!shown.starts_with(starts_formula), "{:?}", shown);
                let seen = shown.trim_start_matches(|c| !shows(c));
                prop_assert!(!seen.starts_with(starts_formula), "{:?}", shown);
                for piece in shown.split([',', '\t']).skip(1) {
                    prop_assert!(!piece.trim_start_matches(['"', ' ']).starts_with(starts_formula), "{:?}", shown);
                    let seen = piece.trim_start_matches(|c| c == '"' || !shows(c));
                    prop_assert!(!seen.starts_with(starts_formula), "{:?}", shown);
                }
            }
            for field in PersonField::DETAILS {
                prop_assert_eq!(plain(&read[0][at(Column::Field(field))]), row.persons[0].get(field).expect("set"));
            }
            prop_assert_eq!(Some(plain(&read[0][at(Column::Area)])), row.area);
        }
    }
}
