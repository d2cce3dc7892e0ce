//! Puts a store back from a backup: the pairs of another store, or of this one as it once was.
//!
//! # The problem
//! A backup knows nothing of what its replica did afterwards. A replica that went on under its id would use dots again,
//! and no peer may be left that could tell.
//!
//! # The insight
//! The backup is the store of a replica that has slept since, so its vector holds, and peers send what came later. Only
//! its identity is spent. [`Restoring`] writes `meta` as [`Replica::mint_new_replica_id`](super::Replica) would have
//! left it: the old id is an earlier one, and nothing was issued under the new one. So entries that only the backup has
//! keep their dots and are sent as those of an earlier incarnation.
//!
//! # Invariants
//! - No document that has expired is written, nor the log entries of its changes. A gap in a log says the same.
//! - The store is not fit to serve before it has what its peers have ([`super::awaited`]).
//! - A backup is input from outside: a pair that no replica writes is an error.

use std::collections::BTreeMap;

use super::headers::BucketHeader;
use super::meta::{self, FORMAT, Meta};
use crate::encode::encode;
use crate::ids::ReplicaId;
use crate::key::Bucket;
use crate::log::{LogEntry, Reference};
use crate::storage::{
    BucketBatch, HEADER_KEY, META_KEY, OLD_HEADER_KEY, StorageError, WriteBatch, document_of, erased_of, is_log_key,
    tombstone_of,
};
use crate::time::Wall;

/// A store that is being put back. Give it every pair of the backup, in the order of buckets and keys.
#[derive(Debug)]
pub struct Restoring {
    now: Wall,
    id: ReplicaId,
    meta: Option<Meta>,
    newest: BucketHeader,
    /// The last seq issued under each id that a header names.
    issued: BTreeMap<ReplicaId, u64>,
    /// Documents of the present bucket that were left out.
    left_out: u64,
    /// The end of the last day that was dropped while the backup was made.
    horizon: Wall,
    restored: Restored,
}

/// What was put back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Documents that are in the store.
    pub documents: u64,
    /// Documents that had expired and are not.
    pub expired: u64,
}

impl Restoring {
    /// Documents that expire at `now` or before are left out. `id` was never the id of a replica.
    #[must_use]
    pub fn new(now: Wall, id: ReplicaId) -> Restoring {
        let newest = BucketHeader::default();
        let (issued, horizon, restored) = (BTreeMap::new(), Wall::default(), Restored::default());
        Restoring { now, id, meta: None, newest, issued, left_out: 0, horizon, restored }
    }

    /// A day was dropped while the backup was made, which therefore may lack any part of it. It was over then.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] if that day is not over.
    pub fn forgot(&mut self, bucket: Bucket) -> Result<(), StorageError> {
        if bucket.end() > self.now {
            return Err(StorageError::Corrupt { what: "day of a backup that is not over", bucket });
        }
        self.horizon = self.horizon.max(bucket.end());
        Ok(())
    }

    /// What is to be written for a pair now; `None` for nothing.
    ///
    /// # Errors
    /// [`StorageError`] if no replica writes such a pair, or only one of a later format.
    pub fn take(&mut self, bucket: Bucket, key: &[u8], value: Vec<u8>) -> Result<Option<Vec<u8>>, StorageError> {
        if let Some(document) = document_of(key).filter(|document| document.bucket() == bucket) {
            let is_over = document.expires_at <= self.now;
            let count = if is_over { &mut self.restored.expired } else { &mut self.restored.documents };
            *count += 1;
            self.left_out += u64::from(is_over);
            return Ok((!is_over).then_some(value));
        }
        if is_log_key(key) {
            let entry = LogEntry::decode(&value).ok_or(StorageError::Corrupt { what: "log entry", bucket })?;
            let is_over = matches!(entry.what, Reference::Change(key) if key.expires_at <= self.now);
            return Ok((!is_over).then_some(value));
        }
        match key {
            META_KEY if bucket == Bucket::Lasting => {
                self.meta = Some(meta::decode(value)?);
                Ok(None)
            }
            HEADER_KEY => {
                let header: BucketHeader = StorageError::decode(&value, "bucket header", bucket)?;
                Ok(Some(encode(&self.header(header))))
            }
            OLD_HEADER_KEY => {
                self.header(
                    StorageError::decode::<super::headers::OldBucketHeader>(&value, "bucket header", bucket)?.into(),
                );
                Ok(Some(value))
            }
            _ if erased_of(key).or(tombstone_of(key)).is_some() => Ok(Some(value)),
            _ => Err(StorageError::Corrupt { what: "key of a backup", bucket }),
        }
    }

    /// Notes a bucket's header, the last pair of its kind in the bucket. Its documents are those that are left.
    fn header(&mut self, header: BucketHeader) -> BucketHeader {
        if let Some(replica) = header.replica {
            let issued = self.issued.entry(replica).or_default();
            *issued = header.issued.max(*issued);
        }
        if header.batch >= self.newest.batch {
            self.newest = header.clone();
        }
        let documents = header.documents.saturating_sub(std::mem::take(&mut self.left_out));
        BucketHeader { documents, ..header }
    }

    /// Documents that are to be written so far.
    #[must_use]
    pub fn documents(&self) -> u64 {
        self.restored.documents
    }

    /// The last write, after all pairs. Once it is durable the store may be opened.
    ///
    /// # Errors
    /// [`StorageError`] if the pairs are not those of a whole store.
    pub fn finish(self) -> Result<(WriteBatch, Restored), StorageError> {
        let missing = StorageError::Corrupt { what: "backup, which has no `meta`", bucket: Bucket::Lasting };
        let mut meta = self.meta.ok_or(missing)?;
        let known = meta.vector.get(meta.id).max(self.newest.vector.get(meta.id));
        let issued = self.issued.get(&meta.id).copied().unwrap_or_default().max(meta.issued).max(known);
        // What is left of a half batch of the old id, about which its peers were not asked any more.
        meta.orphans.merge(&std::mem::take(&mut meta.unproven));
        if issued > 0 {
            meta.past.insert(meta.id);
            meta.ended.advance(meta.id, issued);
        }
        if issued > known {
            meta.orphans.advance(meta.id, issued);
        }
        meta.horizon = meta.horizon.max(self.horizon);
        (meta.format, meta.id, meta.issued, meta.filling) = (FORMAT, self.id, 0, true);
        let writes = vec![(META_KEY.to_vec(), Some(encode(&meta)))];
        Ok((WriteBatch { buckets: vec![(Bucket::Lasting, BucketBatch { writes })] }, self.restored))
    }
}
