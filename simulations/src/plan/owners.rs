//! Requests of owners: they open venues and change how long visits are kept. And of guests whose phones send a check-in
//! again and again, before and after such a change and after the visit is over, now and then with another body.

use std::time::Duration;

use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use rand_distr::{Distribution as _, Exp};

use crate::index::VisitNumber;
use crate::scenario::{Operation, OperationKind, Owners, Scenario};
use crate::seed::{Stream, stream};

/// When venues are opened: before that replicas wait for each other's word.
const OPENED: Duration = Duration::from_secs(2);

/// Adds the requests of owners and the repeats of guests to those that `operations` has. Nothing if the plan was drawn
/// before.
pub(super) fn draw(scenario: &Scenario, owners: &Owners, seed: u64, operations: &mut Vec<Operation>) {
    if scenario.workload.rate <= 0.0 {
        return;
    }
    let repeats = again(scenario, owners, seed, operations);
    operations.extend(repeats);
    let mut draws = stream(seed, "owners", 0);
    for venue in 0..scenario.workload.venues {
        let at = OPENED + Duration::from_secs_f64(draws.random_range(0.0..1.0));
        operations.push(of_owner(scenario, OperationKind::Open, venue, at, &mut draws));
    }
    let Ok(gaps) = Exp::new(owners.changes) else { return };
    let mut at = OPENED.as_secs_f64();
    loop {
        at += gaps.sample(&mut draws);
        let now = Duration::from_secs_f64(at);
        if now >= scenario.duration {
            return;
        }
        let venue = draws.random_range(0..scenario.workload.venues);
        let change = of_owner(scenario, OperationKind::Retain, venue, now, &mut draws);
        // Drawn for every change, so that the share does not shift the draws of the others.
        let other = of_owner(scenario, OperationKind::Retain, venue, now, &mut draws);
        let twice = draws.random::<f64>() < owners.concurrent && other.from != change.from;
        operations.extend([change].into_iter().chain(twice.then_some(other)));
    }
}

fn of_owner(scenario: &Scenario, kind: OperationKind, venue: u32, at: Duration, draws: &mut Stream) -> Operation {
    Operation {
        at,
        kind,
        from: scenario.regions.choose(draws).cloned().unwrap_or_default(),
        visit: VisitNumber(0),
        venue,
        arrived: Duration::ZERO,
        retention: scenario.workload.retentions.choose(draws).copied().unwrap_or_default(),
        bytes: 0,
    }
}

/// Each first check-in again, at any time until `later` is over, to any region.
fn again(scenario: &Scenario, owners: &Owners, seed: u64, operations: &[Operation]) -> Vec<Operation> {
    let later = scenario.workload.later.as_secs_f64();
    let mut all = Vec::new();
    // An arrival is in whole milliseconds.
    let is_first =
        |one: &&Operation| one.kind == OperationKind::CheckIn && one.at.as_millis() == one.arrived.as_millis();
    let firsts = operations.iter().filter(is_first);
    for first in firsts {
        let mut draws = stream(seed, "again", u64::from(first.visit.0));
        for _ in 0..draws.random_range(0..=owners.again) {
            let at = first.at + Duration::from_secs_f64(draws.random_range(0.2..later));
            let from = scenario.regions.choose(&mut draws).cloned().unwrap_or_default();
            let other = draws.random::<f64>() < owners.contradictions;
            let kind = if other { OperationKind::Contradict } else { OperationKind::CheckIn };
            all.push(Operation { at, kind, from, ..first.clone() });
        }
    }
    all
}
