//! A disk that fails: the memory engine, and in front of it errors of the device.
//!
//! A failed call returns an error and changes nothing, and the replica must stop. [`Disk::crash`] decides at the moment
//! of the crash what is lost.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rand::RngExt as _;
use replication::memory::{MemoryStorage, Snapshot};
use replication::{Bucket, DocumentKey, ScanVisitor, Storage, StorageError, Wall, WriteBatch};

use super::stale::StalePages;
use crate::seed::Stream;

/// The device reported an error.
#[derive(Debug, thiserror::Error)]
enum DeviceError {
    #[error("no space left on the device")]
    Full,
    #[error("input/output error")]
    Io,
}

struct Faults {
    full: bool,
    read_errors: f64,
    draws: Stream,
    /// Reads do not fail.
    quiet: bool,
    /// How many calls failed so far.
    failed: u64,
    /// Bytes of all batches so far.
    written: u64,
}

fn size(batch: &WriteBatch) -> u64 {
    let writes = batch.buckets.iter().flat_map(|(_, bucket)| &bucket.writes);
    writes.map(|(key, value)| (key.len() + value.as_ref().map_or(0, Vec::len)) as u64).sum()
}

/// What happened to unsynced batches in a crash.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Crash {
    /// Some are lost.
    pub(super) lost: bool,
    /// Some have survived.
    pub(super) kept: bool,
}

/// How a disk applies a batch to its contents. Tests of the checks pass one that makes a mistake.
pub(crate) type Engine = fn(&MemoryStorage, &WriteBatch) -> Result<(), StorageError>;

/// One machine's disk; clones share it.
#[derive(Clone)]
pub(crate) struct Disk {
    memory: MemoryStorage,
    engine: Engine,
    faults: Arc<Mutex<Faults>>,
    stale: StalePages,
}

impl Disk {
    /// An empty disk; `draws` decides which reads fail.
    pub(super) fn new(draws: Stream, engine: Engine) -> Disk {
        let faults = Faults { full: false, read_errors: 0.0, draws, quiet: false, failed: 0, written: 0 };
        let faults = Arc::new(Mutex::new(faults));
        Disk { memory: MemoryStorage::default(), engine, faults, stale: StalePages::default() }
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock()
    }

    /// The contents of the disk, for checks: reading them never fails.
    #[must_use]
    pub(crate) fn contents(&self) -> &MemoryStorage {
        &self.memory
    }

    /// What the disk keeps of rows that were overwritten or removed.
    pub(crate) fn stale(&self) -> &StalePages {
        &self.stale
    }

    /// Runs `read` without errors of the device.
    pub(super) fn quietly<T>(&self, read: impl FnOnce() -> T) -> T {
        self.faults().quiet = true;
        let result = read();
        self.faults().quiet = false;
        result
    }

    /// How many calls failed so far.
    #[must_use]
    pub(crate) fn failed(&self) -> u64 {
        self.faults().failed
    }

    /// Bytes of all batches so far, keys and values.
    pub(super) fn written(&self) -> u64 {
        self.faults().written
    }

    pub(super) fn set_full(&self, full: bool) {
        self.faults().full = full;
    }

    pub(super) fn set_read_errors(&self, share: f64) {
        self.faults().read_errors = share;
    }

    /// The machine dies: of each bucket's unsynced batches a prefix survives. Returns whether some were lost, and some
    /// kept.
    pub(super) fn crash(&self) -> Crash {
        let draws = &mut self.faults().draws;
        let mut crash = Crash::default();
        self.memory.crash(|_, count| {
            let kept = draws.random_range(0..=count);
            crash.lost |= kept < count;
            crash.kept |= kept > 0;
            kept
        });
        crash
    }

    /// The process dies and the machine goes on: of each bucket's unsynced batches a prefix had reached the page cache,
    /// where it is visible and not durable.
    pub(super) fn kill(&self) {
        let draws = &mut self.faults().draws;
        self.memory.kill(|_, count| draws.random_range(0..=count));
    }

