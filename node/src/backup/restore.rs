//! Puts a backup into an empty folder.
//!
//! # Invariants
//! - The folder is empty before. It is whole afterwards, or empty again; if the process is killed, [`UNFINISHED`] is
//!   in it, and no node starts there.
//! - Rows are sealed with new keys. What has expired is not written.
//! - Nothing is written before the identity has opened the backup and its head is read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::Moment;
use replication::{
    Bucket, BucketBatch, ReplicaId, Restoring, STORE_FORMAT, Storage, StorageError, Wall, WriteBatch, millis,
};

use super::format::{BackupReader, FormatError, Head, Next};
use super::lock;
use crate::backup_key::Identity;
use crate::config::{Engine, StorageConfig};
use crate::metrics::Metrics;
use crate::storage::{self, FjallStorage, Pairs, SledStorage};

/// A file in the folder while a backup is being put into it.
pub const UNFINISHED: &str = "restore-unfinished";

/// By how much this machine's clock may be behind that of the node at the begin of the backup.
const SKEW_MS: u64 = 60_000;
/// Pairs, and bytes of them, of one batch.
const BATCH_PAIRS: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
/// Batches after which they are forced to the disk.
const SYNC_EVERY: usize = 64;

/// Where a backup is put.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The folder of the store.
    pub data: &'a Path,
    /// Its engine.
    pub storage: StorageConfig,
}

/// What was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The first record of the backup.
    pub head: Head,
    /// Documents that are in the store.
    pub documents: u64,
    /// Documents that had expired and are not.
    pub expired: u64,
}

/// Why a backup was not put back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The backup cannot be read.
    #[error(transparent)]
    Backup(#[from] FormatError),
    /// A store is there.
    #[error(
        "{} is not empty: a backup never goes over a store. Stop the node, move the folder away, and restore again",
        data.display()
    )]
    NotEmpty {
        /// The folder.
        data: PathBuf,
    },
    /// An earlier restore was cut short.
    #[error("an earlier restore into {} did not finish: delete the folder, and restore again", data.display())]
    Unfinished {
        /// The folder.
        data: PathBuf,
    },
    /// The folder cannot be used.
    #[error("{} cannot be used", data.display())]
    Folder {
        /// The folder.
        data: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The clock of this machine decides what has expired, and it is wrong.
    #[error("the backup is of {begun}, and this machine's clock shows {now}: set it right first")]
    Clock {
        /// When the backup began.
        begun: Moment,
        /// What the clock shows.
        now: Moment,
    },
    /// The store keeps documents for another time.
    #[error(
        "the backup keeps documents for up to {found} ms, this release {expected} ms: use the release that made it"
    )]
    Retention {
        /// That of the backup.
        found: u64,
        /// That of this release.
        expected: u64,
    },
    /// The engine failed, or a pair of the backup is none.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// No random number is to be had.
    #[error("there are no random numbers")]
    Random,
}

/// Puts a backup into an empty folder, or one that does not exist. `now` decides what has expired. `progress` hears of
/// the documents so far.
///
/// # Errors
/// [`RestoreError`]; the folder is as it was then.
pub fn restore(
    backup: impl BufRead,
    identity: &Identity,
    target: Target<'_>,
    now: Wall,
    progress: &mut dyn FnMut(u64),
) -> Result<Restored, RestoreError> {
    let Target { data, storage } = target;
    let (mut reader, head) = BackupReader::begin(lock::open(backup, identity)?)?;
    check(&head, now)?;
    let folder = |source| RestoreError::Folder { data: data.to_owned(), source };
    service::private::make_folder(data).map_err(folder)?;
    if data.join(UNFINISHED).exists() {
        return Err(RestoreError::Unfinished { data: data.to_owned() });
    }
    if fs::read_dir(data).map_err(folder)?.next().is_some() {
        return Err(RestoreError::NotEmpty { data: data.to_owned() });
    }
    mark(data).map_err(folder)?;
    let put = match storage.engine {
        Engine::Sled => SledStorage::open(data, storage.cache_bytes)
            .map_err(RestoreError::from)
            .and_then(|engine| put(engine, data, &mut reader, now, progress)),
        Engine::Fjall => FjallStorage::open(data, storage.cache_bytes)
            .map_err(RestoreError::from)
            .and_then(|engine| put(engine, data, &mut reader, now, progress)),
    };
    match put {
        Ok(restored) => {
            fs::remove_file(data.join(UNFINISHED)).and_then(|()| File::open(data)?.sync_all()).map_err(folder)?;
            Ok(Restored { head, documents: restored.documents, expired: restored.expired })
        }
        Err(error) => {
            // It was empty, so everything in it is what this call has made.
            empty(data).map_err(folder)?;
            Err(error)
        }
    }
}

