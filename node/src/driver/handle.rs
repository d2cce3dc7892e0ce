//! The requests that the rest of the node may make to the driver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use replication::{
    BatchId, ChangeHash, ClockStatementRefused, DocumentKey, NodeName, Now, Outcome, Reader, RegionId, Status,
    TenantId, Wall, Write, WriteError,
};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use super::admission::Admission;
use super::changes::{Changes, Follower};
use super::pulse::{Pulse, STALLED, Stall};
use super::{Control, LinkInput};
use crate::clock::Clock;
use crate::storage::Store;

/// Rows as the writer saw them, with all their changes. A row that does not exist has none.
pub type SeenRows = Vec<(DocumentKey, BTreeSet<ChangeHash>)>;

/// A write on its way to the driver.
pub(super) struct QueuedWrite {
    /// A write that must be durable no later than this one, and has no answer of its own.
    pub(super) before: Option<Write>,
    pub(super) write: Write,
    /// The rows that the write is built on; empty for a write without a condition.
    pub(super) seen: SeenRows,
    pub(super) reply: oneshot::Sender<Result<Outcome, WriteError>>,
}

/// Why a write was not taken, or may not have been taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The replica refuses the write.
    #[error(transparent)]
    Replica(#[from] WriteError),
    /// The disk is nearly full, and the write would add a record.
    #[error("the disk is nearly full")]
    DiskFull,
    /// The node is sent more than it can commit.
    #[error("too many writes are waiting")]
    Overloaded,
    /// The node is stopping; whether the write is durable is not known.
    #[error("the node is stopping")]
    Stopping,
}

/// The way to the driver; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(super) writes: mpsc::Sender<QueuedWrite>,
    pub(super) admission: Arc<Admission>,
    pub(crate) links: mpsc::Sender<LinkInput>,
    pub(super) control: mpsc::UnboundedSender<Control>,
    pub(super) status: watch::Receiver<Arc<Status>>,
    pub(super) applied: watch::Receiver<BatchId>,
    pub(super) durable: watch::Receiver<BatchId>,
    pub(super) changes: Arc<Changes>,
    pub(super) reader: Reader<Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) pulse: Weak<Pulse>,
}

impl Handle {
    /// Writes, and returns once the write is durable here.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn write(&self, write: Write) -> Result<Outcome, Refused> {
        self.write_if(write, SeenRows::new()).await
    }

    /// Writes if the rows are still as they were seen, gathered writes included, and returns once the write is durable
    /// here.
    ///
    /// # Errors
    /// [`Refused`]; [`WriteError::Changed`] in it if a row is different.
    pub async fn write_if(&self, write: Write, seen: SeenRows) -> Result<Outcome, Refused> {
        self.write_after(None, write, seen).await
    }

    /// As [`write_if`](Self::write_if), with another write before it in the same batch, or in an earlier one. If the write
    /// before is refused, this one is made all the same.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn write_after(&self, before: Option<Write>, write: Write, seen: SeenRows) -> Result<Outcome, Refused> {
        let _waiting = self.admission.admit().ok_or(Refused::Overloaded)?;
        let (reply, answer) = oneshot::channel();
        self.writes.try_send(QueuedWrite { before, write, seen, reply }).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Overloaded,
            TrySendError::Closed(_) => Refused::Stopping,
        })?;
        Ok(answer.await.map_err(|_| Refused::Stopping)??)
    }

    /// The replica as of the last batch or heartbeat.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        self.status.borrow().clone()
    }

    /// Follows the replica's status.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }

    /// Reads documents. An answer to a client must be read in a view of the durable vector.
    #[must_use]
    pub fn reader(&self) -> &Reader<Store> {
        &self.reader
    }

    /// Waits until everything that was applied before this call is durable, which takes as long as the disk does.
    pub async fn settled(&self) {
        let seen = *self.applied.borrow();
        // An error means that the driver is gone: the node is stopping, and nothing more becomes durable.
        let _ = self.durable.clone().wait_for(|durable| *durable >= seen).await;
    }

    /// Follows the changes of a tenant's documents on this node, local and replicated ones.
    #[must_use]
    pub fn changes(&self, tenant: TenantId) -> Follower {
        self.changes.clone().follow(tenant)
    }

    /// The reading of the clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// The part (disk or driver) that has not moved for [`STALLED`], which makes the node not ready. `None` also once
    /// the driver is gone.
    #[must_use]
    pub fn stalled(&self) -> Option<Stall> {
        self.pulse.upgrade()?.stalled(STALLED)
    }

    /// An operator states that it is `stated` now, and that this machine's wall clock is right.
    ///
    /// # Errors
    /// `Some` with the reason if the statement was refused; `None` if the node is stopping.
    pub async fn trust_wall_clock(&self, stated: Wall, force: bool) -> Result<(), Option<ClockStatementRefused>> {
        let (reply, answer) = oneshot::channel();
        self.control.send(Control::TrustWallClock { stated, force, reply }).map_err(|_| None)?;
        answer.await.map_err(|_| None)?.map_err(Some)
    }

    /// The peers are these from now on, each with its region; links to others are closed.
    pub(crate) fn set_peers(&self, peers: BTreeMap<NodeName, RegionId>) {
        // If the driver is gone the node is stopping.
        let _ = self.control.send(Control::SetPeers(peers));
    }

    /// An operator orders the node to serve although its store may lack what peers have.
    pub fn serve_as_is(&self) {
        // If the driver is gone the node is stopping.
        let _ = self.control.send(Control::ServeAsIs);
    }
}
