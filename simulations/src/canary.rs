//! The canary: a deliberate mistake that is compiled for these tests alone, an engine that keeps what it is told to
//! remove. Every seed must report it, in a form that can be repeated and cut down. Otherwise a sweep that finds nothing
//! would prove nothing.

use std::sync::Mutex;

use replication::WriteBatch;

use crate::invariant::Invariant;
use crate::run::{Keep, run};
use crate::scenario::Scenario;
use crate::shrink::shrink;
use crate::sweep::{Failure, Progress, sweep};

/// Scenarios of this name run on the mistaken engine.
pub(crate) const NAME: &str = "canary-of-the-tests";

/// The mistake.
pub(crate) fn mistaken(batch: &WriteBatch) -> WriteBatch {
    let mut batch = batch.clone();
    for (_, bucket) in &mut batch.buckets {
        bucket.writes.retain(|(_, value)| value.is_some());
    }
    batch
}

fn scenario(name: &str) -> Scenario {
    let text = format!(
        "name = \"{name}\"\nduration = \"30s\"\nregions = [\"eu-central\", \"us-east\"]\n\
         [workload]\nrate = 4.0\nerasures = 0.5\n[swarm]\nsettings = false\nkinds = [\"pause\"]\nregions = [2, 2]\nvisits = [100, 120]\n"
    );
    Scenario::parse(&text).unwrap()
}

#[derive(Default)]
struct All(Mutex<Vec<Failure>>);

impl Progress for All {
    fn done(&self, failure: Option<&Failure>) -> bool {
        self.0.lock().unwrap().extend(failure.cloned());
        true
    }
}

#[test]
fn a_deliberate_mistake_is_reported_for_every_seed() {
    let heard = All::default();
    let swept = sweep(&scenario(NAME), 0..64, 2, false, &heard).unwrap();
    assert_eq!((swept.failures.len(), heard.0.into_inner().unwrap().len()), (64, 64));
    for failure in &swept.failures {
        let Failure::Broken { broken, .. } = failure else { panic!("{failure:?}") };
        assert_eq!(broken.invariant, Invariant::Erasure, "{failure:?}");
    }
    let without = sweep(&scenario("no-canary"), 0..64, 2, false, &All::default()).unwrap();
    assert!(without.failures.is_empty(), "nothing but the mistake is wrong: {:?}", without.failures);
}

#[test]
fn what_is_reported_can_be_repeated_and_cut_down() {
    let seed = 7;
    let failed = run(&scenario(NAME), seed, Keep::default()).unwrap();
    let plan = Scenario::parse(&failed.replayable().to_toml().unwrap()).unwrap();
    assert_eq!(run(&plan, seed, Keep::default()).unwrap().trace, failed.trace);
    let small = shrink(&plan, seed, &|_, _| true).unwrap().unwrap().outcome;
    assert_eq!(small.broken.map(|broken| broken.invariant), Some(Invariant::Erasure));
    assert!(small.plan.operations.len() <= 2 && small.plan.faults.is_empty(), "{:?}", small.plan);
}
