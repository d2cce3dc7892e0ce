//! The guest list as a workbook (XLSX, ECMA-376): a sheet of guests and a sheet that says how complete the list is.
//!
//! # Invariants
//! - Text is a string cell with the number format "text", so a spreadsheet neither calculates with it nor turns it into
//!   a formula when a person edits the cell.
//! - Memory is bounded: of the sheet of guests one row is in memory. The rows go to a temporary file.
//! - Temporary files have no name (`O_TMPFILE`, or unlinked before the first byte is written), so no other user can
//!   open them and the system frees them when the process ends, however it ends. They lie in memory if that has the
//!   room, because the rows are not sealed, and otherwise in the node's data directory.
//!
//! # Why `rust_xlsxwriter`
//! It is the kept writer of the format, and it can write row by row (`constant_memory`). Its strings must be inline: its table of
//! shared strings grows with the list, and takes a text such as `<r>x</r>` for markup. It panics if the disk is full
//! while it writes a row. A workbook is therefore made on a thread whose panic is caught.
//!
//! # Not here
//! Columns and cells: [`registry::GuestTable`]. Threads and the answer: `xlsx.rs`.

mod sheets;

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::PathBuf;

use registry::{Cell, Column, GuestRow, GuestTable};
use replication::Wall;
use rust_xlsxwriter::{Format, Workbook, Worksheet, XlsxError};

use super::Completeness;
use sheets::Formats;

/// Persons of one workbook at most. A sheet holds four times as many, but each takes up to two kilobytes of the data
/// directory until the workbook is made.
pub(super) const MOST_PERSONS: u32 = 250_000;

/// The longest text of a cell, in UTF-16 units.
const LONGEST_TEXT: usize = 32_767;

/// Why a workbook was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkbookError {
    /// The list has too many persons.
    #[error("a workbook holds {MOST_PERSONS} persons")]
    TooLong,
    /// A sheet or the workbook could not be written.
    #[error("a workbook could not be written")]
    Write(#[from] XlsxError),
    /// The finished file could not be written.
    #[error("the file of a workbook could not be written")]
    File(#[from] io::Error),
}

/// A workbook that is being written.
pub(super) struct GuestWorkbook {
    workbook: Workbook,
    guests: Worksheet,
    formats: Formats,
    table: GuestTable,
    folder: PathBuf,
    persons: u32,
    most_persons: u32,
    unreadable: u64,
}

impl GuestWorkbook {
    /// A workbook whose temporary files lie in `folder`.
    ///
    /// # Errors
    /// [`WorkbookError::Write`], also if `folder` is not writable.
    pub(super) fn begin(folder: PathBuf, table: GuestTable) -> Result<GuestWorkbook, WorkbookError> {
        let mut workbook = Workbook::new();
        workbook.set_tempdir(&folder)?;
        let mut guests = workbook.new_worksheet_with_constant_memory()?;
        let formats = Formats::new();
        sheets::begin_guests(&mut guests, &table, &formats)?;
        let most_persons = MOST_PERSONS;
        Ok(GuestWorkbook { workbook, guests, formats, table, folder, persons: 0, most_persons, unreadable: 0 })
    }

    /// Adds the lines of one visit. `accepted` is when the first region accepted the check-in, if that is known.
    ///
    /// # Errors
    /// [`WorkbookError::TooLong`], [`WorkbookError::Write`].
    pub(super) fn add(&mut self, row: &GuestRow, accepted: Option<Wall>) -> Result<(), WorkbookError> {
        for line in self.table.lines(row, accepted) {
            if self.persons == self.most_persons {
                return Err(WorkbookError::TooLong);
            }
            self.persons += 1;
            for (at, (column, cell)) in (0u16..).zip(Column::ALL.into_iter().zip(line)) {
                let text = self.formats.text_of(column);
                write_cell(&mut self.guests, (self.persons, at), &cell, text, &self.formats)?;
            }
        }
        Ok(())
    }

    /// Counts a row that does not decode and is left out.
    pub(super) fn add_unreadable(&mut self) {
        self.unreadable += 1;
    }

    /// The finished file, to be read from its beginning.
    ///
    /// # Errors
    /// [`WorkbookError::Write`], [`WorkbookError::File`].
    pub(super) fn finish(mut self, completeness: &Completeness) -> Result<File, WorkbookError> {
        let (words, formats) = (self.table.words(), &self.formats);
        let mut last_row = self.persons;
        if self.unreadable > 0 {
            // An empty row separates it from what the autofilter sorts.
            last_row += 2;
            let line = format!("{}: {}", words.unreadable, self.unreadable);
            self.guests.write_string_with_format(last_row, 0, line, &formats.title)?;
        }
        sheets::end_guests(&mut self.guests, self.persons, last_row)?;
        let mut last = self.workbook.new_worksheet_with_constant_memory()?;
        sheets::write_completeness(&mut last, &self.table, formats, completeness, self.unreadable)?;
        self.workbook.push_worksheet(self.guests);
        self.workbook.push_worksheet(last);
        let mut out = BufWriter::with_capacity(64 << 10, tempfile::tempfile_in(&self.folder)?);
        self.workbook.save_to_writer(&mut out)?;
        out.flush()?;
        let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(file)
    }
}

/// Writes a cell by its type; an empty text leaves no cell.
fn write_cell(
    sheet: &mut Worksheet,
    (row, column): (u32, u16),
    cell: &Cell<'_>,
    text_format: &Format,
    formats: &Formats,
) -> Result<(), XlsxError> {
    match cell {
        Cell::Text(text) if text.is_empty() => {}
        Cell::Text(text) => {
            sheet.write_string_with_format(row, column, fitting(text), text_format)?;
        }
        Cell::Time(time) => {
            sheet.write_datetime_with_format(row, column, time, &formats.time)?;
        }
        Cell::Number(number) => {
            sheet.write_number_with_format(row, column, *number, &formats.number)?;
        }
    }
    Ok(())
}

/// A text that a cell can hold. Only the conflicts of a visit that was corrected very often are longer; they end with
/// `…` and are whole in the other formats.
fn fitting(text: &str) -> std::borrow::Cow<'_, str> {
    // UTF-8 has at least as many bytes as UTF-16 has units.
    if text.len() <= LONGEST_TEXT || text.encode_utf16().count() <= LONGEST_TEXT {
        return text.into();
    }
    let mut units = 0;
    let kept = text.chars().take_while(|c| {
        units += c.len_utf16();
        units < LONGEST_TEXT
    });
    let mut cut: String = kept.collect();
    cut.push('…');
    cut.into()
}

#[cfg(test)]
mod tests;
