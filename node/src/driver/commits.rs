//! Commits: which thread makes a batch durable.
//!
//! The driver syncs a small batch itself while the disk is fast, because two switches between threads cost as much processor
//! time as such a batch. A large batch, or one on a slow disk, goes to the committer, so that the driver gathers the next
//! meanwhile and peers hear of it.

use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use replication::{BatchId, StorageError};
use tokio::sync::mpsc::UnboundedSender;

use super::{Control, crashed};
use crate::storage::Store;

/// Most records of a batch that the driver syncs itself.
const FEW: usize = 16;
/// A disk is fast if its last syncs, [`IN_A_ROW`] of them, took no longer.
const FAST: Duration = Duration::from_millis(2);
const IN_A_ROW: u32 = 8;

/// The way of batches to the disk.
pub(super) struct Commits {
    store: Store,
    committer: Sender<BatchId>,
    /// Fast syncs in a row.
    fast: u32,
}

impl Commits {
    /// `committer` leads to [`run`].
    pub(super) fn new(store: Store, committer: Sender<BatchId>) -> Commits {
        Commits { store, committer, fast: 0 }
    }

    /// Begins to make an applied batch durable. `Some` if it is durable already, with the time that the sync took.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails, or the committer has ended.
    pub(super) fn begin(&mut self, batch: BatchId, records: usize) -> Result<Option<Duration>, StorageError> {
        if records <= FEW && self.fast >= IN_A_ROW {
            return sync(&self.store).map(Some);
        }
        self.committer.send(batch).map_err(|_| crashed())?;
        Ok(None)
    }

    /// A sync took so long.
    pub(super) fn note(&mut self, took: Duration) {
        self.fast = if took <= FAST { self.fast.saturating_add(1) } else { 0 };
    }
}

/// The committer's thread: it waits for the disk, and nothing else.
pub(super) fn run(store: &Store, batches: &Receiver<BatchId>, committed: &UnboundedSender<Control>) {
    while let Ok(batch) = batches.recv() {
        let told = match sync(store) {
            Ok(took) => committed.send(Control::Durable(batch, took)),
            Err(error) => committed.send(Control::Failed(error)),
        };
        if told.is_err() {
            return;
        }
    }
}

/// Makes everything that was applied durable. Returns how long it took.
fn sync(store: &Store) -> Result<Duration, StorageError> {
    let begun = Instant::now();
    // An engine that panics must end the node, otherwise a batch would be waited for without end.
    panic::catch_unwind(AssertUnwindSafe(|| store.sync())).unwrap_or_else(|_| Err(crashed()))?;
    Ok(begun.elapsed())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use replication::BatchId;
    use replication::memory::MemoryStorage;

    use super::{Commits, FAST, FEW, IN_A_ROW};

    #[test]
    fn small_batches_of_a_fast_disk_are_synced_at_once_until_one_sync_is_slow() {
        let (committer, batches) = channel();
        let mut commits = Commits::new(Arc::new(MemoryStorage::default()), committer);
        for number in 0..u64::from(IN_A_ROW) {
            assert_eq!(commits.begin(BatchId(number), 1).unwrap(), None);
            assert_eq!(batches.try_recv(), Ok(BatchId(number)));
            commits.note(FAST);
        }
        assert!(commits.begin(BatchId(50), FEW).unwrap().is_some());
        assert!(commits.begin(BatchId(51), FEW + 1).unwrap().is_none());
        assert_eq!(batches.try_iter().collect::<Vec<_>>(), [BatchId(51)]);
        commits.note(FAST + Duration::from_nanos(1));
        assert!(commits.begin(BatchId(52), 1).unwrap().is_none());
    }
}
