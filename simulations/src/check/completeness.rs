//! I7: a guest list is as complete as it says.

use std::collections::{BTreeMap, BTreeSet};

use replication::{ChangeHash, RegionId, Wall};

use super::Invariant;
use crate::scenario::{Operation, OperationKind};
use crate::world::World;

impl World {
    /// A list that is complete for a region through a moment shows what was acknowledged there before, unless it is
    /// erased or has expired, and nothing whose erasure was.
    pub(crate) fn is_as_complete_as_it_says(
        &mut self,
        at: usize,
        asked: &Operation,
        seen: &[(u32, BTreeSet<ChangeHash>)],
        complete_through: &BTreeMap<RegionId, Wall>,
        trusted: Wall,
    ) {
        if asked.kind != OperationKind::Read || !self.scenario.checks.deep {
            return;
        }
        let now = self.true_wall();
        let skew = self.scenario.replica.max_clock_skew;
        // By a clock that may be wrong some have expired already, here or on the way. Not by its horizon: when that is
        // ahead of time, its list is not complete.
        let dead_by = trusted.max(now.plus(skew * 3));
        let mut by_visit: BTreeMap<u32, Vec<&BTreeSet<ChangeHash>>> = BTreeMap::new();
        for (visit, hashes) in seen {
            by_visit.entry(*visit).or_default().push(hashes);
        }
        // A claim is made by the clock of who makes it.
        let includes = |node: usize, acknowledged: Wall| {
            let slack = if self.was_clock_wrong(node) { skew * 3 } else { skew };
            // It cannot claim to have what its disk does not know it ever had.
            let knows = !self.nodes[node].was_restored;
            let through = complete_through.get(&self.nodes[node].region);
            knows && through.is_some_and(|through| acknowledged.plus(slack) < *through)
        };
        let wrong = self.model.visits.iter().find_map(|(visit, truth)| {
            let in_view = truth.key.name.id.arrival() >= now.minus(std::time::Duration::from_mins(59));
            if truth.venue != asked.venue || !in_view || truth.key.expires_at <= dead_by {
                return None;
            }
            let rows = by_visit.get(visit);
            let mut erased = truth.erased.iter().filter(|erased| !erased.lost);
            if rows.is_some() && erased.any(|erased| includes(erased.node, erased.acknowledged)) {
                return Some((*visit, "an erasure"));
            }
            let shows = |hash: &ChangeHash| rows.is_some_and(|rows| rows.iter().any(|hashes| hashes.contains(hash)));
            let mut taken = truth.taken.iter().filter(|taken| !taken.lost && !truth.erase_asked);
            let lacks = taken.any(|taken| {
                taken.acknowledged.is_some_and(|acknowledged| includes(taken.node, acknowledged)) && !shows(&taken.hash)
            });
            lacks.then_some((*visit, "a change"))
        });
        self.must(Invariant::Session, Some(at), wrong.is_none(), || {
            let (visit, what) = wrong.unwrap_or_default();
            format!("says that its list is complete, and lacks {what} of visit {visit}")
        });
    }
}
