//! What the replica needs of a storage engine: ordered bytes in buckets.
//!
//! # Contract
//! - [`Storage::apply`] makes a batch visible; it is atomic per bucket, and buckets take effect in the order given
//!   (days ascending, [`Bucket::Lasting`] last). A crash may still lose it.
//! - After [`Storage::sync`] returns, every batch applied before the call survives a crash and a power cut. So does
//!   what the engine held when it was opened, which a killed process may have left only in the page cache.
//! - After one of `apply`, `sync` and `drop_bucket` has failed, all of them fail, because a sync that succeeds after a
//!   failed one does not prove that anything is durable.
//! - A crash may keep any prefix of the unsynced batches of each bucket, never a part of one batch in one bucket.
//! - [`Storage::drop_bucket`] removes a bucket with all its files; a later `apply` may create it anew. Before the next
//!   [`Storage::sync`] a crash may bring it back.
//! - No key begins with the byte 0xff, so an engine may keep its own keys there.
//!
//! Keys begin with a table's tag, so that one bucket is one ordered map in every engine (`storage/tables.rs`).

mod tables;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use serde::Deserialize;

use crate::key::{Bucket, DocumentKey, DocumentName};
use crate::time::Wall;

pub(crate) use tables::{
    Entry, HEADER_KEY, KeyRange, LOG, META_KEY, OLD_HEADER_KEY, document_key, document_of, erased_key, erased_of,
    is_log_key, scan_documents, scan_erased, scan_everything, scan_log, scan_log_from, scan_tombstones, tombstone_key,
    tombstone_of,
};
pub use tables::{has_log_entries, log_key, scan_logs};

/// Ordered tables in buckets. Methods take `&self`: an engine is shared between the replica and its readers.
pub trait Storage {
    /// The value of `key`, if any.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails.
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// Calls `visitor` with the pairs with `start <= key < end` in order until it breaks.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails.
    fn scan(&self, bucket: Bucket, start: &[u8], end: &[u8], visitor: &mut ScanVisitor<'_>)
    -> Result<(), StorageError>;

    /// Makes a batch visible.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails.
    fn apply(&self, batch: &WriteBatch) -> Result<(), StorageError>;

    /// Makes every batch durable that was applied before the call.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails.
    fn sync(&self) -> Result<(), StorageError>;

    /// Removes a bucket with all its files.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails.
    fn drop_bucket(&self, bucket: Bucket) -> Result<(), StorageError>;

    /// Every document that expires at `over` or before is dead for good, so its bytes may be made unreadable. An engine
    /// that does not seal does nothing.
    ///
    /// # Errors
    /// [`StorageError`] if that fails.
    fn expire(&self, over: Wall) -> Result<(), StorageError>;

    /// Whether the keys of a name were destroyed here, so that no row of that name can be stored. A storage that wraps
    /// another one asks that one.
    fn is_destroyed(&self, _name: &DocumentName, _lasting: bool) -> bool {
        false
    }

    /// Documents that have rows here although their keys are destroyed: the store went back to before their erasure. A storage
    /// that wraps another one asks that one.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails or a key is corrupt.
    fn destroyed_rows(&self) -> Result<BTreeSet<DocumentKey>, StorageError> {
        Ok(BTreeSet::new())
    }

    /// The buckets that exist, empty ones included.
    fn buckets(&self) -> BTreeSet<Bucket>;
}

/// Called with every pair of a scan.
pub type ScanVisitor<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

impl<S: Storage + ?Sized> Storage for std::sync::Arc<S> {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        (**self).get(bucket, key)
    }
    fn scan(
        &self,
        bucket: Bucket,
        start: &[u8],
        end: &[u8],
        visitor: &mut ScanVisitor<'_>,
    ) -> Result<(), StorageError> {
        (**self).scan(bucket, start, end, visitor)
    }
    fn apply(&self, batch: &WriteBatch) -> Result<(), StorageError> {
        (**self).apply(batch)
    }
    fn sync(&self) -> Result<(), StorageError> {
        (**self).sync()
    }
    fn drop_bucket(&self, bucket: Bucket) -> Result<(), StorageError> {
        (**self).drop_bucket(bucket)
    }
    fn expire(&self, over: Wall) -> Result<(), StorageError> {
        (**self).expire(over)
    }
    fn is_destroyed(&self, name: &DocumentName, lasting: bool) -> bool {
        (**self).is_destroyed(name, lasting)
    }
    fn destroyed_rows(&self) -> Result<BTreeSet<DocumentKey>, StorageError> {
        (**self).destroyed_rows()
    }
    fn buckets(&self) -> BTreeSet<Bucket> {
        (**self).buckets()
    }
}

/// The engine failed. The replica must stop, because it no longer knows what is durable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The engine reported an error.
    #[error("storage engine failed while it {action}")]
    Engine {
        /// What the engine was doing.
        action: &'static str,
        /// The engine's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An earlier write or sync failed, so the success of a later one would prove nothing.
    #[error("storage engine failed before and is not used again: restart the node")]
    Poisoned,
    /// A stored value is not in the form that we write.
    #[error("undecodable {what} in {bucket}")]
    Corrupt {
        /// Which kind of value.
        what: &'static str,
        /// The bucket that holds it.
        bucket: Bucket,
    },
    /// The configured retention differs from that of the store, which decides how long its tombstones are kept.
    #[error(
        "the store keeps documents for up to {stored} ms, the configuration says {configured} ms: begin a new store"
    )]
    Retention {
        /// The retention that the store began with.
        stored: u64,
        /// The retention that is configured now.
        configured: u64,
    },
    /// A key file is none, or was damaged.
    #[error("the key file `{name}` cannot be read: put it back, or begin a new store, which the other regions fill")]
    KeyFile {
        /// Its name in the folder of the keys.
        name: String,
    },
    /// Rows are sealed and their key files are not there.
    #[error(
        "rows of {bucket} are sealed and their key files are missing: put the folder of the keys back, or begin a new \
         store with an empty folder, which the other regions fill"
    )]
    KeysLost {
        /// The bucket that holds the rows.
        bucket: Bucket,
    },
    /// The store was written by a version that this one does not know.
    #[error("store has format {found}, this version reads {expected}")]
    Format {
        /// The format of the store.
        found: u16,
        /// The newest format that this version reads.
        expected: u16,
    },
}

impl StorageError {
    /// An error of decoding as [`StorageError::Corrupt`].
    pub(crate) fn corrupt<E>(what: &'static str, bucket: Bucket) -> impl Fn(E) -> StorageError {
        move |_| StorageError::Corrupt { what, bucket }
    }

    /// Reads a stored value of `bucket`.
    pub(crate) fn decode<T: for<'de> Deserialize<'de>>(
        stored: &[u8],
        what: &'static str,
        bucket: Bucket,
    ) -> Result<T, StorageError> {
        postcard::from_bytes(stored).map_err(StorageError::corrupt(what, bucket))
    }
}

/// New values (`None` removes) of one bucket's keys, in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketBatch {
    /// `(key, value)`; every key at most once.
    pub writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// One group of writes: per bucket, in the order in which buckets take effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch {
    /// Days ascending, [`Bucket::Lasting`] last.
    pub buckets: Vec<(Bucket, BucketBatch)>,
}

impl WriteBatch {
    /// Number of keys written.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.iter().map(|(_, batch)| batch.writes.len()).sum()
    }

    /// Whether nothing is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }
}
