//! A storage engine whose rows are sealed.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::arrivals::Unwritten;
use super::file::SLOT;
use super::keyring::{Keyring, Opened};
use super::{Destroyed, KeyFiles, KeyName, RandomBytes};
use crate::key::{Bucket, DocumentKey, DocumentName};
use crate::replica::horizon_of;
use crate::storage::{
    BucketBatch, KeyRange, ScanVisitor, Storage, StorageError, WriteBatch, document_of, erased_of, scan_documents,
    scan_erased,
};
use crate::time::Wall;

/// Seals the rows that go to the engine, opens those that come back, and destroys keys when rows are erased or over.
///
/// A row whose key is destroyed is not there for readers. One that cannot be opened for another reason is handed out
/// as it is stored, which does not read as a row.
///
/// # Invariants
/// - The key files of a row are durable before the engine gets it.
/// - When [`Storage::sync`] returns, the keys of every name are destroyed whose erasure was applied before the call.
/// - A batch that orders an erasure is durable before the keys are destroyed, otherwise a crash could leave a row that
///   nothing explains.
pub struct Sealed<S, K> {
    engine: S,
    files: K,
    /// At the start names were punctured of which the engine had no record.
    went_back: bool,
    ring: RwLock<Keyring>,
    /// Held while key files are changed, so that none is written to after it was destroyed.
    changing: Mutex<()>,
}

impl<S: Storage, K: KeyFiles> Sealed<S, K> {
    /// Wraps an engine; no document lives longer than `max_retention`, unless it does not expire. Finishes erasures that a
    /// crash has cut short.
    ///
    /// A damaged key file is replaced if [`KeyFiles::may_replace`] says so.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails, or a key file cannot be read or written. [`StorageError::KeysLost`] if the
    /// first sealed row of a bucket has no key file, although its time is not over.
    pub fn open(
        engine: S,
        files: K,
        random: RandomBytes,
        max_retention: Duration,
    ) -> Result<Sealed<S, K>, StorageError> {
        // The replica's horizon is durable before keys are destroyed up to it.
        let over = files.over()?.map_or_else(|| horizon_of(&engine), Ok)?;
        let mut ring = Keyring::new(random, max_retention, over);
        for (name, contents) in files.all()? {
            let left = ring.take_up(name, &contents);
            if (left.is_err() || ring.is_damaged(name)) && files.may_replace(name) {
                files.destroy(name)?;
                files.note(Destroyed::File(name));
                let contents = ring.draw(name);
                files.create(name, &contents)?;
                ring.take_up(name, &contents)?;
                continue;
            }
            let left = left?;
            if !left.is_empty() {
                files.overwrite(name, &left, SLOT)?;
            }
        }
        for bucket in engine.buckets() {
            let mut recorded = Vec::new();
            scan_erased(&engine, bucket, &mut |name| recorded.push(name))?;
            for name in recorded {
                let has_row = || has_row(&engine, &name);
                ring.puncture_recorded(&name, bucket == Bucket::Lasting, has_row)?;
            }
            let mut lost = false;
            scan_documents(&engine, bucket, &KeyRange::of_documents(&[]), &mut |key, stored| {
                if !Keyring::is_sealed(stored) {
                    return Ok(ControlFlow::Continue(()));
                }
                lost = ring.is_lost(&key);
                Ok(ControlFlow::Break(()))
            })?;
            if lost {
                return Err(StorageError::KeysLost { bucket });
            }
        }
        let went_back = ring.is_ahead_of_the_engine();
        let unwritten = ring.unwritten();
        if !unwritten.is_empty() {
            // The records may be in the page cache alone.
            engine.sync()?;
        }
        let sealed = Sealed { went_back, engine, files, ring: RwLock::new(ring), changing: Mutex::default() };
        sealed.destroy(unwritten)?;
        Ok(sealed)
    }

    fn ring(&self) -> RwLockReadGuard<'_, Keyring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring_mut(&self) -> RwLockWriteGuard<'_, Keyring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the key files that the rows of a batch need and that are not there.
    fn prepare(&self, batch: &WriteBatch) -> Result<(), StorageError> {
        let rows = batch.buckets.iter().flat_map(|(_, bucket)| &bucket.writes).filter(|(_, value)| value.is_some());
        let missing: BTreeSet<KeyName> = {
            let ring = self.ring();
            rows.filter_map(|(key, _)| document_of(key))
                .flat_map(|key| ring.missing(&key).collect::<Vec<_>>())
                .collect()
        };
        for name in missing {
            let _alone = self.changing();
            let contents = self.ring_mut().draw(name);
            self.files.create(name, &contents)?;
            self.ring_mut().take_up(name, &contents)?;
        }
        Ok(())
    }

