//! The run itself: workers on their connections, the pacer, the progress line.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

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
use crate::http::Base;
use crate::venue::Created;

/// What all workers share.
pub(crate) struct Shared {
    /// Where to send.
    pub(crate) targets: Arc<[Base]>,
    /// Where to read everything back.
    pub(crate) read_at: Arc<[Base]>,
    /// Where connections seem to come from, in turn.
    pub(crate) from: Vec<std::net::IpAddr>,
    /// What to send.
    pub(crate) pool: Pool,
    /// For which venues.
    pub(crate) venues: Vec<Created>,
    /// When to send.
    pub(crate) plan: Plan,
    /// Whether to repeat elsewhere what failed here.
    pub(crate) failover: bool,
    /// Whether the load is a closed loop.
    pub(crate) closed: bool,
    /// How long to wait for one answer.
    pub(crate) timeout: Duration,
    /// How long a check-in that is followed may take to be visible elsewhere; `None`: none is followed.
    pub(crate) watch_limit: Option<Duration>,
    /// How many connections.
    pub(crate) connections: usize,
    /// What decides everything random.
    pub(crate) seed: u64,
    /// Whether a progress line may be shown.
    pub(crate) progress: bool,
}

impl Shared {
    /// All that a run needs.
    pub(crate) fn new(args: &LoadArgs, seed: u64, pool: Pool, venues: Vec<Created>) -> Self {
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

/// Locks measurements; one that a panic left behind is as good as any.
pub(crate) fn lock(recorder: &SharedRecorder) -> MutexGuard<'_, Recorder> {
    recorder.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a run left behind.
pub(crate) struct Ran {
    /// What all connections measured.
    pub(crate) measured: Recorder,
    /// Every visit that may exist.
    pub(crate) visits: Vec<Visit>,
    /// From the first intended moment to the last answer.
    pub(crate) took: Duration,
    /// When check-ins became visible, for each of `read_at`.
    pub(crate) visible: Vec<Seen>,
    /// Wall time before the first and after the last operation.
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
    // Twice: first all are connected, then the clock has started.
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
    // It hears the stop within one nap.
    tokio::task::spawn_blocking(move || pacer.join()).await?.map_err(|_| anyhow::anyhow!("the pacer panicked"))?;
    let mut measured = Recorder::new()?;
    recorders.iter().for_each(|recorder| measured.add(&lock(recorder)));
    Ok(Ran { measured, visits, took, visible, between: (before, after) })
}
