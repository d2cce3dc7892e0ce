//! sled 0.34, one database directory per bucket.
//!
//! sled never shrinks a file, so an expired day frees its space by the removal of its directory. This file works around
//! these habits of sled 0.34:
//! - Its `flush` calls `sync_file_range`, which is not an fsync: it forces neither the file's size nor the journal, and
//!   after a power cut the database may not even open (spacejam/sled #1351, #1452). [`SledStorage::sync`] therefore
//!   forces sled's file after each flush.
//! - A process that is killed while a database opens leaves a `snap.*.generating`, which makes the next open fail
//!   (#1527, #1533). It is deleted before every open.
//! - `flush_async` deadlocks under load (#1308); only the blocking `flush` is used.
//! - Messages of more than 131,020 bytes go to files under `blobs/` that sled never forces. Values are therefore stored
//!   in parts ([`super::parts`]). Blob files from older versions of this code are still forced.
//!
//! # Invariants
//! - Every batch is flushed before the next is applied (the replica has one batch in flight), which keeps sled's memory
//!   near its cache size.
//! - The first `sync` forces everything that a bucket held when it was opened, because it may have been in the page
//!   cache alone.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use replication::{Bucket, BucketBatch, ScanVisitor, Storage, StorageError, Wall, WriteBatch};

use super::damage::{self, Damaged};
use super::engine;
use super::parts::{Head, LARGEST, RESERVED};

pub(super) const BUCKETS: &str = "buckets";
/// Directories under this prefix are being removed.
const TRASH: &str = "trash-";
/// How often a value is read again because it was replaced during the read.
const READS: usize = 64;

struct Open {
    bucket: Bucket,
    db: sled::Db,
    /// sled's log file, opened by us to force it to the disk.
    file: File,
    path: PathBuf,
    /// Whether the bucket may hold parts. If not, a batch need not look for parts of the values that it replaces.
    has_parts: AtomicBool,
    /// Held while a batch is applied, because the batch depends on what is stored.
    applying: Mutex<()>,
    /// Files under `blobs/` that are forced already; sled never writes to one again.
    forced_blobs: Mutex<BTreeSet<OsString>>,
}

/// One sled database per bucket.
pub struct SledStorage {
    folder: PathBuf,
    cache_bytes: u64,
    open: RwLock<BTreeMap<Bucket, std::sync::Arc<Open>>>,
    /// Buckets with unsynced batches; `true` if the whole directory must be forced, because none of it is known to be
    /// on disk.
    dirty: Mutex<BTreeMap<Bucket, bool>>,
    syncing: Mutex<()>,
}

impl SledStorage {
    /// Opens every bucket in `data`.
    ///
    /// # Errors
    /// [`StorageError`] if a database does not open.
    pub fn open(data: &Path, cache_bytes: u64) -> Result<SledStorage, StorageError> {
        let folder = data.join(BUCKETS);
        fs::create_dir_all(&folder).map_err(engine("created its folder"))?;
        let storage = SledStorage {
            folder,
            cache_bytes,
            open: RwLock::default(),
            dirty: Mutex::default(),
            syncing: Mutex::default(),
        };
        for entry in fs::read_dir(&storage.folder).map_err(engine("listed its folder"))? {
            let name = entry.map_err(engine("listed its folder"))?.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(TRASH) {
                fs::remove_dir_all(storage.folder.join(name)).map_err(engine("removed an expired day"))?;
            } else if let Ok(bucket) = name.parse() {
                storage.bucket(bucket)?;
            }
        }
        Ok(storage)
    }

    fn existing(&self, bucket: Bucket) -> Option<std::sync::Arc<Open>> {
        self.open.read().get(&bucket).cloned()
    }

    fn bucket(&self, bucket: Bucket) -> Result<std::sync::Arc<Open>, StorageError> {
        if let Some(open) = self.existing(bucket) {
            return Ok(open);
        }
        let mut buckets = self.open.write();
        let path = self.folder.join(bucket.to_string());
        if path.exists() {
            remove_unfinished_snapshots(&path).map_err(engine("cleared an unfinished snapshot"))?;
        }
        let db = sled::Config::new()
            .path(&path)
            .cache_capacity(self.cache_bytes)
            .flush_every_ms(None)
            .open()
            .map_err(engine("opened a bucket"))?;
        let file = File::open(path.join("db")).map_err(engine("opened a bucket's file"))?;
        let has_parts = db.range([RESERVED]..).next().transpose().map_err(engine("looked for parts"))?.is_some();
        let open = std::sync::Arc::new(Open {
            bucket,
            db,
            file,
            path,
            has_parts: AtomicBool::new(has_parts),
            applying: Mutex::default(),
            forced_blobs: Mutex::default(),
        });
        buckets.insert(bucket, open.clone());
        self.dirty.lock().insert(bucket, true);
        Ok(open)
    }
}

