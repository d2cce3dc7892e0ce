//! What each bucket says about itself, and what all of them together prove when a store is opened.
//!
//! # The problem
//! Each bucket is a database of its own. After a crash one of them may hold a batch that another one lacks. A bucket
//! may also be gone, or older than the others: removed by hand, restored from a backup, or cut short by an engine that
//! drops what it cannot verify. The version vector must not cover entries that are gone, otherwise no peer sends them
//! again.
//!
//! # The algorithm
//! At most one batch is on its way to the disk. Every batch writes a [`BucketHeader`] into each bucket that it touches.
//! The lasting bucket is touched by every batch and comes last; its header holds a table of every bucket's last batch.
//! - The newest batch is in all the buckets that it touched: the store is [`StoreState::Whole`].
//! - It is in some, and the others stand exactly where they stood before it: [`StoreState::Half`]. A crash does that.
//! - A crash cannot cause any other state, so the store went back in time ([`StoreState::WentBack`]). Then an entry
//!   counts as present only if the newest batch and every older bucket's header cover it. A missing bucket covers
//!   nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::meta;
use crate::ids::ReplicaId;
use crate::key::Bucket;
use crate::storage::{HEADER_KEY, OLD_HEADER_KEY, Storage, StorageError};
use crate::time::Wall;
use crate::version::VersionVector;

/// What a bucket says about itself, written atomically with every batch that touches it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BucketHeader {
    /// The replica that wrote last, if one has; 0 is stored for none.
    #[serde(with = "replica_or_zero")]
    pub(super) replica: Option<ReplicaId>,
    /// The last seq issued under that id, whatever has been removed from the log since.
    pub(super) issued: u64,
    /// Rolling hash of the log under that id up to `issued`, if it is known.
    pub(super) head: Option<u32>,
    pub(super) documents: u64,
    pub(super) tombstones: u64,
    pub(super) batch: u64,
    /// Every bucket that the batch touched, with the last batch before it that touched that bucket.
    pub(super) touched: Vec<(Bucket, u64)>,
    /// Every bucket but the lasting one with its last batch; only in the lasting bucket's header.
    pub(super) table: BTreeMap<Bucket, u64>,
    pub(super) vector: VersionVector,
    /// The vector that was durable when the batch was made.
    pub(super) previous: VersionVector,
    /// The rows of tombstones up to here have been removed; durably, once this batch is durable.
    pub(super) settled: VersionVector,
    /// Read from the form of store format 3, which had no table.
    #[serde(skip)]
    pub(super) is_old: bool,
}

/// The stored form of a replica that may be none.
mod replica_or_zero {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::ids::ReplicaId;

    #[allow(clippy::ref_option)]
    pub(super) fn serialize<S: Serializer>(replica: &Option<ReplicaId>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(replica.map_or(0, |replica| replica.0))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<ReplicaId>, D::Error> {
        u64::deserialize(from).map(|replica| (replica != 0).then_some(ReplicaId(replica)))
    }
}

/// A header up to store format 3.
#[derive(Deserialize)]
pub(super) struct OldBucketHeader {
    replica: u64,
    issued: u64,
    documents: u64,
    tombstones: u64,
    batch: u64,
    touched: Vec<Bucket>,
    vector: VersionVector,
    previous: VersionVector,
    settled: VersionVector,
}

impl From<OldBucketHeader> for BucketHeader {
    fn from(old: OldBucketHeader) -> BucketHeader {
        BucketHeader {
            replica: (old.replica != 0).then_some(ReplicaId(old.replica)),
            issued: old.issued,
            head: None,
            documents: old.documents,
            tombstones: old.tombstones,
            batch: old.batch,
            touched: old.touched.into_iter().map(|bucket| (bucket, 0)).collect(),
            table: BTreeMap::new(),
            vector: old.vector,
            previous: old.previous,
            settled: old.settled,
            is_old: true,
        }
    }
}

/// What the headers of a store prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StoreState {
    /// Every bucket has the newest batch: its vector holds.
    Whole(VersionVector),
    /// A crash kept a part of the newest batch: the vector before it holds.
    Half(VersionVector),
    /// Buckets are missing, or older than the store was: only this is proven.
    WentBack { proven: VersionVector, missing: Vec<Bucket> },
}

