//! Storage engines behind the trait [`replication::Storage`].
//!
//! Only `sled.rs` and `fjall.rs` name their engines. Each bucket is a unit of its own, so that an expired day gives its
//! disk space back. [`open`] seals the engine's rows ([`replication::Sealed`]) and wraps it in [`Poison`]: an engine that
//! failed once is not trusted again. Between the two lies the [`DisturbedDisk`] of drills. Around all of them is
//! [`Snapshots`], which backups read.

mod damage;
mod deaths;
mod fjall;
mod keys;
mod parts;
mod poison;
mod sled;
mod snapshots;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use replication::{KeyFiles as _, KeyName, Sealed, Storage, StorageError};

pub(crate) use damage::suspect;
pub(crate) use deaths::stopped_well;
pub use fjall::FjallStorage;
pub use poison::Poison;
pub use sled::SledStorage;
pub use snapshots::{Pairs, Snapshot, SnapshotError, Snapshots};

use crate::config::{Engine, StorageConfig};
use crate::faults::{DisturbedDisk, Faults};
use crate::metrics::Metrics;
use keys::FolderOfKeys;

/// The folder of the key files, in that of the data.
const KEYS: &str = "keys";

/// Bytes of the engine's cache while a store at rest is read.
const CHECK_CACHE: u64 = 64 << 20;

/// A storage engine, shared by the replica and its readers.
pub type Store = Arc<dyn Storage + Send + Sync>;

/// Opens the configured engine in `data`, creating the folder if need be. If there are peers that can fill it again, what
/// is damaged is set aside, and replaced ([`damage`]).
///
/// # Errors
/// [`StorageError`] if the folder or what lies in it cannot be opened.
pub fn open(
    data: &Path,
    config: &StorageConfig,
    has_peers: bool,
    faults: Faults,
    metrics: Arc<Metrics>,
) -> Result<Arc<Snapshots>, StorageError> {
    let cache_bytes = config.cache_bytes;
    Ok(Snapshots::new(match config.engine {
        Engine::Sled => {
            let engine = damage::open(data, has_peers, |data| SledStorage::open(data, cache_bytes))?;
            let engine = sealed_with(engine, data, has_peers, metrics)?;
            Arc::new(Poison::new(DisturbedDisk { engine, faults }))
        }
        Engine::Fjall => {
            let engine = damage::open(data, has_peers, |data| FjallStorage::open(data, cache_bytes))?;
            let engine = sealed_with(engine, data, has_peers, metrics)?;
            Arc::new(Poison::new(DisturbedDisk { engine, faults }))
        }
    }))
}

/// The engine whose files lie in a folder of data, if any.
#[must_use]
pub fn engine_in(data: &Path) -> Option<Engine> {
    let is_there = |folder: &str| data.join(folder).is_dir();
    match () {
        () if is_there(sled::BUCKETS) => Some(Engine::Sled),
        () if is_there(fjall::FOLDER) => Some(Engine::Fjall),
        () => None,
    }
}

/// Opens the store of a node that does not run, to read it. Erasures that a crash has cut short are finished
/// ([`replication::Sealed::open`]); nothing else is repaired.
///
/// # Errors
/// [`StorageError`] if there is none, or it does not open.
pub fn open_at_rest(data: &Path) -> Result<Store, StorageError> {
    let none = || engine("looked for a store")(std::io::Error::from(std::io::ErrorKind::NotFound));
    // Metrics of its own, which no listener shows.
    let metrics = Arc::new(Metrics::new().map_err(engine("made its metrics"))?);
    Ok(match engine_in(data).ok_or_else(none)? {
        Engine::Sled => Arc::new(sealed(SledStorage::open(data, CHECK_CACHE)?, data, metrics)?),
        Engine::Fjall => Arc::new(sealed(FjallStorage::open(data, CHECK_CACHE)?, data, metrics)?),
    })
}

/// The key files of a node that does not run, each with whether it has all its keys.
///
/// # Errors
/// [`StorageError`] if one cannot be read.
pub fn keys_at_rest(data: &Path) -> Result<BTreeMap<KeyName, bool>, StorageError> {
    let metrics = Arc::new(Metrics::new().map_err(engine("made its metrics"))?);
    let files = FolderOfKeys::open(data.join(KEYS), false, metrics)?.all()?;
    Ok(files.into_iter().map(|(name, contents)| (name, name.is_whole(&contents))).collect())
}

/// Removes the store of a node that does not run, whatever there is of it. Its keys are overwritten first, so that what the
/// disk keeps of its rows cannot be read.
///
/// # Errors
/// If something of it may be left.
pub fn remove(data: &Path) -> std::io::Result<()> {
    keys::overwrite_all(&data.join(KEYS))?;
    std::fs::remove_dir_all(data)
}

/// Seals the rows of an engine; the key files lie beside its own, in `keys`.
///
/// # Errors
/// [`StorageError`] if the key files cannot be used.
pub fn sealed<S: Storage>(
    engine: S,
    data: &Path,
    metrics: Arc<Metrics>,
) -> Result<impl Storage + use<S>, StorageError> {
    sealed_with(engine, data, false, metrics)
}

fn sealed_with<S: Storage>(
    engine: S,
    data: &Path,
    has_peers: bool,
    metrics: Arc<Metrics>,
) -> Result<impl Storage + use<S>, StorageError> {
    let keys = FolderOfKeys::open(data.join(KEYS), has_peers, metrics)?;
    Sealed::open(engine, keys, Box::new(random), registry::LONGEST_RETENTION)
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    // There is no safe key without random bytes, so ask again.
    while getrandom::fill(&mut bytes).is_err() {
        std::thread::yield_now();
    }
    bytes
}

/// Wraps an engine's error with what the engine was doing.
fn engine<E: std::error::Error + Send + Sync + 'static>(action: &'static str) -> impl FnOnce(E) -> StorageError {
    move |source| StorageError::Engine { action, source: Box::new(source) }
}