impl Open {
    /// The whole value for `stored`, which was found under `key`. `None` if it was removed meanwhile.
    fn whole(&self, key: &[u8], stored: sled::IVec) -> Result<Option<Vec<u8>>, StorageError> {
        let mut stored = Some(stored);
        for _ in 0..READS {
            let Some(found) = stored else { return Ok(None) };
            let Some(head) = Head::decode(&found) else { return Ok(Some(found.to_vec())) };
            let mut value = Vec::new();
            for part in self.db.scan_prefix(head.part_prefix(key)).values() {
                value.extend_from_slice(&part.map_err(engine("read a large value"))?);
            }
            if value.len() as u64 == head.bytes() {
                return Ok(Some(value));
            }
            stored = self.db.get(key).map_err(engine("read a key"))?;
        }
        Err(StorageError::Corrupt { what: "large value", bucket: self.bucket })
    }

    /// sled's batch for `writes`: stores large values in parts, and removes the parts of the values that they replace.
    fn batch(&self, writes: &BucketBatch) -> Result<sled::Batch, StorageError> {
        let mut batch = sled::Batch::default();
        // For one key sled's batch keeps the last operation, so a part that stays is removed first and then inserted
        // again.
        if self.has_parts.load(Ordering::Acquire) {
            for (key, _) in &writes.writes {
                let stored = self.db.get(key).map_err(engine("read a key"))?;
                if let Some(head) = stored.and_then(|stored| Head::decode(&stored)) {
                    head.part_keys(key).for_each(|part| batch.remove(part));
                }
            }
        }
        for (key, value) in &writes.writes {
            if key.first() == Some(&RESERVED) {
                let reason = io::Error::new(io::ErrorKind::InvalidInput, "a key in the range reserved for parts");
                return Err(engine("prepared a batch")(reason));
            }
            match value {
                None => batch.remove(key.as_slice()),
                Some(value) => match Head::of(value) {
                    None => batch.insert(key.as_slice(), value.as_slice()),
                    Some(head) => {
                        self.has_parts.store(true, Ordering::Release);
                        batch.insert(key.as_slice(), head.encode());
                        for (part_key, part) in head.part_keys(key).zip(value.chunks(LARGEST)) {
                            batch.insert(part_key, part);
                        }
                    }
                },
            }
        }
        Ok(batch)
    }

    /// Forces the files under `blobs/`, which older versions of this code, or a leaf of their values, made sled write.
    fn force_blobs(&self) -> io::Result<()> {
        let folder = self.path.join("blobs");
        let mut forced = self.forced_blobs.lock();
        let mut any = false;
        for entry in fs::read_dir(&folder)? {
            let name = entry?.file_name();
            if !forced.contains(&name) {
                match File::open(folder.join(&name)) {
                    Ok(file) => file.sync_all()?,
                    // sled removes files that it no longer refers to.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
                forced.insert(name);
                any = true;
            }
        }
        if any { File::open(&folder)?.sync_all() } else { Ok(()) }
    }
}

impl Storage for SledStorage {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(open) = self.existing(bucket) else { return Ok(None) };
        let stored = open.db.get(key).map_err(engine("read a key"))?;
        stored.map_or(Ok(None), |stored| open.whole(key, stored))
    }

