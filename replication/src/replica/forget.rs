//! Forgetting: rows of erased documents, and buckets of days that have passed.
//!
//! # Invariants
//! - A tombstone is durable before the rows that it erases go.
//! - Before a bucket goes, the last seq issued, the horizon and the trusted time are durable.
//! - Nothing is dropped by a clock in doubt, nor by one that no peer has confirmed since the start.

use std::ops::ControlFlow;
use std::time::Duration;

use super::{Event, Replica};
use crate::key::{Bucket, DocumentName};
use crate::row::Row;
use crate::storage::{META_KEY, Storage, StorageError, document_range, log_key, read_document_key};
use crate::time::Now;

impl<S: Storage> Replica<S> {
    /// Removes every row of `name`, what the log and the sending window have of it included.
    pub(super) fn remove_rows(&mut self, name: &DocumentName) -> Result<(), StorageError> {
        let (start, end) = document_range(&name.encode());
        let (first, last) = name.buckets(self.config.max_retention);
        let candidates = self.buckets.keys().filter(|b| **b == Bucket::Lasting || (first..=last).contains(*b));
        let mut rows = Vec::new();
        for bucket in candidates {
            let mut corrupt = false;
            self.storage.scan(*bucket, &start, &end, &mut |key, value| {
                match read_document_key(key).map(|document| (document, Row::decode(&document, value.to_vec()))) {
                    Some((_, Ok(row))) => rows.push((*bucket, key.to_vec(), row.dots())),
                    _ => corrupt = true,
                }
                if corrupt { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            if corrupt {
                return Err(StorageError::Corrupt { what: "row", bucket: *bucket });
            }
        }
        for (bucket, key, dots) in rows {
            self.pending.remove(bucket, key);
            self.pending.count(bucket, -1, 0);
            for dot in dots {
                self.pending.remove(bucket, log_key(dot));
                if dot.origin == self.id {
                    self.recent.remove(dot.seq);
                }
            }
        }
        self.frame_cache = None;
        Ok(())
    }

    /// Drops the days that have passed (rule 3).
    pub(super) fn forget(&mut self) -> Result<(), StorageError> {
        if self.clock.doubt().is_some() {
            return Ok(());
        }
        let passed: Vec<Bucket> = self.buckets.keys().filter(|bucket| self.has_passed(**bucket)).copied().collect();
        let Some(latest) = passed.last() else { return Ok(()) };
        self.horizon = self.horizon.max(latest.end());
        self.write_meta_now()?;
        for bucket in passed {
            self.pending.forget(bucket);
            self.storage.drop_bucket(bucket)?;
            self.buckets.remove(&bucket);
            self.events.push_back(Event::Forgot(bucket));
        }
        let buckets = &self.buckets;
        self.recent.retain(|delta| buckets.contains_key(&delta.key.bucket()));
        self.frame_cache = None;
        Ok(())
    }

    /// Whether a day is over, by whatever clock is right within the skew.
    fn has_passed(&self, bucket: Bucket) -> bool {
        bucket.end().plus(self.config.max_clock_skew) <= self.clock.certain()
    }

    /// Whether nothing of a day needs to be kept, here or elsewhere.
    pub(super) fn is_droppable(&self, bucket: Bucket) -> bool {
        self.has_passed(bucket) || bucket.end() <= self.horizon
    }

    /// Keeps the persisted time young, so that a restart can tell a downtime from a wrong clock.
    pub(super) fn note_time(&mut self, now: Now) {
        const EVERY: Duration = Duration::from_mins(1);
        if now.mono.since(self.meta_written) >= EVERY {
            self.meta_written = now.mono;
            self.put_meta();
        }
    }

    pub(super) fn put_meta(&mut self) {
        let meta = self.encode_meta();
        self.pending.put(Bucket::Lasting, META_KEY.to_vec(), meta);
    }

    /// Before a clean stop: writes the trusted time. Make the batch durable, and the next, until
    /// [`Replica::poll_batch`] has nothing left.
    pub fn handle_stop(&mut self, now: Now) {
        self.observe(now);
        self.put_meta();
    }
}
