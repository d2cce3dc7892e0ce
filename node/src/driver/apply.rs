//! Apply: carries out one input, then lets the replica do all that is due. Nothing here waits but for
//! a disk that is fast (`commits.rs`), so the tests call [`Driver::apply`] with a clock, a store and queues of their own,
//! and without a runtime.
//!
//! # Invariants
//! - After each input both queues get their share, writes first, whichever input it was.
//! - A batch that only links have filled waits for [`LINK_LINGER`] at most, and for no longer than the next local write.
//!   After a commit the driver looks at links only with the next local write, or after [`LINK_NAP`].
//! - "It is gone" and "it has changed" are answers about the state of this replica, and no crash may undo what an answer
//!   rests on. They leave when everything that was gathered before them is durable.
//! - While the node stops it takes the writes that were queued, and ends only when all of them are durable.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use replication::{
    Action, BatchId, LinkError, LinkId, NodeName, Now, Outcome, Replica, StorageError, Ticket, Transmit, Turn,
    WriteError,
};
use tokio::sync::{mpsc, oneshot, watch};

use super::changes::Changes;
use super::commits::Commits;
use super::handle::QueuedWrite;
use super::pulse::Pulse;
use super::queues::{Queues, Waits, Woken};
use super::{Control, LinkInput, WAITING_FRAMES, crashed};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::storage::Store;

/// Most records of a batch that local writes make, because sled's memory grows with the size of a batch.
pub(super) const BATCH_RECORDS: usize = 256;
/// Once links have brought so many records, the rest of their records waits for the next batch.
const LINK_RECORDS: usize = 128;
/// How long a batch that only links have filled waits for a local write or for more frames. Otherwise each small frame
/// of a peer would be a commit of its own, and the next local write would wait for it.
const LINK_LINGER: Duration = Duration::from_millis(2);
/// For so long after a commit frames wait for a local write. At a few hundred writes a second wake-ups are most of the
/// processor time of a node, and each frame would cause one.
const LINK_NAP: Duration = Duration::from_millis(5);
/// Longest time that one turn sends frames to peers; the next turn continues.
const SENDING: Duration = Duration::from_millis(4);
/// Shortest time between two publications of what peers said.
const STATUS_EVERY: Duration = Duration::from_millis(5);

/// The sending half of a connection; dropping it closes the connection.
struct LinkSender {
    peer: NodeName,
    frames: mpsc::Sender<Arc<[u8]>>,
}

/// A refusal that leaves once the batch is durable that it rests on.
struct Refusal {
    rests_on: BatchId,
    error: WriteError,
    reply: oneshot::Sender<Result<Outcome, WriteError>>,
}

/// Where the driver tells the rest of the node what has become of the replica.
pub(super) struct Outputs {
    pub(super) status: watch::Sender<Arc<replication::Status>>,
    pub(super) applied: watch::Sender<BatchId>,
    pub(super) durable: watch::Sender<BatchId>,
    pub(super) changes: Arc<Changes>,
}

/// Whether the node runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Runs,
    /// The node is to stop: no write is queued any more, and those that were are taken.
    TakesLastWrites,
    /// Every write is taken, and the last batches go to the disk.
    Settles,
}

pub(super) struct Driver {
    pub(super) replica: Replica<Store>,
    clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<Metrics>,
    queues: Queues,
    pub(super) outputs: Outputs,
    commits: Commits,
    pulse: Arc<Pulse>,
    phase: Phase,
    pub(super) waiting: BTreeMap<Ticket, oneshot::Sender<Result<Outcome, WriteError>>>,
    /// Refusals that wait, in the order of their batches.
    refusals: VecDeque<Refusal>,
    links: BTreeMap<LinkId, LinkSender>,
    /// Records that links have brought for the batch that is being gathered.
    link_records: usize,
    /// When links brought the first of these records.
    link_since: Option<Duration>,
    /// The batch that is being gathered also holds local writes, or nothing more will come for which it could wait.
    is_local: bool,
    /// When the last commit began.
    batch_started: Option<Duration>,
    status_at: Duration,
    /// A peer said something after the status was published: a client may be waiting for its confirmation.
    peers_told: bool,
}

