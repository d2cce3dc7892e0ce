//! I9, at a document's bounds: a region refuses a write as "full" only if the document has reached its bounds. Changes
//! that two regions took while they were cut off may exceed the bounds together, and are kept.

use std::collections::{BTreeMap, BTreeSet};

use replication::ChangeHash;
use replication::row::Bounds;

use super::Invariant;
use crate::model::VisitTruth;
use crate::world::{Mark, World};

/// All changes of a visit that any region ever took, and their bytes.
fn all(truth: &VisitTruth) -> BTreeMap<ChangeHash, usize> {
    truth.taken.iter().map(|taken| (taken.hash, taken.bytes)).collect()
}

impl World {
    /// A region refused one more change of a visit as "full": checks that the document has reached its bounds.
    pub(crate) fn is_really_full(&mut self, at: usize, visit: u32, bytes: usize) {
        self.note(Mark::Full);
        let Some(truth) = self.model.visits.get(&visit) else { return };
        let (all, bounds) = (all(truth), Bounds::local(&truth.key));
        let is_full = all.len() >= bounds.changes || all.values().sum::<usize>() + bytes > bounds.bytes;
        self.must(Invariant::Liveness, Some(at), is_full, || {
            format!("takes no more changes of visit {visit}, which has {} and may have {}", all.len(), bounds.changes)
        });
    }

    /// Marks the run if some document has more than local writes may give it.
    pub(crate) fn look_for_overfull(&mut self, core: &BTreeSet<usize>) {
        let is_overfull = core.iter().filter_map(|at| self.live(*at)).flatten().any(|(key, hashes)| {
            let truth = self.model.names.get(&key.name).and_then(|visit| self.model.visits.get(visit));
            truth.is_some_and(|truth| {
                let (all, bounds) = (all(truth), Bounds::local(&key));
                let bytes: usize = hashes.iter().filter_map(|hash| all.get(hash)).sum();
                hashes.len() > bounds.changes || bytes > bounds.bytes
            })
        });
        if is_overfull {
            self.note(Mark::Overfull);
        }
    }
}
