//! Reading documents straight from storage, beside the replica.
//!
//! # Invariants
//! - What is dead by time or by a tombstone is never returned. Rows are read before tombstones, so an erasure
//!   that was applied before the read began is always seen, though its rows may still lie there for a moment.
//! - Readers see applied batches that may not be durable yet; the driver holds an answer back until they are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use crate::key::{Bucket, Collection, DocumentId, DocumentKey, DocumentName, TenantId};
use crate::row::Row;
use crate::storage::{
    Storage, StorageError, document_key, document_range, read_document_key, read_tombstone_key, tombstone_key,
    tombstone_range,
};
use crate::time::Wall;

/// A view of the documents in a store.
#[derive(Clone, Debug)]
pub struct Reader<S> {
    storage: S,
    max_retention: Duration,
}

/// Documents of one tenant whose ids lie in a range.
#[derive(Clone, Debug)]
pub struct Query {
    /// Kind.
    pub collection: Collection,
    /// Owner.
    pub tenant: TenantId,
    /// First id wanted.
    pub from: DocumentId,
    /// First id not wanted any more.
    pub to: DocumentId,
    /// Most ids to return.
    pub limit: usize,
}

impl<S: Storage> Reader<S> {
    /// A reader of `storage`.
    #[must_use]
    pub fn new(storage: S, max_retention: Duration) -> Reader<S> {
        Reader { storage, max_retention }
    }

    /// Every live row of one name (more than one if the retention changed between two retries).
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails or a row is corrupt.
    pub fn rows(
        &self,
        name: &DocumentName,
        lasting: bool,
        as_of: Wall,
    ) -> Result<Vec<(DocumentKey, Row)>, StorageError> {
        let (start, end) = document_range(&name.encode());
        let mut found = Vec::new();
        for bucket in self.buckets_of(name, lasting) {
            self.collect(bucket, &start, &end, as_of, usize::MAX, &mut found)?;
        }
        if !found.is_empty() && self.is_erased(name, lasting)? {
            found.clear();
        }
        Ok(found)
    }

    /// The live row of one key.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails or the row is corrupt.
    pub fn row(&self, key: &DocumentKey, as_of: Wall) -> Result<Option<Row>, StorageError> {
        let bucket = key.bucket();
        if key.expires_at <= as_of {
            return Ok(None);
        }
        let Some(stored) = self.storage.get(bucket, &document_key(key))? else { return Ok(None) };
        if self.is_erased(&key.name, key.expires_at == Wall::NEVER)? {
            return Ok(None);
        }
        Row::decode(key, stored).map(Some).map_err(|_| StorageError::Corrupt { what: "row", bucket })
    }

    /// Whether a tombstone says that the name is gone for good.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails.
    pub fn is_erased(&self, name: &DocumentName, lasting: bool) -> Result<bool, StorageError> {
        let bucket = if lasting { Bucket::Lasting } else { name.buckets(self.max_retention).1 };
        Ok(self.storage.get(bucket, &tombstone_key(name))?.is_some())
    }

    /// Live rows in order of id, at most `limit` ids. Ask again from the successor of the last id for more.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails or a row is corrupt.
    pub fn scan(
        &self,
        query: &Query,
        as_of: Wall,
    ) -> Result<BTreeMap<DocumentId, Vec<(DocumentKey, Row)>>, StorageError> {
        let name = |id| DocumentName { collection: query.collection, tenant: query.tenant, id };
        let (start, _) = document_range(&name(query.from).encode());
        let (end, _) = document_range(&name(query.to).encode());
        // A document that arrived before `from` is not wanted, so no bucket before that day can hold one.
        let first = Bucket::of(query.from.arrival());
        let last = name(query.to).buckets(self.max_retention).1;
        let mut found = Vec::new();
        for bucket in self.storage.buckets().range(first..=last) {
            self.collect(*bucket, &start, &end, as_of, query.limit, &mut found)?;
        }
        let mut rows: BTreeMap<DocumentId, Vec<(DocumentKey, Row)>> = BTreeMap::new();
        for (key, row) in found {
            rows.entry(key.name.id).or_default().push((key, row));
        }
        if let Some(first_beyond) = rows.keys().nth(query.limit).copied() {
            rows.split_off(&first_beyond);
        }
        if let (Some((lowest, _)), Some((highest, _))) = (rows.first_key_value(), rows.last_key_value()) {
            for erased in self.erased(query, *lowest, *highest)? {
                rows.remove(&erased);
            }
        }
        Ok(rows)
    }

    /// Ids of the tenant in `lowest..=highest` that have tombstones.
    fn erased(
        &self,
        query: &Query,
        lowest: DocumentId,
        highest: DocumentId,
    ) -> Result<BTreeSet<DocumentId>, StorageError> {
        let name = |id| DocumentName { collection: query.collection, tenant: query.tenant, id };
        let (start, _) = tombstone_range(&name(lowest).encode());
        let (_, end) = tombstone_range(&name(highest).encode());
        let mut erased = BTreeSet::new();
        // A tombstone lies in the bucket of the latest possible expiry of its id.
        let days = name(lowest).buckets(self.max_retention).1..=name(highest).buckets(self.max_retention).1;
        for bucket in self.storage.buckets().range(days) {
            self.storage.scan(*bucket, &start, &end, &mut |key, _| {
                erased.extend(read_tombstone_key(key).map(|name| name.id));
                ControlFlow::Continue(())
            })?;
        }
        Ok(erased)
    }

    /// Every live document of the store with its row: for tests and full comparisons.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails or a row is corrupt.
    pub fn all(&self, as_of: Wall) -> Result<BTreeMap<DocumentKey, Row>, StorageError> {
        let (start, end) = document_range(&[]);
        let mut found = Vec::new();
        for bucket in self.storage.buckets() {
            self.collect(bucket, &start, &end, as_of, usize::MAX, &mut found)?;
        }
        let mut live = BTreeMap::new();
        for (key, row) in found {
            if !self.is_erased(&key.name, key.expires_at == Wall::NEVER)? {
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
        start: &[u8],
        end: &[u8],
        as_of: Wall,
        limit: usize,
        found: &mut Vec<(DocumentKey, Row)>,
    ) -> Result<(), StorageError> {
        let mut taken = 0;
        let mut corrupt = false;
        self.storage.scan(bucket, start, end, &mut |key, value| {
            let Some(key) = read_document_key(key) else {
                corrupt = true;
                return ControlFlow::Break(());
            };
            if key.expires_at > as_of {
                match Row::decode(&key, value.to_vec()) {
                    Ok(row) => found.push((key, row)),
                    Err(_) => corrupt = true,
                }
                taken += 1;
            }
            // One more than wanted: two rows may have the same id.
            if taken > limit || corrupt { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if corrupt { Err(StorageError::Corrupt { what: "row", bucket }) } else { Ok(()) }
    }
}
