//! The store as it stands at one moment, read while writes go on.
//!
//! # The problem
//! A day is a database of its own, so no engine has a snapshot of all of them.
//!
//! # The algorithm
//! A snapshot begins between two batches and goes through the store in key order. While it runs, each batch first hands
//! over the old values of the keys that it changes and that the snapshot has not come to yet. What lies behind needs
//! nothing.
//!
//! # Invariants
//! - A snapshot is the store at its begin. Two things may be missing: a day that was dropped meanwhile, which
//!   [`Snapshot::dropped`] names, and rows of an hour that was over meanwhile.
//! - No pair is handed out before the begin is durable. Otherwise a crash could undo entries that the backup has, and
//!   their dots be used again.
//! - A batch waits for no read of a snapshot. A snapshot waits for one batch at most, at its begin.
//! - Memory is bounded: beyond the bound the snapshot fails, and the node goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use replication::{Bucket, DocumentKey, DocumentName, ScanVisitor, Storage, StorageError, Wall, WriteBatch};

use super::Store;

/// Bytes that a kept value takes beside its own and those of its key.
const OVERHEAD: usize = 96;

/// A storage engine of which snapshots are taken, one at a time.
pub struct Snapshots {
    engine: Store,
    /// Held while a batch is applied: a snapshot begins between two.
    applying: Mutex<()>,
    /// Whether a snapshot runs; changed only between two batches.
    is_running: AtomicBool,
    run: Mutex<Option<Run>>,
}

/// A snapshot that runs.
struct Run {
    /// The buckets that there were.
    buckets: BTreeSet<Bucket>,
    /// Everything before this is handed out.
    next: (Bucket, Vec<u8>),
    /// Old values; `None` for a key that was not there.
    kept: BTreeMap<(Bucket, Vec<u8>), Option<Vec<u8>>>,
    kept_bytes: usize,
    most_kept: usize,
    dropped: BTreeSet<Bucket>,
    failed: Option<SnapshotError>,
}

/// Why a snapshot ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Another snapshot is running.
    #[error("another backup is running")]
    Running,
    /// Writes changed more than may be kept.
    #[error("the store changed faster than the backup was read: {most_kept} bytes of old values are kept")]
    TooMuchChanged {
        /// How much may be kept.
        most_kept: usize,
    },
    /// The engine failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Pairs of one bucket, in key order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairs {
    /// Their bucket.
    pub bucket: Bucket,
    /// Key and value.
    pub pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Run {
    /// Whether the old value of a key is wanted and not kept yet.
    fn wants(&self, bucket: Bucket, key: &[u8]) -> bool {
        let is_ahead = (bucket, key) >= (self.next.0, &self.next.1[..]);
        is_ahead && self.failed.is_none() && self.buckets.contains(&bucket) && !self.dropped.contains(&bucket)
    }

    fn keep(&mut self, bucket: Bucket, key: Vec<u8>, value: Option<Vec<u8>>) {
        if !self.wants(bucket, &key) {
            return;
        }
        let size = OVERHEAD + key.len() + value.as_ref().map_or(0, Vec::len);
        if let std::collections::btree_map::Entry::Vacant(place) = self.kept.entry((bucket, key)) {
            place.insert(value);
            self.kept_bytes += size;
        }
        if self.kept_bytes > self.most_kept {
            self.fail(SnapshotError::TooMuchChanged { most_kept: self.most_kept });
        }
    }

    fn fail(&mut self, error: SnapshotError) {
        self.kept = BTreeMap::new();
        self.kept_bytes = 0;
        self.failed.get_or_insert(error);
    }

    /// Takes out what was kept of the keys before `until`, of one bucket.
    fn take(&mut self, bucket: Bucket, until: Option<&[u8]>) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let end = until.map_or(Bound::Included((bucket, vec![u8::MAX])), |key| Bound::Excluded((bucket, key.to_vec())));
        let keys: Vec<_> =
            self.kept.range((Bound::Included((bucket, Vec::new())), end)).map(|(key, _)| key.clone()).collect();
        let taken = keys.into_iter().filter_map(|key| Some((key.clone(), self.kept.remove(&key)?)));
        let taken: Vec<_> = taken.map(|((_, key), value)| (key, value)).collect();
        let size =
            |(key, value): &(Vec<u8>, Option<Vec<u8>>)| OVERHEAD + key.len() + value.as_ref().map_or(0, Vec::len);
        self.kept_bytes -= taken.iter().map(size).sum::<usize>();
        taken
    }
}

impl Snapshots {
    /// Wraps an engine.
    #[must_use]
    pub fn new(engine: Store) -> Arc<Snapshots> {
        let (applying, is_running, run) = (Mutex::default(), AtomicBool::new(false), Mutex::default());
        Arc::new(Snapshots { engine, applying, is_running, run })
    }

    /// Begins a snapshot that keeps at most so many bytes of old values.
    ///
    /// # Errors
    /// [`SnapshotError::Running`], and [`SnapshotError::Storage`] if the begin cannot be made durable.
    pub fn begin(self: &Arc<Snapshots>, most_kept: usize) -> Result<Snapshot, SnapshotError> {
        let between_batches = self.applying.lock();
        let mut run = self.run.lock();
        if run.is_some() {
            return Err(SnapshotError::Running);
        }
        let buckets = self.engine.buckets();
        let first = buckets.first().copied().unwrap_or(Bucket::Lasting);
        *run = Some(Run {
            buckets: buckets.clone(),
            next: (first, Vec::new()),
            kept: BTreeMap::new(),
            kept_bytes: 0,
            most_kept,
            dropped: BTreeSet::new(),
            failed: None,
        });
        self.is_running.store(true, Ordering::SeqCst);
        drop((run, between_batches));
        let snapshot = Snapshot { of: self.clone(), left: buckets, start: Vec::new() };
        self.engine.sync()?;
        Ok(snapshot)
    }

