//! One run: a plan and a seed in, a verdict and figures out.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use api::duration::show_exactly;
use replication::Storage as _;
use replication::memory::MemoryStorage;
use serde::Serialize;

use crate::coverage::Coverage;
use crate::figures::{self, Figures, Losses};
use crate::history::{History, Recorder};
use crate::invariant::{Broken, Invariant};
use crate::plan;
use crate::scenario::{Fault, FaultKind, OperationKind, Replay, Scenario, ScenarioError};
use crate::trace::TraceHash;
use crate::world::{Engine, World};

pub use crate::world::Convergence;

/// What a run keeps beside its verdict.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keep {
    /// Figures for reports.
    pub figures: bool,
    /// The history.
    pub history: bool,
}

/// How a run ended.
#[derive(Debug)]
pub struct RunOutcome {
    /// The seed.
    pub seed: u64,
    /// The scenario with everything written out.
    pub plan: Scenario,
    /// The invariant that did not hold, if any.
    pub broken: Option<Broken>,
    /// How the last phase went.
    pub convergence: Convergence,
    /// The hash of everything that happened.
    pub trace: TraceHash,
    /// How many things happened.
    pub events: u64,
    /// Virtual time until the run's end, without nights.
    pub awake: Duration,
    /// The same, nights included.
    pub elapsed: Duration,
    /// Acknowledged writes that were lost by contract, for each region that lost some.
    pub losses: Vec<Losses>,
    /// What came up; a sweep must have seen everything that [`Coverage`] names.
    pub coverage: BTreeSet<Coverage>,
    /// If asked for.
    pub figures: Option<Figures>,
    /// If asked for.
    pub history: Option<Recorder>,
}

/// Whether a broken invariant is one of safety.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Something happened that never must.
    Safety,
    /// Something did not happen that must.
    Liveness,
}

impl Broken {
    /// The class of an invariant.
    #[must_use]
    pub fn class(&self) -> Class {
        if self.invariant == Invariant::Liveness { Class::Liveness } else { Class::Safety }
    }
}

impl RunOutcome {
    /// `ok`, or the invariant's name.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        self.broken.as_ref().map_or("ok", |broken| broken.invariant.name())
    }

    /// The plan as a file that repeats this run.
    #[must_use]
    pub fn replayable(&self) -> Scenario {
        let outcome = self.verdict().to_owned();
        let plan = self.plan.to_toml().ok().and_then(|text| Replay::plan_of(&text).ok());
        let replay = Replay { seed: self.seed.to_string(), trace: self.trace, outcome, plan };
        Scenario { replay: Some(replay), ..self.plan.clone() }
    }

    /// Kinds of faults that were planned, whose time came, and that changed nothing: a restart of a process that did
    /// not run, a backup that was never used. The run proves nothing about such a kind.
    #[must_use]
    pub fn without_effect(&self) -> BTreeSet<FaultKind> {
        let came = self.plan.faults.iter().filter(|fault| fault.at <= self.awake).map(Fault::kind);
        came.filter(|kind| !self.coverage.contains(&Coverage::Fault(*kind))).collect()
    }
}

/// Runs a scenario with a seed.
///
/// # Errors
/// [`ScenarioError`] if the scenario contradicts itself, or its plan could not be read again from a file.
pub fn run(scenario: &Scenario, seed: u64, keep: Keep) -> Result<RunOutcome, ScenarioError> {
    run_on(MemoryStorage::apply, scenario, seed, keep)
}

/// The same on disks with another engine.
pub(crate) fn run_on(engine: Engine, scenario: &Scenario, seed: u64, keep: Keep) -> Result<RunOutcome, ScenarioError> {
    let plan = plan::draw(scenario, seed);
    let faults = plan.resolve()?;
    let history = History::new(keep.history, plan.regions.len());
    let mut world = World::new(plan.clone(), faults, seed, history, engine)?;
    let convergence = world.run();
    let mut outcome = RunOutcome {
        seed,
        broken: world.broken.clone(),
        convergence,
        trace: world.trace.hash(),
        events: world.trace.events(),
        awake: world.calendar.now(),
        elapsed: world.calendar.elapsed(),
        losses: world.model.losses(),
        coverage: world.coverage(),
        figures: None,
        history: world.history.take(),
        plan,
    };
    if keep.figures {
        outcome.figures = Some(figures(&mut world, scenario, &outcome));
    }
    Ok(outcome)
}