/// Reads every bucket's header. A bucket that holds nothing yet has the default header.
pub(super) fn read<S: Storage>(storage: &S) -> Result<BTreeMap<Bucket, BucketHeader>, StorageError> {
    let mut headers = BTreeMap::new();
    for bucket in storage.buckets() {
        let header = match (storage.get(bucket, HEADER_KEY)?, storage.get(bucket, OLD_HEADER_KEY)?) {
            (Some(header), _) => StorageError::decode(&header, "bucket header", bucket)?,
            (None, Some(old)) => StorageError::decode::<OldBucketHeader>(&old, "bucket header", bucket)?.into(),
            // After a crash a bucket may exist of which not even the first batch survived.
            (None, None) => BucketHeader::default(),
        };
        headers.insert(bucket, header);
    }
    Ok(headers)
}

/// The buckets of a store that no replica uses which are missing, or older than the rest of it. A replica that opens it
/// fetches what was in them from its peers. `has_keys` says that rows were sealed for this store; then it is not new.
///
/// # Errors
/// [`StorageError`] if the engine fails, or a header or the store's own state does not decode.
pub fn missing_buckets(storage: &impl Storage, has_keys: bool) -> Result<Vec<Bucket>, StorageError> {
    let meta = meta::read(storage)?;
    let horizon = meta.as_ref().map(|meta| meta.horizon).unwrap_or_default();
    Ok(match judge(&read(storage)?, horizon, meta.is_some()) {
        StoreState::WentBack { missing, .. } => missing,
        StoreState::Whole(_) | StoreState::Half(_) if meta.is_none() && has_keys => vec![Bucket::Lasting],
        StoreState::Whole(_) | StoreState::Half(_) => Vec::new(),
    })
}

/// The header of the newest batch.
pub(super) fn newest(headers: &BTreeMap<Bucket, BucketHeader>) -> BucketHeader {
    headers.values().max_by_key(|header| header.batch).cloned().unwrap_or_default()
}

/// Judges the headers of a store that has forgotten everything up to `horizon`. `has_meta` is false if the replica's
/// own state is not there.
pub(super) fn judge(headers: &BTreeMap<Bucket, BucketHeader>, horizon: Wall, has_meta: bool) -> StoreState {
    let last = newest(headers);
    let stands = |bucket: &Bucket| headers.get(bucket).map_or(0, |header| header.batch);
    let is_over = |bucket: &Bucket| bucket.end() <= horizon;
    let lasting = headers.get(&Bucket::Lasting).cloned().unwrap_or_default();

    let mut missing: Vec<Bucket> = Vec::new();
    let mut is_whole = true;
    for (bucket, before) in last.touched.iter().filter(|(bucket, _)| !is_over(bucket)) {
        if stands(bucket) != last.batch {
            is_whole = false;
            // A header of format 3 does not say where the bucket stood before.
            if stands(bucket) != *before && !last.is_old {
                missing.push(*bucket);
            }
        }
    }
    for (bucket, batch) in lasting.table.iter().filter(|(bucket, _)| !is_over(bucket)) {
        // The buckets that the newest batch touched were checked above. The lasting bucket's own last batch may itself
        // have been cut in half by a crash before the newest batch was made.
        let is_half = lasting.touched.contains(&(*bucket, stands(bucket)));
        if !last.touched.iter().any(|(touched, _)| touched == bucket) && stands(bucket) != *batch && !is_half {
            missing.push(*bucket);
        }
    }
    if last.batch > 0 && !has_meta && !missing.contains(&Bucket::Lasting) {
        missing.push(Bucket::Lasting);
    }
    if !missing.is_empty() {
        // The newest header counts as well, because what an older one proves may have been lost with another bucket
        // since.
        let proven =
            missing.iter().map(|bucket| headers.get(bucket).map(|header| header.previous.clone()).unwrap_or_default());
        let proven = proven.fold(last.previous.clone(), |one, two| one.meet(&two));
        return StoreState::WentBack { proven, missing };
    }
    if is_whole { StoreState::Whole(last.vector) } else { StoreState::Half(last.previous) }
}

