//! Storage in memory that fails as processes, machines and disks do.
//!
//! Tests and the simulator run on it. The visible values are kept once. Beside them, each unsynced batch keeps the
//! values that it replaced, until [`Storage::sync`] drops them.
//!
//! | fault | what is left |
//! | --- | --- |
//! | [`MemoryStorage::kill`]: the process dies | a prefix of each bucket's unsynced batches, which stay unsynced |
//! | [`MemoryStorage::crash`]: the machine dies | a prefix of each bucket's unsynced batches, durable from now on; a bucket that was dropped since the last sync may be back |
//! | [`MemoryStorage::restore`]: an old backup is put back | the snapshot |
//! | [`MemoryStorage::lose_bucket`], [`MemoryStorage::revert_bucket`] | all buckets but one |
//! | [`MemoryStorage::flip`]: a bit of the disk flips, and the engine sees it | everything, but one value cannot be read |
//! | [`MemoryStorage::rot`]: a bit of the disk flips, and the engine does not see it | everything, but one value is another one |

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::key::Bucket;
use crate::storage::{BucketBatch, LOG, ScanVisitor, Storage, StorageError, WriteBatch};
use crate::time::Wall;

/// One bucket as readers see it.
#[derive(Clone, Debug, Default)]
struct Table {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Keys whose values fail their checksum.
    damaged: BTreeSet<Vec<u8>>,
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
    /// Buckets that were dropped since the last sync: a crash may bring them back.
    dropped: BTreeMap<Bucket, Table>,
}

/// An in-memory engine; clones share their contents.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage(Arc<Mutex<Inner>>);

/// The contents of the disk at one moment, for a restore later.
#[derive(Clone, Debug)]
pub struct Snapshot(BTreeMap<Bucket, Table>);

impl MemoryStorage {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine dies: of each bucket's unsynced batches only the first `keep(bucket, count)` survive. A bucket that
    /// was dropped since the last sync is back unless `keep(bucket, 1)` is 1.
    pub fn crash(&self, keep: impl FnMut(Bucket, usize) -> usize) {
        self.lock().crash(keep);
    }

    /// The process dies: of each bucket's unsynced batches only the first `keep(bucket, count)` had reached the page
    /// cache. They are visible to the next process and still not durable, so a [`MemoryStorage::crash`] before the next
    /// sync may lose them as well.
    pub fn kill(&self, mut keep: impl FnMut(Bucket, usize) -> usize) {
        let inner = &mut *self.lock();
        for (bucket, batches) in &mut inner.unsynced {
            let kept = keep(*bucket, batches.len());
            inner.visible.get_mut(bucket).into_iter().for_each(|table| table.undo(batches, kept));
        }
        inner.visible.retain(|_, table| !table.values.is_empty());
    }

    /// One bucket's files are gone.
    pub fn lose_bucket(&self, bucket: Bucket) {
        let mut inner = self.lock();
        inner.visible.remove(&bucket);
        inner.unsynced.remove(&bucket);
        inner.dropped.remove(&bucket);
    }

    /// One bucket's files are those of an older snapshot, the others are as they were.
    pub fn revert_bucket(&self, bucket: Bucket, snapshot: &Snapshot) {
        self.lose_bucket(bucket);
        if let Some(table) = snapshot.0.get(&bucket) {
            self.lock().visible.insert(bucket, table.clone());
        }
    }

    /// A bit of the `nth` value (in key order) of a bucket flips: reading it fails until it is written again. Returns
    /// whether there is such a value.
    pub fn flip(&self, bucket: Bucket, nth: usize) -> bool {
        let mut inner = self.lock();
        let Some(table) = inner.visible.get_mut(&bucket) else { return false };
        let Some(key) = table.values.keys().nth(nth) else { return false };
        table.damaged.insert(key.clone());
        true
    }

    /// A bit of a value flips where no checksum of the engine covers it: it is read as it is now. Returns whether there is
    /// such a value. `bit` counts from the first bit of the value, and goes round.
    pub fn rot(&self, bucket: Bucket, key: &[u8], bit: usize) -> bool {
        let mut inner = self.lock();
        let value = inner.visible.get_mut(&bucket).and_then(|table| table.values.get_mut(key));
        let Some(value) = value.filter(|value| !value.is_empty()) else { return false };
        let bit = bit % (value.len() * 8);
        value[bit / 8] ^= 1 << (bit % 8);
        true
    }

