//! Compaction of rows, a few at a time, away from the path of any write.
//!
//! # Invariants
//! - A compacted row holds only durable changes, because a row that is written in the batch being gathered waits for a
//!   later tick. So after a crash [`Row::forget`] can take out every change that was not durable.
//! - A tick compacts at most [`ROWS_PER_TICK`] rows.

use super::Replica;
use crate::key::DocumentKey;
use crate::row::Row;
use crate::storage::{Storage, StorageError, document_key};

/// Most rows that one tick compacts.
const ROWS_PER_TICK: usize = 4;
/// Most rows that wait for compaction. A further one is noted again with its next change.
const MOST_DUE: usize = 1_024;

impl<S: Storage> Replica<S> {
    /// Notes that a row which is about to be written is due for compaction, if it is.
    pub(super) fn note_compaction(&mut self, key: &DocumentKey, row: &Row) {
        if row.wants_compaction() && self.compaction_due.len() < MOST_DUE {
            self.compaction_due.insert(*key);
        }
    }

    /// Compacts a few of the rows that are due.
    pub(super) fn compact_some(&mut self) -> Result<(), StorageError> {
        let mut settled = Vec::new();
        for key in &self.compaction_due {
            if self.pending.get(key.bucket(), &document_key(key)).is_none() {
                settled.push(*key);
            }
            if settled.len() == ROWS_PER_TICK {
                break;
            }
        }
        assert!(settled.len() <= ROWS_PER_TICK, "a tick compacts too many rows");
        for key in settled {
            debug_assert!(
                self.pending.get(key.bucket(), &document_key(&key)).is_none(),
                "a row that is being written is compacted"
            );
            self.compaction_due.remove(&key);
            let (bucket, found) = (key.bucket(), self.row_or_lack(&key)?);
            let mut row = found.row;
            // It may have been erased, or its day dropped, since it became due.
            if found.is_stored && !found.is_damaged && row.wants_compaction() {
                row.compact().map_err(StorageError::corrupt("row", bucket))?;
                let row = row.encode().map_err(StorageError::corrupt("row", bucket))?;
                self.pending.put(bucket, document_key(&key), row);
                self.pending.records += 1;
            }
        }
        Ok(())
    }
}