    /// The batch as the engine gets it, and the names whose erasure it orders, each with whether its documents last.
    fn seal(&self, batch: &WriteBatch) -> Result<(WriteBatch, Vec<(DocumentName, bool)>), StorageError> {
        let ring = self.ring();
        let mut erased = Vec::new();
        let mut seal = |bucket: Bucket, (key, value): &(Vec<u8>, Option<Vec<u8>>)| {
            erased.extend(value.as_ref().and(erased_of(key)).map(|name| (name, bucket == Bucket::Lasting)));
            let sealed = match (value, document_of(key)) {
                // Nothing is stored of a document whose key is destroyed, because it is erased.
                (Some(value), Some(document)) => ring.seal(&document, value)?,
                (value, _) => value.clone(),
            };
            Ok((key.clone(), sealed))
        };
        let mut buckets = Vec::with_capacity(batch.buckets.len());
        for (bucket, batch) in &batch.buckets {
            let writes = batch.writes.iter().map(|write| seal(*bucket, write));
            buckets.push((*bucket, BucketBatch { writes: writes.collect::<Result<_, StorageError>>()? }));
        }
        Ok((WriteBatch { buckets }, erased))
    }

    /// Makes durable in the key files what was punctured. A tree that was destroyed meanwhile needs nothing.
    fn destroy(&self, unwritten: Vec<Unwritten>) -> Result<(), StorageError> {
        let _alone = self.changing();
        for lack in unwritten.into_iter().filter(|lack| self.ring().has_tree(lack.name)) {
            // The siblings first, otherwise a crash would lose the keys of other documents.
            self.files.write(lack.name, lack.at, &lack.slots)?;
            self.files.overwrite(lack.name, &lack.overwrite, SLOT)?;
            self.files.note(Destroyed::Documents(lack.overwrite.len()));
        }
        Ok(())
    }
}

/// Whether the engine has a row of this name.
fn has_row(engine: &impl Storage, name: &DocumentName) -> Result<bool, StorageError> {
    let mut found = false;
    for bucket in engine.buckets() {
        scan_documents(engine, bucket, &KeyRange::of_documents(&name.encode()), &mut |_, _| {
            found = true;
            Ok(ControlFlow::Break(()))
        })?;
    }
    Ok(found)
}

impl<S: Storage, K: KeyFiles> Storage for Sealed<S, K> {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(stored) = self.engine.get(bucket, key)? else { return Ok(None) };
        let Some(document) = document_of(key) else { return Ok(Some(stored)) };
        Ok(match self.ring().open(&document, &stored) {
            Opened::Value(value) => Some(value),
            Opened::Erased => None,
            Opened::Unreadable => Some(stored),
        })
    }

    fn scan(
        &self,
        bucket: Bucket,
        start: &[u8],
        end: &[u8],
        visitor: &mut ScanVisitor<'_>,
    ) -> Result<(), StorageError> {
        self.engine.scan(bucket, start, end, &mut |key, stored| {
            let Some(document) = document_of(key) else { return visitor(key, stored) };
            let opened = self.ring().open(&document, stored);
            match opened {
                Opened::Value(value) => visitor(key, &value),
                Opened::Erased => ControlFlow::Continue(()),
                Opened::Unreadable => visitor(key, stored),
            }
        })
    }

    fn apply(&self, batch: &WriteBatch) -> Result<(), StorageError> {
        self.prepare(batch)?;
        let (sealed, erased) = self.seal(batch)?;
        self.engine.apply(&sealed)?;
        if !erased.is_empty() {
            let mut ring = self.ring_mut();
            erased.iter().for_each(|(name, lasting)| ring.puncture(name, *lasting));
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        // Taken before the engine syncs, because only batches that were applied before that are durable then.
        let unwritten = self.ring_mut().unwritten();
        self.engine.sync()?;
        self.destroy(unwritten)
    }

    fn drop_bucket(&self, bucket: Bucket) -> Result<(), StorageError> {
        self.engine.drop_bucket(bucket)
    }

    fn expire(&self, over: Wall) -> Result<(), StorageError> {
        let _alone = self.changing();
        let needless = self.ring().needless(over);
        if !needless.is_empty() {
            // An older store beside the same keys may have an older horizon.
            self.files.set_over(over.max(self.ring().over()))?;
        }
        self.ring_mut().expire(over, &needless);
        for name in needless {
            self.files.destroy(name)?;
            self.files.note(Destroyed::File(name));
        }
        self.engine.expire(over)
    }

    fn is_destroyed(&self, name: &DocumentName, lasting: bool) -> bool {
        self.ring().is_destroyed(name, lasting)
    }

    fn destroyed_rows(&self) -> Result<BTreeSet<DocumentKey>, StorageError> {
        let mut found = BTreeSet::new();
        for bucket in self.engine.buckets().into_iter().filter(|_| self.went_back) {
            scan_documents(&self.engine, bucket, &KeyRange::of_documents(&[]), &mut |key, _| {
                if self.ring().is_destroyed(&key.name, bucket == Bucket::Lasting) {
                    found.insert(key);
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(found)
    }

    fn buckets(&self) -> BTreeSet<Bucket> {
        self.engine.buckets()
    }
}
