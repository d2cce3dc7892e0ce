//! The batch that is being gathered, and the one on its way to the disk.

use std::collections::{BTreeMap, BTreeSet};

use super::headers::BucketHeader;
use super::{BatchId, Outcome, Ticket};
use crate::encode::encode;
use crate::ids::{Dot, ReplicaId};
use crate::key::{Bucket, DocumentKey, DocumentName};
use crate::log::{Delta, Reason, Tombstone};
use crate::storage::{BucketBatch, HEADER_KEY, OLD_HEADER_KEY, WriteBatch, document_of, log_key};
use crate::time::Wall;
use crate::version::VersionVector;

/// The replica's state when a batch is made; every header of the batch records it.
pub(super) struct BatchState<'a> {
    pub(super) id: ReplicaId,
    pub(super) issued: u64,
    pub(super) batch: BatchId,
    pub(super) vector: &'a VersionVector,
    pub(super) durable: &'a VersionVector,
    pub(super) settled: &'a VersionVector,
    /// Rolling hash of the log under `id` up to `issued`.
    pub(super) head: Option<u32>,
}

/// Writes that are not applied yet, and what happens once they are durable.
#[derive(Debug, Default)]
pub(super) struct Pending {
    writes: BTreeMap<Bucket, BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
    counts: BTreeMap<Bucket, (i64, i64)>,
    /// Own entries, in log order, with the log's rolling hash after each.
    pub(super) issued: Vec<(Delta, Option<u32>)>,
    /// Origins whose entries are in this batch.
    pub(super) foreign: BTreeSet<ReplicaId>,
    pub(super) changed: Vec<DocumentName>,
    /// Documents of which an `Erased` entry came, but no tombstone yet.
    pub(super) erasures_without_tombstone: Vec<(DocumentKey, Reason)>,
    /// Names whose tombstones are in this batch. Their rows are removed in the next one.
    pub(super) erased: Vec<(DocumentName, Tombstone)>,
    pub(super) done: Vec<(Ticket, Outcome)>,
    pub(super) done_when_removed: Vec<(Ticket, Outcome)>,
    pub(super) records: usize,
    /// `meta` is to be written. It is encoded when the batch is made, otherwise it could be older than what
    /// [`Replica::write_meta_now`](super::Replica::write_meta_now) has written since.
    pub(super) meta: bool,
    /// A batch is made even if nothing else is in it, because the vector moved or a repeat waits for durability.
    pub(super) force: bool,
}

/// A batch that was applied and is not durable yet.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) id: BatchId,
    pub(super) vector: VersionVector,
    /// The vector that was durable when the batch was made. The batch removes the rows of all tombstones up to there.
    pub(super) settles: VersionVector,
    pub(super) pending: Pending,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.erasures_without_tombstone.is_empty() && !self.force && !self.meta
    }

    pub(super) fn put(&mut self, bucket: Bucket, key: Vec<u8>, value: Vec<u8>) {
        self.writes.entry(bucket).or_default().insert(key, Some(value));
    }

    pub(super) fn remove(&mut self, bucket: Bucket, key: Vec<u8>) {
        self.writes.entry(bucket).or_default().insert(key, None);
    }

    /// Drops what was gathered for a bucket that is being dropped.
    pub(super) fn forget(&mut self, bucket: Bucket) {
        self.writes.remove(&bucket);
        self.counts.remove(&bucket);
    }

    /// Drops the gathered rows of documents that expire before `over`. Rows that are to be removed stay in the batch.
    pub(super) fn forget_expired(&mut self, over: Wall) {
        for writes in self.writes.values_mut() {
            writes.retain(|key, row| {
                row.is_none() || document_of(key).is_none_or(|document| document.expires_at >= over)
            });
        }
    }

    /// Whether a log entry of this origin is being gathered.
    pub(super) fn has_entries(&self, origin: ReplicaId) -> bool {
        let start = log_key(Dot { origin, seq: 0 });
        let prefix = &start[..start.len() - size_of::<u64>()];
        self.writes.values().flat_map(BTreeMap::keys).any(|key| key.starts_with(prefix))
    }

    pub(super) fn count(&mut self, bucket: Bucket, documents: i64, tombstones: i64) {
        let counts = self.counts.entry(bucket).or_default();
        counts.0 += documents;
        counts.1 += tombstones;
    }

    /// `Some(None)` if the key is about to be removed.
    #[allow(clippy::option_option)]
    pub(super) fn get(&self, bucket: Bucket, key: &[u8]) -> Option<Option<Vec<u8>>> {
        self.writes.get(&bucket)?.get(key).cloned()
    }

    /// The gathered writes with every touched bucket's new header. The lasting bucket is touched by every batch,
    /// because its header lists the last batch of all others.
    pub(super) fn batch(&mut self, state: &BatchState<'_>, headers: &mut BTreeMap<Bucket, BucketHeader>) -> WriteBatch {
        self.writes.entry(Bucket::Lasting).or_default();
        let writes = std::mem::take(&mut self.writes);
        let before = |bucket: &Bucket| headers.get(bucket).map_or(0, |header| header.batch);
        let touched: Vec<(Bucket, u64)> = writes.keys().map(|bucket| (*bucket, before(bucket))).collect();
        let mut table: BTreeMap<Bucket, u64> = headers.iter().map(|(bucket, header)| (*bucket, header.batch)).collect();
        table.extend(touched.iter().map(|(bucket, _)| (*bucket, state.batch.0)));
        table.remove(&Bucket::Lasting);
        debug_assert!(touched.iter().all(|(_, before)| *before < state.batch.0), "a bucket is ahead of its next batch");
        debug_assert!(state.vector.covers(state.durable), "a batch takes back what is durable");
        let mut batch = WriteBatch::default();
        for (bucket, mut writes) in writes {
            let header = headers.entry(bucket).or_default();
            let (documents, tombstones) = self.counts.get(&bucket).copied().unwrap_or_default();
            if header.is_old {
                writes.insert(OLD_HEADER_KEY.to_vec(), None);
            }
            *header = BucketHeader {
                replica: Some(state.id),
                issued: state.issued,
                head: state.head,
                documents: header.documents.saturating_add_signed(documents),
                tombstones: header.tombstones.saturating_add_signed(tombstones),
                batch: state.batch.0,
                touched: touched.clone(),
                table: if bucket == Bucket::Lasting { table.clone() } else { BTreeMap::new() },
                vector: state.vector.clone(),
                previous: state.durable.clone(),
                settled: state.settled.clone(),
                is_old: false,
            };
            writes.insert(HEADER_KEY.to_vec(), Some(encode(header)));
            batch.buckets.push((bucket, BucketBatch { writes: writes.into_iter().collect() }));
        }
        debug_assert!(batch.buckets.is_sorted_by_key(|(bucket, _)| *bucket), "days do not ascend");
        assert!(matches!(batch.buckets.last(), Some((Bucket::Lasting, _))), "every batch ends in the lasting bucket");
        batch
    }
}
