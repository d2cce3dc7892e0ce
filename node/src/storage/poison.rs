//! An engine that failed once is not trusted again.
//!
//! A failed `fsync` leaves pages in the cache that look clean but are not on the disk. A later `fsync` then succeeds
//! although those pages were never written (<https://wiki.postgresql.org/wiki/Fsync_Errors>). Therefore the first
//! failure of a write, or a panic inside the engine, is final: every later write, sync and removal fails until the
//! process restarts. The next process forces what it finds before that counts as durable.
//!
//! # Invariants
//! - A `sync` that began before another one failed, and ends after it, fails as well, because syncs run one at a time.
//! - Reads still work. They may show data that is lost, but the replica hands out only what is durable.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use replication::{Bucket, DocumentKey, DocumentName, ScanVisitor, Storage, StorageError, Wall, WriteBatch};

/// An engine that stays failed once it has failed.
pub struct Poison<S> {
    engine: S,
    failed: AtomicBool,
    syncing: Mutex<()>,
}

impl<S> Poison<S> {
    /// Wraps an engine that has not failed yet.
    pub fn new(engine: S) -> Poison<S> {
        Poison { engine, failed: AtomicBool::new(false), syncing: Mutex::default() }
    }

    /// Runs `write`, unless an earlier one failed.
    fn attempt(&self, write: impl FnOnce(&S) -> Result<(), StorageError>) -> Result<(), StorageError> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(StorageError::Poisoned);
        }
        let unless_ok = Failure(&self.failed);
        write(&self.engine)?;
        std::mem::forget(unless_ok);
        Ok(())
    }
}

/// Sets its flag when it is dropped, also during a panic.
struct Failure<'a>(&'a AtomicBool);

impl Drop for Failure<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl<S: Storage> Storage for Poison<S> {
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
        self.attempt(|engine| engine.apply(batch))
    }

    fn sync(&self) -> Result<(), StorageError> {
        let _alone = self.syncing.lock();
        self.attempt(S::sync)
    }

    fn drop_bucket(&self, bucket: Bucket) -> Result<(), StorageError> {
        self.attempt(|engine| engine.drop_bucket(bucket))
    }

    fn expire(&self, over: Wall) -> Result<(), StorageError> {
        self.attempt(|engine| engine.expire(over))
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
mod tests {
    use std::collections::BTreeSet;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Mutex;

    use replication::memory::MemoryStorage;
    use replication::{Bucket, BucketBatch, ScanVisitor, Storage, StorageError, Wall, WriteBatch};

    use super::Poison;

    /// What the engine does at its next call that writes. The call after it succeeds, as after a failed `fsync`.
    #[derive(Clone, Copy)]
    enum Next {
        Succeeds,
        Fails,
        Panics,
    }

    struct Fake {
        memory: MemoryStorage,
        next: Mutex<Next>,
    }

    impl Fake {
        fn attempt(&self) -> Result<(), StorageError> {
            let next = std::mem::replace(&mut *self.next.lock().unwrap_or_else(|e| e.into_inner()), Next::Succeeds);
            match next {
                Next::Succeeds => Ok(()),
                Next::Fails => {
                    let source = Box::new(std::io::Error::other("no more"));
                    Err(StorageError::Engine { action: "was tried", source })
                }
                Next::Panics => panic!("as sled does"),
            }
        }
    }

    impl Storage for Fake {
        fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
            self.memory.get(bucket, key)
        }
        fn scan(
            &self,
            bucket: Bucket,
            start: &[u8],
            end: &[u8],
            visitor: &mut ScanVisitor<'_>,
        ) -> Result<(), StorageError> {
            self.memory.scan(bucket, start, end, visitor)
        }
        fn apply(&self, batch: &WriteBatch) -> Result<(), StorageError> {
            self.attempt().and_then(|()| self.memory.apply(batch))
        }
        fn sync(&self) -> Result<(), StorageError> {
            self.attempt().and_then(|()| self.memory.sync())
        }
        fn drop_bucket(&self, bucket: Bucket) -> Result<(), StorageError> {
            self.attempt().and_then(|()| self.memory.drop_bucket(bucket))
        }
        fn expire(&self, over: Wall) -> Result<(), StorageError> {
            self.attempt().and_then(|()| self.memory.expire(over))
        }
        fn buckets(&self) -> BTreeSet<Bucket> {
            self.memory.buckets()
        }
    }

    type Write = fn(&Poison<Fake>) -> Result<(), StorageError>;

    fn batch() -> WriteBatch {
        let writes = vec![(b"k".to_vec(), Some(b"v".to_vec()))];
        WriteBatch { buckets: vec![(Bucket::Lasting, BucketBatch { writes })] }
    }

    const WRITES: [Write; 4] = [
        |store| store.apply(&batch()),
        |store| store.sync(),
        |store| store.drop_bucket(Bucket::Day(1)),
        |store| store.expire(Wall(1)),
    ];

    #[test]
    fn after_the_first_failure_every_later_write_fails() {
        for next in [Next::Fails, Next::Panics] {
            for first in WRITES {
                let store = Poison::new(Fake { memory: MemoryStorage::default(), next: Mutex::new(Next::Succeeds) });
                WRITES.iter().for_each(|write| write(&store).expect("nothing failed yet"));
                *store.engine.next.lock().expect("not poisoned") = next;
                let failed = catch_unwind(AssertUnwindSafe(|| first(&store)));
                assert!(!matches!(failed, Ok(Ok(()))));
                for later in WRITES {
                    assert!(matches!(later(&store), Err(StorageError::Poisoned)), "the engine itself would succeed");
                }
                assert_eq!(store.get(Bucket::Lasting, b"k").expect("reads still work").as_deref(), Some(&b"v"[..]));
            }
        }
    }
}
