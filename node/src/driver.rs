//! The one loop that sees both the replica and the I/O.
//!
//! | file | concern |
//! | --- | --- |
//! | this file | the threads |
//! | `queues.rs` | *select*: waits for one input, and only waits |
//! | `apply.rs` | *apply*: carries the input out and lets the replica turn; it waits at most for a fast disk, so tests need no runtime |
//! | `events.rs` | what the replica reports: answers, log lines, metrics |
//! | `handle.rs`, `changes.rs` | what the rest of the node may ask for and follow |
//! | `commits.rs` | which thread makes a batch durable; the committer |
//! | `pulse.rs` | whether driver and disk make progress |
//!
//! The driver owns the replica and runs on its own thread; a second thread, the committer, only makes batches durable.
//! While the disk writes one batch the driver gathers the next. Small batches of a fast disk the driver makes durable
//! itself.
//!
//! # Invariants
//! - No answer and no frame leaves before its batch is durable: the replica hands out neither earlier.
//! - Local writes come first. Links get a bounded share of each batch and of each turn (`apply.rs`). Therefore a peer or
//!   a node that catches up does not delay guests, and guests do not starve peers.
//! - The driver never waits for writers, links or the committer: it closes a link that cannot keep up. It waits for the
//!   disk only while the disk is fast (`commits.rs`).
//! - A storage error, a panic or a hanging disk stops the node, because it no longer knows what is durable.

mod admission;
mod apply;
mod changes;
mod commits;
mod events;
mod handle;
mod pulse;
mod queues;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use replication::{BatchId, ClockStatementRefused, LinkId, NodeName, Reader, RegionId, Replica, StorageError, Wall};
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::{Clock, SystemClock};
use crate::metrics::Metrics;
use crate::storage::Store;

pub use changes::Follower;
pub use handle::{Handle, Refused, SeenRows};
pub use pulse::{STALLED, Stall};

use admission::Admission;
use apply::{Driver, Outputs};
use changes::Changes;
use commits::Commits;
use pulse::Pulse;
use queues::Queues;

/// How long the watchdog, once it has reported, waits for the process to end before it ends the process.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Most damaged rows that readers may have told of before the driver's next turn.
const WAITING_UNREADABLE: usize = 1024;
/// Most frames that may wait for the driver, over all links.
const WAITING_FRAMES: usize = 64;

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
    /// A batch is durable; the sync took so long.
    Durable(BatchId, Duration),
    Failed(StorageError),
    TrustWallClock {
        stated: Wall,
        force: bool,
        reply: oneshot::Sender<Result<(), ClockStatementRefused>>,
    },
    ServeAsIs,
    SetPeers(BTreeMap<NodeName, RegionId>),
    Stop,
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
    let (writes_in, writes) = mpsc::channel(admission::MOST);
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
    let (unreadable_in, unreadable) = std::sync::mpsc::sync_channel(WAITING_UNREADABLE);
    let reader = reader.telling(unreadable_in);
    let (status, status_out) = watch::channel(Arc::new(replica.status(clock.now())));
    let (applied, applied_out) = watch::channel(BatchId(0));
    let (durable, durable_out) = watch::channel(BatchId(0));
    let changes = Arc::new(Changes::default());
    let handle = Handle {
        writes: writes_in,
        admission: Admission::new(apply::BATCH_RECORDS),
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
    let commits = Commits::new(store.clone(), batches_in);
    thread::Builder::new().name("committer".into()).spawn(move || commits::run(&store, &batches, &committed))?;
    let queues = Queues { writes, links, control, unreadable };
    let outputs = Outputs { status, applied, durable, changes };
    let driver = Driver::new(replica, clock, metrics, queues, outputs, commits, pulse);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    thread::Builder::new().name("replica".into()).spawn(move || {
        let result = runtime.block_on(driver.run());
        // An error means that the node has ended already.
        let _ = ended_in.send(result);
    })?;
    Ok((handle, Running { control: control_in, ended }))
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Running")
    }
}
