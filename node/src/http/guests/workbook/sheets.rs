//! How the two sheets look: formats, widths, frozen rows, print settings, the sheet of completeness.
//!
//! Paper shows the columns up to [`LAST_PRINTED`] on one page's width, in a size that can be read. The others are for
//! work on a screen: `Certainty` says on paper as well that a row has conflicting values, and the UTC offsets give the
//! time zone. A long text shrinks to its cell, because paper would cut it off at the next cell. It is not wrapped,
//! because LibreOffice does not raise the rows of a file that gives them no height.

use registry::{Column, GuestTable, PersonField, TableWords};
use replication::Wall;
use rust_xlsxwriter::{Format, FormatAlign, FormatBorder, Worksheet, XlsxError};

use super::super::Completeness;
use api::Moment;

/// The last column of the sheet of guests.
const LAST_COLUMN: u16 = Column::ALL.len() as u16 - 1;

/// The last column that is printed.
const LAST_PRINTED: Column = Column::Field(PersonField::Country);

/// Two lines, in points.
const TITLE_HEIGHT: u16 = 30;

/// A4 in the list of paper sizes of ECMA-376 (18.3.1.63).
const A4: u8 = 9;

/// The formats of the cells.
pub(super) struct Formats {
    pub(super) title: Format,
    pub(super) text: Format,
    /// Text that may be long and is printed.
    pub(super) shrunk: Format,
    pub(super) time: Format,
    pub(super) number: Format,
}

impl Formats {
    pub(super) fn new() -> Formats {
        let all = Format::new().set_align(FormatAlign::Left);
        let text = all.clone().set_num_format("@");
        Formats {
            title: text.clone().set_bold().set_border_bottom(FormatBorder::Thin),
            shrunk: text.clone().set_shrink(),
            text,
            time: all.clone().set_num_format("yyyy-mm-dd hh:mm"),
            number: all.set_num_format("0"),
        }
    }

    /// The format of a column's texts.
    pub(super) fn text_of(&self, column: Column) -> &Format {
        match column {
            Column::Area | Column::Certainty | Column::Field(_) => &self.shrunk,
            _ => &self.text,
        }
    }
}

/// Titles, widths and print settings; the rows follow.
pub(super) fn begin_guests(sheet: &mut Worksheet, table: &GuestTable, formats: &Formats) -> Result<(), XlsxError> {
    sheet.set_name(table.words().guests_sheet.as_ref())?;
    begin(sheet, table.words())?;
    sheet.set_row_height(0, TITLE_HEIGHT)?;
    for (index, (column, title)) in (0u16..).zip(Column::ALL.into_iter().zip(table.titles())) {
        sheet.set_column_width(index, width(column))?;
        sheet.write_string_with_format(0, index, title, &formats.title.clone().set_text_wrap())?;
    }
    Ok(())
}

/// The filter, and what is printed: the rows of `persons` and whatever follows through row `last`.
pub(super) fn end_guests(sheet: &mut Worksheet, persons: u32, last: u32) -> Result<(), XlsxError> {
    sheet.autofilter(0, 0, persons, LAST_COLUMN)?;
    let printed =
        (0u16..).zip(Column::ALL).find(|(_, column)| *column == LAST_PRINTED).map_or(LAST_COLUMN, |(at, _)| at);
    sheet.set_print_area(0, 0, last, printed)?;
    Ok(())
}

/// One line for each region, then the number of rows that are missing.
pub(super) fn write_completeness(
    sheet: &mut Worksheet,
    table: &GuestTable,
    formats: &Formats,
    completeness: &Completeness,
    unreadable: u64,
) -> Result<(), XlsxError> {
    let words = table.words();
    sheet.set_name(words.completeness_sheet.as_ref())?;
    begin(sheet, words)?;
    let titles = [&words.region, &words.complete_through, &words.complete_offset];
    for (column, (title, width)) in (0u16..).zip(titles.into_iter().zip([40, 18, 12])) {
        sheet.set_column_width(column, width)?;
        sheet.write_string_with_format(0, column, title.as_ref(), &formats.title)?;
    }
    let mut next = 1;
    for (region, through) in completeness {
        sheet.write_string_with_format(next, 0, region.as_str(), &formats.text)?;
        // The epoch stands for a region that the node never heard, or after it has forgotten early.
        if *through == Wall(0) {
            sheet.write_string_with_format(next, 1, words.unknown.as_ref(), &formats.text)?;
        } else {
            let local = table.local(Moment(*through));
            sheet.write_datetime_with_format(next, 1, local.time, &formats.time)?;
            sheet.write_string_with_format(next, 2, local.offset, &formats.text)?;
        }
        next += 1;
    }
    let format = if unreadable > 0 { &formats.title } else { &formats.text };
    sheet.write_string_with_format(next + 1, 0, words.unreadable.as_ref(), format)?;
    // A list never has so many rows that a double could not count them.
    sheet.write_number_with_format(next + 1, 1, unreadable as f64, &formats.number)?;
    Ok(())
}

fn begin(sheet: &mut Worksheet, words: &TableWords) -> Result<(), XlsxError> {
    sheet.set_freeze_panes(1, 0)?;
    sheet.set_repeat_rows(0, 0)?;
    sheet.set_landscape().set_paper_size(A4).set_print_fit_to_pages(1, 0);
    sheet.set_margins(0.4, 0.4, 0.5, 0.6, 0.3, 0.3);
    // `&` begins a code in a footer.
    let footer = words.page_of.replace('&', "&&").replace("{page}", "&P").replace("{pages}", "&N");
    sheet.set_footer(format!("&C{footer}"));
    Ok(())
}

/// A width in characters.
fn width(column: Column) -> u16 {
    match column {
        Column::Arrived | Column::Left | Column::Field(PersonField::Left) => 16,
        Column::ArrivedOffset | Column::LeftOffset | Column::LeftEstimated | Column::Area => 11,
        Column::Person | Column::ContactPerson | Column::Field(PersonField::Country) => 8,
        Column::Field(PersonField::PostalCode) => 9,
        Column::Field(PersonField::City) => 15,
        Column::Field(PersonField::Phone) | Column::TimeZone | Column::Region => 18,
        Column::Certainty => 22,
        Column::Field(PersonField::Name | PersonField::Email | PersonField::Street) | Column::Conflicts => 24,
        Column::VisitId => 38,
    }
}
