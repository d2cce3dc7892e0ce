//! Reading documents straight from storage, beside the replica.
//!
//! A [`View`] says what one answer may show: documents that had not expired at one moment, and changes that one version
//! vector covers. Storage holds more than that, because a batch is visible as soon as it is applied. The reader leaves
//! out what the view does not cover, so an answer shows no change that a crash may undo, and no read waits for the
//! disk.
//!
//! # Invariants
//! - A document that is expired or erased is never returned. Rows are read before tombstones, so an erasure that was
//!   durable before the read began is always seen, even if its rows are still there for a moment.
//! - Every change and every tombstone that a read acts on has a dot that the view covers.
//!
//! # Why a missing row needs no waiting
//! The replica removes the rows of an erased document only after the tombstone is durable. So a row that is missing was
//! never written, or is erased or expired for good.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use crate::chunk::ChangeError;
use crate::ids::Dot;
use crate::key::{Bucket, Collection, DocumentId, DocumentKey, DocumentName, TenantId};
use crate::log::{LogEntry, Tombstone};
use crate::row::Row;
use crate::storage::{
    KeyRange, Storage, StorageError, document_key, log_key, scan_documents, scan_tombstones, tombstone_key,
};
use crate::time::{Hlc, Wall};
use crate::version::VersionVector;

/// Reads the documents of a store.
#[derive(Clone, Debug)]
pub struct Reader<S> {
    storage: S,
    max_retention: Duration,
    unreadable: Option<SyncSender<DocumentKey>>,
}

/// What one answer may show.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    as_of: Wall,
    covered: Option<&'a VersionVector>,
}

impl<'a> View<'a> {
    /// Shows changes that `durable` covers, of documents that have not expired at `as_of`. Take `durable` before the
    /// first read: a session token that joins it then covers exactly what the answer shows.
    #[must_use]
    pub fn durable(as_of: Wall, durable: &'a VersionVector) -> View<'a> {
        View { as_of, covered: Some(durable) }
    }

    /// Everything applied that has not expired at `as_of`, durable or not. For checks of a store, and for answers that
    /// no client sees.
    #[must_use]
    pub fn applied(as_of: Wall) -> View<'static> {
        View { as_of, covered: None }
    }

    fn covers(&self, tombstone: &Tombstone) -> bool {
        self.covered.is_none_or(|covered| covered.contains(tombstone.dot))
    }
}

/// Documents of one tenant whose ids lie in a range.
#[derive(Clone, Debug)]
pub struct Query {
    /// Which kind of document.
    pub collection: Collection,
    /// To whom it belongs.
    pub tenant: TenantId,
    /// First id wanted.
    pub from: DocumentId,
    /// First id after the range.
    pub to: DocumentId,
    /// Most ids to look at.
    pub limit: usize,
}

/// A part of a scan.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Live rows in order of id.
    pub rows: BTreeMap<DocumentId, Vec<(DocumentKey, Row)>>,
    /// Ids of the rows that do not decode, one for each row. Those rows are left out.
    pub unreadable: Vec<DocumentId>,
    /// The last id that was looked at, shown or not: the next page begins after it. `None` at the end.
    pub last: Option<DocumentId>,
}

/// Lasting documents of one collection.
#[derive(Clone, Debug, Default)]
pub struct LastingPage {
    /// Live rows in order of name. Rows that do not decode are left out.
    pub rows: Vec<(DocumentKey, Row)>,
    /// The last name that was looked at, shown or not: the next page begins after it. `None` at the end.
    pub last: Option<DocumentName>,
}

impl<S: Storage> Reader<S> {
    /// A reader of `storage`.
    #[must_use]
    pub fn new(storage: S, max_retention: Duration) -> Reader<S> {
        Reader { storage, max_retention, unreadable: None }
    }

