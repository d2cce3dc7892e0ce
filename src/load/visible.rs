//! Measures when an acknowledged check-in can be read in the other regions, with the guest's own secret.
//!
//! Each of the first [`WATCHED`] connections has one watcher for every region. A watcher follows one check-in at a
//! time. After it has seen that one, it takes the next one that its connection acknowledges; the check-ins between them
//! are not followed. So the load is not changed, and there are few reads.
//!
//! # Invariants
//! - A watcher never delays a connection, and no check-in waits for a watcher: time counts from the acknowledgement.
//! - The pause between two reads is a tenth of the time that has passed, at least [`GRAIN`]. So a figure is too high by
//!   at most a tenth and one read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::client::{Client, Prepared};
use super::measure::{self, RequestOutcome};
use super::shared::Shared;

/// Connections whose check-ins are followed; with more, the reads would be a considerable load.
const WATCHED: usize = 8;
/// Shortest pause between two reads.
const GRAIN: Duration = Duration::from_millis(1);

/// A check-in that was acknowledged.
pub(crate) struct Acknowledged {
    /// The request for the guest's own record.
    pub(crate) record: Prepared,
    /// When its acknowledgement was read.
    pub(crate) at: Instant,
}

/// A connection's handle to one watcher.
pub(crate) struct Watch {
    /// The index in `read_at` of the target that is watched.
    region: usize,
    is_idle: Arc<AtomicBool>,
    give: mpsc::Sender<Acknowledged>,
}

impl Watch {
    /// Gives the watcher a check-in that another region acknowledged, if the watcher waits for one.
    pub(crate) fn offer(&self, shared: &Shared, home: usize, acknowledged: impl FnOnce() -> Acknowledged) {
        let is_home = shared.read_at.get(self.region) == shared.targets.get(home);
        if !is_home && self.is_idle.swap(false, Ordering::Relaxed) {
            // The channel has room, because the watcher is idle.
            let _ = self.give.try_send(acknowledged());
        }
    }
}

/// The observations of the watchers of one region.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Microseconds from the acknowledgement until the record could be read.
    pub(crate) after: Histogram<u64>,
    /// Check-ins that could not be read within the time limit.
    pub(crate) never: u64,
}

/// All watchers of a run.
pub(crate) struct Watchers {
    running: JoinSet<(usize, anyhow::Result<Seen>)>,
    regions: usize,
}

impl Watchers {
    /// No watcher yet.
    pub(crate) fn new(shared: &Shared) -> Self {
        Self { running: JoinSet::new(), regions: shared.read_at.len() }
    }

    /// Starts the watchers of connection `number`; they end when their [`Watch`] is dropped.
    pub(crate) fn start(&mut self, shared: &Arc<Shared>, number: usize) -> Vec<Watch> {
        let Some(limit) = shared.watch_limit.filter(|_| number < WATCHED) else { return Vec::new() };
        let watch = |region| {
            let (give, take) = mpsc::channel(1);
            let is_idle = Arc::new(AtomicBool::new(true));
            let client = Client::new(Arc::clone(&shared.read_at), shared.timeout, None);
            let watcher = watch(client, region, limit, take, Arc::clone(&is_idle));
            self.running.spawn(async move { (region, watcher.await) });
            Watch { region, is_idle, give }
        };
        (0..self.regions).map(watch).collect()
    }

    /// Waits until each watcher has seen its last check-in, and returns their observations for each region.
    pub(crate) async fn finish(mut self) -> anyhow::Result<Vec<Seen>> {
        let empty = || anyhow::Ok(Seen { after: measure::histogram(3)?, never: 0 });
        let mut regions = (0..self.regions).map(|_| empty()).collect::<anyhow::Result<Vec<Seen>>>()?;
        while let Some(watched) = self.running.join_next().await {
            let (region, seen) = watched?;
            let (sum, seen) = (&mut regions[region], seen?);
            sum.after.add(&seen.after)?;
            sum.never += seen.never;
        }
        Ok(regions)
    }
}

async fn watch(
    mut client: Client,
    region: usize,
    limit: Duration,
    mut take: mpsc::Receiver<Acknowledged>,
    is_idle: Arc<AtomicBool>,
) -> anyhow::Result<Seen> {
    client.warm(region).await;
    let mut seen = Seen { after: measure::histogram(3)?, never: 0 };
    while let Some(Acknowledged { record, at }) = take.recv().await {
        loop {
            let outcome = client.call(region, &record).await;
            let passed = at.elapsed();
            if outcome == RequestOutcome::Status(200) {
                seen.after.record(u64::try_from(passed.as_micros())?)?;
                break;
            }
            // The visit was erased meanwhile, so it was visible or never will be.
            if outcome == RequestOutcome::Status(410) {
                break;
            }
            if passed >= limit {
                seen.never += 1;
                break;
            }
            tokio::time::sleep((passed / 10).max(GRAIN)).await;
        }
        is_idle.store(true, Ordering::Relaxed);
    }
    Ok(seen)
}

/// The figures of one region, in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Visible {
    /// Its URL.
    pub(crate) target: String,
    /// Check-ins of other regions that were followed until they could be read here.
    pub(crate) seen: u64,
    /// Check-ins that could not be read within the time limit.
    pub(crate) never: u64,
    /// Half of them took at most this long.
    pub(crate) p50_ms: f64,
    /// 99 of 100 took at most this long.
    pub(crate) p99_ms: f64,
    /// The longest time.
    pub(crate) max_ms: f64,
}

impl Visible {
    /// The figures of the observations at a target.
    pub(crate) fn new(target: String, seen: &Seen) -> Self {
        let quantile = |q: f64| seen.after.value_at_quantile(q) as f64 / 1_000.0;
        let (p50_ms, p99_ms) = (quantile(0.5), quantile(0.99));
        Self { target, seen: seen.after.len(), never: seen.never, p50_ms, p99_ms, max_ms: quantile(1.0) }
    }
}
