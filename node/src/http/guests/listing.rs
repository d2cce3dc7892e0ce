//! A guest list on its way out: pages become pieces of JSON, NDJSON or CSV.
//!
//! # Invariants
//! - Rows come in order of arrival, each visit once.
//! - JSON stops at `limit` rows and names a cursor if and only if there is a further row; the other formats have
//!   the whole window and no cursor.
//! - NDJSON ends with `{"completeness": ...}`: a list without that line broke off.

use std::collections::BTreeMap;

use bytes::Bytes;
use replication::DocumentId;
use serde_json::json;

use super::super::problem::Problem;
use super::accept::Format;
use super::cursor;
use super::pages::Pages;
use crate::registry::{GuestRow, VenueId, guest_csv};

/// A list that is being written.
pub(super) struct Listing {
    pages: Pages,
    format: Format,
    venue: VenueId,
    completeness: BTreeMap<String, String>,
    /// Rows that may still be written; the other formats have no end.
    left: usize,
    last: Option<DocumentId>,
    begun: bool,
    ended: bool,
}

impl Listing {
    /// A list of `pages`. `limit` is kept by JSON alone.
    pub(super) fn new(
        pages: Pages,
        format: Format,
        limit: usize,
        venue: VenueId,
        completeness: BTreeMap<String, String>,
    ) -> Listing {
        let left = if format == Format::Json { limit } else { usize::MAX };
        Listing { pages, format, venue, completeness, left, last: None, begun: false, ended: false }
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
            match self.format {
                Format::Json => out.extend_from_slice(b"{\"visits\":["),
                Format::Ndjson => {}
                Format::Csv => out.extend_from_slice(&guest_csv::header().map_err(unwritable)?),
            }
        }
        // An empty piece would be a needless frame: pages that have no visit of interest are passed over.
        loop {
            let Some(visits) = self.pages.next().await? else {
                self.end(&mut out, None)?;
                break;
            };
            let max_stay = self.pages.max_stay();
            for (visit, region) in visits {
                if self.left == 0 {
                    let cursor = self.last.map(|last| cursor::after(self.venue, last));
                    self.end(&mut out, cursor)?;
                    return Ok(Some(out.into()));
                }
                self.row(&GuestRow::of(&visit, &region, max_stay), &mut out)?;
                self.left -= 1;
                self.last = Some(visit.id.document_id());
            }
            if out.len() > 1_024 {
                break;
            }
        }
        Ok(if out.is_empty() { None } else { Some(out.into()) })
    }

    fn row(&self, row: &GuestRow, out: &mut Vec<u8>) -> Result<(), Problem> {
        match self.format {
            Format::Json => {
                if self.last.is_some() {
                    out.push(b',');
                }
                serde_json::to_writer(out, row).map_err(unwritable)
            }
            Format::Ndjson => {
                serde_json::to_writer(&mut *out, row).map_err(unwritable)?;
                out.push(b'\n');
                Ok(())
            }
            Format::Csv => {
                out.extend_from_slice(&guest_csv::lines(row).map_err(unwritable)?);
                Ok(())
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>, cursor: Option<String>) -> Result<(), Problem> {
        self.ended = true;
        match self.format {
            Format::Json => {
                out.extend_from_slice(b"],\"completeness\":");
                serde_json::to_writer(&mut *out, &self.completeness).map_err(unwritable)?;
                if let Some(cursor) = cursor {
                    out.extend_from_slice(format!(",\"cursor\":\"{cursor}\"").as_bytes());
                }
                out.push(b'}');
            }
            Format::Ndjson => {
                serde_json::to_writer(&mut *out, &json!({"completeness": self.completeness})).map_err(unwritable)?;
                out.push(b'\n');
            }
            // A table has no place for it: it went ahead as a header.
            Format::Csv => {}
        }
        Ok(())
    }
}

fn unwritable(error: impl std::error::Error + 'static) -> Problem {
    tracing::error!(error = &error as &dyn std::error::Error, "a guest list could not be written");
    Problem::internal()
}