impl Driver {
    pub(super) fn new(
        replica: Replica<Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        queues: Queues,
        outputs: Outputs,
        commits: Commits,
        pulse: Arc<Pulse>,
    ) -> Driver {
        Driver {
            replica,
            clock,
            metrics,
            queues,
            outputs,
            commits,
            pulse,
            phase: Phase::Runs,
            waiting: BTreeMap::new(),
            refusals: VecDeque::new(),
            links: BTreeMap::new(),
            link_records: 0,
            link_since: None,
            is_local: false,
            batch_started: None,
            status_at: Duration::ZERO,
            peers_told: false,
        }
    }

    /// Runs until the node has stopped.
    pub(super) async fn run(mut self) -> Result<(), StorageError> {
        let mut next = self.apply(Woken::Time)?;
        while let ControlFlow::Continue(waits) = next {
            let woken = match self.phase {
                Phase::Runs => self.queues.select(waits).await,
                Phase::TakesLastWrites => self.queues.select_writes().await,
                Phase::Settles => self.queues.select_control().await,
            };
            next = self.apply(woken)?;
        }
        Ok(())
    }

    /// Carries out an input and all that follows from it. Returns what to wait for next, or breaks if the node has
    /// stopped.
    pub(super) fn apply(&mut self, woken: Woken) -> Result<ControlFlow<(), Waits>, StorageError> {
        match woken {
            Woken::Time => {}
            Woken::Control(control) => self.control(control)?,
            Woken::Write(write) => self.write(write)?,
            Woken::Link(input) => self.link(input)?,
            Woken::NoMoreWrites => {
                self.replica.handle_stop(self.clock.now());
                self.phase = Phase::Settles;
            }
            Woken::Abandoned => return Err(crashed()),
        }
        match self.phase {
            Phase::Runs => self.take_queued()?,
            Phase::TakesLastWrites => return Ok(ControlFlow::Continue(self.waits(false))),
            // Nothing more will come for which a batch could wait.
            Phase::Settles => self.is_local = true,
        }
        while let Ok(key) = self.queues.unreadable.try_recv() {
            self.replica.note_unreadable(key);
        }
        let is_sending = self.turn()?;
        Ok(if self.is_settled() { ControlFlow::Break(()) } else { ControlFlow::Continue(self.waits(is_sending)) })
    }

    /// Both queues get their share, writes first.
    fn take_queued(&mut self) -> Result<(), StorageError> {
        for _ in 0..self.room() {
            let Ok(write) = self.queues.writes.try_recv() else { break };
            self.write(write)?;
        }
        for _ in 0..WAITING_FRAMES {
            if self.link_records >= LINK_RECORDS {
                break;
            }
            let Ok(input) = self.queues.links.try_recv() else { break };
            self.link(input)?;
        }
        Ok(())
    }

    /// What the driver waits for after a turn.
    fn waits(&self, is_sending: bool) -> Waits {
        let now = self.clock.now().mono;
        let mut at_most = self.replica.poll_timeout().since(now);
        if self.peers_told {
            at_most = at_most.min(STATUS_EVERY);
        }
        if is_sending {
            at_most = Duration::ZERO;
        } else if let Some(wait) = self.lingers(now.0) {
            at_most = at_most.min(wait);
        }
        let nap = if is_sending { Duration::ZERO } else { self.link_nap(now.0) };
        Waits { nap, at_most, for_writes: self.room() > 0, for_links: self.link_records < LINK_RECORDS }
    }

    /// Whether the node is to stop and everything is durable.
    fn is_settled(&self) -> bool {
        self.phase == Phase::Settles
            && *self.outputs.applied.borrow() == *self.outputs.durable.borrow()
            && self.replica.next_batch().is_none()
    }

