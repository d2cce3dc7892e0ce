//! I2: replicas with equal vectors and equal horizons show the same.

use std::collections::BTreeMap;

use super::require;
use crate::invariant::{Broken, Invariant};
use crate::world::World;
use crate::world::stores::Live;

/// Compares each pair that must be equal.
pub(in crate::world) fn equal_vectors_mean_equal_documents(world: &World) -> Result<(), Broken> {
    let mut live: BTreeMap<usize, Option<Live>> = BTreeMap::new();
    let left = world.origins_left();
    for a in 0..world.nodes.len() {
        for b in a + 1..world.nodes.len() {
            if !world.is_settled(a) || !world.is_settled(b) || world.awaits_own(a) || world.awaits_own(b) {
                continue;
            }
            let (Some(one), Some(two)) = (&world.nodes[a].process, &world.nodes[b].process) else { continue };
            let (one, two) = (&one.replica, &two.replica);
            if world.known_of(a, &left) != world.known_of(b, &left) || one.horizon() != two.horizon() {
                continue;
            }
            // A replica that relayed a document may have taken it for expired, because its clock was ahead within
            // the skew.
            let skew = world.scenario.replica.max_clock_skew;
            let moment = one.dead_through().max(two.dead_through()).plus(skew);
            for at in [a, b] {
                live.entry(at).or_insert_with(|| world.live(at));
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
pub(in crate::world) fn equal_values(world: &World, a: usize, b: usize) -> Result<(), Broken> {
    // A single change has one value; replicas can differ only where several changes are merged.
    let read = |world: &World, at: usize| {
        let process = world.nodes[at].process.as_ref()?;
        let rows = world.reader(at).all(process.replica.dead_through()).ok()?;
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
