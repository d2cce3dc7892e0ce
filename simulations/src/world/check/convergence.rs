//! I2: replicas with equal vectors and equal horizons show the same.

use std::collections::BTreeMap;

use super::require;
use crate::index::NodeIndex;
use crate::invariant::{Broken, Invariant};
use crate::world::World;
use crate::world::machine::Live;

/// Compares each pair that must be equal.
pub(in crate::world) fn equal_vectors_mean_equal_documents(world: &World) -> Result<(), Broken> {
    let mut live: BTreeMap<NodeIndex, Option<Live>> = BTreeMap::new();
    let left = world.nodes.origins_left();
    for a in world.nodes.indices() {
        for b in world.nodes.indices().filter(|b| *b > a) {
            if !world.nodes[a].is_settled()
                || !world.nodes[b].is_settled()
                || awaits_own(world, a)
                || awaits_own(world, b)
            {
                continue;
            }
            let (Some(one), Some(two)) = (&world.nodes[a].process, &world.nodes[b].process) else { continue };
            let (one, two) = (&one.replica, &two.replica);
            if world.nodes[a].known_of(&left) != world.nodes[b].known_of(&left) || one.horizon() != two.horizon() {
                continue;
            }
            // A replica that relayed a document may have taken it for expired, because its clock was ahead within
            // the skew.
            let skew = world.scenario.replica.max_clock_skew;
            let moment = one.dead_through().max(two.dead_through()).plus(skew);
            for node in [a, b] {
                live.entry(node).or_insert_with(|| world.nodes[node].live());
            }
            let (Some(Some(mine)), Some(Some(theirs))) = (live.get(&a), live.get(&b)) else { continue };
            let differ = mine
                .iter()
                .chain(theirs.iter())
                .filter(|(key, _)| key.expires_at > moment)
                .find(|(key, _)| mine.get(key) != theirs.get(key));
            let visit = differ.and_then(|(key, _)| world.model.names.get(&key.name).copied());
            let equal = differ.is_none();
            let other = world.nodes[b].name.clone();
            require(world, Invariant::Convergence, Some(a), equal, || {
                format!("knows exactly what {other} knows, and they differ in visit {}", visit.unwrap_or_default())
            })?;
            if !equal {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// In the end: the same changes give the same values.
pub(in crate::world) fn equal_values(world: &World, a: NodeIndex, b: NodeIndex) -> Result<(), Broken> {
    // A single change has one value; replicas can differ only where several changes are merged.
    let read = |world: &World, node: NodeIndex| {
        let process = world.nodes[node].process.as_ref()?;
        let rows = world.nodes[node].reader().all(process.replica.dead_through()).ok()?;
        let merged = rows.into_iter().filter(|(_, row)| row.hashes().len() > 1);
        // Rows are compared only if they hold the same changes: of a visit that expires within the skew one replica
        // may have fewer.
        Some(merged.map(|(key, row)| ((key, row.hashes()), row.document().ok())).collect::<BTreeMap<_, _>>())
    };
    let (Some(mine), Some(theirs)) = (read(world, a), read(world, b)) else { return Ok(()) };
    let same = mine.iter().all(|(key, value)| theirs.get(key).is_none_or(|other| other == value));
    require(world, Invariant::Convergence, Some(a), same, || {
        "shows other values than another replica, of the same changes".to_owned()
    })
}

/// Whether a store that lost a bucket may hold entries beyond its vector in the other buckets. It may until it has
/// fetched its own log back or given it up; so long it does not say that it is complete for itself.
fn awaits_own(world: &World, node: NodeIndex) -> bool {
    let machine = &world.nodes[node];
    let Some(process) = machine.process.as_ref().filter(|_| machine.lost_bucket) else { return false };
    let status = process.replica.status(world.now_of(node));
    status.complete_through.get(&machine.region).is_none_or(|through| through.0 == 0)
}