    /// A backup of the disk.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut durable = self.lock().clone();
        durable.crash(|_, _| 0);
        Snapshot(durable.visible)
    }

    /// Puts an old backup back: the disk goes back in time.
    pub fn restore(&self, snapshot: &Snapshot) {
        *self.lock() = Inner { visible: snapshot.0.clone(), ..Inner::default() };
    }

    /// Every stored value, for tests that look for bytes which must be gone.
    #[must_use]
    pub fn values(&self) -> Vec<Vec<u8>> {
        let inner = self.lock();
        inner.visible.values().flat_map(|table| table.values.values().cloned()).collect()
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.lock().visible.values().map(|table| table.bytes).sum()
    }

    /// Number of log entries.
    #[must_use]
    pub fn log_entries(&self) -> u64 {
        self.lock().visible.values().map(|table| table.log_entries).sum()
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
            table.undo(&mut batches, kept);
            if table.values.is_empty() {
                self.visible.remove(&bucket);
            }
        }
    }
}

impl Table {
    /// Sets or removes a value; returns the one before.
    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) -> Option<Vec<u8>> {
        self.damaged.remove(&key);
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

    /// Undoes all but the first `kept` batches.
    fn undo(&mut self, batches: &mut VecDeque<Undo>, kept: usize) {
        for undo in batches.drain(kept.min(batches.len())..).rev() {
            for (key, value) in undo.into_iter().rev() {
                self.put(key, value);
            }
        }
    }

    /// Fails for a damaged value, as an engine with checksums does.
    fn check(&self, key: &[u8]) -> Result<(), StorageError> {
        if !self.damaged.contains(key) {
            return Ok(());
        }
        let source =
            Box::new(std::io::Error::new(std::io::ErrorKind::InvalidData, "a value does not match its checksum"));
        Err(StorageError::Engine { action: "read a value", source })
    }

    fn write(&mut self, batch: &BucketBatch) -> Undo {
        batch.writes.iter().map(|(key, value)| (key.clone(), self.put(key.clone(), value.clone()))).collect()
    }
}