    fn scan(
        &self,
        bucket: Bucket,
        start: &[u8],
        end: &[u8],
        visitor: &mut ScanVisitor<'_>,
    ) -> Result<(), StorageError> {
        let Some(open) = self.existing(bucket) else { return Ok(()) };
        for pair in open.db.range(start..end) {
            let (key, stored) = pair.map_err(engine("scanned keys"))?;
            // Parts sort after every other key.
            if key.first() == Some(&RESERVED) {
                break;
            }
            let flow = match Head::decode(&stored) {
                None => visitor(&key, &stored),
                Some(_) => match open.whole(&key, stored)? {
                    Some(value) => visitor(&key, &value),
                    None => continue,
                },
            };
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batch: &WriteBatch) -> Result<(), StorageError> {
        for (bucket, writes) in &batch.buckets {
            let open = self.bucket(*bucket)?;
            let _alone = open.applying.lock();
            let sled_batch = open.batch(writes)?;
            self.dirty.lock().entry(*bucket).or_insert(false);
            open.db.apply_batch(sled_batch).map_err(engine("applied a batch"))?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        // A bucket that another thread is flushing is no longer in `dirty` but not durable yet, so wait for that
        // thread.
        let _alone = self.syncing.lock();
        let dirty = std::mem::take(&mut *self.dirty.lock());
        for (bucket, is_new) in dirty {
            let Some(open) = self.existing(bucket) else { continue };
            open.db.flush().map_err(engine("flushed a bucket"))?;
            open.file.sync_data().map_err(engine("forced a bucket to the disk"))?;
            open.force_blobs().map_err(engine("forced a bucket's blobs to the disk"))?;
            if is_new {
                sync_directory(&open.path).map_err(engine("forced a new bucket to the disk"))?;
                sync_directory(&self.folder).map_err(engine("forced its folder to the disk"))?;
            }
        }
        Ok(())
    }

    fn drop_bucket(&self, bucket: Bucket) -> Result<(), StorageError> {
        self.dirty.lock().remove(&bucket);
        let removed = self.open.write().remove(&bucket);
        let Some(open) = removed else { return Ok(()) };
        // Removing gigabytes takes a while, so the day is renamed at once and its files are removed in the background.
        let trash = self.folder.join(format!("{TRASH}{bucket}"));
        fs::rename(&open.path, &trash).map_err(engine("set an expired day aside"))?;
        std::thread::spawn(move || {
            // Closing sled writes to its files again, so it must be closed before they are removed.
            drop(open);
            if let Err(error) = fs::remove_dir_all(&trash) {
                let action = "none; the next start tries again";
                tracing::warn!(%bucket, %error, action, "the files of an expired day cannot be removed");
            }
        });
        Ok(())
    }

    fn expire(&self, _: Wall) -> Result<(), StorageError> {
        Ok(())
    }

    fn buckets(&self) -> BTreeSet<Bucket> {
        self.open.read().keys().copied().collect()
    }
}

impl Damaged for SledStorage {
    const WHOLE: &'static str = BUCKETS;

    fn is_damage(error: &(dyn Error + 'static)) -> bool {
        match error.downcast_ref::<sled::Error>() {
            Some(sled::Error::Io(error)) => damage::is_damage_of_files(error),
            Some(_) => true,
            None => error.downcast_ref::<io::Error>().is_some_and(damage::is_damage_of_files),
        }
    }

    fn folder(data: &Path) -> PathBuf {
        data.join(BUCKETS)
    }

    fn set_aside(data: &Path, unreadable: &BTreeSet<Bucket>) -> io::Result<Vec<String>> {
        let folder = data.join(BUCKETS);
        let mut aside = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let name = entry?.file_name();
            let Some((name, bucket)) = name.to_str().and_then(|name| Some((name, name.parse::<Bucket>().ok()?))) else {
                continue;
            };
            let path = folder.join(name);
            remove_unfinished_snapshots(&path)?;
            let open = || sled::Config::new().path(&path).flush_every_ms(None).open().map(drop);
            let is_damaged = || match catch_unwind(open) {
                Ok(Ok(())) => false,
                Ok(Err(error)) => Self::is_damage(&error),
                // It panicked.
                Err(_) => true,
            };
            if unreadable.contains(&bucket) || is_damaged() {
                aside.push(damage::rename(&folder, name)?);
            }
        }
        Ok(aside)
    }
}

fn remove_unfinished_snapshots(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("snap.") && name.ends_with(".generating")) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Forces a directory and the files in it.
fn sync_directory(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            match File::open(entry.path()) {
                Ok(file) => file.sync_all()?,
                // sled removes its older snapshots after it has written a new one.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use replication::{Bucket, BucketBatch, Storage as _, WriteBatch};

    use super::SledStorage;

    fn write(bucket: Bucket) -> WriteBatch {
        let writes = vec![(b"k".to_vec(), Some(b"v".to_vec()))];
        WriteBatch { buckets: vec![(bucket, BucketBatch { writes })] }
    }

    /// What a killed process left may be in the page cache alone, so the next process must force it before it is
    /// durable.
    #[test]
    fn the_first_sync_forces_what_was_there_at_the_start() {
        let folder = tempfile::tempdir().expect("a folder");
        // A thread of sled may keep a store's lock for a moment after the store was dropped.
        let open = || {
            let begun = std::time::Instant::now();
            loop {
                match SledStorage::open(folder.path(), 8 << 20) {
                    Ok(store) => return store,
                    Err(error) if begun.elapsed() > std::time::Duration::from_secs(20) => panic!("{error}"),
                    Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
                }
            }
        };
        let store = open();
        store.apply(&write(Bucket::Day(20_000))).expect("applies");
        store.apply(&write(Bucket::Lasting)).expect("applies");
        drop(store);
        let store = open();
        // A file in `blobs/` that an older version left.
        let blob = folder.path().join("buckets/day-20000/blobs/17");
        fs::write(&blob, b"a page").expect("writes");
        let due = |store: &SledStorage| store.dirty.lock().clone();
        assert_eq!(due(&store).into_iter().collect::<Vec<_>>(), [(Bucket::Day(20_000), true), (Bucket::Lasting, true)]);
        store.sync().expect("syncs");
        assert!(due(&store).is_empty());
        let forced = |bucket| store.existing(bucket).expect("open").forced_blobs.lock().len();
        assert_eq!((forced(Bucket::Day(20_000)), forced(Bucket::Lasting)), (1, 0));
    }
}