    /// The same reader; it also tells of rows that do not decode, for [`crate::Replica::note_unreadable`]. If the channel
    /// is full it does not, because the next read of the row tells again.
    #[must_use]
    pub fn telling(self, unreadable: SyncSender<DocumentKey>) -> Reader<S> {
        Reader { unreadable: Some(unreadable), ..self }
    }

    /// The part of a stored row that a view shows; `None` if it covers no change of it.
    fn shown(&self, key: &DocumentKey, stored: &[u8], view: View<'_>) -> Result<Option<Row>, ChangeError> {
        shown(stored, view).inspect_err(|_| {
            // An error means that the channel is full, or that the replica has ended.
            let _ = self.unreadable.as_ref().map(|tell| tell.try_send(*key));
        })
    }

    /// Every live row of one name (more than one if the retention changed between two retries).
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails or a row is corrupt.
    pub fn rows(
        &self,
        name: &DocumentName,
        lasting: bool,
        view: View<'_>,
    ) -> Result<Vec<(DocumentKey, Row)>, StorageError> {
        let range = KeyRange::of_documents(&name.encode());
        let mut found = Vec::new();
        for bucket in self.buckets_of(name, lasting) {
            self.collect(bucket, &range, view, &mut found)?;
        }
        if !found.is_empty() && self.is_erased(name, lasting, view)? {
            found.clear();
        }
        Ok(found)
    }

    /// The live row of one key.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails or the row is corrupt.
    pub fn row(&self, key: &DocumentKey, view: View<'_>) -> Result<Option<Row>, StorageError> {
        let bucket = key.bucket();
        if key.expires_at <= view.as_of {
            return Ok(None);
        }
        let Some(stored) = self.storage.get(bucket, &document_key(key))? else { return Ok(None) };
        if self.is_erased(&key.name, key.expires_at == Wall::NEVER, view)? {
            return Ok(None);
        }
        self.shown(key, &stored, view).map_err(StorageError::corrupt("row", bucket))
    }

    /// Whether the name is erased by a tombstone.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails or the tombstone is corrupt.
    pub fn is_erased(&self, name: &DocumentName, lasting: bool, view: View<'_>) -> Result<bool, StorageError> {
        let bucket = if lasting { Bucket::Lasting } else { name.buckets(self.max_retention).1 };
        let Some(stored) = self.storage.get(bucket, &tombstone_key(name))? else { return Ok(false) };
        Ok(view.covers(&StorageError::decode(&stored, "tombstone", bucket)?))
    }

    /// Rows in order of id, of at most `limit` ids. Ask again from the successor of [`Page::last`] for more.
    ///
    /// Days are merged as they are needed, so a page reads about `limit` rows and one row of each later day.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails or a key or a tombstone is corrupt.
    pub fn scan(&self, query: &Query, view: View<'_>) -> Result<Page, StorageError> {
        let name = |id| DocumentName { collection: query.collection, tenant: query.tenant, id };
        let range = KeyRange {
            start: KeyRange::of_documents(&name(query.from).encode()).start,
            end: KeyRange::of_documents(&name(query.to).encode()).start,
        };
        // Documents that arrived before `from` are not wanted, so buckets before that day hold none that are.
        let first = Bucket::of(query.from.arrival());
        let last = name(query.to).buckets(self.max_retention).1;
        let buckets = self.storage.buckets();
        let mut days: Vec<Day> = buckets.range(first..=last).map(|bucket| Day::new(*bucket, range.clone())).collect();
        let mut page = Page::default();
        let mut ids = 0;
        loop {
            for day in &mut days {
                day.fill(&self.storage, view.as_of, query.limit)?;
            }
            let next =
                days.iter_mut().filter(|day| !day.read.is_empty()).min_by_key(|day| day.read.front().map(|r| r.0));
            let Some((key, stored)) = next.and_then(|day| day.read.pop_front()) else { break };
            if page.last != Some(key.name.id) {
                if ids == query.limit {
                    break;
                }
                ids += 1;
                page.last = Some(key.name.id);
            }
            match self.shown(&key, &stored, view) {
                Ok(Some(row)) => page.rows.entry(key.name.id).or_default().push((key, row)),
                Ok(None) => {}
                Err(_) => page.unreadable.push(key.name.id),
            }
        }
        if let (Some((lowest, _)), Some((highest, _))) = (page.rows.first_key_value(), page.rows.last_key_value()) {
            for erased in self.erased(query, *lowest, *highest, view)? {
                page.rows.remove(&erased);
            }
        }
        debug_assert!(page.rows.len() <= query.limit, "a page is longer than was asked for");
        debug_assert!(
            page.rows.values().flatten().all(|(key, _)| key.expires_at > view.as_of),
            "an expired document is shown"
        );
        Ok(page)
    }

