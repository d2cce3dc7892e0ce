//! I3: a document that is dead in a replica is never alive there again.

use std::collections::BTreeSet;

use replication::{DocumentName, View};

use super::require;
use crate::index::{NodeIndex, VisitNumber};
use crate::invariant::{Broken, Invariant};
use crate::model::VisitTruth;
use crate::world::World;

/// A document changed in a replica: it may have died, and may not be alive again. Returns its visit if it is dead.
pub(in crate::world) fn dead_stays_dead(
    world: &World,
    node: NodeIndex,
    name: &DocumentName,
) -> Result<Option<VisitNumber>, Broken> {
    let Some(visit) = world.model.names.get(name).copied() else { return Ok(None) };
    let Some(process) = &world.nodes[node].process else { return Ok(None) };
    let view = View::applied(process.replica.dead_through());
    let rows = world.nodes[node].reader().rows(name, false, view);
    not_risen(world, node, visit, rows.is_ok_and(|rows| !rows.is_empty()))?;
    Ok(Some(visit).filter(|visit| is_dead(world, node, *visit)))
}

/// The same for every visit. Returns those that are dead.
pub(in crate::world) fn all_dead_stay_dead(world: &World, node: NodeIndex) -> Result<Vec<VisitNumber>, Broken> {
    let Some(live) = world.nodes[node].live() else { return Ok(Vec::new()) };
    let alive: BTreeSet<DocumentName> = live.into_keys().map(|key| key.name).collect();
    for (visit, truth) in &world.model.visits {
        not_risen(world, node, *visit, alive.contains(&truth.key.name))?;
    }
    Ok(world.model.visits.keys().copied().filter(|visit| is_dead(world, node, *visit)).collect())
}

fn not_risen(world: &World, node: NodeIndex, visit: VisitNumber, alive: bool) -> Result<(), Broken> {
    let is_split = world.model.visits.get(&visit).is_some_and(VisitTruth::is_split);
    // A second key is a second life, which each region gave by what it knew.
    let was_dead = world.nodes[node].dead.contains(&visit) && !is_split;
    require(world, Invariant::Resurrection, Some(node), !(alive && was_dead), || {
        format!("visit {visit} was dead here and is alive again")
    })
}

/// Whether a visit is dead for good: erased, or expired by certain time that is right.
fn is_dead(world: &World, node: NodeIndex, visit: VisitNumber) -> bool {
    let Some(truth) = world.model.visits.get(&visit) else { return false };
    let Some(process) = &world.nodes[node].process else { return false };
    // By certain time, because trusted time only hides and may go back (ALGORITHM, section 4).
    let gone_through = process.replica.gone_through();
    // If that time was wrong beyond the skew, it may go back, and then visits that only it had hidden are shown
    // again.
    let honest = gone_through <= world.calendar.true_wall().plus(world.scenario.replica.max_clock_skew);
    (honest && truth.key.expires_at <= gone_through)
        || (truth.erase_asked && super::erasure::has_tombstone(world, node, visit))
}
