//! Which regions exist when. The faults that add and remove regions must fit together, and `checks.core` must fit them.
//!
//! Otherwise a run would test nothing, or wait at its end for regions that cannot reach each other.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{FaultKind, Resolved, Scenario, ScenarioError};
use crate::index::NodeIndex;

/// Checks the faults that add and remove regions, and the core against them.
pub(super) fn check(scenario: &Scenario, faults: &[Resolved]) -> Result<(), ScenarioError> {
    let added = times(faults, FaultKind::Add, "is added twice")?;
    let removed = times(faults, FaultKind::Remove, "is removed twice")?;
    for (region, at) in &removed {
        if added.get(region).is_some_and(|added| added >= at) {
            return wrong(FaultKind::Remove, *at, "the region does not exist yet: remove it after it was added");
        }
    }
    let back = times(faults, FaultKind::Rejoin, "comes back twice")?;
    for (region, at) in &back {
        if removed.get(region).is_none_or(|removed| removed >= at) {
            return wrong(FaultKind::Rejoin, *at, "the region is not away: it comes back after it was removed");
        }
    }
    let removed: BTreeMap<NodeIndex, Duration> =
        removed.into_iter().filter(|(region, _)| !back.contains_key(region)).collect();
    let all = scenario.regions.len();
    if let Some(at) = added.values().max().filter(|_| added.len() == all) {
        return wrong(FaultKind::Add, *at, "no region exists at the start: leave one that is not added");
    }
    if let Some(at) = removed.values().max().filter(|_| removed.len() == all) {
        return wrong(FaultKind::Remove, *at, "no region is left: leave one that is not removed");
    }
    let exist: Vec<NodeIndex> = (0..all).map(NodeIndex).filter(|region| !removed.contains_key(region)).collect();
    core(scenario, &exist)
}

/// When each region comes or goes, by faults of this kind.
fn times(
    faults: &[Resolved],
    kind: FaultKind,
    twice: &'static str,
) -> Result<BTreeMap<NodeIndex, Duration>, ScenarioError> {
    let mut times = BTreeMap::new();
    for fault in faults.iter().filter(|fault| fault.act.kind() == kind) {
        if fault.act.region().is_some_and(|region| times.insert(*region, fault.at).is_some()) {
            return wrong(kind, fault.at, twice);
        }
    }
    Ok(times)
}

fn wrong<T>(kind: FaultKind, at: Duration, wrong: &'static str) -> Result<T, ScenarioError> {
    Err(ScenarioError::Fault { kind, at, wrong: wrong.into() })
}

fn core(scenario: &Scenario, exist: &[NodeIndex]) -> Result<(), ScenarioError> {
    let mut places = Vec::new();
    for name in &scenario.checks.core {
        let region = scenario.region(name)?;
        let Some(place) = exist.iter().position(|other| *other == region) else {
            let wrong = format!("names {name}, which a fault removes");
            return Err(ScenarioError::Value { key: "checks.core", wrong: wrong.into() });
        };
        places.push(place);
    }
    // Regions outside the core relay nothing.
    let linked = |a: usize, b: usize| scenario.network.topology.links(a, b, exist.len());
    let mut reached: Vec<usize> = places.first().copied().into_iter().collect();
    while let Some(next) =
        places.iter().find(|to| !reached.contains(to) && reached.iter().any(|from| linked(*from, **to)))
    {
        reached.push(*next);
    }
    if places.iter().any(|place| !reached.contains(place)) {
        let wrong = "has regions that reach each other only through others: add those, or take network.topology mesh";
        return Err(ScenarioError::Value { key: "checks.core", wrong: wrong.into() });
    }
    Ok(())
}
