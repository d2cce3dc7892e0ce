//! The plan that a seed decides before the run begins: every request and every fault, as data.
//!
//! [`draw`] turns a scenario that leaves things to chance into one that leaves nothing to chance. So a plan can be
//! saved, cut down ([`crate::shrink`]) and run again, and a setting of one concern does not change the draws of
//! another.

mod citizens;
mod owners;
mod swarm;

use crate::scenario::{Owners, Scenario};

/// The scenario with all requests and faults written out.
#[must_use]
pub fn draw(scenario: &Scenario, seed: u64) -> Scenario {
    let mut plan = scenario.clone();
    if let Some(swarm) = plan.swarm.take() {
        swarm::draw(&mut plan, &swarm, seed);
    }
    let mut generated = citizens::draw(&plan, seed);
    if let Some(owners) = plan.owners.take() {
        owners::draw(&plan, &owners, seed, &mut generated);
        plan.owners = Some(Owners { changes: 0.0, again: 0, ..owners });
    }
    plan.workload = crate::scenario::Workload { rate: 0.0, reads: 0.0, hot: 0.0, large: 0.0, ..plan.workload };
    plan.operations.extend(generated);
    plan.operations.retain(|operation| operation.at < plan.duration);
    plan.operations.sort_by_key(|operation| operation.at);
    plan.faults.sort_by_key(|fault| fault.at);
    plan
}
