//! Reads one bucket of a store that no replica uses, and counts what is damaged in it.

use std::ops::ControlFlow;
use std::time::Duration;

use crate::ids::Dot;
use crate::key::{Bucket, DocumentKey};
use crate::log::{LogEntry, Reference};
use crate::replica::horizon_of;
use crate::row::Row;
use crate::storage::{Entry, Storage, StorageError, document_key, scan_everything, tombstone_key};
use crate::time::Wall;

/// What was found in one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Rows, readable or not.
    pub rows: u64,
    /// Log entries, readable or not.
    pub entries: u64,
    /// Tombstones, readable or not.
    pub tombstones: u64,
    /// Rows that do not decode: their seal, their form or a checksum is broken.
    pub unreadable_rows: u64,
    /// Log entries, tombstones and keys that do not decode.
    pub undecodable: u64,
    /// Log entries of documents that are alive, whose changes are not in their rows.
    pub lacking: u64,
}

impl Verified {
    /// Whether nothing is damaged.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.unreadable_rows + self.undecodable + self.lacking == 0
    }
}

/// Reads one bucket.
///
/// # Errors
/// [`StorageError`] if the engine cannot read it to its end, or the store's own state does not decode.
pub fn verify(storage: &impl Storage, bucket: Bucket, max_retention: Duration) -> Result<Verified, StorageError> {
    let horizon = horizon_of(storage)?;
    let mut found = Verified::default();
    let mut changes: Vec<(Dot, DocumentKey)> = Vec::new();
    scan_everything(storage, bucket, &mut |entry| {
        match entry {
            Entry::Row(stored) => {
                found.rows += 1;
                found.unreadable_rows += u64::from(Row::decode(stored).is_err());
            }
            Entry::Log(dot, stored) => {
                found.entries += 1;
                match LogEntry::decode(stored) {
                    Some(LogEntry { what: Reference::Change(key), .. }) => changes.push((dot, key)),
                    Some(_) => {}
                    None => found.undecodable += 1,
                }
            }
            Entry::Tombstone(is_readable) => {
                found.tombstones += 1;
                found.undecodable += u64::from(!is_readable);
            }
            Entry::Unknown => found.undecodable += 1,
        }
        ControlFlow::Continue(())
    })?;
    let until = |key: &DocumentKey| key.name.buckets(max_retention).1;
    for (dot, key) in changes {
        if key.expires_at <= horizon {
            continue;
        }
        let row = storage.get(bucket, &document_key(&key))?.and_then(|stored| Row::decode(&stored).ok());
        let tombstones = if key.expires_at == Wall::NEVER { Bucket::Lasting } else { until(&key) };
        if !row.is_some_and(|row| row.has_dot(dot)) && storage.get(tombstones, &tombstone_key(&key.name))?.is_none() {
            found.lacking += 1;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::{Verified, verify};
    use crate::change::Change;
    use crate::ids::ReplicaId;
    use crate::key::{Bucket, Collection, DocumentId, DocumentKey, DocumentName, TenantId};
    use crate::log::Reason;
    use crate::memory::MemoryStorage;
    use crate::replica::{Replica, ReplicaConfig, Write};
    use crate::storage::{BucketBatch, Storage as _, WriteBatch, document_key, log_key};
    use crate::time::{Monotonic, Now, Wall};
    use crate::value::Value;

    const RETENTION: Duration = Duration::from_hours(28 * 24);

    fn key(number: u8) -> DocumentKey {
        let arrival = Wall(1_800_000_000_000);
        let id = DocumentId::arriving(arrival, [number; 10]);
        let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id };
        name.expiring(arrival.plus(Duration::from_hours(48)))
    }

    fn overwrite(storage: &MemoryStorage, bucket: Bucket, key: Vec<u8>, value: Option<&[u8]>) {
        let writes = vec![(key, value.map(<[u8]>::to_vec))];
        storage.apply(&WriteBatch { buckets: vec![(bucket, BucketBatch { writes })] }).unwrap();
    }

    #[test]
    fn each_kind_of_damage_is_counted() {
        let storage = MemoryStorage::default();
        let now = Now { mono: Monotonic(Duration::ZERO), wall: Wall(1_800_000_000_000) };
        let config = ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), BTreeMap::new());
        let mut replica = Replica::open(config, storage.clone(), Box::new(|| ReplicaId(1)), now).unwrap();
        for number in 0..9 {
            let change = Change::create(&key(number), &[("n", Value::Int(1))]);
            replica.handle_write(now, Write::Change { key: key(number), change }).unwrap();
        }
        replica.settle_batches(now).unwrap();
        let erase = Write::Erase { name: key(0).name, lasting: false, reason: Reason::Subject };
        replica.handle_write(now, erase).unwrap();
        replica.settle_batches(now).unwrap();
        drop(replica);
        let bucket = key(0).bucket();
        let look = || verify(&storage, bucket, RETENTION).unwrap();
        let whole = Verified { rows: 8, entries: 9, ..Verified::default() };
        assert!(look() == whole && whole.is_whole(), "{:?}", look());

        overwrite(&storage, bucket, document_key(&key(1)), Some(b"\x02 other bytes"));
        assert_eq!(look(), Verified { unreadable_rows: 1, lacking: 1, ..whole });
        overwrite(&storage, bucket, document_key(&key(2)), None);
        assert_eq!(look(), Verified { rows: 7, unreadable_rows: 1, lacking: 2, ..whole });
        let dot = crate::ids::Dot { origin: ReplicaId(1), seq: 4 };
        overwrite(&storage, bucket, log_key(dot), Some(&[0xff; 3]));
        overwrite(&storage, bucket, b"d a key of no document".to_vec(), Some(b""));
        let found = look();
        assert_eq!(found, Verified { rows: 7, unreadable_rows: 1, lacking: 2, undecodable: 2, ..whole });
        assert!(!found.is_whole());
        let until = Bucket::of(Wall(1_800_000_000_000).plus(RETENTION));
        assert_eq!(
            verify(&storage, until, RETENTION).unwrap(),
            Verified { entries: 1, tombstones: 1, ..Verified::default() }
        );
    }
}
