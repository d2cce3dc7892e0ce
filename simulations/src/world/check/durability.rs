//! I1: an acknowledged write is in its replica after any crash, and in every region in the end.

use std::collections::BTreeSet;

use replication::{Bucket, ChangeHash, DocumentKey, DocumentName, Dot, View, Wall};

use super::require;
use crate::index::{NodeIndex, VisitNumber};
use crate::invariant::{Broken, Invariant};
use crate::world::World;

/// Changes that must be alive at `node`: acknowledged, known there, not lost by contract, not erased, not expired. A
/// repeat has no dot of its own, so it counts if `told` is true for the node that acknowledged it.
fn must_show(
    world: &World,
    node: NodeIndex,
    told: impl Fn(NodeIndex) -> bool,
) -> Vec<(VisitNumber, DocumentKey, ChangeHash)> {
    let Some(process) = &world.nodes[node].process else { return Vec::new() };
    let known = process.replica.durable();
    // A clock that was wrong and was believed at a start may stay ahead of a correct one by twice the skew.
    let slack = if world.was_clock_wrong(node) { 3 } else { 1 };
    let horizon = world.calendar.true_wall().plus(world.scenario.replica.max_clock_skew * slack);
    let mut must = Vec::new();
    for (visit, truth) in &world.model.visits {
        if truth.erase_asked || truth.is_split() || truth.key.expires_at <= horizon {
            continue;
        }
        // A node that believed a wrong clock leaves out what expires by that clock, so its own writes
        // may be lost.
        let due = truth.taken.iter().filter(|taken| {
            !taken.lost
                && !world.nodes[taken.node].believed_wrong_clock
                && taken.dot.is_some_and(|dot| known.contains(dot))
        });
        must.extend(due.map(|taken| (*visit, truth.key, taken.hash)));
        let again = truth.again.iter().filter(|again| !again.lost && !world.nodes[again.node].believed_wrong_clock);
        let again = again.filter(|again| told(again.node)).filter_map(|again| again.hash);
        must.extend(again.map(|hash| (*visit, truth.key, hash)));
    }
    must
}

/// The first acknowledged change that a replica knows of and does not show.
pub(in crate::world) fn lacks(world: &World, node: NodeIndex) -> Option<VisitNumber> {
    lacks_of(world, node, |by| by == node)
}

/// The same, with the repeats that others have acknowledged.
fn lacks_of(world: &World, node: NodeIndex, told: impl Fn(NodeIndex) -> bool) -> Option<VisitNumber> {
    let live = world.nodes[node].live()?;
    let has = |key: &DocumentKey, hash: &ChangeHash| live.get(key).is_some_and(|hashes| hashes.contains(hash));
    must_show(world, node, told).into_iter().find(|(_, key, hash)| !has(key, hash)).map(|(visit, _, _)| visit)
}

/// In the end, in the core: nothing acknowledged in the core is unknown there, and everything known is shown.
pub(in crate::world) fn nothing_is_lost(world: &World, core: &BTreeSet<NodeIndex>) -> Result<(), Broken> {
    // Entries that a disk lost when it went back, and that only regions outside the core still have, stay outside.
    let partial = core.len() < world.nodes.iter().filter(|machine| machine.exists).count();
    let heard: BTreeSet<NodeIndex> =
        core.iter().copied().filter(|machine| !(partial && world.nodes[*machine].restored_at.is_some())).collect();
    for node in core {
        let unknown = unknown(world, *node, &heard);
        require(world, Invariant::Durability, Some(*node), unknown.is_none(), || {
            format!("does not know of visit {}, acknowledged in the core", unknown.unwrap_or_default())
        })?;
        // A node that believed a wrong clock has forgotten too early.
        let believed_wrong_clock = world.nodes[*node].believed_wrong_clock;
        let lacks = if believed_wrong_clock { None } else { lacks_of(world, *node, |by| heard.contains(&by)) };
        require(world, Invariant::Durability, Some(*node), lacks.is_none(), || {
            format!("does not show visit {}, which was acknowledged", lacks.unwrap_or_default())
        })?;
        let risen = risen(world, *node, &heard);
        require(world, Invariant::Resurrection, Some(*node), risen.is_none(), || {
            format!("shows visit {}, which is erased", risen.unwrap_or_default())
        })?;
    }
    Ok(())
}

/// A visit with a change or an erasure that one of `heard` acknowledged and that a region does not know.
fn unknown(world: &World, node: NodeIndex, heard: &BTreeSet<NodeIndex>) -> Option<VisitNumber> {
    let known = world.nodes[node].process.as_ref()?.replica.durable();
    let live = world.nodes[node].live()?;
    // A log under an earlier id is over with its last entry, which for a node that believed a wrong clock may be too early.
    let is_over_early = |by: NodeIndex, dot: Dot| {
        let machine = &world.nodes[by];
        let is_earlier = machine.process.as_ref().is_none_or(|process| process.replica.id() != dot.origin);
        machine.believed_wrong_clock && is_earlier
    };
    let is_unknown = |by: NodeIndex, lost: bool, dot: Option<Dot>| {
        heard.contains(&by) && !lost && dot.is_some_and(|dot| !known.contains(dot) && !is_over_early(by, dot))
    };
    // If all entries of an origin are over the vector no longer names it, so visits that are over are skipped.
    let over = world.calendar.true_wall().plus(world.scenario.replica.max_clock_skew);
    let unknown = world.model.visits.iter().find(|(_, truth)| {
        let until = truth.key.name.id.arrival().plus(world.scenario.replica.max_retention);
        // The same change may be there under another dot, if two regions took it and one disk went back.
        let has = |hash| live.get(&truth.key).is_some_and(|hashes| hashes.contains(hash));
        let taken = truth.taken.iter().filter(|_| truth.key.expires_at > over);
        let erased = truth.erased.iter().filter(|_| Bucket::of(until).end() > over);
        let lacks = taken.into_iter().any(|taken| is_unknown(taken.node, taken.lost, taken.dot) && !has(&taken.hash))
            || erased.into_iter().any(|erased| is_unknown(erased.node, erased.lost, Some(erased.dot)));
        // The erasure may be there under another dot as well, and then the change need not be there.
        lacks && !truth.is_split() && !is_erased_in(world, node, &truth.key.name)
    });
    unknown.map(|(visit, _)| *visit)
}

/// A visit that is shown though an acknowledged erasure of it is known here, or was repeated by one of `heard`.
fn risen(world: &World, node: NodeIndex, heard: &BTreeSet<NodeIndex>) -> Option<VisitNumber> {
    let risen = world.model.visits.iter().find(|(visit, truth)| {
        let again = truth.again.iter().any(|again| again.hash.is_none() && !again.lost && heard.contains(&again.node));
        (again || super::erasure::erasure_reached(world, node, **visit)) && shows(world, node, &truth.key)
    });
    risen.map(|(visit, _)| *visit)
}

fn is_erased_in(world: &World, node: NodeIndex, name: &DocumentName) -> bool {
    world.nodes[node].reader().is_erased(name, false, View::applied(Wall::default())).unwrap_or(false)
}

fn shows(world: &World, node: NodeIndex, key: &DocumentKey) -> bool {
    let reader = world.nodes[node].reader();
    let as_of = world.nodes[node].process.as_ref().map(|process| process.replica.dead_through());
    as_of.is_some_and(|as_of| reader.rows(&key.name, false, View::applied(as_of)).is_ok_and(|rows| !rows.is_empty()))
}