/// The greatest seq issued under each id that a header names.
pub(super) fn issued(headers: &BTreeMap<Bucket, BucketHeader>) -> VersionVector {
    headers.values().filter_map(|header| Some((header.replica?, header.issued))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{BucketHeader, StoreState, judge};
    use crate::ids::ReplicaId;
    use crate::key::Bucket;
    use crate::time::Wall;
    use crate::version::VersionVector;

    const A: Bucket = Bucket::Day(10);
    const B: Bucket = Bucket::Day(11);

    fn vector(seq: u64) -> VersionVector {
        [(ReplicaId(1), seq)].into_iter().collect()
    }

    /// The store after batch 3 (A and lasting) and batch 5 (B and lasting); after batch n the vector is n.
    fn store() -> BTreeMap<Bucket, BucketHeader> {
        let header = |batch, before, touched: &[(Bucket, u64)], table: &[(Bucket, u64)]| BucketHeader {
            replica: Some(ReplicaId(1)),
            issued: batch,
            batch,
            touched: touched.to_vec(),
            table: table.iter().copied().collect(),
            vector: vector(batch),
            previous: vector(before),
            ..BucketHeader::default()
        };
        BTreeMap::from([
            (A, header(3, 1, &[(A, 0), (Bucket::Lasting, 1)], &[])),
            (B, header(5, 3, &[(B, 2), (Bucket::Lasting, 3)], &[])),
            (Bucket::Lasting, header(5, 3, &[(B, 2), (Bucket::Lasting, 3)], &[(A, 3), (B, 5)])),
        ])
    }

    #[test]
    fn a_crash_leaves_the_newest_batch_whole_or_half() {
        assert_eq!(judge(&store(), Wall(0), true), StoreState::Whole(vector(5)));
        // The lasting bucket lacks the newest batch.
        let mut half = store();
        let earlier = half[&A].clone();
        half.insert(
            Bucket::Lasting,
            BucketHeader { batch: 3, table: [(A, 3), (B, 2)].into_iter().collect(), ..earlier },
        );
        assert_eq!(judge(&half, Wall(0), true), StoreState::Half(vector(3)));
        // B lacks it.
        let mut half = store();
        half.insert(B, BucketHeader { batch: 2, ..half[&B].clone() });
        assert_eq!(judge(&half, Wall(0), true), StoreState::Half(vector(3)));
        assert_eq!(judge(&BTreeMap::new(), Wall(0), false), StoreState::Whole(VersionVector::default()));
        // Two crashes: of batch 5 B got nothing, of batch 6 A alone got something.
        let (last, lasting) = (half[&A].clone(), half[&Bucket::Lasting].clone());
        let touched = vec![(A, 3), (Bucket::Lasting, 5)];
        half.insert(A, BucketHeader { batch: 6, touched, previous: lasting.previous.clone(), ..last });
        assert_eq!(judge(&half, Wall(0), true), StoreState::Half(vector(3)));
    }

    #[test]
    fn a_missing_or_older_bucket_is_noticed() {
        let went_back = |store: &BTreeMap<Bucket, BucketHeader>| match judge(store, Wall(0), true) {
            StoreState::WentBack { proven, missing } => (proven, missing),
            other => panic!("{other:?}"),
        };
        let mut gone = store();
        gone.remove(&A);
        assert_eq!(went_back(&gone), (vector(0), vec![A]));
        assert_eq!(judge(&gone, A.end(), true), StoreState::Whole(vector(5)), "a day that was dropped is not missed");
        let mut older = store();
        older.insert(A, BucketHeader { batch: 2, previous: vector(1), ..older[&A].clone() });
        assert_eq!(went_back(&older), (vector(1), vec![A]));
        let mut gone = store();
        gone.remove(&B);
        assert_eq!(went_back(&gone), (vector(0), vec![B]));
        let mut gone = store();
        gone.remove(&Bucket::Lasting);
        assert_eq!(
            judge(&gone, Wall(0), false),
            StoreState::WentBack { proven: vector(0), missing: vec![Bucket::Lasting] }
        );
        // Older by more than the batch that was on its way.
        let mut older = store();
        older.insert(Bucket::Lasting, BucketHeader { batch: 1, previous: vector(0), ..older[&A].clone() });
        assert_eq!(went_back(&older).1, vec![Bucket::Lasting]);
    }
}
