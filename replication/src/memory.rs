//! Storage in memory that forgets unsynced batches in a crash, as a machine does.
//!
//! Tests and the simulator run on it. What is visible is kept once; beside it lies, for each unsynced batch, what it
//! replaced. [`Storage::sync`] drops that; [`MemoryStorage::crash`] puts it back for all but a prefix of each bucket's
//! unsynced batches, which is all that the contract promises, and may bring back a bucket that was dropped since.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::key::Bucket;
use crate::storage::{BucketBatch, LOG, Storage, StorageError, Visit, WriteBatch};

/// One bucket as readers see it.
#[derive(Clone, Debug, Default)]
struct Table {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    bytes: u64,
    log_entries: u64,
}

/// What one batch replaced in one bucket, in the order of its writes.
type Undo = Vec<(Vec<u8>, Option<Vec<u8>>)>;

#[derive(Clone, Debug, Default)]
struct Inner {
    /// What readers see.
    visible: BTreeMap<Bucket, Table>,
    /// Per bucket what its unsynced batches replaced, the oldest first.
    unsynced: BTreeMap<Bucket, VecDeque<Undo>>,
    /// Dropped since the last sync: nothing says yet that they will stay away.
    dropped: BTreeMap<Bucket, Table>,
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

    /// The machine dies: of each bucket's unsynced batches only the first `keep(bucket, count)` survive. A bucket that
    /// was dropped since the last sync is back unless `keep(bucket, 1)` is 1.
    pub fn crash(&self, keep: impl FnMut(Bucket, usize) -> usize) {
        self.inner().crash(keep);
    }

    /// A backup of the disk.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut durable = self.inner().clone();
        durable.crash(|_, _| 0);
        Snapshot(durable.visible)
    }

    /// Puts an old backup back: the disk goes back in time.
    pub fn restore(&self, snapshot: &Snapshot) {
        *self.inner() = Inner { visible: snapshot.0.clone(), ..Inner::default() };
    }

    /// Every stored value, for tests that look for bytes which must be gone.
    #[must_use]
    pub fn values(&self) -> Vec<Vec<u8>> {
        let inner = self.inner();
        inner.visible.values().flat_map(|table| table.values.values().cloned()).collect()
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.inner().visible.values().map(|table| table.bytes).sum()
    }

    /// Number of log entries.
    #[must_use]
    pub fn log_entries(&self) -> u64 {
        self.inner().visible.values().map(|table| table.log_entries).sum()
    }
}

impl Inner {
    fn crash(&mut self, mut keep: impl FnMut(Bucket, usize) -> usize) {
        for (bucket, table) in std::mem::take(&mut self.dropped) {
            if keep(bucket, 1) == 0 {
                self.visible.entry(bucket).or_insert(table);
            }
        }
        for (bucket, mut batches) in std::mem::take(&mut self.unsynced) {
            let kept = keep(bucket, batches.len());
            let Some(table) = self.visible.get_mut(&bucket) else { continue };
            for undo in batches.drain(kept.min(batches.len())..).rev() {
                for (key, value) in undo.into_iter().rev() {
                    table.put(key, value);
                }
            }
            if table.values.is_empty() {
                self.visible.remove(&bucket);
            }
        }
    }
}

impl Table {
    /// Sets or removes a value; returns the one before.
    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        let (is_log, key_len) = (key.first() == Some(&LOG), key.len());
        let size = |value: &Vec<u8>| (key_len + value.len()) as u64;
        if let Some(value) = &value {
            self.bytes += size(value);
            self.log_entries += u64::from(is_log);
        }
        let before = match value {
            Some(value) => self.values.insert(key, value),
            None => self.values.remove(&key),
        };
        if let Some(before) = &before {
            self.bytes -= size(before);
            self.log_entries -= u64::from(is_log);
        }
        before
    }

    fn write(&mut self, batch: &BucketBatch) -> Undo {
        batch.writes.iter().map(|(key, value)| (key.clone(), self.put(key.clone(), value.clone()))).collect()
    }
}

impl Storage for MemoryStorage {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.inner().visible.get(&bucket).and_then(|table| table.values.get(key)).cloned())
    }

    fn scan(&self, bucket: Bucket, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        let inner = self.inner();
        let Some(table) = inner.visible.get(&bucket) else { return Ok(()) };
        for (key, value) in table.values.range(start.to_vec()..end.to_vec()) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batch: &WriteBatch) -> Result<(), StorageError> {
        let mut inner = self.inner();
        for (bucket, batch) in &batch.buckets {
            let undo = inner.visible.entry(*bucket).or_default().write(batch);
            inner.unsynced.entry(*bucket).or_default().push_back(undo);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        let mut inner = self.inner();
        inner.unsynced.clear();
        inner.dropped.clear();
        Ok(())
    }

    fn drop_bucket(&self, bucket: Bucket) -> Result<(), StorageError> {
        let mut inner = self.inner();
        if let Some(table) = inner.visible.remove(&bucket) {
            inner.dropped.insert(bucket, table);
        }
        inner.unsynced.remove(&bucket);
        Ok(())
    }

    fn buckets(&self) -> BTreeSet<Bucket> {
        self.inner().visible.keys().copied().collect()
    }
}
