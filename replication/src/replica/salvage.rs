//! Entries that a store which lost a bucket still has and no peer sends. They are issued again under the new id.
//!
//! # The problem
//! A missing bucket proves nothing, so the vector goes back, and entries in the other buckets lie beyond it: *orphans*.
//! Peers send most of them again. Others no peer has, because their origin lost them as well or never sent them. Then
//! the log is passed on without them, and two stores with equal vectors would show different documents.
//!
//! # The algorithm
//! 1. [`Orphans`] says how far entries of each log may lie in the store beyond the vector. It is durable.
//! 2. When everything that linked peers have is here, the replica issues the content of the remaining orphans, a change
//!    or an erasure, under its own id.
//! 3. When that is durable, the orphans are removed.
//!
//! A change under two dots is still one change, as after a check-in that was repeated in another region. Orphans must
//! be removed, because an entry that no other store has would keep its log from ever being over here
//! ([`super::origins`]).

use super::{Replica, StartPhase};
use crate::ids::{Dot, ReplicaId};
use crate::key::Bucket;
use crate::log::{Body, Delta, LogEntry, Reference};
use crate::storage::{Storage, StorageError, log_key, scan_log};
use crate::time::Now;
use crate::version::VersionVector;

/// Most entries that one look goes through, because all orphans among them go into one batch.
const MOST_AT_ONCE: usize = 4_096;

/// How far entries of each log may lie in the store beyond the vector, and how far they have been dealt with.
#[derive(Clone, Debug, Default)]
pub(super) struct Orphans {
    /// Durable; empty unless a bucket was lost.
    pub(super) through: VersionVector,
    looked: VersionVector,
}

impl Orphans {
    pub(super) fn new(through: VersionVector) -> Orphans {
        Orphans { through, looked: VersionVector::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.through.is_empty()
    }
}

/// A log entry where it lies.
struct Lying {
    bucket: Bucket,
    dot: Dot,
    entry: LogEntry,
}

/// What happens to an orphan.
enum Fate {
    /// It is removed: its content is over, or durable under another dot.
    Goes,
    /// Another dot has the same content and is on its way to the disk: look again later.
    Waits,
    /// No other dot has its content: issue it again.
    IsAlone,
}

impl<S: Storage> Replica<S> {
    /// Once everything that linked peers have is here, deals with the remaining orphans, some at a time. A peer that is
    /// away is not waited for, because readers do not see orphans. If it brings one later, the change is under two
    /// dots.
    pub(super) fn look_at_orphans(&mut self, now: Now) -> Result<(), StorageError> {
        if self.orphans.is_empty()
            || self.phase != StartPhase::Running
            || self.is_filling(now)
            || self.is_recovering(now)
            || !self.pending.is_empty()
            || self.in_flight.is_some()
        {
            return Ok(());
        }
        for (origin, last) in self.orphans.through.clone().iter() {
            let after = self.vector.get(origin).max(self.orphans.looked.get(origin));
            if after < last {
                let looked = self.clear(origin, after, last)?;
                self.orphans.looked.advance(origin, looked);
                return Ok(());
            }
        }
        self.orphans = Orphans::default();
        self.pending.meta = true;
        Ok(())
    }

    /// Clears a log of orphans in (after, last]. Returns the seq through which that is done.
    fn clear(&mut self, origin: ReplicaId, after: u64, last: u64) -> Result<u64, StorageError> {
        let (found, mut done) = self.entries_between(origin, after, last)?;
        for Lying { bucket, dot, entry } in found {
            debug_assert!(!self.vector.contains(dot), "an entry that the vector covers is no orphan");
            match self.fate(dot, &entry)? {
                Fate::Goes => {
                    self.undo_entry(bucket, dot, entry.what)?;
                    self.pending.force = true;
                    continue;
                }
                Fate::Waits => {}
                Fate::IsAlone => self.issue_again(dot, &entry)?,
            }
            done = done.min(dot.seq - 1);
        }
        debug_assert!((after..=last).contains(&done), "the look at orphans went back, or too far");
        Ok(done)
    }

    /// The first entries of a log in (after, last] that the store has, and the seq through which none is missing.
    fn entries_between(&self, origin: ReplicaId, after: u64, last: u64) -> Result<(Vec<Lying>, u64), StorageError> {
        let mut found = Vec::new();
        for bucket in self.buckets.keys() {
            let entries = scan_log(&self.storage, *bucket, origin, (after, last), MOST_AT_ONCE)?.into_iter();
            found.extend(entries.map(|(seq, entry)| Lying { bucket: *bucket, dot: Dot { origin, seq }, entry }));
        }
        // Each bucket gave its first entries, so the first of all are complete.
        found.sort_unstable_by_key(|lying| lying.dot.seq);
        let done = if found.len() < MOST_AT_ONCE { last } else { found[MOST_AT_ONCE - 1].dot.seq };
        let is_removed = |lying: &Lying| self.pending.get(lying.bucket, &log_key(lying.dot)) == Some(None);
        found.retain(|lying| lying.dot.seq <= done && !is_removed(lying));
        Ok((found, done))
    }

    fn fate(&mut self, orphan: Dot, entry: &LogEntry) -> Result<Fate, StorageError> {
        let dots = match entry.what {
            Reference::Change(key) => {
                if self.is_dead(&key)? {
                    return Ok(Fate::Goes);
                }
                let Some(dots) = self.row_or_lack(&key)?.row.dots_beside(orphan) else { return Ok(Fate::Goes) };
                dots
            }
            Reference::Tombstone(name, until, _) | Reference::Erased(name, until, _) => {
                let key = name.expiring(until);
                if self.is_droppable(key.bucket()) {
                    return Ok(Fate::Goes);
                }
                self.tombstone(&key)?.map(|tombstone| tombstone.dot).into_iter().collect()
            }
        };
        Ok(match () {
            () if dots.iter().any(|dot| self.durable.contains(*dot)) => Fate::Goes,
            () if dots.iter().any(|dot| self.vector.contains(*dot)) => Fate::Waits,
            () => Fate::IsAlone,
        })
    }

    /// Issues the content of an orphan under our own id.
    fn issue_again(&mut self, orphan: Dot, entry: &LogEntry) -> Result<(), StorageError> {
        match entry.what {
            Reference::Change(key) => {
                let found = self.row_or_lack(&key)?;
                let change = found.row.find(orphan).map_err(StorageError::corrupt("row", key.bucket()))?;
                let Some(change) = change else { return Ok(()) };
                let (dot, hlc) = self.issue();
                self.put_change(&key, found, dot, hlc, change.clone())?;
                self.note_issued(Delta { dot, hlc, key, body: Body::Change(change) });
            }
            Reference::Tombstone(name, until, reason) | Reference::Erased(name, until, reason) => {
                let key = name.expiring(until);
                if self.tombstone(&key)?.is_some() {
                    // The new tombstone replaces the old one, so it is not counted twice.
                    self.pending.count(key.bucket(), 0, -1);
                }
                self.erase(&key, reason);
            }
        }
        self.pending.force = true;
        Ok(())
    }
}
