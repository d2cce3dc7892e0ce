//! The run: workers on their connections, the pacer, and the progress line.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use replication::Wall;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::ledger::SentVisit;
use super::measure::Recorder;
use super::progress::ProgressLine;
use super::shared::{Shared, SharedRecorder, wall};
use super::visible::{Seen, Watchers};
use super::worker::Worker;

/// The results of a run.
pub(crate) struct Ran {
    /// The measurements of all connections.
    pub(crate) measured: Recorder,
    /// Every visit that may exist.
    pub(crate) visits: Vec<SentVisit>,
    /// From the first intended moment to the last answer.
    pub(crate) took: Duration,
    /// When check-ins became visible, for each of `read_at`.
    pub(crate) visible: Vec<Seen>,
    /// The wall time before the first and after the last operation.
    pub(crate) between: (Wall, Wall),
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
    let progress = ProgressLine::new(shared.progress, &recorders);
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
    recorders.iter().for_each(|recorder| measured.add(&recorder.lock()));
    Ok(Ran { measured, visits, took, visible, between: (before, after) })
}
