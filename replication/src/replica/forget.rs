//! Forgetting: rows of erased documents, and buckets of days that have passed.
//!
//! # Invariants
//! - A tombstone is durable before the rows that it erases go.
//! - The log entries of an erased document's changes become `Erased` entries. So a peer that gets one, from any
//!   replica, learns why there is no change.
//! - Before a bucket goes, or the keys of an hour, the last seq issued, the horizon and certain time are durable.
//! - Nothing is dropped while the clock is in doubt. Buckets are dropped by certain time, never by trusted time.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use super::{Event, Replica, StartPhase};
use crate::ids::{Dot, NodeName};
use crate::key::{Bucket, DocumentName};
use crate::log::{Body, Delta, LogEntry, Reference, Tombstone};
use crate::row::Row;
use crate::storage::{KeyRange, Storage, StorageError, document_key, erased_key, log_key, scan_documents};
use crate::time::{HOUR_MS, Now, Wall, millis};

impl<S: Storage> Replica<S> {
    /// Removes every row of `name` and orders that its keys are destroyed. The log entries of its changes, in storage and
    /// in the sending window, become `Erased`.
    pub(super) fn remove_rows(&mut self, name: &DocumentName, tombstone: &Tombstone) -> Result<(), StorageError> {
        let range = KeyRange::of_documents(&name.encode());
        let (first, last) = name.buckets(self.config.max_retention);
        let candidates = self.buckets.keys().filter(|b| **b == Bucket::Lasting || (first..=last).contains(*b));
        let mut rows = Vec::new();
        for bucket in candidates {
            scan_documents(&self.storage, *bucket, &range, &mut |key, stored| {
                rows.push((*bucket, key, Row::decode(stored).ok().map(|row| row.dots())));
                Ok(ControlFlow::Continue(()))
            })?;
        }
        // After a crash `undo` may have queued the removal of a row in the same batch: skip it.
        rows.retain(|(bucket, key, _)| self.pending.get(*bucket, &document_key(key)) != Some(None));
        // Of a damaged or lost row it is not known where its changes are in the window.
        if rows.is_empty() || rows.iter().any(|(_, _, dots)| dots.is_none()) || self.repairs.lacks(name) {
            self.recent.erase(name, tombstone.until, tombstone.reason);
        }
        for (bucket, key, dots) in rows {
            // A row that does not decode is erased like every other one.
            let dots = dots.map_or_else(|| self.dots_of(&key), Ok)?;
            self.pending.remove(bucket, document_key(&key));
            self.pending.count(bucket, -1, 0);
            for dot in dots {
                self.erase_entry(bucket, dot, name, tombstone)?;
            }
        }
        // Also if there is no row: a crash may have lost one that the disk still keeps.
        let bucket = Bucket::of(tombstone.until);
        if !self.has_passed(bucket) {
            self.pending.put(bucket, erased_key(name), Vec::new());
        }
        self.end_repairs(name);
        self.frame_cache = None;
        debug_assert!(
            !self.recent.has_change_of(name, self.gone_through()),
            "the sending window still has bytes of an erased document"
        );
        Ok(())
    }

    /// Turns one log entry of a removed row into `Erased`. It stays in the row's bucket, otherwise half a batch could
    /// remove the row and leave a gap in the log.
    fn erase_entry(
        &mut self,
        bucket: Bucket,
        dot: Dot,
        name: &DocumentName,
        tombstone: &Tombstone,
    ) -> Result<(), StorageError> {
        let Some(entry) = self.get(bucket, &log_key(dot))? else { return Ok(()) };
        let LogEntry { hlc, .. } = StorageError::decode(&entry, "log entry", bucket)?;
        let Tombstone { until, reason, .. } = *tombstone;
        self.put_log(bucket, dot, LogEntry { hlc, what: Reference::Erased(*name, until, reason) });
        if dot.origin == self.id {
            self.recent.replace(Delta { dot, hlc, key: name.expiring(until), body: Body::Erased(reason) });
        }
        Ok(())
    }