    pub(super) fn some_bucket(&self) -> Option<Bucket> {
        let buckets: Vec<Bucket> = self.memory.buckets().into_iter().collect();
        let nth = self.faults().draws.random_range(0..buckets.len().max(1));
        buckets.get(nth).copied()
    }

    pub(super) fn lose_bucket(&self, bucket: Bucket) {
        self.memory.lose_bucket(bucket);
    }

    /// Puts one bucket back to an older state. Returns whether that differs from its present state.
    pub(super) fn revert_bucket(&self, bucket: Bucket, to: &Snapshot) -> bool {
        let values = || {
            let mut values = Vec::new();
            let scanned = self.memory.scan(bucket, &[], &[0xff; 64], &mut |key, value| {
                values.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            });
            scanned.map(|()| values).ok()
        };
        let before = values();
        self.memory.revert_bucket(bucket, to);
        values() != before
    }

    /// A bit of some value flips. Returns its bucket.
    pub(super) fn flip(&self) -> Option<Bucket> {
        let bucket = self.some_bucket()?;
        let mut count = 0_usize;
        let counted = self.memory.scan(bucket, &[], &[0xff; 64], &mut |_, _| {
            count += 1;
            ControlFlow::Continue(())
        });
        counted.ok()?;
        let nth = self.faults().draws.random_range(0..count.max(1));
        self.memory.flip(bucket, nth).then_some(bucket)
    }

    /// With this probability a bit of a document's row flips, and the engine does not see it. Returns whether it did.
    pub(super) fn rot(&self, key: &DocumentKey, share: f64) -> bool {
        let draws = &mut self.faults().draws;
        let bit = draws.random_range(0..1 << 20);
        draws.random_bool(share) && self.memory.rot(key.bucket(), &[b"d", &key.encode()[..]].concat(), bit)
    }

    /// Whether a value of this bucket cannot be read.
    pub(crate) fn is_damaged(&self, bucket: Bucket) -> bool {
        self.memory.scan(bucket, &[], &[0xff; 64], &mut |_, _| ControlFlow::Continue(())).is_err()
    }

    /// Counts the errors that the engine reports.
    fn count<T>(&self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        let mut faults = self.faults();
        if result.is_err() && !faults.quiet {
            faults.failed += 1;
        }
        result
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.memory.snapshot()
    }

    pub(super) fn restore(&self, snapshot: &Snapshot) {
        self.memory.restore(snapshot);
    }

    fn device(&self, action: &'static str) -> Result<(), StorageError> {
        let mut faults = self.faults();
        let share = faults.read_errors;
        if share > 0.0 && !faults.quiet && faults.draws.random_bool(share) {
            faults.failed += 1;
            return Err(StorageError::Engine { action, source: Box::new(DeviceError::Io) });
        }
        Ok(())
    }
}

impl Storage for Disk {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.device("read a value")?;
        self.count(self.memory.get(bucket, key))
    }

    fn scan(
        &self,
        bucket: Bucket,
        start: &[u8],
        end: &[u8],
        visitor: &mut ScanVisitor<'_>,
    ) -> Result<(), StorageError> {
        self.device("scanned a bucket")?;
        self.count(self.memory.scan(bucket, start, end, visitor))
    }

    fn apply(&self, batch: &WriteBatch) -> Result<(), StorageError> {
        let mut faults = self.faults();
        if faults.full {
            faults.failed += 1;
            return Err(StorageError::Engine { action: "wrote a batch", source: Box::new(DeviceError::Full) });
        }
        faults.written += size(batch);
        self.stale.keep(batch);
        (self.engine)(&self.memory, batch)
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.device("synced")?;
        self.memory.sync()
    }

    fn drop_bucket(&self, bucket: Bucket) -> Result<(), StorageError> {
        self.memory.drop_bucket(bucket)
    }

    fn expire(&self, over: Wall) -> Result<(), StorageError> {
        self.memory.expire(over)
    }

    fn buckets(&self) -> BTreeSet<Bucket> {
        self.memory.buckets()
    }
}
