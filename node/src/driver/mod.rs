//! The one loop that sees both the replica and the I/O.
//!
//! It owns the replica and runs on a thread of its own; a second thread, the committer, only makes batches
//! durable. While a batch is on its way to the disk the next one is gathered, so the group commit forms by itself:
//! one write under light load, dozens under heavy load, never more than [`BATCH_RECORDS`].
//!
//! # Invariants
//! - No answer and no frame leaves before its batch is durable (the replica hands out neither).
//! - Writers, links and the committer are never waited for: a link that cannot keep up is closed.
//! - A storage error stops the node at once: nobody knows then what is durable.

mod changes;
mod handle;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use replication::{
    BatchId, Event, LinkError, LinkId, NodeName, Now, Outcome, Reader, Replica, Storage, StorageError, Ticket,
    WriteError,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::storage::Store;

pub use changes::Follower;
pub use handle::{Handle, Refused};

use changes::Changes;
use handle::Asked;

/// Most records of a batch: sled's memory grows with the size of a batch.
const BATCH_RECORDS: usize = 256;
/// Most writes that may wait; beyond that clients are told to come back.
const WAITING_WRITES: usize = 16 * 1024;
/// Most frames that may wait for the driver, over all links.
const WAITING_FRAMES: usize = 64;
/// What peers say is published at most so often.
const STATUS_EVERY: Duration = Duration::from_millis(5);

/// What peer connections tell the driver.
pub(crate) enum LinkInput {
    /// A connection is up; frames for the peer go into `frames`, and dropping it closes the connection.
    Up { link: LinkId, peer: NodeName, frames: mpsc::Sender<Arc<[u8]>> },
    /// Bytes from the peer.
    Frame { link: LinkId, bytes: Vec<u8> },
    /// The connection is gone.
    Down { link: LinkId },
}

/// What does not wait in a line.
pub(crate) enum Control {
    Durable(BatchId),
    Failed(StorageError),
    BelieveClock,
    Stop,
}

struct Door {
    peer: NodeName,
    frames: mpsc::Sender<Arc<[u8]>>,
}

struct Driver {
    replica: Replica<Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    committer: std::sync::mpsc::Sender<BatchId>,
    waiting: BTreeMap<Ticket, oneshot::Sender<Result<Outcome, WriteError>>>,
    doors: BTreeMap<LinkId, Door>,
    status: watch::Sender<Arc<replication::replica::Status>>,
    applied: watch::Sender<BatchId>,
    durable: watch::Sender<BatchId>,
    changes: Arc<Changes>,
    batch_started: Duration,
    status_at: Duration,
    /// A peer said something since the status was published: a client may wait for its confirmation.
    peers_told: bool,
}

/// The driver's thread; `join` tells how it ended.
pub struct Running {
    control: mpsc::UnboundedSender<Control>,
    ended: oneshot::Receiver<Result<(), StorageError>>,
}

impl Running {
    /// Makes everything durable that was taken, then stops.
    ///
    /// # Errors
    /// [`StorageError`] if the engine failed.
    pub async fn stop(self) -> Result<(), StorageError> {
        // If the driver is gone already, `ended` says why.
        let _ = self.control.send(Control::Stop);
        self.ended.await.unwrap_or_else(|_| Err(crashed()))
    }