    /// Bytes of old values that are kept now.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.run.lock().as_ref().map_or(0, |run| run.kept_bytes)
    }

    /// Hands the values over that a batch is about to change. That one cannot be read ends the snapshot, not the batch.
    fn keep(&self, batch: &WriteBatch) {
        let wanted: Vec<(Bucket, &Vec<u8>)> = {
            let run = self.run.lock();
            let Some(run) = run.as_ref() else { return };
            let keys =
                batch.buckets.iter().flat_map(|(bucket, batch)| batch.writes.iter().map(|(key, _)| (*bucket, key)));
            keys.filter(|(bucket, key)| run.wants(*bucket, key)).collect()
        };
        for (bucket, key) in wanted {
            let value = self.engine.get(bucket, key);
            let mut run = self.run.lock();
            let Some(run) = run.as_mut() else { return };
            match value {
                Ok(value) => run.keep(bucket, key.clone(), value),
                Err(error) => run.fail(error.into()),
            }
        }
    }
}

/// A snapshot; dropping it ends it.
pub struct Snapshot {
    of: Arc<Snapshots>,
    /// The buckets that are not handed out whole.
    left: BTreeSet<Bucket>,
    /// The next key of the first of them.
    start: Vec<u8>,
}

impl Snapshot {
    /// The next pairs, all of one bucket: about so many bytes of them. `None` when all are handed out.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn next(&mut self, bytes: usize) -> Result<Option<Pairs>, SnapshotError> {
        while let Some(bucket) = self.left.first().copied() {
            let (mut pairs, mut size, mut is_whole) = (BTreeMap::new(), 0, true);
            let scanned = self.of.engine.scan(bucket, &self.start, &[u8::MAX], &mut |key, value| {
                size += key.len() + value.len();
                pairs.insert(key.to_vec(), value.to_vec());
                is_whole = size < bytes;
                if is_whole { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            // The least key that is greater than the last one.
            let until = pairs.last_key_value().filter(|_| !is_whole).map(|(key, _)| [key, &[0][..]].concat());
            let mut run = self.of.run.lock();
            let Some(run) = run.as_mut() else { return Ok(None) };
            if let Some(failed) = run.failed.take() {
                return Err(failed);
            }
            let is_dropped = run.dropped.contains(&bucket);
            if !is_dropped {
                scanned?;
                // What was kept is older than what was read.
                for (key, value) in run.take(bucket, until.as_deref()) {
                    match value {
                        Some(value) => pairs.insert(key, value),
                        None => pairs.remove(&key),
                    };
                }
            }
            match until.filter(|_| !is_dropped) {
                Some(until) => self.start = until,
                None => {
                    self.left.remove(&bucket);
                    self.start = Vec::new();
                }
            }
            // Beyond the last bucket there is nothing to keep.
            let end = (Bucket::Lasting, vec![u8::MAX]);
            run.next = self.left.first().map_or(end, |bucket| (*bucket, self.start.clone()));
            if !is_dropped && !pairs.is_empty() {
                return Ok(Some(Pairs { bucket, pairs: pairs.into_iter().collect() }));
            }
        }
        Ok(None)
    }

    /// The days that were dropped since the begin. What was handed out of them is not all.
    #[must_use]
    pub fn dropped(&self) -> BTreeSet<Bucket> {
        self.of.run.lock().as_ref().map(|run| run.dropped.clone()).unwrap_or_default()
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        *self.of.run.lock() = None;
        self.of.is_running.store(false, Ordering::SeqCst);
    }
}

impl Storage for Snapshots {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.engine.get(bucket, key)
    }

    fn scan(
        &self,
        bucket: Bucket,
        start: &[u8],
        end: &[u8],
        visitor: &mut ScanVisitor<'_>,
    ) -> Result<(), StorageError> {
        self.engine.scan(bucket, start, end, visitor)
    }

    fn apply(&self, batch: &WriteBatch) -> Result<(), StorageError> {
        let _whole = self.applying.lock();
        if self.is_running.load(Ordering::SeqCst) {
            self.keep(batch);
        }
        self.engine.apply(batch)
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.engine.sync()
    }

    fn drop_bucket(&self, bucket: Bucket) -> Result<(), StorageError> {
        if let Some(run) = self.run.lock().as_mut().filter(|run| run.wants(bucket, &[u8::MAX])) {
            run.take(bucket, None);
            run.dropped.insert(bucket);
        }
        self.engine.drop_bucket(bucket)
    }

    fn expire(&self, over: Wall) -> Result<(), StorageError> {
        self.engine.expire(over)
    }

    fn is_destroyed(&self, name: &DocumentName, lasting: bool) -> bool {
        self.engine.is_destroyed(name, lasting)
    }

    fn destroyed_rows(&self) -> Result<BTreeSet<DocumentKey>, StorageError> {
        self.engine.destroyed_rows()
    }

    fn buckets(&self) -> BTreeSet<Bucket> {
        self.engine.buckets()
    }
}

#[cfg(test)]
mod tests;