fn check(head: &Head, now: Wall) -> Result<(), RestoreError> {
    if head.begun_ms > now.0.saturating_add(SKEW_MS) {
        return Err(RestoreError::Clock { begun: Moment(Wall(head.begun_ms)), now: Moment(now) });
    }
    let (found, expected) = (head.max_retention_ms, millis(registry::LONGEST_RETENTION));
    if found != expected {
        return Err(RestoreError::Retention { found, expected });
    }
    if head.store_format > STORE_FORMAT {
        return Err(StorageError::Format { found: head.store_format, expected: STORE_FORMAT }.into());
    }
    Ok(())
}

/// Durably says that the folder is not whole.
fn mark(data: &Path) -> io::Result<()> {
    let mut file = File::create_new(data.join(UNFINISHED))?;
    file.write_all(b"A restore into this folder has not finished. Delete the folder, and restore again.\n")?;
    file.sync_all()?;
    File::open(data)?.sync_all()
}

/// Removes what is in a folder, the mark last.
fn empty(data: &Path) -> io::Result<()> {
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        match entry.file_name() {
            name if name == UNFINISHED => {}
            _ if entry.file_type()?.is_dir() => fs::remove_dir_all(entry.path())?,
            _ => fs::remove_file(entry.path())?,
        }
    }
    fs::remove_file(data.join(UNFINISHED))
}

/// Writes the pairs of a backup into an engine, and closes it.
fn put<S: Storage>(
    engine: S,
    data: &Path,
    reader: &mut BackupReader<impl io::Read>,
    now: Wall,
    progress: &mut dyn FnMut(u64),
) -> Result<replication::Restored, RestoreError> {
    // Nothing shows these metrics.
    let metrics = Metrics::new().map_err(|error| io::Error::other(error.to_string()));
    let metrics = metrics.map_err(|source| RestoreError::Folder { data: data.to_owned(), source })?;
    let store = storage::sealed(engine, data, Arc::new(metrics))?;
    let id = loop {
        // 0 marks a bucket that no replica has written.
        match getrandom::u64().map_err(|_| RestoreError::Random)? {
            0 => {}
            id => break ReplicaId(id),
        }
    };
    let mut restoring = Restoring::new(now, id);
    let mut batches = Batches { store: &store, waiting: BTreeMap::new(), pairs: 0, bytes: 0, unsynced: 0 };
    let mut last: Option<(Bucket, Vec<u8>)> = None;
    let dropped = loop {
        let Pairs { bucket, pairs } = match reader.next()? {
            Next::Pairs(pairs) => pairs,
            Next::End(dropped) => break dropped,
        };
        for (key, value) in pairs {
            // In order, so no key is there twice, and the last header of a bucket comes after its documents.
            if last.as_ref().is_some_and(|(before, of)| (*before, of) >= (bucket, &key)) {
                return Err(FormatError::Malformed.into());
            }
            last = Some((bucket, key.clone()));
            if let Some(value) = restoring.take(bucket, &key, value)? {
                batches.add(bucket, key, value)?;
            }
        }
        progress(restoring.documents());
    };
    for bucket in dropped {
        restoring.forgot(bucket)?;
    }
    batches.apply()?;
    let (end, restored) = restoring.finish()?;
    store.apply(&end)?;
    store.sync()?;
    Ok(restored)
}

/// Gathers pairs into batches.
struct Batches<'a, S> {
    store: &'a S,
    waiting: BTreeMap<Bucket, BucketBatch>,
    pairs: usize,
    bytes: usize,
    unsynced: usize,
}

impl<S: Storage> Batches<'_, S> {
    fn add(&mut self, bucket: Bucket, key: Vec<u8>, value: Vec<u8>) -> Result<(), StorageError> {
        (self.pairs, self.bytes) = (self.pairs + 1, self.bytes + key.len() + value.len());
        self.waiting.entry(bucket).or_default().writes.push((key, Some(value)));
        if self.pairs >= BATCH_PAIRS || self.bytes >= BATCH_BYTES { self.apply() } else { Ok(()) }
    }

    fn apply(&mut self) -> Result<(), StorageError> {
        let buckets = std::mem::take(&mut self.waiting).into_iter().collect();
        self.store.apply(&WriteBatch { buckets })?;
        (self.pairs, self.bytes, self.unsynced) = (0, 0, self.unsynced + 1);
        if self.unsynced >= SYNC_EVERY {
            self.unsynced = 0;
            self.store.sync()?;
        }
        Ok(())
    }
}
