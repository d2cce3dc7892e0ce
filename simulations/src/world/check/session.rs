//! I7 (read your writes, monotonic reads) and I10 (isolation), for every answer that a reader is given.

use std::collections::{BTreeMap, BTreeSet};

use replication::{ChangeHash, Document, DocumentKey, Wall};

use super::require;
use crate::index::{NodeIndex, VisitNumber};
use crate::invariant::{Broken, Invariant};
use crate::model::Taken;
use crate::scenario::{Operation, OperationKind};
use crate::world::{World, visits};

/// A guest list shows visits of its own venue and of no other.
pub(in crate::world) fn list_is_of_one_venue(
    world: &World,
    node: NodeIndex,
    asked: &Operation,
    key: &DocumentKey,
    document: Option<&Document>,
) -> Result<(), Broken> {
    let Some(visit) = world.model.names.get(&key.name).copied() else {
        let what = || format!("shows {key:?}, which was never requested");
        return require(world, Invariant::Isolation, Some(node), false, what);
    };
    let Some(document) = document else {
        return require(world, Invariant::Convergence, Some(node), false, || "stored changes do not merge".to_owned());
    };
    // While the creation is still on its way, nothing of the document is visible.
    let Some(shown) = visits::shown(key, document) else { return Ok(()) };
    let persons = shown.persons();
    let mark = visits::canary(visit);
    let own = key.name.tenant == visits::venue_id(asked.venue).tenant()
        && persons.iter().all(|person| person.name.as_ref().is_some_and(|name| name.starts_with(&mark)));
    require(world, Invariant::Isolation, Some(node), own, || {
        format!("shows another visit's persons as visit {visit} to venue {}", asked.venue)
    })?;
    // However corrections and removals meet, a visit has a guest: each correction left at least one.
    require(world, Invariant::Convergence, Some(node), !persons.is_empty(), || {
        format!("shows visit {visit} without a guest")
    })
}

/// A session is shown what it wrote or saw before, unless that is erased or has expired.
pub(in crate::world) fn session_holds(
    world: &World,
    node: NodeIndex,
    asked: &Operation,
    seen: &[(VisitNumber, BTreeSet<ChangeHash>)],
    as_of: Wall,
) -> Result<(), Broken> {
    let is_list = asked.kind == OperationKind::Read;
    let sessions = if is_list { &world.model.owners } else { &world.model.guests };
    let Some(session) = sessions.get(&asked.visit) else { return Ok(()) };
    let now = world.calendar.true_wall();
    // A relaying node whose clock is ahead within the skew may have taken the visit for expired.
    let dead_by = as_of.max(now.plus(world.scenario.replica.max_clock_skew));
    // A node that believed a wrong clock may have left out of its own log what expires by that clock.
    let is_lost = |taken: &Taken| taken.lost || world.nodes[taken.node].believed_wrong_clock;
    let mut missing = None;
    let mut by_visit: BTreeMap<VisitNumber, Vec<&BTreeSet<ChangeHash>>> = BTreeMap::new();
    for (visit, hashes) in seen {
        by_visit.entry(*visit).or_default().push(hashes);
    }
    let shown = |visit: VisitNumber, hash: &ChangeHash| {
        by_visit.get(&visit).is_some_and(|rows| rows.iter().any(|hashes| hashes.contains(hash)))
    };
    for (visit, hashes) in &session.seen {
        let Some(truth) = world.model.visits.get(visit) else { continue };
        // A list shows the last hour, and a reader may ask for several venues.
        let out_of_view = is_list
            && (truth.venue != asked.venue
                || truth.key.name.id.arrival() < now.minus(std::time::Duration::from_mins(59)));
        let lost = |hash: &ChangeHash| truth.taken.iter().any(|taken| taken.hash == *hash && is_lost(taken));
        if truth.erase_asked || truth.is_split() || truth.key.expires_at <= dead_by || out_of_view {
            continue;
        }
        if hashes.iter().any(|hash| !shown(*visit, hash) && !lost(hash)) {
            missing = Some(*visit);
        }
    }
    if !is_list && let Some(truth) = world.model.visits.get(&asked.visit) {
        let own = truth.taken.iter().filter(|taken| !is_lost(taken));
        let covered = own.filter(|taken| taken.dot.is_some_and(|dot| session.token.contains(dot)));
        let alive = !truth.erase_asked && !truth.is_split() && truth.key.expires_at > dead_by;
        if alive && covered.clone().any(|taken| !shown(asked.visit, &taken.hash)) {
            missing = Some(asked.visit);
        }
    }
    require(world, Invariant::Session, Some(node), missing.is_none(), || {
        format!("covers a session's token and does not show visit {}, which it knows", missing.unwrap_or_default())
    })
}
