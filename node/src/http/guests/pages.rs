//! Reading the visits of a window, a page at a time and in order of arrival.
//!
//! # Invariants
//! - Storage is read on the runtime's blocking threads, one page at a time, so a slow client holds no thread. Few pages are
//!   read at one time, so lists leave processors to check-ins.
//! - Every page shows what one durable vector covers, so one session token and one completeness hold for the whole
//!   list.

use std::sync::Arc;
use std::time::Duration;

use replication::{DocumentId, Query, Status, VersionVector, Wall};

use super::super::App;
use super::super::long_lists::ListPlace;
use super::super::problem::Problem;
use super::super::store::{accepting_region, first_acceptance, read_visit};
use super::super::venues::CachedVenue;
use registry::{LONGEST_RETENTION, VISITS, Visit, VisitId, Window};

/// Ids read at a time.
const PAGE: usize = 500;

/// One item of a page, in order of id.
pub(in super::super) enum Item {
    /// A visit as it was found.
    Visit(Box<Found>),
    /// A row that does not decode and is left out.
    Unreadable,
}

/// A visit of the list.
pub(in super::super) struct Found {
    pub(in super::super) visit: Visit,
    /// The region that took it.
    pub(in super::super) region: String,
    /// Whether [`Pages::since`] was told of knowledge that did not cover it.
    pub(in super::super) is_new: bool,
    /// When the first region accepted the check-in, if [`Pages::with_acceptance`] asked for it and it is known.
    pub(in super::super) accepted: Option<Wall>,
}

/// The rest of a window.
pub(in super::super) struct Pages {
    app: Arc<App>,
    /// Every page shows what the durable vector of this status covers.
    status: Arc<Status>,
    known: Arc<CachedVenue>,
    window: Window,
    area: Option<String>,
    from: DocumentId,
    to: DocumentId,
    with_acceptance: bool,
    /// The reader's knowledge at the last look.
    since: Option<Arc<VersionVector>>,
    begun: bool,
    done: bool,
}

impl Pages {
    /// The visits of a window after the visit `after`: all, or those that may have been in one area.
    pub(in super::super) fn new(
        app: Arc<App>,
        status: Arc<Status>,
        known: Arc<CachedVenue>,
        window: Window,
        area: Option<String>,
        after: Option<DocumentId>,
    ) -> Pages {
        // The stays of a pack that this node does not have may be as long as any visit is kept.
        let is_known = known.pack.id == known.venue.policy;
        let (first, to) = window.ids(if is_known { known.pack.look_back() } else { LONGEST_RETENTION });
        let from = after.and_then(successor).unwrap_or(first).max(first);
        Pages {
            app,
            status,
            known,
            window,
            area,
            from,
            to,
            with_acceptance: false,
            since: None,
            begun: false,
            done: false,
        }
    }

    /// Reads as well when each check-in was accepted, which is one more read of the store for each visit.
    pub(in super::super) fn with_acceptance(self) -> Pages {
        Pages { with_acceptance: true, ..self }
    }

    /// Marks the visits whose check-in `known` does not cover.
    pub(in super::super) fn since(self, known: VersionVector) -> Pages {
        Pages { since: Some(Arc::new(known)), ..self }
    }

    pub(super) fn window(&self) -> Window {
        self.window
    }

    /// How long a guest who never checked out is assumed to have stayed.
    pub(in super::super) fn assumed_stay(&self) -> Duration {
        self.known.pack.assumed_stay
    }

    /// A place for a list of more than one page.
    pub(in super::super) fn long_list(&self) -> Result<ListPlace, Problem> {
        self.app.long_lists.list(self.known.venue.id)
    }

    /// The next page, possibly without a visit of interest; `None` at the end.
    pub(in super::super) async fn next(&mut self) -> Result<Option<Vec<Item>>, Problem> {
        if self.done || self.from >= self.to {
            return Ok(None);
        }
        let (app, status) = (self.app.clone(), self.status.clone());
        let (tenant, assumed_stay) = (self.known.venue.id.tenant(), self.assumed_stay());
        let query = Query { collection: VISITS, tenant, from: self.from, to: self.to, limit: PAGE };
        let wanted = Wanted {
            window: self.window,
            area: self.area.clone(),
            assumed_stay,
            acceptance: self.with_acceptance,
            since: self.since.clone(),
        };
        let is_first = !std::mem::replace(&mut self.begun, true);
        let turn = app.long_lists.page(self.known.venue.id, is_first).await?;
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            read(&app, &status, &query, &wanted)
        });
        let (last, items) = read.await.map_err(|error| Problem::of_thread(&error, "a page of a guest list"))??;
        // A page lacks an id that was erased a moment ago, so a short page is not necessarily the last.
        match last.map(successor) {
            Some(Some(next)) => self.from = next,
            Some(None) | None => self.done = true,
        }
        Ok(if last.is_some() { Some(items) } else { None })
    }
}

/// The conditions for the visits of a page, and the additions to each.
struct Wanted {
    window: Window,
    area: Option<String>,
    assumed_stay: Duration,
    acceptance: bool,
    since: Option<Arc<VersionVector>>,
}

/// One page: the last id that it looked at, and the items for the list. A row that does not decode is an item, because
/// it may belong to the window and area that were asked for.
fn read(
    app: &App,
    status: &Status,
    query: &Query,
    wanted: &Wanted,
) -> Result<(Option<DocumentId>, Vec<Item>), Problem> {
    // A visit that expires while a long list is read is hidden from the rest of the list.
    let page = app.handle.reader().scan(query, app.view(status))?;
    let mut rows = page.rows;
    for id in &page.unreadable {
        rows.entry(*id).or_default();
    }
    let mut items = Vec::with_capacity(rows.len());
    for (id, rows) in rows {
        let undecodable = page.unreadable.iter().filter(|unreadable| **unreadable == id).count();
        items.extend((0..undecodable).map(|_| Item::Unreadable));
        if undecodable > 0 {
            app.metrics.unreadable_rows.inc_by(undecodable as u64);
            tracing::error!(
                action = "check the disk; compare the list with that of another region",
                "a stored visit does not decode: it is left out of the answer"
            );
        }
        let Some(id) = VisitId::from_document_id(id) else { continue };
        let stored = read_visit(app, id, &rows);
        items.extend((0..stored.unreadable).map(|_| Item::Unreadable));
        let Some((visit, _)) = stored.visit else { continue };
        let is_there = wanted.area.as_ref().is_none_or(|wanted| visit.areas().any(|area| area == wanted));
        if wanted.window.names(&visit, wanted.assumed_stay) && is_there {
            let accepted = if wanted.acceptance { first_acceptance(app, status, &rows)? } else { None };
            let region = accepting_region(status, &rows);
            let knew = |known: &Arc<VersionVector>| {
                rows.iter().any(|(_, row)| row.creators().into_iter().any(|dot| known.contains(dot)))
            };
            let is_new = wanted.since.as_ref().is_some_and(|known| !knew(known));
            items.push(Item::Visit(Box::new(Found { visit, region, is_new, accepted })));
        }
    }
    Ok((page.last, items))
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