    /// How much longer the batch that is being gathered waits, because it holds records of links alone.
    fn lingers(&self, now: Duration) -> Option<Duration> {
        let waited = now.saturating_sub(self.link_since?);
        let waits = !self.is_local && self.link_records < LINK_RECORDS && waited < LINK_LINGER;
        waits.then(|| LINK_LINGER - waited)
    }

    /// For how much longer frames alone do not wake the driver.
    fn link_nap(&self, now: Duration) -> Duration {
        self.batch_started.map_or(Duration::ZERO, |started| (started + LINK_NAP).saturating_sub(now))
    }

    /// Records that local writes may still add to the batch.
    fn room(&self) -> usize {
        BATCH_RECORDS.saturating_sub(self.replica.gathered().saturating_sub(self.link_records))
    }

    fn control(&mut self, control: Control) -> Result<(), StorageError> {
        match control {
            Control::Durable(batch, took) => self.committed(batch, took)?,
            Control::Failed(error) => return Err(error),
            Control::TrustWallClock { stated, force, reply } => {
                // An error means that the client has gone away.
                let _ = reply.send(self.replica.trust_wall_clock(self.clock.now(), stated, force));
            }
            Control::ServeAsIs => self.replica.serve_as_is(),
            Control::SetPeers(peers) => self.replica.set_peers(self.clock.now(), peers)?,
            Control::Stop if self.phase == Phase::Runs => {
                self.queues.writes.close();
                self.phase = Phase::TakesLastWrites;
            }
            Control::Stop => {}
        }
        Ok(())
    }

    /// Lets the replica do all that is due. Returns whether frames are left to send.
    fn turn(&mut self) -> Result<bool, StorageError> {
        self.pulse.turn();
        let now = self.clock.now();
        let (mut turn, mut is_sending) = (Turn::new(now), false);
        while let Some(action) = self.replica.drive(&mut turn)? {
            match action {
                Action::Timers { due } => {
                    let has_news = self.peers_told && now.mono.0.saturating_sub(self.status_at) >= STATUS_EVERY;
                    if due || has_news {
                        self.publish(now);
                    }
                }
                Action::Batch(batch) => {
                    if self.lingers(now.mono.0).is_none() {
                        self.commit(now, batch)?;
                    }
                }
                Action::Send(transmit) => {
                    self.send(transmit);
                    if self.clock.now().mono.since(now.mono) >= SENDING {
                        is_sending = true;
                        turn.end_sending();
                    }
                }
                Action::Report(event) => self.event(event),
            }
        }
        Ok(is_sending)
    }

    /// Applies the gathered batch, and makes it durable or hands it to the committer.
    fn commit(&mut self, now: Now, batch: BatchId) -> Result<(), StorageError> {
        let records = self.replica.gathered();
        // The number is published before the batch is visible, so that a reader knows which batch to wait for.
        self.outputs.applied.send_replace(batch);
        self.metrics.batch_records.observe(records as f64);
        self.replica.poll_batch()?;
        self.link_records = 0;
        (self.link_since, self.is_local) = (None, false);
        self.pulse.batch_begins();
        self.batch_started = Some(now.mono.0);
        match self.commits.begin(batch, records)? {
            Some(took) => self.committed(batch, took),
            None => Ok(()),
        }
    }

    fn send(&mut self, transmit: Transmit) {
        let Some(sender) = self.links.get(&transmit.link) else { return };
        self.metrics.frame_bytes(&sender.peer, "out", transmit.frame.len());
        if sender.frames.try_send(transmit.frame).is_err() {
            self.close(transmit.link);
        }
    }

    fn publish(&mut self, now: Now) {
        let status = Arc::new(self.replica.status(now));
        let damaged = status.damaged;
        match self.outputs.status.send_replace(status).damaged {
            0 if damaged > 0 => tracing::error!(
                damaged,
                action = "watch meridian_damaged_rows; check the disk",
                "stored rows are damaged: they are left out of answers until they have come back from a peer"
            ),
            before if before > 0 && damaged == 0 => tracing::info!("no damaged row is known any more"),
            _ => {}
        }
        self.status_at = now.mono.0;
        self.peers_told = false;
    }

