//! I5: a day's documents, log entries and tombstones are gone when the day and the skew have passed.

use std::collections::BTreeSet;

use replication::{Bucket, ChangeHash, KeyFiles as _, KeyName};

use super::require;
use crate::index::{NodeIndex, VisitNumber};
use crate::invariant::{Broken, Invariant};
use crate::model::VisitTruth;
use crate::world::World;

/// A region whose clock was never wrong, and that believes it, shows nothing that has expired.
pub(in crate::world) fn shows_no_expired(
    world: &World,
    node: NodeIndex,
    shown: &[(VisitNumber, BTreeSet<ChangeHash>)],
) -> Result<(), Broken> {
    let now = world.now_of(node);
    let believed = world.nodes[node].process.as_ref().is_some_and(|p| p.replica.status(now).doubt.is_none());
    if !believed || world.was_clock_wrong(node) {
        return Ok(());
    }
    let moment = world.calendar.true_wall().minus(world.scenario.replica.max_clock_skew);
    let is_over = |truth: &VisitTruth| !truth.is_split() && truth.key.expires_at <= moment;
    let expired = |visit: &VisitNumber| world.model.visits.get(visit).is_some_and(is_over);
    let old = shown.iter().map(|(visit, _)| *visit).find(expired);
    require(world, Invariant::Forgetting, Some(node), old.is_none(), || {
        format!("answers with visit {} after its expiry", old.unwrap_or_default())
    })
}

/// No region of the core shows an expired visit.
pub(in crate::world) fn nothing_outlives_its_expiry(world: &World, core: &BTreeSet<NodeIndex>) -> Result<(), Broken> {
    let moment = world.calendar.true_wall().minus(world.scenario.replica.max_clock_skew);
    for node in core {
        let old = world.nodes[*node].live().and_then(|live| live.into_keys().find(|key| key.expires_at <= moment));
        let visit = old.and_then(|key| world.model.names.get(&key.name).copied());
        require(world, Invariant::Forgetting, Some(*node), old.is_none(), || {
            format!("shows visit {} after its expiry", visit.unwrap_or_default())
        })?;
    }
    Ok(())
}

/// When the longest retention has passed, only lasting documents are stored.
pub(in crate::world) fn everything_is_forgotten(world: &World, core: &BTreeSet<NodeIndex>) -> Result<(), Broken> {
    for node in core {
        let left: Vec<Bucket> = replication::Storage::buckets(world.nodes[*node].disk.contents())
            .into_iter()
            .filter(|bucket| *bucket != Bucket::Lasting)
            .collect();
        require(world, Invariant::Forgetting, Some(*node), left.is_empty(), || format!("still has {left:?}"))?;
        let keys = world.nodes[*node].keys.all().unwrap_or_default();
        let left = keys.into_iter().map(|(name, _)| name).find(|name| *name != KeyName::Lasting);
        require(world, Invariant::Forgetting, Some(*node), left.is_none(), || format!("still has the keys {left:?}"))?;
        let bytes = super::erasure::visits_in_bytes(world, *node).pop_first();
        require(world, Invariant::Forgetting, Some(*node), bytes.is_none(), || {
            format!("still has bytes of visit {}", bytes.unwrap_or_default())
        })?;
    }
    Ok(())
}
