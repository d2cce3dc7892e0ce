//! sled 0.34, one database directory per bucket.
//!
//! sled never shrinks a file, so a day that has passed is given back by removing its directory. Three habits of
//! sled 0.34 that this file lives with:
//! - Its `flush` is `sync_file_range`, which is no fsync: neither the file's size nor the journal is forced, and
//!   after a power cut the database may not even open (spacejam/sled #1351, #1452). [`SledStorage::sync`] therefore
//!   forces sled's own file after each flush.
//! - A process killed while a database opens leaves a `snap.*.generating` behind that makes the next open fail
//!   (#1527, #1533); it is deleted before every open.
//! - `flush_async` deadlocks under load (#1308); only the blocking `flush` is used.
//!
//! # Invariants
//! - Every batch is flushed before the next is applied (the replica has one batch in flight), which is what keeps
//!   sled's memory near its cache size.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use replication::storage::{Visit, WriteBatch};
use replication::{Bucket, Storage, StorageError};

use super::engine;

const BUCKETS: &str = "buckets";
/// Directories under this prefix are on their way out.
const TRASH: &str = "trash-";

struct Open {
    db: sled::Db,
    /// sled's log file, opened by us to force it to the disk.
    file: File,
    path: PathBuf,
}

/// One sled database per bucket.
pub struct SledStorage {
    folder: PathBuf,
    cache_bytes: u64,
    open: RwLock<BTreeMap<Bucket, std::sync::Arc<Open>>>,
    /// Buckets with unsynced batches; `true` if the directory itself is new.
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
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(&bucket).cloned()
    }

    fn bucket(&self, bucket: Bucket) -> Result<std::sync::Arc<Open>, StorageError> {
        if let Some(open) = self.existing(bucket) {
            return Ok(open);
        }
        let mut buckets = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let path = self.folder.join(bucket.to_string());
        let is_new = !path.exists();
        if !is_new {
            remove_unfinished_snapshots(&path).map_err(engine("cleared an unfinished snapshot"))?;
        }
        let db = sled::Config::new()
            .path(&path)
            .cache_capacity(self.cache_bytes)
            .flush_every_ms(None)
            .open()
            .map_err(engine("opened a bucket"))?;
        let file = File::open(path.join("db")).map_err(engine("opened a bucket's file"))?;
        let open = std::sync::Arc::new(Open { db, file, path });
        buckets.insert(bucket, open.clone());
        if is_new {
            self.dirty.lock().unwrap_or_else(PoisonError::into_inner).insert(bucket, true);
        }
        Ok(open)
    }
}

impl Storage for SledStorage {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(open) = self.existing(bucket) else { return Ok(None) };
        Ok(open.db.get(key).map_err(engine("read a key"))?.map(|value| value.to_vec()))
    }

    fn scan(&self, bucket: Bucket, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        let Some(open) = self.existing(bucket) else { return Ok(()) };
        for pair in open.db.range(start..end) {
            let (key, value) = pair.map_err(engine("scanned keys"))?;
            if let ControlFlow::Break(()) = visit(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batch: &WriteBatch) -> Result<(), StorageError> {
        for (bucket, writes) in &batch.buckets {
            let open = self.bucket(*bucket)?;
            let mut sled_batch = sled::Batch::default();
            for (key, value) in &writes.writes {
                match value {
                    Some(value) => sled_batch.insert(key.as_slice(), value.as_slice()),
                    None => sled_batch.remove(key.as_slice()),
                }
            }
            self.dirty.lock().unwrap_or_else(PoisonError::into_inner).entry(*bucket).or_insert(false);
            open.db.apply_batch(sled_batch).map_err(engine("applied a batch"))?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StorageError> {
        // What another thread is flushing is not in `dirty` any more, and not durable yet either: wait for it.
        let _alone = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let dirty = std::mem::take(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner));
        for (bucket, is_new) in dirty {
            let Some(open) = self.existing(bucket) else { continue };
            open.db.flush().map_err(engine("flushed a bucket"))?;
            open.file.sync_data().map_err(engine("forced a bucket to the disk"))?;
            if is_new {
                sync_directory(&open.path).map_err(engine("forced a new bucket to the disk"))?;
                sync_directory(&self.folder).map_err(engine("forced its folder to the disk"))?;
            }
        }
        Ok(())
    }

    fn drop_bucket(&self, bucket: Bucket) -> Result<(), StorageError> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner).remove(&bucket);
        let removed = self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&bucket);
        let Some(open) = removed else { return Ok(()) };
        // Unlinking gigabytes takes a while: the day is out of sight at once and its files go in the background.
        let trash = self.folder.join(format!("{TRASH}{bucket}"));
        fs::rename(&open.path, &trash).map_err(engine("set an expired day aside"))?;
        std::thread::spawn(move || {
            // Closing sled writes to its files once more, so it must be closed before they are removed.
            drop(open);
            if let Err(error) = fs::remove_dir_all(&trash) {
                tracing::warn!(%bucket, %error, "the files of an expired day could not be removed; the next start tries again");
            }
        });
        Ok(())
    }

    fn buckets(&self) -> BTreeSet<Bucket> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
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
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(path)?.sync_all()
}
