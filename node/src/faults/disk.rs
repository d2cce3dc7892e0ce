//! The store while its disk is slow, hangs or is full. It lies below [`crate::storage::Poison`], so the node takes a
//! failure for what it takes every failure of its engine for.

use std::collections::BTreeSet;
use std::io;
use std::thread;
use std::time::Duration;

use api::faults::Act;
use replication::{Bucket, DocumentKey, DocumentName, ScanVisitor, Storage, StorageError, Wall, WriteBatch};

use super::Faults;

/// How often a sync that waits looks whether the fault is over.
const LOOK: Duration = Duration::from_millis(20);

/// A store that the node's faults disturb.
pub struct DisturbedDisk<S> {
    /// The engine.
    pub engine: S,
    /// The node's faults.
    pub faults: Faults,
}

impl<S> DisturbedDisk<S> {
    /// Waits for as long as the faults say, and no longer than they last.
    fn wait(&self) {
        let mut waited = Duration::ZERO;
        loop {
            let hangs = self.faults.any(|act| matches!(act, Act::HungDisk {}));
            let late: Duration = self.faults.sum(|act| if let Act::SlowDisk { by } = act { Some(*by) } else { None });
            let left = if hangs { LOOK } else { late.saturating_sub(waited).min(LOOK) };
            if left.is_zero() {
                return;
            }
            thread::sleep(left);
            waited += left;
        }
    }

    fn write(&self) -> Result<(), StorageError> {
        if self.faults.any(|act| matches!(act, Act::FullDisk {})) {
            let source = io::Error::new(io::ErrorKind::StorageFull, "a fault that an operator ordered");
            return Err(StorageError::Engine { action: "wrote", source: source.into() });
        }
        Ok(())
    }
}

impl<S: Storage> Storage for DisturbedDisk<S> {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.engine.get(bucket, key)
    }

    fn scan(&self, bucket: Bucket, start: &[u8], end: &[u8], see: &mut ScanVisitor<'_>) -> Result<(), StorageError> {
        self.engine.scan(bucket, start, end, see)
    }

    fn apply(&self, batch: &WriteBatch) -> Result<(), StorageError> {
        self.write()?;
        self.engine.apply(batch)
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.wait();
        self.write()?;
        self.engine.sync()
    }

    fn drop_bucket(&self, bucket: Bucket) -> Result<(), StorageError> {
        self.write()?;
        self.engine.drop_bucket(bucket)
    }

    fn expire(&self, over: Wall) -> Result<(), StorageError> {
        self.write()?;
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
