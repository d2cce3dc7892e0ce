//! I8: a request repeated in any region any number of times has the effect of one.

use std::collections::BTreeSet;

use registry::VENUES;
use replication::Wall;

use super::require;
use crate::index::NodeIndex;
use crate::invariant::{Broken, Invariant};
use crate::model::VisitTruth;
use crate::world::{World, visits};

/// Each visit is there once, with one creation, and has only changes that were requested. Two keys of one visit are excused
/// if each was right by the changes of the retention that its region knew (`retention.rs`).
pub(in crate::world) fn everything_is_there_once(world: &World, core: &BTreeSet<NodeIndex>) -> Result<(), Broken> {
    for node in core {
        let Ok(rows) = world.nodes[*node].reader().all(Wall(0)) else { continue };
        let mut before = None;
        let mut wrong = None;
        for (key, row) in rows {
            if key.name.collection == VENUES {
                if !super::retention::was_requested(world, &key, &row.hashes()) {
                    wrong = Some(format!("{key:?} has a change that was never requested"));
                }
                continue;
            }
            let truth = world.model.names.get(&key.name).and_then(|visit| world.model.visits.get(visit));
            if before == Some(key.name) && !truth.is_some_and(VisitTruth::is_split) {
                wrong = Some(format!("{key:?} is there twice"));
            }
            before = Some(key.name);
            let Some(visit) = world.model.names.get(&key.name) else {
                wrong = Some(format!("{key:?} was never requested"));
                continue;
            };
            let may: BTreeSet<_> = world.model.visits[visit].taken.iter().map(|taken| taken.hash).collect();
            if !row.hashes().is_subset(&may) {
                wrong = Some(format!("visit {visit} has a change that was never requested"));
            }
            let once = truth.is_some_and(|truth| !truth.contradicted);
            if once && row.hashes().len() > 1 && row.document().is_ok_and(|document| visits::creations(&document) > 1) {
                wrong = Some(format!("visit {visit} was created twice"));
            }
        }
        if let Some(wrong) = wrong {
            require(world, Invariant::Idempotence, Some(*node), false, || wrong)?;
        }
    }
    Ok(())
}