/// A panic of the simulator or of the replica, with its message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {said}")]
pub struct Panicked {
    /// The message.
    pub said: String,
}

/// Calls `what` and turns a panic into an error, so that the run is judged all the same.
///
/// # Errors
/// [`Panicked`].
pub fn catch_panic<T>(what: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(what)).map_err(|said| {
        let text = said.downcast_ref::<String>().cloned();
        let text = text.or_else(|| said.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Panicked { said: text.unwrap_or_default() }
    })
}

/// The settings that a reader needs to understand the figures.
fn settings(world: &World, asked: &Scenario, plan: &Scenario) -> Vec<(String, String)> {
    let long = |time: Duration| show_exactly(time).to_string();
    // A plan has its requests written out; their rate is in the scenario.
    let drawn = asked.swarm.is_none() && asked.workload.rate > 0.0;
    let rate = if drawn {
        format!("{} check-ins and {} reads a second", asked.workload.rate, asked.workload.reads)
    } else {
        format!("{} requests in {}", plan.operations.len(), long(plan.duration))
    };
    let kept = plan.operations.iter().filter(|operation| operation.kind != OperationKind::Read);
    let kept: BTreeSet<Duration> = kept.map(|operation| operation.retention).collect();
    let (network, replica, batches) = (&plan.network, &plan.replica, world.meter.batches());
    let share = |share: f64| if share > 0.0 { format!("{share} of all frames") } else { "none".to_owned() };
    let settings = [
        ("rate", rate),
        ("retentions", kept.into_iter().map(long).collect::<Vec<_>>().join(", ")),
        ("max retention", long(replica.max_retention)),
        ("max clock skew", long(replica.max_clock_skew)),
        ("heartbeat", long(replica.heartbeat)),
        ("relay after", long(replica.relay_after)),
        ("scrub every", long(replica.scrub_every)),
        ("batch", format!("up to {} records", replica.batch_records)),
        (
            "mean batch",
            format!("{:.1} records, {:.0} bytes", batches.mean(batches.records), batches.mean(batches.bytes)),
        ),
        ("longest session token", format!("{} characters", world.meter.longest_token())),
        ("in flight", format!("up to {} KiB a link", replica.in_flight_kib)),
        ("topology", format!("{:?}", network.topology).to_lowercase()),
        ("jitter", format!("sigma {}", network.jitter)),
        ("loss", share(network.loss)),
        ("duplicates", share(network.duplicate)),
        ("reordered", share(network.reorder)),
        ("bandwidth", format!("{} Mbit/s", network.bandwidth_mbps)),
        ("sync", format!("{} on average", long(plan.disks.sync))),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn figures(world: &mut World, asked: &Scenario, outcome: &RunOutcome) -> Figures {
    let (plan, convergence) = (&outcome.plan, &outcome.convergence);
    let forgets = convergence.took.is_some() && plan.checks.forget && world.broken.is_none();
    Figures {
        name: plan.name.clone(),
        about: plan.about.clone(),
        seed: outcome.seed,
        trace: outcome.trace,
        asked: Some(Arc::new(asked.clone())),
        plan: Some(Arc::new(outcome.replayable())),
        regions: plan.regions.clone(),
        settings: settings(world, asked, plan),
        healed_at: convergence.healed_at.as_secs_f64(),
        ended_at: plan.duration.as_secs_f64() + convergence.took.unwrap_or(convergence.bound).as_secs_f64(),
        faults: world.bands(),
        convergence: figures::Convergence {
            bound: convergence.bound.as_secs_f64(),
            took: convergence.took.map(|took| took.as_secs_f64()),
            unmet: convergence.unmet.clone(),
        },
        fault_ends: std::mem::take(&mut world.meter.fault_ends),
        recoveries: world.meter.recoveries(),
        staleness: world.meter.staleness(),
        samples: std::mem::take(&mut world.meter.samples),
        forgotten: if forgets { world.samples() } else { Vec::new() },
        availability: world.meter.availability(),
        traffic: world.meter.traffic(),
        requests: world.meter.requests(),
        losses: outcome.losses.clone(),
        batches: world.meter.batches(),
        longest_token: world.meter.longest_token(),
        broken: world.broken.iter().map(|broken| format!("{}: {}", broken.invariant, broken.what)).collect(),
    }
}
