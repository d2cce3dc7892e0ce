//! I4: no readable byte of an erased visit is left.

use std::collections::BTreeSet;
use std::time::Duration;

use super::require;
use crate::index::{NodeIndex, VisitNumber};
use crate::invariant::{Broken, Invariant};
use crate::world::World;
use memchr::memmem::Finder;
use replication::{DocumentKey, DocumentName, KeyFiles as _, KeyName, View, Wall};

const MARK: &[u8] = b"canary-";

/// Whether this replica has a tombstone of the visit.
pub(in crate::world) fn has_tombstone(world: &World, node: NodeIndex, visit: VisitNumber) -> bool {
    let truth = world.model.visits.get(&visit);
    let view = View::applied(Wall::default());
    truth.is_some_and(|truth| world.nodes[node].reader().is_erased(&truth.key.name, false, view).unwrap_or(false))
}

/// Whether the latest expiry that the visit could have has passed for this replica. Then an erasure may be
/// acknowledged without a tombstone, because the rows are dropped with their day.
pub(in crate::world) fn is_over(world: &World, node: NodeIndex, visit: VisitNumber) -> bool {
    let Some(truth) = world.model.visits.get(&visit) else { return false };
    let until = truth.key.name.id.arrival().plus(world.scenario.replica.max_retention);
    let process = world.nodes[node].process.as_ref();
    process.is_some_and(|process| until <= process.replica.dead_through())
}

/// An erasure was acknowledged here just now, the first or a repeat: checks that the rows are gone.
pub(in crate::world) fn erased_from_disk(world: &World, node: NodeIndex, visit: VisitNumber) -> Result<(), Broken> {
    let hidden = is_over(world, node, visit) || has_tombstone(world, node, visit);
    require(world, Invariant::Erasure, Some(node), hidden, || {
        format!("acknowledged the erasure of visit {visit} and has no tombstone of it")
    })?;
    if world.scenario.checks.deep {
        no_erased_bytes(world, node, Some(visit))?;
    }
    Ok(())
}

/// No stored byte belongs to a visit whose erasure was acknowledged here. Checks `only` that visit, or all.
pub(in crate::world) fn no_erased_bytes(
    world: &World,
    node: NodeIndex,
    only: Option<VisitNumber>,
) -> Result<(), Broken> {
    let wanted = |visit: VisitNumber| only.is_none_or(|only| only == visit) && erasure_acknowledged(world, node, visit);
    let left = visits_in_bytes(world, node).into_iter().find(|visit| wanted(*visit));
    require(world, Invariant::Erasure, Some(node), left.is_none(), || {
        format!("holds bytes of visit {}, which is erased", left.unwrap_or_default())
    })?;
    let name = only.and_then(|visit| world.model.visits.get(&visit)).map(|truth| truth.key.name);
    no_thief_reads(world, node, name.as_ref(), wanted)
}

/// A thief of the disk reads no visit that is `gone`, and none of an hour that is over. A disk that lies about its
/// syncs may have kept the keys.
fn no_thief_reads(
    world: &World,
    node: NodeIndex,
    name: Option<&DocumentName>,
    gone: impl Fn(VisitNumber) -> bool,
) -> Result<(), Broken> {
    let machine = &world.nodes[node];
    if machine.lying {
        return Ok(());
    }
    let over = machine.keys.over().ok().flatten().unwrap_or_default();
    let is_gone = |key: &DocumentKey| {
        KeyName::secret(key).is_some_and(|hour| hour.needed_until(Duration::ZERO) <= over)
            || world.model.names.get(&key.name).is_some_and(|visit| gone(*visit))
    };
    let read = machine.disk.stale().readable(&machine.keys, name, is_gone);
    require(world, Invariant::Erasure, Some(node), read.is_empty(), || {
        let visit = read.first().and_then(|key| world.model.names.get(&key.name)).copied();
        format!("has kept the key of visit {}, which is erased or expired", visit.unwrap_or_default())
    })
}

/// An acknowledged erasure, in whichever region it was made, has left no byte of its visit in a replica that knows
/// it.
pub(in crate::world) fn no_erased_bytes_anywhere(world: &World, node: NodeIndex) -> Result<(), Broken> {
    let left = visits_in_bytes(world, node).into_iter().find(|visit| erasure_reached(world, node, *visit));
    require(world, Invariant::Erasure, Some(node), left.is_none(), || {
        format!("holds bytes of visit {}, whose erasure it knows", left.unwrap_or_default())
    })?;
    no_thief_reads(world, node, None, |visit| erasure_reached(world, node, visit))
}

/// Every visit of which a stored value holds bytes.
pub(in crate::world) fn visits_in_bytes(world: &World, node: NodeIndex) -> BTreeSet<VisitNumber> {
    let finder = Finder::new(MARK);
    let mut visits = BTreeSet::new();
    for value in world.nodes[node].disk.contents().values() {
        for found in finder.find_iter(&value) {
            let digits = value.get(found + MARK.len()..found + MARK.len() + 8);
            let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
            visits.extend(digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).map(VisitNumber));
        }
    }
    visits
}

/// Whether this replica has acknowledged an erasure of the visit, and has not lost it with its disk.
pub(in crate::world) fn erasure_acknowledged(world: &World, node: NodeIndex, visit: VisitNumber) -> bool {
    let Some(process) = &world.nodes[node].process else { return false };
    let known = process.replica.durable();
    world.model.visits.get(&visit).is_some_and(|truth| {
        truth.erased.iter().any(|erased| erased.node == node && !erased.lost && known.contains(erased.dot))
            || truth.again.iter().any(|again| again.node == node && !again.lost && again.hash.is_none())
    })
}

/// Whether this replica knows an acknowledged erasure of the visit. Not after the longest retention has passed:
/// then tombstones need not be sent any more, because what is left of the visit is dropped with its day.
pub(in crate::world) fn erasure_reached(world: &World, node: NodeIndex, visit: VisitNumber) -> bool {
    let Some(process) = &world.nodes[node].process else { return false };
    let known = process.replica.durable();
    let settings = &world.scenario.replica;
    let needless_from = world.calendar.true_wall().plus(settings.max_clock_skew);
    world.model.visits.get(&visit).is_some_and(|truth| {
        truth.key.name.id.arrival().plus(settings.max_retention) > needless_from
            && truth.erased.iter().any(|erased| !erased.lost && known.contains(erased.dot))
    })
}