    /// Waits until the driver ends by itself, which it does only if storage fails.
    pub async fn failed(&mut self) -> StorageError {
        match (&mut self.ended).await {
            Ok(Err(error)) => error,
            _ => crashed(),
        }
    }
}

fn crashed() -> StorageError {
    StorageError::Engine { action: "ran", source: "the storage thread panicked; its message is in the log".into() }
}

/// Starts the driver and its committer.
///
/// # Errors
/// If a thread cannot be started.
pub fn start(
    replica: Replica<Store>,
    store: Store,
    reader: Reader<Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
) -> std::io::Result<(Handle, Running)> {
    let (writes_in, writes) = mpsc::channel(WAITING_WRITES);
    let (links_in, links) = mpsc::channel(WAITING_FRAMES);
    let (control_in, control) = mpsc::unbounded_channel();
    let (batches_in, batches) = std::sync::mpsc::channel();
    let (ended_in, ended) = oneshot::channel();
    let (status, status_out) = watch::channel(Arc::new(replica.status(clock.now())));
    let (applied, applied_out) = watch::channel(BatchId(0));
    let (durable, durable_out) = watch::channel(BatchId(0));
    let changes = Arc::new(Changes::default());
    let handle = Handle {
        writes: writes_in,
        links: links_in,
        control: control_in.clone(),
        status: status_out,
        applied: applied_out,
        durable: durable_out,
        changes: changes.clone(),
        reader,
        clock: clock.clone(),
    };
    let committed = control_in.clone();
    thread::Builder::new().name("committer".into()).spawn(move || commit(&store, &batches, &committed))?;
    let driver = Driver {
        replica,
        clock,
        metrics,
        committer: batches_in,
        waiting: BTreeMap::new(),
        doors: BTreeMap::new(),
        status,
        applied,
        durable,
        changes,
        batch_started: Duration::ZERO,
        status_at: Duration::ZERO,
        peers_told: false,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    thread::Builder::new().name("replica".into()).spawn(move || {
        let result = runtime.block_on(driver.run(writes, links, control));
        // Nobody listens if the node is gone already.
        let _ = ended_in.send(result);
    })?;
    Ok((handle, Running { control: control_in, ended }))
}

/// The committer: the only thread that waits for the disk.
fn commit(store: &Store, batches: &std::sync::mpsc::Receiver<BatchId>, committed: &mpsc::UnboundedSender<Control>) {
    while let Ok(batch) = batches.recv() {
        let told = match store.sync() {
            Ok(()) => committed.send(Control::Durable(batch)),
            Err(error) => committed.send(Control::Failed(error)),
        };
        if told.is_err() {
            return;
        }
    }
}

impl Driver {
    async fn run(
        mut self,
        mut writes: mpsc::Receiver<Asked>,
        mut links: mpsc::Receiver<LinkInput>,
        mut control: mpsc::UnboundedReceiver<Control>,
    ) -> Result<(), StorageError> {
        let mut asked = Vec::with_capacity(BATCH_RECORDS);
        loop {
            self.turn()?;
            let room = BATCH_RECORDS.saturating_sub(self.replica.gathered());
            let now = self.clock.now().mono;
            let mut timeout = self.replica.poll_timeout().since(now);
            if self.peers_told {
                timeout = timeout.min(STATUS_EVERY);
            }
            tokio::select! {
                biased;
                Some(control) = control.recv() => match control {
                    Control::Durable(batch) => self.committed(batch)?,
                    Control::Failed(error) => return Err(error),
                    Control::BelieveClock => self.replica.believe_clock(self.clock.now()),
                    Control::Stop => break,
                },
                Some(input) = links.recv(), if room > 0 => {
                    self.link(input)?;
                    while self.replica.gathered() < BATCH_RECORDS && let Ok(input) = links.try_recv() {
                        self.link(input)?;
                    }
                }
                1.. = writes.recv_many(&mut asked, room), if room > 0 => {
                    for asked in asked.drain(..) {
                        self.write(asked)?;
                    }
                }
                () = tokio::time::sleep(timeout) => {}
            }
        }
        writes.close();
        self.finish(writes, control).await
    }

    /// Takes what still waits, makes everything durable, and answers it.
    async fn finish(
        mut self,
        mut writes: mpsc::Receiver<Asked>,
        mut control: mpsc::UnboundedReceiver<Control>,
    ) -> Result<(), StorageError> {
        while let Some(asked) = writes.recv().await {
            self.write(asked)?;
        }
        self.replica.handle_stop(self.clock.now());
        loop {
            self.turn()?;
            if *self.applied.borrow() == *self.durable.borrow() && self.replica.next_batch().is_none() {
                return Ok(());
            }
            match control.recv().await {
                Some(Control::Durable(batch)) => self.committed(batch)?,
                Some(Control::Failed(error)) => return Err(error),
                Some(Control::BelieveClock | Control::Stop) => {}
                None => return Err(crashed()),
            }
        }
    }

    /// Timers, the next batch, frames and events.
    fn turn(&mut self) -> Result<(), StorageError> {
        let now = self.clock.now();
        if now.mono >= self.replica.poll_timeout() {
            self.replica.handle_timeout(now)?;
            self.publish(now);
        }
        if self.peers_told && now.mono.0.saturating_sub(self.status_at) >= STATUS_EVERY {
            self.publish(now);
        }
        if let Some(batch) = self.replica.next_batch() {
            // Before it is visible, so that no reader sees it without knowing for which batch to wait.
            self.applied.send_replace(batch);
            self.metrics.batch_records.observe(self.replica.gathered() as f64);
            self.replica.poll_batch()?;
            self.batch_started = now.mono.0;
            if self.committer.send(batch).is_err() {
                return Err(crashed());
            }
        }
        while let Some(transmit) = self.replica.poll_transmit(now)? {
            let Some(door) = self.doors.get(&transmit.link) else { continue };
            self.metrics.frame_bytes(&door.peer, "out", transmit.frame.len());
            if door.frames.try_send(transmit.frame).is_err() {
                self.close(transmit.link);
            }
        }
        while let Some(event) = self.replica.poll_event() {
            self.event(event);
        }
        Ok(())
    }

    fn publish(&mut self, now: Now) {
        self.status.send_replace(Arc::new(self.replica.status(now)));
        self.status_at = now.mono.0;
        self.peers_told = false;
    }

    fn committed(&mut self, batch: BatchId) -> Result<(), StorageError> {
        let now = self.clock.now();
        self.metrics.commit_seconds.observe(now.mono.0.saturating_sub(self.batch_started).as_secs_f64());
        self.replica.handle_durable(now, batch)?;
        // Before the answers leave: who gets one must find its own write in the status.
        self.publish(now);
        self.durable.send_replace(batch);
        Ok(())
    }

    fn write(&mut self, asked: Asked) -> Result<(), StorageError> {
        match self.replica.handle_write(self.clock.now(), asked.write) {
            Ok(ticket) => {
                self.waiting.insert(ticket, asked.reply);
            }
            Err(WriteError::Storage(error)) => return Err(error),
            Err(error) => {
                // A client that went away does not wait for its answer.
                let _ = asked.reply.send(Err(error));
            }
        }
        Ok(())
    }

    fn link(&mut self, input: LinkInput) -> Result<(), StorageError> {
        let now = self.clock.now();
        let (link, result) = match input {
            LinkInput::Up { link, peer, frames } => {
                self.doors.insert(link, Door { peer: peer.clone(), frames });
                (link, self.replica.handle_link_up(now, link, peer))
            }
            LinkInput::Frame { link, bytes } => {
                let Some(door) = self.doors.get(&link) else { return Ok(()) };
                self.metrics.frame_bytes(&door.peer, "in", bytes.len());
                self.peers_told = true;
                (link, self.replica.handle_frame(now, link, &bytes))
            }
            LinkInput::Down { link } => {
                self.close(link);
                (link, Ok(()))
            }
        };
        match result {
            Ok(()) => Ok(()),
            Err(LinkError::Storage(error)) => Err(error),
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::error!(link = link.0, %error, source, "closing a link");
                self.metrics.bad_frames.inc();
                self.close(link);
                Ok(())
            }
        }
    }

    fn close(&mut self, link: LinkId) {
        if let Some(door) = self.doors.remove(&link) {
            tracing::info!(link = link.0, peer = %door.peer, "link down");
        }
        self.replica.handle_link_down(self.clock.now(), link);
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Written { ticket, outcome } => {
                self.metrics.written(&outcome);
                if let Some(reply) = self.waiting.remove(&ticket) {
                    // A client that went away does not wait for its answer.
                    let _ = reply.send(Ok(outcome));
                }
            }
            Event::Changed(name) => self.changes.tell(name),
            Event::CloseLink { link, silent } => {
                tracing::info!(link = link.0, silent, "closing a link");
                self.close(link);
            }
            Event::Refused { peer, dot } => {
                self.metrics.refused_delta(&peer);
                tracing::error!(%peer, ?dot, "refused an entry that breaks the rules");
            }
            Event::HorizonRefused { peer, horizon } => {
                self.metrics.horizon_refused(&peer);
                tracing::error!(%peer, %horizon, "refused a horizon in our future: that clock is ahead");
            }
            Event::RolledBack { peer, theirs, ours } => {
                self.metrics.rollbacks.inc();
                tracing::error!(%peer, theirs, ours, "our disk went back in time: fetching our own entries back");
            }
            Event::Lost { origin, count } => {
                tracing::error!(%origin, count, "entries of ours are lost: our disk went back, and no peer has them");
            }
            Event::Reincarnated { old, new } => tracing::warn!(%old, %new, "going on under a new replica id"),
            Event::Clock(Some(doubt)) => {
                tracing::error!(?doubt, "the clock is in doubt: no writes are taken and nothing is forgotten");
            }
            Event::Clock(None) => tracing::info!("the clock is believed again"),
            Event::ForgotEarly(true) => tracing::error!(
                "the clock was ahead, so what has not expired may be missing here: passing on nothing of others until \
                 that time has come; once no peer lacks anything of this node, a new data directory ends this at once"
            ),
            Event::ForgotEarly(false) => tracing::info!("what was forgotten early is over by now"),
            Event::Forgot(bucket) => tracing::info!(%bucket, "a day has passed and is forgotten"),
            other => tracing::debug!(?other, "event"),
        }
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Running")
    }
}