    /// Live rows of a collection's lasting documents of all tenants, at most `limit` of them, behind the name `after`.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails or a key or a tombstone is corrupt.
    pub fn lasting(
        &self,
        collection: Collection,
        after: Option<&DocumentName>,
        limit: usize,
        view: View<'_>,
    ) -> Result<LastingPage, StorageError> {
        let mut range = KeyRange::of_documents(&[collection.0]);
        if let Some(after) = after {
            range.start = KeyRange::of_documents(&after.encode()).end;
        }
        let (mut stored_rows, mut ended) = (Vec::new(), true);
        scan_documents(&self.storage, Bucket::Lasting, &range, &mut |key, stored| {
            if stored_rows.len() == limit {
                ended = false;
                return Ok(ControlFlow::Break(()));
            }
            stored_rows.push((key, stored.to_vec()));
            Ok(ControlFlow::Continue(()))
        })?;
        let last = stored_rows.last().filter(|_| !ended).map(|(key, _)| key.name);
        let mut page = LastingPage { rows: Vec::new(), last };
        for (key, stored) in stored_rows {
            if let Ok(Some(row)) = self.shown(&key, &stored, view)
                && !self.is_erased(&key.name, true, view)?
            {
                page.rows.push((key, row));
            }
        }
        Ok(page)
    }

    /// Ids of the tenant in `lowest..=highest` that have tombstones.
    fn erased(
        &self,
        query: &Query,
        lowest: DocumentId,
        highest: DocumentId,
        view: View<'_>,
    ) -> Result<BTreeSet<DocumentId>, StorageError> {
        let name = |id| DocumentName { collection: query.collection, tenant: query.tenant, id };
        let range = KeyRange::of_tombstones(&name(lowest).encode());
        let range = range.through(KeyRange::of_tombstones(&name(highest).encode()));
        let mut erased = BTreeSet::new();
        // A tombstone lies in the bucket of the latest possible expiry of its id.
        let days = name(lowest).buckets(self.max_retention).1..=name(highest).buckets(self.max_retention).1;
        for bucket in self.storage.buckets().range(days) {
            scan_tombstones(&self.storage, *bucket, &range, &mut |name, tombstone| {
                erased.extend(view.covers(&tombstone).then_some(name.id));
            })?;
        }
        Ok(erased)
    }

    /// When the document was created: the earliest time among the log entries of the changes that created it, by the
    /// clocks of the replicas that took them. `None` if the view covers none of them, or they are gone. A change that
    /// a replica issued again after it lost a bucket has that later time if no peer had it.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails or a log entry is corrupt.
    pub fn created_at(&self, key: &DocumentKey, row: &Row, view: View<'_>) -> Result<Option<Wall>, StorageError> {
        let times = self.times(key, row.creators(), view)?;
        Ok(times.into_iter().min().map(Hlc::wall))
    }

    /// When the document last changed: the latest time among the log entries of its changes, by the clocks of the replicas
    /// that took them. `None` if the view covers none of them, or they are gone.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails or a log entry is corrupt.
    pub fn changed_at(&self, key: &DocumentKey, row: &Row, view: View<'_>) -> Result<Option<Wall>, StorageError> {
        let times = self.times(key, row.dots(), view)?;
        Ok(times.into_iter().max().map(Hlc::wall))
    }