impl Storage for MemoryStorage {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let inner = self.lock();
        let Some(table) = inner.visible.get(&bucket) else { return Ok(None) };
        table.check(key)?;
        Ok(table.values.get(key).cloned())
    }

    fn scan(
        &self,
        bucket: Bucket,
        start: &[u8],
        end: &[u8],
        visitor: &mut ScanVisitor<'_>,
    ) -> Result<(), StorageError> {
        let inner = self.lock();
        let Some(table) = inner.visible.get(&bucket) else { return Ok(()) };
        for (key, value) in table.values.range(start.to_vec()..end.to_vec()) {
            table.check(key)?;
            if visitor(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batch: &WriteBatch) -> Result<(), StorageError> {
        debug_assert!(batch.buckets.is_sorted_by_key(|(bucket, _)| *bucket), "buckets are not in the order of effect");
        let mut inner = self.lock();
        for (bucket, batch) in &batch.buckets {
            let undo = inner.visible.entry(*bucket).or_default().write(batch);
            inner.unsynced.entry(*bucket).or_default().push_back(undo);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        let mut inner = self.lock();
        inner.unsynced.clear();
        inner.dropped.clear();
        Ok(())
    }

    fn drop_bucket(&self, bucket: Bucket) -> Result<(), StorageError> {
        let mut inner = self.lock();
        if let Some(table) = inner.visible.remove(&bucket) {
            inner.dropped.insert(bucket, table);
        }
        inner.unsynced.remove(&bucket);
        Ok(())
    }

    fn expire(&self, _: Wall) -> Result<(), StorageError> {
        Ok(())
    }

    fn buckets(&self) -> BTreeSet<Bucket> {
        self.lock().visible.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::MemoryStorage;
    use crate::key::Bucket;
    use crate::storage::{BucketBatch, Storage as _, WriteBatch};

    const DAY: Bucket = Bucket::Day(7);

    fn put(storage: &MemoryStorage, bucket: Bucket, key: &[u8], value: &[u8]) {
        let writes = vec![(key.to_vec(), Some(value.to_vec()))];
        storage.apply(&WriteBatch { buckets: vec![(bucket, BucketBatch { writes })] }).unwrap();
    }

    fn get(storage: &MemoryStorage, bucket: Bucket, key: &[u8]) -> Option<Vec<u8>> {
        storage.get(bucket, key).unwrap()
    }

    #[test]
    fn what_a_killed_process_leaves_is_visible_and_not_durable() {
        let storage = MemoryStorage::default();
        put(&storage, DAY, b"a", b"1");
        storage.sync().unwrap();
        put(&storage, DAY, b"a", b"2");
        put(&storage, DAY, b"a", b"3");
        storage.kill(|_, count| count - 1);
        assert_eq!(get(&storage, DAY, b"a").unwrap(), b"2");
        let disk = storage.snapshot();
        storage.crash(|_, _| 0);
        assert_eq!(get(&storage, DAY, b"a").unwrap(), b"1", "the page cache went with the machine");
        storage.restore(&disk);
        assert_eq!(get(&storage, DAY, b"a").unwrap(), b"1");
        put(&storage, DAY, b"a", b"4");
        storage.kill(|_, count| count);
        storage.sync().unwrap();
        storage.crash(|_, _| 0);
        assert_eq!(get(&storage, DAY, b"a").unwrap(), b"4", "the next process has forced it");
    }

    #[test]
    fn a_killed_process_leaves_no_bucket_without_a_batch() {
        let storage = MemoryStorage::default();
        put(&storage, DAY, b"a", b"1");
        storage.kill(|_, _| 0);
        assert!(storage.buckets().is_empty());
        assert_eq!((storage.bytes(), get(&storage, DAY, b"a")), (0, None));
    }

    #[test]
    fn one_bucket_is_lost_or_older_than_the_others() {
        let storage = MemoryStorage::default();
        put(&storage, DAY, b"a", b"1");
        put(&storage, Bucket::Lasting, b"m", b"1");
        storage.sync().unwrap();
        let before = storage.snapshot();
        put(&storage, DAY, b"a", b"2");
        put(&storage, Bucket::Lasting, b"m", b"2");
        put(&storage, Bucket::Day(8), b"a", b"1");
        storage.revert_bucket(DAY, &before);
        storage.revert_bucket(Bucket::Day(8), &before);
        assert_eq!(get(&storage, DAY, b"a").unwrap(), b"1");
        assert_eq!(get(&storage, Bucket::Lasting, b"m").unwrap(), b"2");
        assert!(!storage.buckets().contains(&Bucket::Day(8)), "the snapshot does not have it");
        storage.lose_bucket(DAY);
        storage.crash(|_, count| count);
        assert_eq!(storage.buckets().into_iter().collect::<Vec<_>>(), [Bucket::Lasting]);
        assert_eq!(get(&storage, Bucket::Lasting, b"m").unwrap(), b"2");
    }

    #[test]
    fn a_rotten_value_is_read_as_it_is_until_it_is_written_again() {
        let storage = MemoryStorage::default();
        put(&storage, DAY, b"a", b"1");
        assert!(storage.rot(DAY, b"a", 9));
        assert!(!storage.rot(DAY, b"b", 0) && !storage.rot(Bucket::Lasting, b"a", 0));
        assert_eq!(get(&storage, DAY, b"a").unwrap(), b"3");
        put(&storage, DAY, b"a", b"1");
        assert_eq!(get(&storage, DAY, b"a").unwrap(), b"1");
    }

    #[test]
    fn a_flipped_value_fails_until_it_is_written_again() {
        let storage = MemoryStorage::default();
        put(&storage, DAY, b"a", b"1");
        put(&storage, DAY, b"b", b"2");
        assert!(storage.flip(DAY, 1));
        assert!(!storage.flip(DAY, 2) && !storage.flip(Bucket::Lasting, 0));
        let scan = |end: &[u8]| storage.scan(DAY, b"", end, &mut |_, _| ControlFlow::Continue(()));
        assert_eq!(get(&storage, DAY, b"a").unwrap(), b"1");
        assert!(storage.get(DAY, b"b").is_err() && scan(b"z").is_err() && scan(b"b").is_ok());
        storage.restore(&storage.snapshot());
        assert!(storage.get(DAY, b"b").is_ok() && get(&storage, DAY, b"b").is_none(), "it was never synced");
        put(&storage, DAY, b"b", b"2");
        storage.sync().unwrap();
        assert!(storage.flip(DAY, 0));
        storage.restore(&storage.snapshot());
        assert!(storage.get(DAY, b"b").is_err(), "a copy of the disk has the damage too");
        put(&storage, DAY, b"b", b"3");
        assert_eq!(get(&storage, DAY, b"b").unwrap(), b"3");
    }
}
