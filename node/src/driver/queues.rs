//! Select: waits for the next input of the driver, and only waits. What follows from it: `apply.rs`.

use std::time::Duration;

use replication::DocumentKey;
use tokio::sync::mpsc;

use super::handle::QueuedWrite;
use super::{Control, LinkInput};

/// The queues through which the rest of the node speaks to the driver.
pub(super) struct Queues {
    pub(super) writes: mpsc::Receiver<QueuedWrite>,
    pub(super) links: mpsc::Receiver<LinkInput>,
    pub(super) control: mpsc::UnboundedReceiver<Control>,
    /// Rows that a reader could not decode. Nothing waits for them: they are taken at the next turn.
    pub(super) unreadable: std::sync::mpsc::Receiver<DocumentKey>,
}

/// Which inputs the driver has room for, and how long it can wait for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waits {
    /// For so long links do not end the wait.
    pub(super) nap: Duration,
    pub(super) at_most: Duration,
    pub(super) for_writes: bool,
    pub(super) for_links: bool,
}

/// What ended the wait.
pub(super) enum Woken {
    /// Time has passed: timers, or a batch or frames that waited.
    Time,
    Control(Control),
    Write(QueuedWrite),
    Link(LinkInput),
    /// The queue of writes is closed and empty.
    NoMoreWrites,
    /// The committer is gone, and with it the last sender of [`Control`].
    Abandoned,
}

impl Queues {
    /// Waits for the next input. Controls come first, then writes, then links.
    pub(super) async fn select(&mut self, waits: Waits) -> Woken {
        if !waits.nap.is_zero() {
            tokio::select! {
                biased;
                Some(control) = self.control.recv() => return Woken::Control(control),
                Some(write) = self.writes.recv(), if waits.for_writes => return Woken::Write(write),
                () = tokio::time::sleep(waits.nap.min(waits.at_most)) => {}
            }
        }
        let at_most = waits.at_most.saturating_sub(waits.nap);
        tokio::select! {
            biased;
            Some(control) = self.control.recv() => Woken::Control(control),
            Some(write) = self.writes.recv(), if waits.for_writes => Woken::Write(write),
            Some(input) = self.links.recv(), if waits.for_links => Woken::Link(input),
            () = tokio::time::sleep(at_most) => Woken::Time,
        }
    }

    /// Waits while the node stops: for the writes that were queued before the queue was closed.
    pub(super) async fn select_writes(&mut self) -> Woken {
        self.writes.recv().await.map_or(Woken::NoMoreWrites, Woken::Write)
    }

    /// Waits while the node stops: for the committer.
    pub(super) async fn select_control(&mut self) -> Woken {
        self.control.recv().await.map_or(Woken::Abandoned, Woken::Control)
    }
}
