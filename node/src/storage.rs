//! Storage engines behind the trait [`replication::Storage`].
//!
//! Only `sled.rs` and `fjall.rs` name their engines. Each bucket is a unit of its own, so that an expired day gives its
//! disk space back. [`open`] wraps the engine in [`Poison`]: an engine that failed once is not trusted again. Between the
//! two lies the [`DisturbedDisk`] of drills.

mod fjall;
mod parts;
mod poison;
mod sled;

use std::path::Path;
use std::sync::Arc;

use replication::{Storage, StorageError};

pub use fjall::FjallStorage;
pub use poison::Poison;
pub use sled::SledStorage;

use crate::config::{Engine, StorageConfig};
use crate::faults::{DisturbedDisk, Faults};

/// A storage engine, shared by the replica and its readers.
pub type Store = Arc<dyn Storage + Send + Sync>;

/// Opens the configured engine in `data`, creating the folder if need be.
///
/// # Errors
/// [`StorageError`] if the folder or what lies in it cannot be opened.
pub fn open(data: &Path, config: &StorageConfig, faults: Faults) -> Result<Store, StorageError> {
    let cache_bytes = config.cache_bytes;
    Ok(match config.engine {
        Engine::Sled => {
            let engine = SledStorage::open(data, cache_bytes)?;
            Arc::new(Poison::new(DisturbedDisk { engine, faults }))
        }
        Engine::Fjall => {
            let engine = FjallStorage::open(data, cache_bytes)?;
            Arc::new(Poison::new(DisturbedDisk { engine, faults }))
        }
    })
}

/// Wraps an engine's error with what the engine was doing.
fn engine<E: std::error::Error + Send + Sync + 'static>(action: &'static str) -> impl FnOnce(E) -> StorageError {
    move |source| StorageError::Engine { action, source: Box::new(source) }
}
