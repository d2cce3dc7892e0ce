//! The canary: these tests run on an engine with a deliberate mistake, which stores no tombstone. Every seed
//! must report it, in a form that can be repeated and cut down. Otherwise a sweep that finds nothing would prove nothing.

use std::sync::Mutex;

use replication::memory::MemoryStorage;
use replication::{Storage as _, WriteBatch};

use crate::invariant::Invariant;
use crate::run::{Keep, RunOutcome, run_on};
use crate::scenario::{Scenario, ScenarioError};
use crate::shrink::shrink_with;
use crate::sweep::{Failure, SweepObserver, sweep, sweep_with};

/// A run on an engine that stores no tombstone.
fn mistaken_run(scenario: &Scenario, seed: u64, keep: Keep) -> Result<RunOutcome, ScenarioError> {
    let engine = |storage: &MemoryStorage, batch: &WriteBatch| {
        let mut batch = batch.clone();
        for (_, bucket) in &mut batch.buckets {
            bucket.writes.retain(|(key, _)| key.first() != Some(&b't'));
        }
        storage.apply(&batch)
    };
    run_on(engine, scenario, seed, keep)
}

fn scenario() -> Scenario {
    Scenario::parse(
        "name = \"canary\"\nduration = \"30s\"\nregions = [\"eu-central\", \"us-east\"]\n\
         [workload]\nrate = 4.0\nerasures = 0.5\n[swarm]\nsettings = false\nkinds = [\"pause\"]\nregions = [2, 2]\nvisits = [100, 120]\n",
    )
    .unwrap()
}

#[derive(Default)]
struct All(Mutex<Vec<Failure>>);

impl SweepObserver for All {
    fn done(&self, failure: Option<&Failure>) -> bool {
        self.0.lock().unwrap().extend(failure.cloned());
        true
    }
}

#[test]
fn a_deliberate_mistake_is_reported_for_every_seed() {
    let heard = All::default();
    let swept = sweep_with(&mistaken_run, &scenario(), 0..64, 2, false, &heard).unwrap();
    assert_eq!((swept.failures.len(), heard.0.into_inner().unwrap().len()), (64, 64));
    for failure in &swept.failures {
        let Failure::Broken { broken, .. } = failure else { panic!("{failure:?}") };
        assert_eq!(broken.invariant, Invariant::Erasure, "{failure:?}");
    }
    let without = sweep(&scenario(), 0..64, 2, false, &All::default()).unwrap();
    assert!(without.failures.is_empty(), "nothing but the mistake is wrong: {:?}", without.failures);
}

#[test]
fn what_is_reported_can_be_repeated_and_cut_down() {
    let seed = 7;
    let failed = mistaken_run(&scenario(), seed, Keep::default()).unwrap();
    let plan = Scenario::parse(&failed.replayable().to_toml().unwrap()).unwrap();
    assert_eq!(mistaken_run(&plan, seed, Keep::default()).unwrap().trace, failed.trace);
    let small = shrink_with(&mistaken_run, &plan, seed, &|_, _| true).unwrap().unwrap().outcome;
    assert_eq!(small.broken.map(|broken| broken.invariant), Some(Invariant::Erasure));
    assert!(small.plan.operations.len() <= 2 && small.plan.faults.is_empty(), "{:?}", small.plan);
}
