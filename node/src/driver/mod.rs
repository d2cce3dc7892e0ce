//! The one loop that sees both the replica and the I/O.
//!
//! The driver owns the replica and runs on its own thread; a second thread, the committer, only makes batches durable.
//! While the disk writes one batch the driver gathers the next, so group commit needs no timer: a batch holds one write
//! under light load and dozens under heavy load.
//!
//! # Invariants
//! - No answer and no frame leaves before its batch is durable: the replica hands out neither earlier.
//! - Local writes come first. Links get [`LINK_RECORDS`] records of each batch and [`SENDING`] of each turn. Therefore
//!   a peer or a node that catches up does not delay guests, and guests do not starve peers.
//! - The driver never waits for writers, links or the committer: it closes a link that cannot keep up.
//! - A storage error, a panic or a hanging disk stops the node, because it no longer knows what is durable.

mod changes;
mod events;
mod handle;
mod pulse;

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use replication::{
    Action, BatchId, LinkError, LinkId, NodeName, Now, Outcome, Reader, Replica, Storage, StorageError, Ticket,
    Transmit, Turn, Wall, WordRefused, WriteError,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::{Clock, SystemClock};
use crate::metrics::Metrics;
use crate::storage::Store;

pub use changes::Follower;
pub use handle::{Handle, Refused};
pub use pulse::{STALLED, Stall};

use changes::Changes;
use handle::Asked;
use pulse::Pulse;

/// Most records of a batch that local writes make, because sled's memory grows with the size of a batch.
const BATCH_RECORDS: usize = 256;
/// Once links have brought so many records, the rest of their records waits for the next batch.
const LINK_RECORDS: usize = 128;
/// How long a batch that only links have filled waits for a local write or for more frames. Otherwise each small frame
/// of a peer would be a commit of its own, and the next local write would wait for it.
const LINK_LINGER: Duration = Duration::from_millis(2);
/// Longest time that one turn sends frames to peers; the next turn continues.
const SENDING: Duration = Duration::from_millis(4);
/// How long the watchdog, once it has reported, waits for the process to end before it ends the process.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Most writes that may wait; beyond that clients are told to try again later.
const WAITING_WRITES: usize = 16 * 1024;
/// Most frames that may wait for the driver, over all links.
const WAITING_FRAMES: usize = 64;
/// Shortest time between two publications of what peers said.
const STATUS_EVERY: Duration = Duration::from_millis(5);

/// Inputs from peer connections.
pub(crate) enum LinkInput {
    /// A connection is up; frames for the peer go into `frames`, and dropping it closes the connection.
    Up { link: LinkId, peer: NodeName, frames: mpsc::Sender<Arc<[u8]>> },
    /// Bytes from the peer.
    Frame { link: LinkId, bytes: Vec<u8> },
    /// The connection is gone.
    Down { link: LinkId },
}

/// Inputs that bypass the queues of writes and frames.
pub(crate) enum Control {
    Durable(BatchId),
    Failed(StorageError),
    BelieveClock { stated: Wall, force: bool, reply: oneshot::Sender<Result<(), WordRefused>> },
    ServeAsIs,
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
    pulse: Arc<Pulse>,
    /// Records that links have brought for the batch that is being gathered.
    link_records: usize,
    /// When links brought the first of these records, and whether the batch also holds local writes.
    link_since: Option<Duration>,
    is_local: bool,
    batch_started: Duration,
    status_at: Duration,
    /// A peer said something after the status was published: a client may be waiting for its confirmation.
    peers_told: bool,
}

/// The driver's thread; `join` tells how it ended.
pub struct Running {
    control: mpsc::UnboundedSender<Control>,
    ended: mpsc::UnboundedReceiver<Result<(), StorageError>>,
}

impl Running {
    /// Makes everything durable that was taken, then stops.
    ///
    /// # Errors
    /// [`StorageError`] if the engine failed.
    pub async fn stop(mut self) -> Result<(), StorageError> {
        // If the driver is gone already, `ended` says why.
        let _ = self.control.send(Control::Stop);
        self.ended.recv().await.unwrap_or_else(|| Err(crashed()))
    }

    /// Waits until the driver ends by itself, which it does only if storage fails or hangs.
    pub async fn failed(&mut self) -> StorageError {
        match self.ended.recv().await {
            Some(Err(error)) => error,
            _ => crashed(),
        }
    }
}

fn hung(stall: Stall) -> StorageError {
    let what = match stall {
        Stall::Disk(since) => format!("the disk has not finished a batch for {} s", since.as_secs()),
        Stall::Driver(since) => format!("the replica's thread has not turned for {} s", since.as_secs()),
    };
    StorageError::Engine { action: "ran", source: what.into() }
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
    heartbeat: Duration,
    metrics: Arc<Metrics>,
) -> std::io::Result<(Handle, Running)> {
    let (writes_in, writes) = mpsc::channel(WAITING_WRITES);
    let (links_in, links) = mpsc::channel(WAITING_FRAMES);
    let (control_in, control) = mpsc::unbounded_channel();
    let (batches_in, batches) = std::sync::mpsc::channel();
    let (ended_in, ended) = mpsc::unbounded_channel();
    // The pulse has its own clock, because a hang is measured in real time even if the replica's clock is simulated.
    let pulse = Arc::new(Pulse::new(Arc::new(SystemClock::start()), heartbeat));
    let watched = ended_in.clone();
    pulse::watch(&pulse, move |stall| {
        let error = hung(stall);
        tracing::error!(
            error = &error as &dyn std::error::Error,
            action = "look at the disk; a supervisor should start the node again",
            "the node hangs: it stops itself"
        );
        // An error means that the node has ended already.
        let _ = watched.send(Err(error));
        thread::sleep(LAST_WORDS);
        // A thread that waits for the disk, or a reader, may keep the process from ending by itself.
        std::process::exit(1);
    })?;
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
        pulse: Arc::downgrade(&pulse),
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
        pulse,
        link_records: 0,
        link_since: None,
        is_local: false,
        batch_started: Duration::ZERO,
        status_at: Duration::ZERO,
        peers_told: false,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    thread::Builder::new().name("replica".into()).spawn(move || {
        let result = runtime.block_on(driver.run(writes, links, control));
        // An error means that the node has ended already.
        let _ = ended_in.send(result);
    })?;
    Ok((handle, Running { control: control_in, ended }))
}

/// The committer: the only thread that waits for the disk.
fn commit(store: &Store, batches: &std::sync::mpsc::Receiver<BatchId>, committed: &mpsc::UnboundedSender<Control>) {
    while let Ok(batch) = batches.recv() {
        // An engine that panics must end the node, otherwise it would wait for this batch for ever.
        let synced = panic::catch_unwind(AssertUnwindSafe(|| store.sync())).unwrap_or_else(|_| Err(crashed()));
        let told = match synced {
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
            let is_sending = self.turn()?;
            let now = self.clock.now().mono;
            let mut timeout = self.replica.poll_timeout().since(now);
            if self.peers_told {
                timeout = timeout.min(STATUS_EVERY);
            }
            if is_sending {
                timeout = Duration::ZERO;
            } else if let Some(wait) = self.lingers(now.0) {
                timeout = timeout.min(wait);
            }
            let (room, has_link_room) = (self.room(), self.link_records < LINK_RECORDS);
            tokio::select! {
                biased;
                Some(control) = control.recv() => if self.control(control)? { break },
                1.. = writes.recv_many(&mut asked, room), if room > 0 => self.writes(&mut asked)?,
                Some(input) = links.recv(), if has_link_room => self.link(input)?,
                () = tokio::time::sleep(timeout) => {}
            }
            // Whatever woke the driver, both queues get their share, writes first.
            let room = self.room();
            while asked.len() < room
                && let Ok(more) = writes.try_recv()
            {
                asked.push(more);
            }
            self.writes(&mut asked)?;
            for _ in 0..WAITING_FRAMES {
                if self.link_records >= LINK_RECORDS {
                    break;
                }
                let Ok(input) = links.try_recv() else { break };
                self.link(input)?;
            }
        }
        writes.close();
        self.finish(writes, control).await
    }

    /// How much longer the batch that is being gathered waits, because it holds records of links alone.
    fn lingers(&self, now: Duration) -> Option<Duration> {
        let waited = now.saturating_sub(self.link_since?);
        let waits = !self.is_local && self.link_records < LINK_RECORDS && waited < LINK_LINGER;
        waits.then(|| LINK_LINGER - waited)
    }

    /// Records that local writes may still add to the batch.
    fn room(&self) -> usize {
        BATCH_RECORDS.saturating_sub(self.replica.gathered().saturating_sub(self.link_records))
    }

    /// Handles one input; `true` if the node is to stop.
    fn control(&mut self, control: Control) -> Result<bool, StorageError> {
        match control {
            Control::Durable(batch) => self.committed(batch)?,
            Control::Failed(error) => return Err(error),
            Control::BelieveClock { stated, force, reply } => {
                // An error means that the client has gone away.
                let _ = reply.send(self.replica.believe_clock(self.clock.now(), stated, force));
            }
            Control::ServeAsIs => self.replica.serve_as_is(),
            Control::Stop => return Ok(true),
        }
        Ok(false)
    }

    fn writes(&mut self, asked: &mut Vec<Asked>) -> Result<(), StorageError> {
        for asked in asked.drain(..) {
            self.write(asked)?;
        }
        Ok(())
    }

    /// Takes the writes that still wait, makes everything durable, and answers.
    async fn finish(
        mut self,
        mut writes: mpsc::Receiver<Asked>,
        mut control: mpsc::UnboundedReceiver<Control>,
    ) -> Result<(), StorageError> {
        while let Some(asked) = writes.recv().await {
            self.write(asked)?;
        }
        self.replica.handle_stop(self.clock.now());
        // Nothing more will come that a batch could wait for.
        self.is_local = true;
        loop {
            self.turn()?;
            self.is_local = true;
            if *self.applied.borrow() == *self.durable.borrow() && self.replica.next_batch().is_none() {
                return Ok(());
            }
            match control.recv().await {
                Some(control) => self.control(control)?,
                None => return Err(crashed()),
            };
        }
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

    /// Applies the gathered batch and hands it to the committer.
    fn commit(&mut self, now: Now, batch: BatchId) -> Result<(), StorageError> {
        // The number is published before the batch is visible, so that a reader knows which batch to wait for.
        self.applied.send_replace(batch);
        self.metrics.batch_records.observe(self.replica.gathered() as f64);
        self.replica.poll_batch()?;
        self.link_records = 0;
        (self.link_since, self.is_local) = (None, false);
        self.pulse.batch_begins();
        self.batch_started = now.mono.0;
        self.committer.send(batch).map_err(|_| crashed())
    }

    fn send(&mut self, transmit: Transmit) {
        let Some(door) = self.doors.get(&transmit.link) else { return };
        self.metrics.frame_bytes(&door.peer, "out", transmit.frame.len());
        if door.frames.try_send(transmit.frame).is_err() {
            self.close(transmit.link);
        }
    }

    fn publish(&mut self, now: Now) {
        self.status.send_replace(Arc::new(self.replica.status(now)));
        self.status_at = now.mono.0;
        self.peers_told = false;
    }

    fn committed(&mut self, batch: BatchId) -> Result<(), StorageError> {
        self.pulse.batch_ends();
        let now = self.clock.now();
        self.metrics.commit_seconds.observe(now.mono.0.saturating_sub(self.batch_started).as_secs_f64());
        self.replica.handle_durable(now, batch)?;
        // Published before the answers leave, because a client that gets one must find its own write in the status.
        self.publish(now);
        self.durable.send_replace(batch);
        Ok(())
    }

    fn write(&mut self, asked: Asked) -> Result<(), StorageError> {
        match self.replica.handle_write(self.clock.now(), asked.write) {
            Ok(ticket) => {
                self.is_local = true;
                self.waiting.insert(ticket, asked.reply);
            }
            Err(WriteError::Storage(error)) => return Err(error),
            Err(error) => {
                // An error means that the client has gone away.
                let _ = asked.reply.send(Err(error));
            }
        }
        Ok(())
    }

    fn link(&mut self, input: LinkInput) -> Result<(), StorageError> {
        let now = self.clock.now();
        let before = self.replica.gathered();
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

    fn close(&mut self, link: LinkId) {
        if let Some(door) = self.doors.remove(&link) {
            tracing::info!(link = link.0, peer = %door.peer, "link down");
        }
        self.replica.handle_link_down(self.clock.now(), link);
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Running")
    }
}
