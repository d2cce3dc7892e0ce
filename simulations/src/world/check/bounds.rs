//! I9, at a document's bounds: a region refuses a write as "full" only if the document has reached its bounds. Changes
//! that two regions took while they were cut off may exceed the bounds together, and are kept.

use std::collections::{BTreeMap, BTreeSet};

use replication::Bounds;
use replication::ChangeHash;

use super::require;
use crate::index::{NodeIndex, VisitNumber};
use crate::invariant::{Broken, Invariant};
use crate::model::VisitTruth;
use crate::world::World;

/// All changes of a visit that any region ever took, and their bytes.
fn all(truth: &VisitTruth) -> BTreeMap<ChangeHash, usize> {
    truth.taken.iter().map(|taken| (taken.hash, taken.bytes)).collect()
}

/// A region refused one more change of a visit as "full": checks that the document has reached its bounds.
pub(in crate::world) fn document_is_full(
    world: &World,
    node: NodeIndex,
    visit: VisitNumber,
    bytes: usize,
) -> Result<(), Broken> {
    let Some(truth) = world.model.visits.get(&visit) else { return Ok(()) };
    let (all, bounds) = (all(truth), Bounds::local(&truth.key));
    let is_full = all.len() >= bounds.changes || all.values().sum::<usize>() + bytes > bounds.bytes;
    require(world, Invariant::Liveness, Some(node), is_full, || {
        format!("takes no more changes of visit {visit}, which has {} and may have {}", all.len(), bounds.changes)
    })
}

/// Whether some document has more than local writes may give it.
pub(in crate::world) fn is_any_overfull(world: &World, core: &BTreeSet<NodeIndex>) -> bool {
    core.iter().filter_map(|node| world.nodes[*node].live()).flatten().any(|(key, hashes)| {
        let truth = world.model.names.get(&key.name).and_then(|visit| world.model.visits.get(visit));
        truth.is_some_and(|truth| {
            let (all, bounds) = (all(truth), Bounds::local(&key));
            let bytes: usize = hashes.iter().filter_map(|hash| all.get(hash)).sum();
            hashes.len() > bounds.changes || bytes > bounds.bytes
        })
    })
}