    /// Drops the days that have passed (rule 3).
    pub(super) fn forget(&mut self, now: Now) -> Result<(), StorageError> {
        if self.clock.doubt().is_some() {
            return Ok(());
        }
        self.expire();
        let passed: Vec<Bucket> = self.buckets.keys().filter(|bucket| self.has_passed(**bucket)).copied().collect();
        let Some(latest) = passed.last() else { return self.retire(now) };
        self.horizon = self.horizon.max(latest.end());
        self.write_meta_now()?;
        debug_assert!(self.clock.doubt().is_none(), "a day is dropped while the clock is in doubt");
        for bucket in passed {
            assert_ne!(bucket, Bucket::Lasting, "the lasting documents do not pass");
            debug_assert!(bucket.end() <= self.clock.certain(), "a day that is not over is dropped");
            debug_assert!(bucket.end() <= self.horizon, "a day is dropped beyond the horizon that was written");
            self.pending.forget(bucket);
            self.storage.drop_bucket(bucket)?;
            self.buckets.remove(&bucket);
            self.events.push_back(Event::Forgot(bucket));
        }
        let buckets = &self.buckets;
        self.recent.retain(|delta| buckets.contains_key(&delta.key.bucket()));
        self.frame_cache = None;
        self.retire_at = now.mono;
        self.retire(now)
    }

    /// Notes that an hour is over by every clock that is right within the skew. The next batch makes that durable, otherwise
    /// a document could count as alive after a restart and have no key.
    fn expire(&mut self) {
        let certain = self.clock.certain().0.saturating_sub(millis(self.config.max_clock_skew));
        let over = Wall(certain - certain % HOUR_MS);
        if over > self.expired {
            self.expired = over;
            self.horizon = self.horizon.max(over);
            self.pending.meta = true;
            self.expires_with = Some(self.next_batch);
        }
    }

    /// Has the keys destroyed of documents that expired in hours that are over. Their rows stay until their day is dropped,
    /// and cannot be read.
    pub(super) fn destroy_expired(&mut self) -> Result<(), StorageError> {
        debug_assert!(self.expired <= self.horizon, "keys are destroyed beyond the horizon");
        // A row that was gathered before would get new keys.
        self.pending.forget_expired(self.expired);
        self.storage.expire(self.expired)
    }

    /// Whether a day is over by every clock that is right within the skew.
    fn has_passed(&self, bucket: Bucket) -> bool {
        bucket != Bucket::Lasting && bucket.end().plus(self.config.max_clock_skew) <= self.clock.certain()
    }

    /// Whether a day's bucket need not be kept any longer, here or elsewhere.
    pub(super) fn is_droppable(&self, bucket: Bucket) -> bool {
        self.has_passed(bucket) || bucket.end() <= self.horizon
    }

    /// Writes `meta` now and then. The persisted time must be young, so that a restart can tell a downtime from a wrong
    /// clock. The list of linked peers must be right, because they may hold our newest entries. An empty list is not
    /// written: if all links end at once this node is cut off or stopping, and the peers still have those entries.
    pub(super) fn note_time(&mut self, now: Now) {
        const EVERY: Duration = Duration::from_mins(1);
        let linked = self.config.peers.keys().filter(|peer| self.is_linked(peer)).cloned();
        let linked: BTreeSet<NodeName> = linked.collect();
        let is_news = !linked.is_empty() && linked != self.linked_then && self.phase == StartPhase::Running;
        if is_news {
            self.linked_then = linked;
        }
        if is_news || now.mono.since(self.meta_written) >= EVERY {
            self.meta_written = now.mono;
            self.pending.meta = true;
        }
    }

    /// Before a clean stop: writes certain time. Make batches durable until [`Replica::poll_batch`] returns `None`.
    pub fn handle_stop(&mut self, now: Now) {
        self.observe(now);
        self.pending.meta = true;
    }
}
