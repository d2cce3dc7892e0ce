//! Storage in memory that forgets unsynced batches in a crash, as a machine does.
//!
//! Tests and the simulator run on it. Batches reach "the disk" at [`Storage::sync`]; [`MemoryStorage::crash`]
//! keeps a prefix of each bucket's unsynced batches, which is all that the contract promises.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::key::Bucket;
use crate::storage::{BucketBatch, Storage, StorageError, Visit, WriteBatch};

type Table = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug, Default)]
struct Inner {
    /// What readers see.
    visible: BTreeMap<Bucket, Table>,
    /// What a crash leaves.
    durable: BTreeMap<Bucket, Table>,
    unsynced: BTreeMap<Bucket, VecDeque<BucketBatch>>,
}

/// An in-memory engine; clones share their contents.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage(Arc<Mutex<Inner>>);

/// What is on the disk at one moment, for a restore later.
#[derive(Clone, Debug)]
pub struct Snapshot(BTreeMap<Bucket, Table>);

impl MemoryStorage {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine dies: of each bucket's unsynced batches only the first `keep(bucket, count)` survive.
    pub fn crash(&self, mut keep: impl FnMut(Bucket, usize) -> usize) {
        let mut inner = self.inner();
        for (bucket, batches) in std::mem::take(&mut inner.unsynced) {
            let kept = keep(bucket, batches.len());
            let table = inner.durable.entry(bucket).or_default();
            for batch in batches.into_iter().take(kept) {
                write(table, &batch);
            }
        }
        inner.visible = inner.durable.clone();
    }

    /// A backup of the disk.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.inner().durable.clone())
    }

    /// Puts an old backup back: the disk goes back in time.
    pub fn restore(&self, snapshot: &Snapshot) {
        *self.inner() = Inner { visible: snapshot.0.clone(), durable: snapshot.0.clone(), unsynced: BTreeMap::new() };
    }

    /// Every stored value, for tests that look for bytes which must be gone.
    #[must_use]
    pub fn values(&self) -> Vec<Vec<u8>> {
        let inner = self.inner();
        inner.visible.values().flat_map(|table| table.values().cloned()).collect()
    }
}

fn write(table: &mut Table, batch: &BucketBatch) {
    for (key, value) in &batch.writes {
        match value {
            Some(value) => table.insert(key.clone(), value.clone()),
            None => table.remove(key),
        };
    }
}

impl Storage for MemoryStorage {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.inner().visible.get(&bucket).and_then(|table| table.get(key)).cloned())
    }

    fn scan(&self, bucket: Bucket, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        let inner = self.inner();
        let Some(table) = inner.visible.get(&bucket) else { return Ok(()) };
        for (key, value) in table.range(start.to_vec()..end.to_vec()) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batch: &WriteBatch) -> Result<(), StorageError> {
        let mut inner = self.inner();
        for (bucket, batch) in &batch.buckets {
            write(inner.visible.entry(*bucket).or_default(), batch);
            inner.unsynced.entry(*bucket).or_default().push_back(batch.clone());
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        let mut inner = self.inner();
        for (bucket, batches) in std::mem::take(&mut inner.unsynced) {
            let table = inner.durable.entry(bucket).or_default();
            for batch in &batches {
                write(table, batch);
            }
        }
        Ok(())
    }

    fn drop_bucket(&self, bucket: Bucket) -> Result<(), StorageError> {
        let mut inner = self.inner();
        inner.visible.remove(&bucket);
        inner.durable.remove(&bucket);
        inner.unsynced.remove(&bucket);
        Ok(())
    }

    fn buckets(&self) -> BTreeSet<Bucket> {
        self.inner().visible.keys().copied().collect()
    }
}
