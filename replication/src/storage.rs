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
//! Keys begin with a table's tag, so that one bucket is one ordered map in every engine.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::ids::Dot;
use crate::key::{Bucket, DocumentKey, DocumentName};

/// Ordered tables in buckets. Methods take `&self`: an engine is shared between the replica and its readers.
pub trait Storage {
    /// The value of `key`, if any.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails.
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// Visits the pairs with `start <= key < end` in order until `visit` breaks.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails.
    fn scan(&self, bucket: Bucket, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError>;

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

    /// The buckets that exist, empty ones included.
    fn buckets(&self) -> BTreeSet<Bucket>;
}

/// Called with every pair of a scan.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

impl<S: Storage + ?Sized> Storage for std::sync::Arc<S> {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        (**self).get(bucket, key)
    }
    fn scan(&self, bucket: Bucket, start: &[u8], end: &[u8], visit: &mut Visit<'_>) -> Result<(), StorageError> {
        (**self).scan(bucket, start, end, visit)
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
        /// Where.
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
    /// The store was written by a version that this one does not know.
    #[error("store has format {found}, this version reads {expected}")]
    Format {
        /// The format of the store.
        found: u16,
        /// The newest format that this version reads.
        expected: u16,
    },
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

const DOCUMENTS: u8 = b'd';
pub(crate) const LOG: u8 = b'l';
const TOMBSTONES: u8 = b't';
const META: u8 = b'm';

/// Key of a document's row.
pub(crate) fn document_key(key: &DocumentKey) -> Vec<u8> {
    tagged(DOCUMENTS, &key.encode())
}

/// The document named by a row's key.
pub(crate) fn read_document_key(key: &[u8]) -> Option<DocumentKey> {
    key.strip_prefix(&[DOCUMENTS]).and_then(DocumentKey::decode)
}

/// Range of the rows whose names start with `prefix` (a part of [`DocumentName::encode`]).
pub(crate) fn document_range(prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    prefix_range(&tagged(DOCUMENTS, prefix))
}

/// Key of a log entry.
pub fn log_key(dot: Dot) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    key.push(LOG);
    key.extend_from_slice(&dot.origin.0.to_be_bytes());
    key.extend_from_slice(&dot.seq.to_be_bytes());
    key
}

/// The seq of a log entry's key.
pub(crate) fn read_log_seq(key: &[u8]) -> Option<u64> {
    (key.len() == 17).then(|| key[9..].try_into().ok().map(u64::from_be_bytes)).flatten()
}

/// Key of a tombstone.
pub(crate) fn tombstone_key(name: &DocumentName) -> Vec<u8> {
    tagged(TOMBSTONES, &name.encode())
}

/// The document named by a tombstone's key.
pub(crate) fn read_tombstone_key(key: &[u8]) -> Option<DocumentName> {
    key.strip_prefix(&[TOMBSTONES]).and_then(DocumentName::decode)
}

/// Range of the tombstones whose names start with `prefix`.
pub(crate) fn tombstone_range(prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    prefix_range(&tagged(TOMBSTONES, prefix))
}

/// Key of the replica's own state, in [`Bucket::Lasting`].
pub(crate) const META_KEY: &[u8] = &[META, b'0'];
/// Key of a bucket's mark.
pub(crate) const MARK_KEY: &[u8] = &[META, b'2'];
/// Key of a bucket's mark up to store format 3.
pub(crate) const OLD_MARK_KEY: &[u8] = &[META, b'1'];

fn tagged(tag: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(tag);
    key.extend_from_slice(rest);
    key
}

/// `[prefix, first key after all that start with prefix)`.
fn prefix_range(prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    (prefix.to_vec(), end)
}