    /// The times of the log entries at `dots`, as far as the view covers them and they are here.
    fn times(&self, key: &DocumentKey, dots: Vec<Dot>, view: View<'_>) -> Result<Vec<Hlc>, StorageError> {
        let bucket = key.bucket();
        let mut times = Vec::new();
        for dot in dots.into_iter().filter(|dot| view.covered.is_none_or(|covered| covered.contains(*dot))) {
            let Some(stored) = self.storage.get(bucket, &log_key(dot))? else { continue };
            let LogEntry { hlc, .. } = StorageError::decode(&stored, "log entry", bucket)?;
            times.push(hlc);
        }
        Ok(times)
    }

    /// Every live document of the store with its row, durable or not: for tests and full comparisons.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails or a row is corrupt.
    pub fn all(&self, as_of: Wall) -> Result<BTreeMap<DocumentKey, Row>, StorageError> {
        let view = View::applied(as_of);
        let range = KeyRange::of_documents(&[]);
        let mut found = Vec::new();
        for bucket in self.storage.buckets() {
            self.collect(bucket, &range, view, &mut found)?;
        }
        let mut live = BTreeMap::new();
        for (key, row) in found {
            if !self.is_erased(&key.name, key.expires_at == Wall::NEVER, view)? {
                live.insert(key, row);
            }
        }
        Ok(live)
    }

    fn buckets_of(&self, name: &DocumentName, lasting: bool) -> Vec<Bucket> {
        if lasting {
            return vec![Bucket::Lasting];
        }
        let (first, last) = name.buckets(self.max_retention);
        self.storage.buckets().range(first..=last).copied().collect()
    }

    fn collect(
        &self,
        bucket: Bucket,
        range: &KeyRange,
        view: View<'_>,
        found: &mut Vec<(DocumentKey, Row)>,
    ) -> Result<(), StorageError> {
        scan_documents(&self.storage, bucket, range, &mut |key, stored| {
            if key.expires_at > view.as_of {
                let row = self.shown(&key, stored, view).map_err(StorageError::corrupt("row", bucket))?;
                found.extend(row.map(|row| (key, row)));
            }
            Ok(ControlFlow::Continue(()))
        })
    }
}

/// The part of a stored row that a view shows; `None` if it covers no change of it.
fn shown(stored: &[u8], view: View<'_>) -> Result<Option<Row>, ChangeError> {
    let row = Row::decode(stored)?;
    let Some(covered) = view.covered else { return Ok(Some(row)) };
    let row = row.within(covered)?;
    Ok(if row.is_empty() { None } else { Some(row) })
}

/// The rows that a scan has read ahead in one bucket.
struct Day {
    bucket: Bucket,
    /// The rows that are left to read.
    rest: KeyRange,
    read: VecDeque<(DocumentKey, Vec<u8>)>,
    /// Rows of the next part: one at first, because most days of a long window begin after the page ends.
    part: usize,
    ended: bool,
}

impl Day {
    fn new(bucket: Bucket, rest: KeyRange) -> Day {
        Day { bucket, rest, read: VecDeque::new(), part: 1, ended: false }
    }

    /// Reads the next part if no row is left.
    fn fill(&mut self, storage: &impl Storage, as_of: Wall, most: usize) -> Result<(), StorageError> {
        if !self.read.is_empty() || self.ended {
            return Ok(());
        }
        let (read, part) = (&mut self.read, self.part);
        let mut next = None;
        scan_documents(storage, self.bucket, &self.rest, &mut |key, stored| {
            if read.len() == part {
                next = Some(document_key(&key));
                return Ok(ControlFlow::Break(()));
            }
            if key.expires_at > as_of {
                read.push_back((key, stored.to_vec()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        self.part = (self.part * 8).min(most.max(1));
        match next {
            Some(next) => self.rest.start = next,
            None => self.ended = true,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
