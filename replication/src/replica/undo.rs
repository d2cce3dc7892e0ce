//! Repairs a store after a crash, before the first read: takes out other replicas' entries of a half batch, and removes
//! the rows of durable tombstones.

use super::Replica;
use super::headers::BucketHeader;
use crate::ids::Dot;
use crate::key::Bucket;
use crate::log::Reference;
use crate::storage::{
    KeyRange, Storage, StorageError, document_key, log_key, scan_log, scan_tombstones, tombstone_key,
};

impl<S: Storage> Replica<S> {
    /// If the last batch reached only some of its buckets, its entries of other replicas' logs were never acknowledged
    /// and are taken out again. Otherwise they would lie beyond the vector: we would not pass them on, and if the disk
    /// of their origin went back in time they would stay here alone. Each bucket's header says what it may hold, so
    /// this can itself be cut short and begun again.
    pub(super) fn undo(&mut self) -> Result<(), StorageError> {
        let beyond = |header: &&BucketHeader| !self.vector.covers(&header.vector);
        let half: Vec<_> =
            self.buckets.iter().filter(|(_, header)| beyond(header)).map(|(b, m)| (*b, m.clone())).collect();
        for (bucket, header) in &half {
            for (origin, through) in header.vector.iter().filter(|(origin, _)| Some(*origin) != header.replica) {
                // Orphans stay, because no other store may have them.
                let kept = self.vector.get(origin).max(self.orphans.through.get(origin));
                if kept >= through {
                    continue;
                }
                for (seq, entry) in scan_log(&self.storage, *bucket, origin, (kept, through), usize::MAX)? {
                    self.undo_entry(*bucket, Dot { origin, seq }, entry.what)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn undo_entry(&mut self, bucket: Bucket, dot: Dot, what: Reference) -> Result<(), StorageError> {
        match what {
            Reference::Erased(..) => {}
            Reference::Tombstone(name, until, _) => {
                // Several entries may erase the same name. The tombstone is removed with the entry that brought it.
                if self.tombstone(&name.expiring(until))?.is_some_and(|tombstone| tombstone.dot == dot) {
                    self.pending.remove(bucket, tombstone_key(&name));
                    self.pending.count(bucket, 0, -1);
                }
            }
            Reference::Change(key) => {
                let mut found = self.row_or_lack(&key)?;
                found.row.forget(dot);
                if !found.row.is_empty() {
                    self.pending.put(bucket, document_key(&key), found.encode(bucket)?);
                } else if !found.is_damaged {
                    // A damaged row stays as it is until it is repaired.
                    self.pending.remove(bucket, document_key(&key));
                    self.pending.count(bucket, -i64::from(found.is_stored), 0);
                }
            }
        }
        self.pending.remove(bucket, log_key(dot));
        Ok(())
    }

    /// Removes the rows of tombstones that became durable just before a crash, before the first read.
    pub(super) fn finish_removals(&mut self) -> Result<(), StorageError> {
        let mut unfinished = Vec::new();
        for bucket in self.buckets.keys() {
            scan_tombstones(&self.storage, *bucket, &KeyRange::of_tombstones(&[]), &mut |name, tombstone| {
                if !self.settled.contains(tombstone.dot) {
                    unfinished.push((name, tombstone));
                }
            })?;
        }
        for (name, tombstone) in unfinished {
            // A tombstone that `undo` has just taken out erases nothing.
            if self.tombstone(&name.expiring(tombstone.until))?.is_some() {
                self.remove_rows(&name, &tombstone)?;
            }
        }
        if let Some(batch) = self.poll_batch()? {
            self.storage.sync()?;
            if let Some(done) = self.in_flight.take() {
                self.settled = done.settles;
            }
            self.durable.merge(&self.vector);
            debug_assert!(batch < self.next_batch);
        }
        Ok(())
    }
}
