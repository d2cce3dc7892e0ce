//! What the rest of the node may ask of the driver.

use std::sync::{Arc, Weak};

use replication::replica::Status;
use replication::{BatchId, Now, Outcome, Reader, TenantId, Wall, WordRefused, Write, WriteError};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use super::changes::{Changes, Follower};
use super::pulse::{Pulse, STALLED, Stall};
use super::{Control, LinkInput};
use crate::clock::Clock;
use crate::storage::Store;

/// A write on its way to the driver.
pub(super) struct Asked {
    pub(super) write: Write,
    pub(super) reply: oneshot::Sender<Result<Outcome, WriteError>>,
}

/// Why a write was not taken, or not known to be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The replica says no.
    #[error(transparent)]
    Replica(#[from] WriteError),
    /// More writes wait than may wait.
    #[error("too many writes are waiting")]
    Overloaded,
    /// The node is stopping; whether the write is durable is not known.
    #[error("the node is stopping")]
    Stopping,
}

/// A shared door to the driver.
#[derive(Clone)]
pub struct Handle {
    pub(super) writes: mpsc::Sender<Asked>,
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
        let (reply, answer) = oneshot::channel();
        self.writes.try_send(Asked { write, reply }).map_err(|error| match error {
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

    /// Reads documents. What is shown to a client is read in a view of the durable vector.
    #[must_use]
    pub fn reader(&self) -> &Reader<Store> {
        &self.reader
    }

    /// Waits until everything that has been applied until now is durable. It takes as long as the disk does.
    pub async fn settled(&self) {
        let seen = *self.applied.borrow();
        // An error means that the driver is gone; then nothing more becomes durable and the node is stopping.
        let _ = self.durable.clone().wait_for(|durable| *durable >= seen).await;
    }

    /// Follows a tenant's documents as they change here, whatever changed them.
    #[must_use]
    pub fn changes(&self, tenant: TenantId) -> Follower {
        self.changes.clone().follow(tenant)
    }

    /// What the clocks say.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// The disk or the driver, if it has not moved for [`STALLED`]: the node is then not ready. `None` also once the driver
    /// is gone.
    #[must_use]
    pub fn stalled(&self) -> Option<Stall> {
        self.pulse.upgrade()?.stalled(STALLED)
    }

    /// An operator's word: it is `stated` now, and this machine's wall clock shows it.
    ///
    /// # Errors
    /// `Some` why the word was not taken; `None` if the node is stopping.
    pub async fn believe_clock(&self, stated: Wall, force: bool) -> Result<(), Option<WordRefused>> {
        let (reply, answer) = oneshot::channel();
        self.control.send(Control::BelieveClock { stated, force, reply }).map_err(|_| None)?;
        answer.await.map_err(|_| None)?.map_err(Some)
    }

    /// An operator's word: serve although the store may lack what peers have.
    pub fn serve_as_is(&self) {
        // If the driver is gone the node is stopping.
        let _ = self.control.send(Control::ServeAsIs);
    }
}
