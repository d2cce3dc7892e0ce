//! The run: workers on their connections, the pacer, and the progress line.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, MutexGuard};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use replication::Wall;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::LoadArgs;
use super::ledger::Visit;
use super::measure::Recorder;
use super::payload::Pool;
use super::plan::Plan;
use super::progress::Progress;
use super::visible::{Seen, Watchers};
use super::worker::Worker;
use api::client::Base;
use registry::CreatedVenue;

/// The state that all workers share.
pub(crate) struct Shared {
    /// The targets.
    pub(crate) targets: Arc<[Base]>,
    /// The addresses at which everything is read back.
    pub(crate) read_at: Arc<[Base]>,
    /// The client addresses to use in turn.
    pub(crate) from: Vec<std::net::IpAddr>,
    /// The check-ins to send.
    pub(crate) pool: Pool,
    /// The venues to send them to.
    pub(crate) venues: Vec<CreatedVenue>,
    /// The times at which to send them.
    pub(crate) plan: Plan,
    /// Whether to repeat a failed operation at another target.
    pub(crate) failover: bool,
    /// Whether the load is a closed loop.
    pub(crate) closed: bool,
    /// How long to wait for one answer.
    pub(crate) timeout: Duration,
    /// How long a check-in that is followed may take to be visible elsewhere; `None` if none is followed.
    pub(crate) watch_limit: Option<Duration>,
    /// The number of connections.
    pub(crate) connections: usize,
    /// The seed of everything random.
    pub(crate) seed: u64,
    /// Whether a progress line may be shown.
    pub(crate) progress: bool,
}

impl Shared {
    /// The state for a run.
    pub(crate) fn new(args: &LoadArgs, seed: u64, pool: Pool, venues: Vec<CreatedVenue>) -> Self {
        let read_at = if args.verify_at.is_empty() { &args.target } else { &args.verify_at };
        Self {
            targets: args.target.clone().into(),
            read_at: read_at.clone().into(),
            from: args.from.clone(),
            pool,
            venues,
            plan: Plan::new(args),
            failover: args.failover,
            closed: args.max,
            timeout: args.timeout,
            watch_limit: args.visibility.then_some(args.verify_timeout),
            connections: usize::from(args.connections),
            seed,
            progress: !args.json,
        }
    }
}

/// One connection's measurements. Only the progress line ever waits for the lock.
pub(crate) type SharedRecorder = Arc<Mutex<Recorder>>;

/// Locks measurements. A panic cannot leave them unusable.
pub(crate) fn lock(recorder: &SharedRecorder) -> MutexGuard<'_, Recorder> {
    recorder.lock()
}

/// The results of a run.
pub(crate) struct Ran {
    /// The measurements of all connections.
    pub(crate) measured: Recorder,
    /// Every visit that may exist.
    pub(crate) visits: Vec<Visit>,
    /// From the first intended moment to the last answer.
    pub(crate) took: Duration,
    /// When check-ins became visible, for each of `read_at`.
    pub(crate) visible: Vec<Seen>,
    /// The wall time before the first and after the last operation.
    pub(crate) between: (Wall, Wall),
}

/// This machine's wall clock.
pub(crate) fn wall() -> Wall {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Wall(replication::time::millis(since))
}

/// Runs the load to its end, or to Ctrl-C.
pub(crate) async fn run(shared: &Arc<Shared>) -> anyhow::Result<Ran> {
    let before = wall();
    let ready = Arc::new(Barrier::new(shared.connections + 1));
    let mut recorders = Vec::with_capacity(shared.connections);
    let mut workers = JoinSet::new();
    let mut watchers = Watchers::new(shared);
    for number in 0..shared.connections {
        let recorder: SharedRecorder = Arc::new(Mutex::new(Recorder::new()?));
        recorders.push(Arc::clone(&recorder));
        let rng = SmallRng::seed_from_u64(shared.seed.wrapping_add(1 + number as u64));
        let watches = watchers.start(shared, number);
        let worker = Worker::new(Arc::clone(shared), number, rng, recorder, watches);
        workers.spawn(worker.run(Arc::clone(&ready)));
    }
    // The barrier is used twice: first all workers are connected, then the clock has started.
    ready.wait().await;
    let start = shared.plan.start();
    ready.wait().await;
    let pacer = {
        let shared = Arc::clone(shared);
        std::thread::Builder::new().name("pacer".to_owned()).spawn(move || shared.plan.pace())?
    };
    let progress = Progress::new(shared.progress, &recorders);
    let mut visits = Vec::new();
    loop {
        tokio::select! {
            done = workers.join_next() => match done {
                Some(ledger) => visits.extend(ledger?),
                None => break,
            },
            () = progress.tick() => {}
            _ = tokio::signal::ctrl_c() => shared.plan.stop(),
        }
    }
    let took = Instant::now() - start;
    let after = wall();
    progress.finish();
    shared.plan.stop();
    let visible = watchers.finish().await?;
    // The pacer notices the stop after one sleep at most.
    tokio::task::spawn_blocking(move || pacer.join()).await?.map_err(|_| anyhow::anyhow!("the pacer panicked"))?;
    let mut measured = Recorder::new()?;
    recorders.iter().for_each(|recorder| measured.add(&lock(recorder)));
    Ok(Ran { measured, visits, took, visible, between: (before, after) })
}
