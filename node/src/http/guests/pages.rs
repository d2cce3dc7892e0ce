//! Reading the visits of a window, a page at a time and in order of arrival.
//!
//! # Invariants
//! - Storage is read on the runtime's blocking threads, one page a turn: a slow client holds no thread.
//! - A page is handed out only once all that it shows is durable.

use std::sync::Arc;
use std::time::Duration;

use replication::DocumentId;
use replication::read::Query;

use super::super::App;
use super::super::problem::Problem;
use super::super::venues::Known;
use super::super::visits::{of_rows, region_of};
use crate::registry::{VISITS, Visit, VisitId, Window};

/// Ids read in one turn.
const PAGE: usize = 500;

/// A visit and the region that took it.
pub(super) type Taken = (Visit, String);

/// What is left of a window.
pub(super) struct Pages {
    app: Arc<App>,
    known: Arc<Known>,
    window: Window,
    area: Option<String>,
    from: DocumentId,
    to: DocumentId,
    done: bool,
}

impl Pages {
    /// The visits of a window, all or those that may have been in one area, after the visit `after`.
    pub(super) fn new(
        app: Arc<App>,
        known: Arc<Known>,
        window: Window,
        area: Option<String>,
        after: Option<DocumentId>,
    ) -> Pages {
        let (first, to) = window.ids();
        let from = after.and_then(successor).unwrap_or(first).max(first);
        Pages { app, known, window, area, from, to, done: false }
    }

    /// How long a guest who never checked out is taken to have stayed.
    pub(super) fn max_stay(&self) -> Duration {
        self.known.pack.max_stay
    }

    /// The visits of the next page with the regions that took them, perhaps none of interest; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Taken>>, Problem> {
        if self.done || self.from >= self.to {
            return Ok(None);
        }
        let (app, tenant, max_stay) = (self.app.clone(), self.known.venue.id.tenant(), self.max_stay());
        let query = Query { collection: VISITS, tenant, from: self.from, to: self.to, limit: PAGE };
        let (window, area) = (self.window, self.area.clone());
        let read = tokio::task::spawn_blocking(move || read(&app, &query, window, area.as_deref(), max_stay));
        let (last, visits) = read.await.map_err(|error| {
            tracing::error!(%error, "reading a page failed");
            Problem::internal()
        })??;
        self.app.handle.settled().await;
        // An id is missing from a page if it was erased a moment ago, so a short page is not yet the end.
        match last.map(successor) {
            Some(Some(next)) => self.from = next,
            Some(None) | None => self.done = true,
        }
        Ok(if last.is_some() { Some(visits) } else { None })
    }
}

/// One page: the last id that it has, and those visits that are asked for.
fn read(
    app: &App,
    query: &Query,
    window: Window,
    area: Option<&str>,
    max_stay: Duration,
) -> Result<(Option<DocumentId>, Vec<Taken>), Problem> {
    let status = app.handle.status();
    let as_of = app.as_of(&status);
    let rows = app.handle.reader().scan(query, as_of)?;
    let last = rows.keys().next_back().copied();
    let mut visits = Vec::with_capacity(rows.len());
    for (id, rows) in rows {
        let Some(id) = VisitId::from_document_id(id) else { continue };
        let Some((visit, _)) = of_rows(app, id, &rows) else { continue };
        if window.names(&visit, max_stay) && area.is_none_or(|wanted| visit.areas().any(|area| area == wanted)) {
            visits.push((visit, region_of(&status, &rows)));
        }
    }
    Ok((last, visits))
}

/// The least id that is greater; `None` after the last one.
fn successor(id: DocumentId) -> Option<DocumentId> {
    u128::from_be_bytes(id.0).checked_add(1).map(|next| DocumentId(next.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use replication::DocumentId;

    use super::successor;

    #[test]
    fn a_successor_is_the_next_id() {
        let mut last = [0; 16];
        last[15] = 0xff;
        let mut next = [0; 16];
        next[14] = 1;
        assert_eq!(successor(DocumentId(last)), Some(DocumentId(next)));
        assert_eq!(successor(DocumentId([0xff; 16])), None);
    }
}
