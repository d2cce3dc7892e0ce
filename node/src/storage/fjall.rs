//! fjall 3, one keyspace per bucket in one database: a log-structured merge tree, for stores that outgrow sled.
//!
//! The first [`FjallStorage::sync`] forces whatever lies in the journal when the database is opened, because
//! `persist(SyncAll)` forces the active journal's file even if nothing was written to it (fjall 3.1
//! `journal/writer.rs`). fjall forces a sealed journal before it begins the next one, and tables before it removes
//! their journal.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use parking_lot::RwLock;
use replication::{Bucket, ScanVisitor, Storage, StorageError, Wall, WriteBatch};

use super::damage::{self, Damaged};
use super::engine;

/// fjall writes a bucket's memtable out at this size, which bounds memory when a month of days is open.
const MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;

/// The bytes of a removed day stay in the journal until it has grown by this much, the least that fjall allows.
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;

pub(super) const FOLDER: &str = "fjall";

/// One fjall keyspace per bucket.
pub struct FjallStorage {
    db: Database,
    open: RwLock<BTreeMap<Bucket, Keyspace>>,
}

impl FjallStorage {
    /// Opens the database in `data`.
    ///
    /// # Errors
    /// [`StorageError`] if it does not open.
    pub fn open(data: &Path, cache_bytes: u64) -> Result<FjallStorage, StorageError> {
        let folder = data.join(FOLDER);
        fs::create_dir_all(&folder).map_err(engine("created its folder"))?;
        let db = Database::builder(&folder)
            .cache_size(cache_bytes)
            .manual_journal_persist(true)
            .max_journaling_size(JOURNAL_BYTES)
            .open()
            .map_err(engine("opened its database"))?;
        let storage = FjallStorage { db, open: RwLock::default() };
        for name in storage.db.list_keyspace_names() {
            if let Ok(bucket) = name.parse() {
                storage.bucket(bucket)?;
            }
        }
        Ok(storage)
    }

    fn existing(&self, bucket: Bucket) -> Option<Keyspace> {
        self.open.read().get(&bucket).cloned()
    }

    fn bucket(&self, bucket: Bucket) -> Result<Keyspace, StorageError> {
        if let Some(open) = self.existing(bucket) {
            return Ok(open);
        }
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let keyspace = self.db.keyspace(&bucket.to_string(), options).map_err(engine("opened a bucket"))?;
        self.open.write().insert(bucket, keyspace.clone());
        Ok(keyspace)
    }
}

impl Storage for FjallStorage {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let Some(keyspace) = self.existing(bucket) else { return Ok(None) };
        Ok(keyspace.get(key).map_err(engine("read a key"))?.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        bucket: Bucket,
        start: &[u8],
        end: &[u8],
        visitor: &mut ScanVisitor<'_>,
    ) -> Result<(), StorageError> {
        let Some(keyspace) = self.existing(bucket) else { return Ok(()) };
        for pair in keyspace.range(start.to_vec()..end.to_vec()) {
            let (key, value) = pair.into_inner().map_err(engine("scanned keys"))?;
            if let ControlFlow::Break(()) = visitor(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    fn apply(&self, batch: &WriteBatch) -> Result<(), StorageError> {
        let mut fjall_batch = self.db.batch();
        for (bucket, writes) in &batch.buckets {
            let keyspace = self.bucket(*bucket)?;
            for (key, value) in &writes.writes {
                match value {
                    Some(value) => fjall_batch.insert(&keyspace, key.as_slice(), value.as_slice()),
                    None => fjall_batch.remove(&keyspace, key.as_slice()),
                }
            }
        }
        fjall_batch.commit().map_err(engine("applied a batch"))
    }

    fn sync(&self) -> Result<(), StorageError> {
        self.db.persist(PersistMode::SyncAll).map_err(engine("forced its journal to the disk"))
    }

    fn drop_bucket(&self, bucket: Bucket) -> Result<(), StorageError> {
        let removed = self.open.write().remove(&bucket);
        let Some(keyspace) = removed else { return Ok(()) };
        self.db.delete_keyspace(keyspace).map_err(engine("removed an expired day"))
    }

    fn expire(&self, _: Wall) -> Result<(), StorageError> {
        Ok(())
    }

    fn buckets(&self) -> BTreeSet<Bucket> {
        self.open.read().keys().copied().collect()
    }
}

impl Damaged for FjallStorage {
    const WHOLE: &'static str = FOLDER;

    fn is_damage(error: &(dyn Error + 'static)) -> bool {
        if matches!(error.downcast_ref(), Some(fjall::Error::Locked | fjall::Error::Poisoned)) {
            return false;
        }
        let causes = std::iter::successors(Some(error), |error| (**error).source());
        causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).all(damage::is_damage_of_files)
    }

    fn folder(data: &Path) -> PathBuf {
        data.to_owned()
    }

    /// All buckets are in one journal, so all of them are set aside.
    fn set_aside(data: &Path, _: &BTreeSet<Bucket>) -> io::Result<Vec<String>> {
        if data.join(FOLDER).exists() { Ok(vec![damage::rename(data, FOLDER)?]) } else { Ok(Vec::new()) }
    }
}
