//! I8, where venues are documents: a visit has the retention that held when its guests arrived, whatever holds when the
//! request comes.
//!
//! A region that has not heard of a change cannot go by it. So the check holds a region to the changes that it knows: two
//! regions that know the same changes before an arrival give its visit the same key. Only if they know different ones may
//! a visit have two keys.

use std::collections::BTreeSet;

use replication::{ChangeHash, DocumentKey, View, Wall};

use super::require;
use crate::index::{NodeIndex, VisitNumber};
use crate::invariant::{Broken, Invariant};
use crate::world::{World, visits};

/// A region takes a check-in under a key that it has made, knowing these changes of the venue.
pub(in crate::world) fn is_kept_as_at_its_arrival(
    world: &World,
    node: NodeIndex,
    visit: VisitNumber,
    key: &DocumentKey,
    known: &BTreeSet<ChangeHash>,
) -> Result<(), Broken> {
    let Some(truth) = world.model.visits.get(&visit) else { return Ok(()) };
    let Some(venue) = world.model.venues.get(&truth.venue) else { return Ok(()) };
    let arrival = key.name.id.arrival();
    let right = venue.retention_at(arrival, known);
    require(world, Invariant::Idempotence, Some(node), key.expires_at == arrival.plus(right), || {
        let kept = key.expires_at.since(arrival);
        format!("keeps visit {visit} for {kept:?}; by the changes that it knows {right:?} held when its guests arrived")
    })
}

/// In the end: every acknowledged change of a venue is in every region of the core, unless it was lost by contract.
pub(in crate::world) fn no_change_of_a_venue_is_lost(world: &World, core: &BTreeSet<NodeIndex>) -> Result<(), Broken> {
    for (number, venue) in &world.model.venues {
        for node in core {
            let Some(process) = &world.nodes[*node].process else { continue };
            let rows =
                world.nodes[*node].reader().rows(&visits::venue_id(*number).name(), true, View::applied(Wall(0)));
            let has: BTreeSet<ChangeHash> = rows.unwrap_or_default().iter().flat_map(|(_, row)| row.hashes()).collect();
            let due = venue.taken.iter().filter(|taken| !taken.lost && core.contains(&taken.node));
            let mut due = due.filter(|taken| taken.dot.is_some_and(|dot| process.replica.durable().contains(dot)));
            require(world, Invariant::Durability, Some(*node), due.all(|taken| has.contains(&taken.hash)), || {
                format!("lacks an acknowledged change of venue {number}")
            })?;
        }
    }
    Ok(())
}

/// Whether all these changes of a venue were requested.
pub(in crate::world) fn was_requested(world: &World, key: &DocumentKey, hashes: &BTreeSet<ChangeHash>) -> bool {
    let venue = world.model.venues.iter().find(|(number, _)| visits::venue_id(**number).name() == key.name);
    venue.is_some_and(|(_, venue)| hashes.iter().all(|hash| venue.taken.iter().any(|taken| taken.hash == *hash)))
}
