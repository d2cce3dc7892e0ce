//! A machine's sealed store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use replication::{Bucket, MemoryKeys, RandomBytes, ScanVisitor, Sealed, Storage, StorageError, Wall, WriteBatch};

use super::disk::Disk;
use crate::seed::Stream;

/// The store of a process.
pub(crate) type Store = Arc<Sealed<Disk, MemoryKeys>>;

/// Opens the store on a disk.
pub(super) fn open(
    disk: &Disk,
    keys: &MemoryKeys,
    max_retention: Duration,
    mut draws: Stream,
) -> Result<Store, StorageError> {
    let random: RandomBytes = Box::new(move || draws.random());
    Ok(Arc::new(Sealed::open(disk.clone(), keys.clone(), random, max_retention)?))
}

/// A store as checks read it: without errors of the device.
#[derive(Clone)]
pub(crate) struct Undisturbed {
    disk: Disk,
    /// `None` if it does not open.
    store: Option<Store>,
}

impl Undisturbed {
    /// The store of a process.
    pub(super) fn of(disk: &Disk, store: &Store) -> Undisturbed {
        Undisturbed { disk: disk.clone(), store: Some(store.clone()) }
    }

    /// What a process would find that started now.
    pub(super) fn at_rest(disk: &Disk, keys: &MemoryKeys, max_retention: Duration) -> Undisturbed {
        let open = || Sealed::open(disk.clone(), keys.copied(|_| true), Box::new(|| [0; 16]), max_retention);
        let store = disk.quietly(open);
        Undisturbed { disk: disk.clone(), store: store.ok().map(Arc::new) }
    }

    fn read<T>(&self, read: impl FnOnce(&Store) -> Result<T, StorageError>) -> Result<T, StorageError> {
        self.store.as_ref().map_or(Err(StorageError::Poisoned), |store| self.disk.quietly(|| read(store)))
    }
}

impl Storage for Undisturbed {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.read(|store| store.get(bucket, key))
    }

    fn scan(&self, bucket: Bucket, start: &[u8], end: &[u8], see: &mut ScanVisitor<'_>) -> Result<(), StorageError> {
        self.read(|store| store.scan(bucket, start, end, see))
    }

    fn apply(&self, _: &WriteBatch) -> Result<(), StorageError> {
        Err(StorageError::Poisoned)
    }

    fn sync(&self) -> Result<(), StorageError> {
        Err(StorageError::Poisoned)
    }

    fn drop_bucket(&self, _: Bucket) -> Result<(), StorageError> {
        Err(StorageError::Poisoned)
    }

    fn expire(&self, _: Wall) -> Result<(), StorageError> {
        Err(StorageError::Poisoned)
    }

    fn buckets(&self) -> BTreeSet<Bucket> {
        self.disk.buckets()
    }
}
