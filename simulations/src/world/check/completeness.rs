//! I7: a guest list is as complete as it says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use replication::{ChangeHash, DocumentKey, Status, Wall};

use super::require;
use crate::index::{NodeIndex, VisitNumber};
use crate::invariant::{Broken, Invariant};
use crate::model::VisitTruth;
use crate::scenario::{Operation, OperationKind};
use crate::world::World;

/// A visit as it is shown, with the changes in it.
type ShownVisit = (VisitNumber, BTreeSet<ChangeHash>);

/// A list that is complete for a region through a moment shows every visit that the region acknowledged before,
/// unless it is erased or has expired, and no visit whose erasure it acknowledged before.
pub(in crate::world) fn list_is_complete(
    world: &World,
    node: NodeIndex,
    asked: &Operation,
    seen: &[ShownVisit],
    status: &Status,
) -> Result<(), Broken> {
    if asked.kind == OperationKind::Read && world.scenario.checks.deep {
        let from = world.calendar.true_wall().minus(Duration::from_mins(59));
        let is_asked_for = |truth: &VisitTruth| truth.venue == asked.venue && truth.key.name.id.arrival() >= from;
        is_as_complete_as_it_says(world, node, seen, status, is_asked_for)?;
    }
    Ok(())
}

/// The same for all lists that a region could be asked for, whether or not a router sends a client there.
pub(in crate::world) fn lists_are_complete(world: &World, node: NodeIndex) -> Result<(), Broken> {
    let Some(process) = &world.nodes[node].process else { return Ok(()) };
    let status = process.replica.status(world.now_of(node));
    let Some(live) = world.nodes[node].live() else { return Ok(()) };
    // Only changes that a reader would see count: a change is invisible as long as one that it depends on is
    // missing.
    let visit = |(key, hashes): (DocumentKey, BTreeSet<ChangeHash>)| {
        Some((*world.model.names.get(&key.name)?, world.model.visible(&hashes)))
    };
    let seen: Vec<ShownVisit> = live.into_iter().filter_map(visit).collect();
    is_as_complete_as_it_says(world, node, &seen, &status, |_| true)
}

fn is_as_complete_as_it_says(
    world: &World,
    node: NodeIndex,
    seen: &[ShownVisit],
    status: &Status,
    is_asked_for: impl Fn(&VisitTruth) -> bool,
) -> Result<(), Broken> {
    let skew = world.scenario.replica.max_clock_skew;
    // Some visits may have expired by a wrong clock, here or on the way. The horizon does not count, because a
    // replica whose horizon is ahead does not say that its list is complete.
    let trusted = status.clock.at(world.now_of(node).mono);
    let dead_by = trusted.max(world.calendar.true_wall().plus(skew * 3));
    let mut by_visit: BTreeMap<VisitNumber, Vec<&BTreeSet<ChangeHash>>> = BTreeMap::new();
    for (visit, hashes) in seen {
        by_visit.entry(*visit).or_default().push(hashes);
    }
    // The moment of a claim is by the clock of the node that makes it.
    let includes = |by: NodeIndex, acknowledged: Wall| {
        let slack = if world.was_clock_wrong(by) { skew * 3 } else { skew };
        // A node whose disk went back does not know what it had before, so its claims do not cover that.
        let knows = world.nodes[by].restored_at.is_none_or(|restored| restored < acknowledged);
        let through = status.complete_through.get(&world.nodes[by].region);
        knows && through.is_some_and(|through| acknowledged.plus(slack) < *through)
    };
    let wrong = world.model.visits.iter().find_map(|(visit, truth)| {
        if truth.key.expires_at <= dead_by || truth.is_split() || !is_asked_for(truth) {
            return None;
        }
        let rows = by_visit.get(visit);
        let mut erased = truth.erased.iter().filter(|erased| !erased.lost);
        if rows.is_some() && erased.any(|erased| includes(erased.node, erased.acknowledged)) {
            return Some((*visit, "an erasure"));
        }
        let shows = |hash: &ChangeHash| rows.is_some_and(|rows| rows.iter().any(|hashes| hashes.contains(hash)));
        let mut taken = truth.taken.iter().filter(|taken| !taken.lost && !truth.erase_asked);
        let lacks = taken.any(|taken| {
            taken.acknowledged.is_some_and(|acknowledged| includes(taken.node, acknowledged)) && !shows(&taken.hash)
        });
        lacks.then_some((*visit, "a change"))
    });
    require(world, Invariant::Session, Some(node), wrong.is_none(), || {
        let (visit, what) = wrong.unwrap_or_default();
        format!("says that its list is complete, and lacks {what} of visit {visit}")
    })
}
