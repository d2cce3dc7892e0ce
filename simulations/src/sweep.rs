//! Many seeds of one scenario, on several threads.
//!
//! A share of the seeds is run twice and must give the same trace. Over any [`WINDOW`] seeds in a row every kind of
//! fault that the swarm draws from must really have happened, otherwise the sweep proves less than it says.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::coverage::Coverage;
use crate::figures::Figures;
use crate::invariant::Broken;
use crate::run::{Keep, Panicked, RunOutcome, catch_panic, run};
use crate::scenario::{FaultKind, Scenario, ScenarioError, Swarm};
use crate::trace::TraceHash;

/// A kind of fault that is missing from this many seeds in a row is a gap.
pub const WINDOW: u64 = 64;
/// One of this many seeds is run twice: 5 %.
const TWICE_EVERY: u64 = 20;

/// What happens during a sweep, for a progress bar.
pub trait SweepObserver: Sync {
    /// A seed is done, and failed or not. Returns whether to go on.
    fn done(&self, failure: Option<&Failure>) -> bool;
}

/// One seed that failed.
#[derive(Clone, Debug)]
pub enum Failure {
    /// An invariant did not hold.
    Broken {
        /// The seed.
        seed: u64,
        /// The invariant that did not hold.
        broken: Broken,
    },
    /// Two runs of the same seed differ.
    Undetermined {
        /// The seed.
        seed: u64,
        /// The two hashes.
        traces: [TraceHash; 2],
    },
    /// The simulator or the replica panicked.
    Panicked {
        /// The seed.
        seed: u64,
        /// What the panic said.
        said: String,
    },
}

impl Failure {
    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        match self {
            Failure::Broken { seed, .. } | Failure::Undetermined { seed, .. } | Failure::Panicked { seed, .. } => *seed,
        }
    }
}

/// The result of many seeds.
#[derive(Debug, Default)]
pub struct Swept {
    /// Seeds that were run.
    pub seeds: u64,
    /// Seeds that were run twice: those of the share that did not fail the first time.
    pub twice: u64,
    /// Those that failed, by seed.
    pub failures: Vec<Failure>,
    /// In how many seeds each came up.
    pub coverage: BTreeMap<Coverage, u64>,
    /// Faults that were missing from [`WINDOW`] seeds in a row, by kind and by variant.
    pub gaps: BTreeSet<Coverage>,
    /// Events of all runs.
    pub events: u64,
    /// Virtual time of all runs, awake.
    pub simulated: Duration,
    /// Hash over all traces, in the order of seeds.
    pub trace: u128,
    /// Figures, if asked for.
    pub figures: Vec<Figures>,
}

struct One {
    seed: u64,
    failure: Option<Failure>,
    coverage: BTreeSet<Coverage>,
    events: u64,
    simulated: Duration,
    trace: TraceHash,
    twice: bool,
    figures: Option<Figures>,
}

/// Runs all `seeds` with so many `jobs`; stops early if `observer` says so.
///
/// # Errors
/// [`ScenarioError`] if the scenario contradicts itself.
pub fn sweep(
    scenario: &Scenario,
    seeds: Range<u64>,
    jobs: usize,
    measure: bool,
    observer: &impl SweepObserver,
) -> Result<Swept, ScenarioError> {
    sweep_with(&run, scenario, seeds, jobs, measure, observer)
}

/// The same with another way to run a seed.
pub(crate) fn sweep_with(
    run: &(impl Fn(&Scenario, u64, Keep) -> Result<RunOutcome, ScenarioError> + Sync),
    scenario: &Scenario,
    seeds: Range<u64>,
    jobs: usize,
    measure: bool,
    observer: &impl SweepObserver,
) -> Result<Swept, ScenarioError> {
    let next = AtomicU64::new(seeds.start);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1))
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        // Never beyond the end, which may be the last number there is.
                        let after = |seed: u64| (seed < seeds.end).then(|| seed + 1);
                        let Ok(seed) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after) else {
                            return Ok::<(), ScenarioError>(());
                        };
                        let one = one(run, scenario, seed, measure)?;
                        let go_on = observer.done(one.failure.as_ref());
                        done.lock().push(one);
                        if !go_on {
                            next.store(seeds.end, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or(Ok(())))
    })?;
    let mut all = done.into_inner();
    all.sort_by_key(|one| one.seed);
    Ok(collect(scenario, all))
}

fn one(
    run: &impl Fn(&Scenario, u64, Keep) -> Result<RunOutcome, ScenarioError>,
    scenario: &Scenario,
    seed: u64,
    measure: bool,
) -> Result<One, ScenarioError> {
    let keep = Keep { figures: measure, ..Keep::default() };
    let outcome = match catch_panic(|| run(scenario, seed, keep)) {
        Ok(outcome) => outcome?,
        Err(panicked) => return Ok(One::panicked(seed, panicked)),
    };
    let mut failure = outcome.broken.map(|broken| Failure::Broken { seed, broken });
    // A seed that failed is not run twice here: its command repeats it.
    let twice = seed.is_multiple_of(TWICE_EVERY) && failure.is_none();
    if twice {
        let again = match catch_panic(|| run(scenario, seed, Keep::default())) {
            Ok(again) => again?.trace,
            Err(panicked) => return Ok(One::panicked(seed, panicked)),
        };
        if again != outcome.trace {
            failure = Some(Failure::Undetermined { seed, traces: [outcome.trace, again] });
        }
    }
    Ok(One {
        seed,
        failure,
        coverage: outcome.coverage,
        events: outcome.events,
        simulated: outcome.awake,
        trace: outcome.trace,
        twice,
        figures: outcome.figures,
    })
}

impl One {
    fn panicked(seed: u64, Panicked { said }: Panicked) -> One {
        One {
            seed,
            failure: Some(Failure::Panicked { seed, said }),
            coverage: BTreeSet::new(),
            events: 0,
            simulated: Duration::ZERO,
            trace: TraceHash::default(),
            twice: false,
            figures: None,
        }
    }
}

fn collect(scenario: &Scenario, all: Vec<One>) -> Swept {
    let mut swept = Swept::default();
    let drawn = scenario.swarm.as_ref().map(drawn).unwrap_or_default();
    let mut missing: BTreeMap<Coverage, u64> = BTreeMap::new();
    for one in all {
        swept.seeds += 1;
        swept.twice += u64::from(one.twice);
        swept.events += one.events;
        swept.simulated += one.simulated;
        swept.trace = swept.trace.rotate_left(1) ^ one.trace.0;
        for seen in &one.coverage {
            *swept.coverage.entry(*seen).or_default() += 1;
        }
        for wanted in &drawn {
            let missing = missing.entry(*wanted).or_default();
            *missing = if one.coverage.contains(wanted) { 0 } else { *missing + 1 };
            if *missing >= WINDOW {
                swept.gaps.insert(*wanted);
            }
        }
        swept.failures.extend(one.failure);
        swept.figures.extend(one.figures);
    }
    swept
}

/// What must come up in a swarm: every kind that is drawn, and the variants of some kinds.
fn drawn(swarm: &Swarm) -> Vec<Coverage> {
    let kinds = swarm.kinds();
    let ways = |kind: &FaultKind| match kind {
        FaultKind::Partition => &[Coverage::OneWay, Coverage::Flapping][..],
        FaultKind::Degrade => &[Coverage::Lost, Coverage::Duplicated, Coverage::Overtaken],
        _ => &[],
    };
    kinds.iter().flat_map(|kind| [Coverage::Fault(*kind)].into_iter().chain(ways(kind).iter().copied())).collect()
}
