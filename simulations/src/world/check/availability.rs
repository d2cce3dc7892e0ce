//! I9, for writes: a region that no fault has touched takes writes, whatever happens to other regions and the network.

use std::collections::BTreeMap;

use replication::{DocumentKey, VersionVector, WriteError};

use super::require;
use crate::index::{NodeIndex, VisitNumber};
use crate::invariant::{Broken, Invariant};
use crate::scenario::{Act, Touched};
use crate::world::World;

/// A region refused a write, for now or because the visit is gone: checks that it had a reason.
pub(in crate::world) fn had_reason_to_refuse(
    world: &World,
    node: NodeIndex,
    visit: VisitNumber,
    key: &DocumentKey,
    error: &WriteError,
) -> Result<(), Broken> {
    if is_troubled(world, node) {
        return Ok(());
    }
    let gone = matches!(error, WriteError::Gone);
    require(world, Invariant::Liveness, Some(node), gone, || {
        format!("takes no writes ({error}) although nothing is wrong with it")
    })?;
    let Some(truth) = world.model.visits.get(&visit) else { return Ok(()) };
    let skew = world.scenario.replica.max_clock_skew;
    let over = key.expires_at <= world.calendar.true_wall().plus(skew);
    let excused = !gone || over || truth.erase_asked;
    require(world, Invariant::Clocks, Some(node), excused, || {
        format!("takes visit {visit} for gone, which is neither erased nor over")
    })
}

/// Checks at every heartbeat, with or without a request, that a region which no fault has touched is fit to serve.
/// It may be starting for as long as its peers may take to answer, and filling for as long as entries come.
pub(in crate::world) fn is_fit_unless_troubled(world: &World, node: NodeIndex) -> Result<(), Broken> {
    // After the nights in which everything is forgotten, frames arrive that were sent before them and carry their
    // time.
    if !world.open {
        return Ok(());
    }
    let now = world.now_of(node);
    let heartbeat = world.scenario.replica.heartbeat;
    let Some(process) = &world.nodes[node].process else { return Ok(()) };
    let status = process.replica.status(now);
    let age = now.mono.0;
    let why = if let Some(doubt) = status.doubt {
        Some(format!("doubts its clock ({doubt:?})"))
    } else if status.dropped_too_early && !status.peers.is_empty() {
        Some("has forgotten what is not over".to_owned())
    } else if status.starting && age > heartbeat * 8 {
        Some("still waits for its peers' word on its log".to_owned())
    } else if status.recovering {
        Some("fetches its own log back".to_owned())
    } else {
        (status.filling && age > heartbeat * 160).then(|| "still fills its store".to_owned())
    };
    let Some(why) = why else { return Ok(()) };
    if !is_troubled(world, node) {
        require(world, Invariant::Liveness, Some(node), false, || {
            format!("is not ready, although nothing is wrong with it: it {why}")
        })?;
    }
    Ok(())
}

/// A region has filled its store, or is ready. If it began empty, it must have what the peers had that are still
/// linked, unless no entry has come for so long that it waits no longer.
pub(in crate::world) fn is_filled(
    world: &World,
    node: NodeIndex,
    filling: &BTreeMap<NodeIndex, VersionVector>,
) -> Result<(), Broken> {
    let Some(process) = &world.nodes[node].process else { return Ok(()) };
    let gave_up = world.now_of(node).mono.0 > world.scenario.replica.heartbeat * 120;
    let left = world.nodes.origins_left();
    let (own, known) = (process.replica.id(), process.replica.durable().clone());
    let lacks = |had: &VersionVector| {
        had.iter().any(|(origin, seq)| origin != own && left.contains(&origin) && known.get(origin) < seq)
    };
    // By the replica's own status, because it does not wait for a peer that has dialled again and not greeted
    // again.
    let status = process.replica.status(world.now_of(node));
    let is_linked =
        |node: NodeIndex| status.peers.iter().any(|peer| peer.node == world.nodes[node].name && peer.replica.is_some());
    let short = filling.iter().find(|(peer, had)| is_linked(**peer) && lacks(had)).map(|(peer, _)| *peer);
    let peer = short.map(|peer| world.scenario.name(peer)).unwrap_or_default();
    require(world, Invariant::Liveness, Some(node), gave_up || short.is_none(), || {
        format!("began empty and is ready, and lacks what {peer} had when it greeted")
    })
}

/// Whether a fault has touched the region itself so far, and not only its links or other regions.
fn is_troubled(world: &World, node: NodeIndex) -> bool {
    world.faults.begun_by(world.calendar.now()).any(|act| match act.touched() {
        // A frame that takes longer than the skew makes its sender's clock look wrong.
        Touched::Links(..) => matches!(act, Act::Degrade { .. }),
        Touched::LinksPast(_) => false,
        // Every region is restarted with another configuration, or suspended.
        Touched::Deployment(_) | Touched::All => true,
        Touched::Machine(region) | Touched::Clock(region) => *region == node,
    })
}
