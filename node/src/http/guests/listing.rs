//! A guest list that is being sent: pages become pieces of JSON, NDJSON or CSV (both tables).
//!
//! # Invariants
//! - Rows come in order of arrival, each visit once.
//! - JSON stops at `limit` rows and names a cursor if and only if there is a further row; the other formats have
//!   the whole window and no cursor.
//! - NDJSON ends with `{"completeness": ...}`; without that line the list is incomplete.
//! - Rows that do not decode are left out. Every format counts them at its end, and each is counted in one page only.
//!
//! # Not here
//! XLSX, which is a finished file before its first byte is sent: `workbook.rs`.

use bytes::Bytes;
use replication::{DocumentId, Wall};
use serde_json::json;

use super::super::long_lists::ListPlace;
use super::super::problem::Problem;
use super::cursor::{Cursor, Scope};
use super::pages::{Item, Pages};
use super::{Completeness, shown};
use registry::{GuestRow, GuestTable, guest_csv, guest_excel_csv};

/// The form of a list that is sent while it is read.
pub(super) enum Shape {
    /// One object with at most so many rows of this list.
    Json(usize, Scope),
    /// One object a line.
    Ndjson,
    /// The table for scripts.
    Csv,
    /// The table for offices. Its rows need [`Pages::with_acceptance`].
    ExcelCsv(Box<GuestTable>),
}

/// A list that is being written.
pub(super) struct Listing {
    pages: Pages,
    shape: Shape,
    completeness: Completeness,
    /// Rows that were left out because they do not decode.
    unreadable: u64,
    /// Those of them behind the last row that fits on this page: they count for this page only if no row follows.
    unreadable_behind: u64,
    /// Rows that may still be written; JSON alone has a limit.
    left: usize,
    last: Option<DocumentId>,
    begun: bool,
    ended: bool,
}

impl Listing {
    /// A list of `pages`.
    pub(super) fn new(pages: Pages, shape: Shape, completeness: Completeness) -> Listing {
        let left = if let Shape::Json(limit, _) = shape { limit } else { usize::MAX };
        Listing {
            pages,
            shape,
            completeness,
            unreadable: 0,
            unreadable_behind: 0,
            left,
            last: None,
            begun: false,
            ended: false,
        }
    }

    /// A place for a list of more than one page, to be kept until it ends.
    pub(super) fn place(&self) -> Result<ListPlace, Problem> {
        self.pages.long_list()
    }

    /// Whether the last piece is out.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The next piece; `None` once there is no more.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        if self.ended {
            return Ok(None);
        }
        let mut out = Vec::with_capacity(4_096);
        if !self.begun {
            self.begun = true;
            match &self.shape {
                Shape::Json(..) => out.extend_from_slice(b"{\"visits\":["),
                Shape::Ndjson => {}
                Shape::Csv => out.extend_from_slice(&guest_csv::header(&[]).map_err(unwritable)?),
                Shape::ExcelCsv(table) => {
                    out.extend_from_slice(&guest_excel_csv::header(table, &[]).map_err(unwritable)?);
                }
            }
        }
        // Pages without a visit of interest are skipped, because an empty piece would be a needless frame.
        loop {
            let Some(items) = self.pages.next().await? else {
                self.end(&mut out, None)?;
                break;
            };
            let assumed_stay = self.pages.assumed_stay();
            for item in items {
                let found = match item {
                    Item::Visit(found) => found,
                    Item::Unreadable => {
                        let count = if self.left > 0 { &mut self.unreadable } else { &mut self.unreadable_behind };
                        *count += 1;
                        continue;
                    }
                };
                if self.left == 0 {
                    let cursor = self.cursor();
                    self.end(&mut out, cursor)?;
                    return Ok(Some(out.into()));
                }
                let row = GuestRow::of(&found.visit, &found.region, assumed_stay);
                self.row(&row, found.accepted, &mut out)?;
                self.left -= 1;
                self.last = Some(found.visit.id.document_id());
            }
            if out.len() > 1_024 {
                break;
            }
        }
        Ok(if out.is_empty() { None } else { Some(out.into()) })
    }

    /// Where the next page begins.
    fn cursor(&self) -> Option<String> {
        let (Shape::Json(_, scope), Some(last)) = (&self.shape, self.last) else { return None };
        let cursor = Cursor { window: self.pages.window(), last, completeness: self.completeness.clone() };
        Some(cursor.write(scope))
    }

    fn row(&self, row: &GuestRow, accepted: Option<Wall>, out: &mut Vec<u8>) -> Result<(), Problem> {
        match &self.shape {
            Shape::Json(..) => {
                if self.last.is_some() {
                    out.push(b',');
                }
                serde_json::to_writer(out, row).map_err(unwritable)
            }
            Shape::Ndjson => {
                serde_json::to_writer(&mut *out, row).map_err(unwritable)?;
                out.push(b'\n');
                Ok(())
            }
            Shape::Csv => {
                out.extend_from_slice(&guest_csv::lines(row).map_err(unwritable)?);
                Ok(())
            }
            Shape::ExcelCsv(table) => {
                out.extend_from_slice(&guest_excel_csv::lines(table, row, accepted).map_err(unwritable)?);
                Ok(())
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>, cursor: Option<String>) -> Result<(), Problem> {
        self.ended = true;
        if cursor.is_none() {
            self.unreadable += self.unreadable_behind;
        }
        match &self.shape {
            Shape::Json(..) => {
                out.extend_from_slice(b"],\"completeness\":");
                serde_json::to_writer(&mut *out, &shown(&self.completeness)).map_err(unwritable)?;
                if self.unreadable > 0 {
                    out.extend_from_slice(format!(",\"unreadable\":{}", self.unreadable).as_bytes());
                }
                if let Some(cursor) = cursor {
                    out.extend_from_slice(format!(",\"cursor\":\"{cursor}\"").as_bytes());
                }
                out.push(b'}');
            }
            Shape::Ndjson => {
                let mut last = json!({"completeness": shown(&self.completeness)});
                if self.unreadable > 0 {
                    last["unreadable"] = self.unreadable.into();
                }
                serde_json::to_writer(&mut *out, &last).map_err(unwritable)?;
                out.push(b'\n');
            }
            // Completeness was sent as a header. The number of rows that do not decode is known only now.
            Shape::Csv if self.unreadable > 0 => {
                out.extend_from_slice(&guest_csv::last_line(&[], "unreadable", self.unreadable).map_err(unwritable)?);
            }
            Shape::ExcelCsv(table) if self.unreadable > 0 => {
                let line = guest_excel_csv::last_line(&[], &table.words().unreadable, self.unreadable);
                out.extend_from_slice(&line.map_err(unwritable)?);
            }
            Shape::Csv | Shape::ExcelCsv(_) => {}
        }
        Ok(())
    }
}

pub(super) fn unwritable(error: impl std::error::Error + 'static) -> Problem {
    tracing::error!(error = &error as &dyn std::error::Error, "a guest list could not be written");
    Problem::internal()
}
