//! The replica's own state as stored in the lasting bucket, and its formats.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Replica;
use super::origins::Hearsay;
use crate::encode::encode;
use crate::ids::{NodeName, ReplicaId};
use crate::key::Bucket;
use crate::storage::{BucketBatch, META_KEY, Storage, StorageError, WriteBatch};
use crate::time::{Wall, millis};
use crate::version::VersionVector;

/// Store format. Since 2, an erased change leaves an `Erased` entry instead of a gap. 3, 4 and 5 added fields to
/// `meta`, which read as zero in older stores. Since 4, the lasting bucket's header has a table of all buckets. Since 6,
/// rows may be sealed. Stores of formats 1 to 5 are read without migration.
pub const FORMAT: u16 = 6;

/// The replica's own state, in [`Bucket::Lasting`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) format: u16,
    pub(super) id: ReplicaId,
    pub(super) past: BTreeSet<ReplicaId>,
    /// The vector that was durable when this was written.
    pub(super) vector: VersionVector,
    pub(super) settled: VersionVector,
    pub(super) issued: u64,
    pub(super) batch: u64,
    /// It decides in which bucket a tombstone lies, so it can never change for a store.
    pub(super) max_retention_ms: u64,
    pub(super) horizon: Wall,
    /// Certain time; the epoch if no peer ever confirmed the clock.
    pub(super) certain: Wall,
    /// The latest that certain time ever was.
    pub(super) reached: Wall,
    /// The node that owns the store; empty up to format 3.
    pub(super) node: String,
    /// Peers that were linked when this was written.
    pub(super) linked: BTreeSet<NodeName>,
    /// The store began empty, or lost a bucket, and has not yet got what its peers had.
    pub(super) filling: bool,
    /// The seqs issued under the ids of `past`.
    pub(super) ended: VersionVector,
    /// Which node each known log belongs to.
    pub(super) owners: BTreeMap<ReplicaId, NodeName>,
    pub(super) hearsay: Hearsay,
    /// See [`super::salvage`].
    pub(super) orphans: VersionVector,
    /// Own seqs of a half batch about which the peers have not been asked yet.
    pub(super) unproven: VersionVector,
}

/// How many fields were added to `meta` by format 3, by 4 and by 5; they read as zero if absent.
const ADDED: [usize; 3] = [1, 6, 2];

/// The horizon of a store that no replica uses; the epoch if nothing was ever forgotten.
///
/// # Errors
/// [`StorageError`] if the engine fails or the state does not decode.
pub(crate) fn horizon_of(storage: &impl Storage) -> Result<Wall, StorageError> {
    Ok(read(storage)?.map(|meta| meta.horizon).unwrap_or_default())
}

pub(super) fn read<S: Storage>(storage: &S) -> Result<Option<Meta>, StorageError> {
    storage.get(Bucket::Lasting, META_KEY)?.map(decode).transpose()
}

/// Reads `meta` of this format or an earlier one.
pub(super) fn decode(mut bytes: Vec<u8>) -> Result<Meta, StorageError> {
    let (format, _) =
        postcard::take_from_bytes::<u16>(&bytes).map_err(StorageError::corrupt("meta", Bucket::Lasting))?;
    if !(1..=FORMAT).contains(&format) {
        return Err(StorageError::Format { found: format, expected: FORMAT });
    }
    let added: usize = ADDED.iter().skip(usize::from(format).saturating_sub(2)).sum();
    bytes.resize(bytes.len() + added, 0);
    StorageError::decode(&bytes, "meta", Bucket::Lasting)
}

impl<S: Storage> Replica<S> {
    /// Writes `meta` and waits until it is durable: at a new id and before a bucket goes, both rare.
    pub(super) fn write_meta_now(&mut self) -> Result<(), StorageError> {
        let writes = vec![(META_KEY.to_vec(), Some(self.encode_meta()))];
        let batch = WriteBatch { buckets: vec![(Bucket::Lasting, BucketBatch { writes })] };
        self.storage.apply(&batch)?;
        self.storage.sync()
    }

    pub(super) fn encode_meta(&self) -> Vec<u8> {
        let meta = Meta {
            format: FORMAT,
            id: self.id,
            past: self
                .past
                .iter()
                .filter(|id| self.ended.get(**id) > 0 || self.vector.get(**id) > 0)
                .copied()
                .collect(),
            vector: self.durable.clone(),
            settled: self.settled.clone(),
            issued: self.issued,
            batch: self.next_batch.0,
            max_retention_ms: millis(self.config.max_retention),
            horizon: self.horizon,
            certain: self.clock.certain(),
            reached: self.clock.reached(),
            node: self.config.node.to_string(),
            linked: self.linked_then.clone(),
            filling: self.awaited.is_filling(),
            ended: self.ended.clone(),
            owners: self.origins.owners_of(&self.durable),
            hearsay: self.hearsay.clone(),
            orphans: self.orphans.through.clone(),
            unproven: self.unproven.clone(),
        };
        encode(&meta)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::{ADDED, FORMAT, Meta};
    use crate::ids::ReplicaId;
    use crate::key::Bucket;
    use crate::memory::MemoryStorage;
    use crate::replica::{Replica, ReplicaConfig};
    use crate::storage::{BucketBatch, META_KEY, Storage as _, WriteBatch};
    use crate::time::{Monotonic, Now, Wall};

    #[test]
    fn a_store_of_an_older_format_opens() {
        let storage = MemoryStorage::default();
        let now = Now { mono: Monotonic(Duration::ZERO), wall: Wall(1_800_000_000_000) };
        let open = || {
            let config = ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), BTreeMap::new());
            Replica::open(config, storage.clone(), Box::new(|| ReplicaId(1)), now)
        };
        let status = open().unwrap().status(now);
        let meta = storage.get(Bucket::Lasting, META_KEY).unwrap().unwrap();
        let written = postcard::from_bytes::<Meta>(&meta).unwrap();
        assert_eq!(written.reached, now.wall);
        let reached = postcard::to_stdvec(&written.reached).unwrap().len();
        // Each field of formats 4 and 5 is one byte while it is empty, except for the node's name.
        let added = ADDED[1] + ADDED[2] + written.node.len();
        for (format, missing) in [(1, added + reached), (2, added + reached), (3, added), (4, ADDED[2]), (5, 0)] {
            let mut older = meta[..meta.len() - missing].to_vec();
            older[0] = format;
            let writes = vec![(META_KEY.to_vec(), Some(older))];
            let batch = WriteBatch { buckets: vec![(Bucket::Lasting, BucketBatch { writes })] };
            storage.apply(&batch).unwrap();
            let reopened = open().unwrap().status(now);
            assert_eq!(reopened.durable, status.durable);
            assert!(!reopened.dropped_too_early);
            let meta = storage.get(Bucket::Lasting, META_KEY).unwrap().unwrap();
            assert_eq!(u16::from(meta[0]), FORMAT, "an older version must not take it up again");
        }
    }
}
