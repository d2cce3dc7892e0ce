//! I6: no clock error of one region deletes, extends or hides data in another.

use super::require;
use crate::invariant::{Broken, Invariant};
use crate::world::World;

/// A replica whose clock has been right since its start shows everything that it knows.
pub(in crate::world) fn clocks_of_others_do_no_harm(world: &World) -> Result<(), Broken> {
    let skew = world.scenario.replica.max_clock_skew;
    for node in world.nodes.indices() {
        let right = world.clock_error(node).unsigned_abs() <= u64::try_from(skew.as_millis()).unwrap_or(u64::MAX);
        if !right || world.was_clock_wrong(node) || !world.nodes[node].is_settled() {
            continue;
        }
        let lacks = super::durability::lacks(world, node);
        let elsewhere = world.nodes.indices().any(|other| world.was_clock_wrong(other));
        let invariant = if elsewhere { Invariant::Clocks } else { Invariant::Durability };
        require(world, invariant, Some(node), lacks.is_none(), || {
            format!("knows of visit {} and does not show it, though its own clock is right", lacks.unwrap_or_default())
        })?;
    }
    Ok(())
}