    fn committed(&mut self, batch: BatchId, took: Duration) -> Result<(), StorageError> {
        self.pulse.batch_ends();
        self.commits.note(took);
        let now = self.clock.now();
        self.metrics
            .commit_seconds
            .observe(now.mono.0.saturating_sub(self.batch_started.unwrap_or_default()).as_secs_f64());
        self.replica.handle_durable(now, batch)?;
        // Published before the answers leave, because a client that gets one must find its own write in the status.
        self.publish(now);
        self.outputs.durable.send_replace(batch);
        self.refuse();
        Ok(())
    }

    fn write(&mut self, queued: QueuedWrite) -> Result<(), StorageError> {
        if let Some(before) = queued.before {
            match self.replica.handle_write(self.clock.now(), before) {
                // Its ticket has no client: the event of its durability is only counted.
                Ok(_) => self.is_local = true,
                Err(WriteError::Storage(error)) => return Err(error),
                Err(error) => tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a write was made without the one before it"
                ),
            }
        }
        match self.replica.handle_write_if(self.clock.now(), queued.write, &queued.seen) {
            Ok(ticket) => {
                self.is_local = true;
                self.waiting.insert(ticket, queued.reply);
            }
            Err(WriteError::Storage(error)) => return Err(error),
            Err(error @ (WriteError::Gone | WriteError::Changed)) => {
                let applied = *self.outputs.applied.borrow();
                let rests_on = if self.replica.gathered() > 0 { BatchId(applied.0 + 1) } else { applied };
                self.refusals.push_back(Refusal { rests_on, error, reply: queued.reply });
                self.refuse();
            }
            Err(error) => {
                // An error means that the client has gone away.
                let _ = queued.reply.send(Err(error));
            }
        }
        Ok(())
    }

    /// Answers the refusals that rest on what is durable by now.
    fn refuse(&mut self) {
        let durable = *self.outputs.durable.borrow();
        while let Some(refusal) = self.refusals.pop_front_if(|refusal| refusal.rests_on <= durable) {
            // An error means that the client has gone away.
            let _ = refusal.reply.send(Err(refusal.error));
        }
    }

    fn link(&mut self, input: LinkInput) -> Result<(), StorageError> {
        let now = self.clock.now();
        let before = self.replica.gathered();
        let (link, result) = match input {
            LinkInput::Up { link, peer, frames } => {
                self.links.insert(link, LinkSender { peer: peer.clone(), frames });
                (link, self.replica.handle_link_up(now, link, peer))
            }
            LinkInput::Frame { link, bytes } => {
                let Some(sender) = self.links.get(&link) else { return Ok(()) };
                self.metrics.frame_bytes(&sender.peer, "in", bytes.len());
                self.peers_told = true;
                (link, self.replica.handle_frame(now, link, &bytes))
            }
            LinkInput::Down { link } => {
                self.close(link);
                (link, Ok(()))
            }
        };
        let brought = self.replica.gathered().saturating_sub(before);
        if brought > 0 {
            self.link_records += brought;
            self.link_since.get_or_insert(now.mono.0);
        }
        match result {
            Ok(()) => Ok(()),
            Err(LinkError::Storage(error)) => Err(error),
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                let action = "look at both nodes' versions if it happens again; the link is dialled again by itself";
                tracing::error!(link = link.0, %error, source, action, "a frame was refused: the link is closed");
                self.metrics.bad_frames.inc();
                self.close(link);
                Ok(())
            }
        }
    }

    pub(super) fn close(&mut self, link: LinkId) {
        if let Some(sender) = self.links.remove(&link) {
            tracing::info!(link = link.0, peer = %sender.peer, "link down");
        }
        self.replica.handle_link_down(self.clock.now(), link);
    }
}

#[cfg(test)]
mod tests;
