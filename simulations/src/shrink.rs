//! Cuts a failing plan down to what is needed to fail (delta debugging: Zeller and Hildebrandt, 2002).
//!
//! The plan is cut, not the seed: faults are taken out, operations are taken out, regions are taken off the end,
//! lengths are halved, the network is made simple. Each attempt is run in full, and kept if it breaks the same
//! invariant. Streams are independent, so the remaining parts draw what they drew before.

use std::time::Duration;

use crate::invariant::Invariant;
use crate::run::{Keep, RunOutcome, catch_panic, run};
use crate::scenario::{Act, Fault, Scenario, ScenarioError};

/// The smallest plan found, and how it fails.
#[derive(Debug)]
pub struct Shrunk {
    /// Its outcome, with the plan to save.
    pub outcome: RunOutcome,
    /// Runs that were made.
    pub attempts: u32,
}

struct Search<'a> {
    run: &'a dyn Fn(&Scenario, u64, Keep) -> Result<RunOutcome, ScenarioError>,
    seed: u64,
    invariant: Invariant,
    best: RunOutcome,
    attempts: u32,
    go_on: &'a dyn Fn(u32, &Scenario) -> bool,
    stopped: bool,
}

/// Shrinks a plan that fails with `seed`. `go_on` is told of every attempt and of the best plan so far, and may stop
/// the search. `None` if the plan does not fail.
///
/// # Errors
/// [`ScenarioError`] if the plan contradicts itself.
pub fn shrink(
    plan: &Scenario,
    seed: u64,
    go_on: &dyn Fn(u32, &Scenario) -> bool,
) -> Result<Option<Shrunk>, ScenarioError> {
    shrink_with(&run, plan, seed, go_on)
}

/// The same with another way to run a plan.
pub(crate) fn shrink_with(
    run: &dyn Fn(&Scenario, u64, Keep) -> Result<RunOutcome, ScenarioError>,
    plan: &Scenario,
    seed: u64,
    go_on: &dyn Fn(u32, &Scenario) -> bool,
) -> Result<Option<Shrunk>, ScenarioError> {
    let best = run(plan, seed, Keep::default())?;
    let Some(invariant) = best.broken.as_ref().map(|broken| broken.invariant) else { return Ok(None) };
    let mut search = Search { run, seed, invariant, best, attempts: 1, go_on, stopped: false };
    loop {
        let before = size(&search.best.plan);
        search.faults()?;
        search.operations()?;
        search.regions()?;
        search.simplify()?;
        if search.stopped || size(&search.best.plan) >= before {
            return Ok(Some(Shrunk { outcome: search.best, attempts: search.attempts }));
        }
    }
}

fn size(plan: &Scenario) -> (usize, usize, usize, Duration) {
    (plan.faults.len(), plan.operations.len(), plan.regions.len(), plan.duration)
}

impl Search<'_> {
    /// Runs a candidate and keeps it if it breaks the same invariant.
    fn attempt(&mut self, candidate: Scenario) -> Result<bool, ScenarioError> {
        if self.stopped {
            return Ok(false);
        }
        self.attempts += 1;
        // A candidate may be refused (a fault of a region that is gone), or fail in another way. Then it is not kept.
        let Ok(Ok(outcome)) = catch_panic(|| (self.run)(&candidate, self.seed, Keep::default())) else {
            return Ok(false);
        };
        let same = outcome.broken.as_ref().is_some_and(|broken| broken.invariant == self.invariant);
        if same {
            self.best = outcome;
        }
        self.stopped = !(self.go_on)(self.attempts, &self.best.plan);
        Ok(same)
    }

    /// Takes out parts of a list, large ones first.
    fn take_out<T: Clone>(
        &mut self,
        list: impl Fn(&Scenario) -> &Vec<T>,
        set: impl Fn(&mut Scenario, Vec<T>),
    ) -> Result<(), ScenarioError> {
        let mut part = list(&self.best.plan).len();
        while part > 0 && !self.stopped {
            let mut from = 0;
            while from < list(&self.best.plan).len() && !self.stopped {
                let mut kept = list(&self.best.plan).clone();
                kept.drain(from..(from + part).min(kept.len()));
                let mut candidate = self.best.plan.clone();
                set(&mut candidate, kept);
                if !self.attempt(candidate)? {
                    from += part;
                }
            }
            part /= 2;
        }
        Ok(())
    }

    fn faults(&mut self) -> Result<(), ScenarioError> {
        self.take_out(|plan| &plan.faults, |plan, faults| plan.faults = faults)
    }

    fn operations(&mut self) -> Result<(), ScenarioError> {
        self.take_out(|plan| &plan.operations, |plan, operations| plan.operations = operations)
    }

    fn regions(&mut self) -> Result<(), ScenarioError> {
        for name in self.best.plan.regions.clone().into_iter().rev() {
            let mut plan = self.best.plan.clone();
            if plan.regions.len() < 2 {
                break;
            }
            plan.regions.retain(|region| *region != name);
            plan.region_of.remove(&name);
            plan.checks.core.retain(|region| *region != name);
            plan.operations.retain(|operation| operation.from != name);
            plan.faults.retain_mut(|fault| {
                // A fault that loses the last region of a side is taken out, because an empty side would mean all
                // others.
                let is_left = |side: &mut Vec<String>| {
                    let was_empty = side.is_empty();
                    side.retain(|region| *region != name);
                    was_empty || !side.is_empty()
                };
                if let Act::Partition { from, to, .. } | Act::Degrade { from, to, .. } = &mut fault.act {
                    return [is_left(from), is_left(to)] == [true, true];
                }
                fault.act.region() != Some(&name)
            });
            self.attempt(plan)?;
        }
        Ok(())
    }

    fn simplify(&mut self) -> Result<(), ScenarioError> {
        let halve = |length: &mut Option<Duration>| *length = length.map(|length| length / 2);
        let last = |plan: &Scenario| {
            let faults = plan.faults.iter().map(Fault::ends_at);
            let operations = plan.operations.iter().map(|operation| operation.at);
            faults.chain(operations).max().unwrap_or_default() + Duration::from_secs(2)
        };
        for index in 0..self.best.plan.faults.len() {
            let mut plan = self.best.plan.clone();
            halve(&mut plan.faults[index].lasts);
            self.attempt(plan)?;
        }
        let simpler: [fn(&mut Scenario); 4] = [
            |plan| (plan.network.loss, plan.network.duplicate, plan.network.reorder) = (0.0, 0.0, 0.0),
            |plan| plan.network.jitter = 0.0,
            |plan| plan.network.bandwidth_mbps = plan.network.bandwidth_mbps.max(200.0),
            |plan| plan.clocks.drift_ppm = 0.0,
        ];
        for simpler in simpler {
            let mut plan = self.best.plan.clone();
            simpler(&mut plan);
            self.attempt(plan)?;
        }
        let mut plan = self.best.plan.clone();
        plan.duration = last(&plan).min(plan.duration);
        self.attempt(plan)?;
        Ok(())
    }
}
