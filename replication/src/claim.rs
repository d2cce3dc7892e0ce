//! Complete-through: the moment up to which a replica has everything that a node acknowledged.
//!
//! A claim says "all that I acknowledged before `through` lies within `needs` and `rests_on`". A replica that covers
//! both is complete for that node through that moment, whichever way the entries came.
//!
//! # Invariants
//! - A claim is believed only from the node that makes it, over a link that proves its name. A claim that is passed on
//!   would need a signature, otherwise a peer that lies could make a region look complete for entries that it never
//!   got.
//! - Only configured nodes count, so a node that was taken out of service does not hold its region back.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::ids::{NodeName, RegionId, ReplicaId};
use crate::time::Wall;
use crate::version::VersionVector;

/// "All that I acknowledged before `through` has seq <= n in the log of each of my incarnations."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The node that makes the claim.
    pub node: NodeName,
    /// Its region.
    pub region: RegionId,
    /// Everything that the node acknowledged before this moment is covered.
    pub through: Wall,
    /// Every incarnation of the node with the last seq that it needs.
    pub needs: Vec<(ReplicaId, u64)>,
    /// Entries of other origins on which its acknowledgements rest: those that a write repeated, and the check-in that
    /// a correction corrects.
    pub rests_on: Vec<(ReplicaId, u64)>,
}

/// Most unmet claims per node, more than a minute of heartbeats. Beyond that the newest claim replaces the second
/// newest.
const PENDING: usize = 128;

#[derive(Clone, Debug, Default)]
struct Heard {
    region: Option<RegionId>,
    reached: Wall,
    pending: VecDeque<Claim>,
}

/// Through which moment this replica is complete, for every node that it has heard of.
#[derive(Clone, Debug, Default)]
pub struct Completeness(BTreeMap<NodeName, Heard>);

impl Completeness {
    /// Makes a node known before it was ever heard, so that its region is not complete without it.
    pub fn expect(&mut self, node: &NodeName, region: &RegionId) {
        self.0.entry(node.clone()).or_default().region = Some(region.clone());
    }

    /// A node was removed for good: its region is complete without it.
    pub fn forget(&mut self, node: &NodeName) {
        self.0.remove(node);
    }

    /// Hears a claim. One that is not newer than the newest known is ignored.
    pub fn hear(&mut self, claim: Claim, known: &VersionVector) {
        let heard = self.0.entry(claim.node.clone()).or_default();
        heard.region = Some(claim.region.clone());
        let newest = heard.pending.back().map_or(heard.reached, |c| c.through);
        if claim.through <= newest {
            return;
        }
        if heard.pending.len() >= PENDING {
            heard.pending.pop_back();
        }
        heard.pending.push_back(claim);
        debug_assert!(heard.pending.len() <= PENDING, "claims are kept without bound");
        debug_assert!(heard.pending.iter().is_sorted_by_key(|claim| claim.through), "claims are not in order");
        heard.settle(known);
    }

    /// Entries arrived: claims that `known` covers are met.
    pub fn settle(&mut self, known: &VersionVector) {
        for heard in self.0.values_mut() {
            heard.settle(known);
        }
    }

    /// The newest claim of each node, met or not.
    fn newest(&self) -> impl Iterator<Item = &Claim> {
        self.0.values().filter_map(|heard| heard.pending.back())
    }

    /// The region of every incarnation that a claim named.
    pub fn origins(&self) -> impl Iterator<Item = (ReplicaId, &RegionId)> {
        self.newest().flat_map(|claim| claim.needs.iter().map(|(origin, _)| (*origin, &claim.region)))
    }

    /// For each region the moment through which this replica has all that the region's nodes acknowledged;
    /// the epoch for a region never heard.
    #[must_use]
    pub(crate) fn by_region(&self) -> BTreeMap<RegionId, Wall> {
        let mut regions = BTreeMap::new();
        for heard in self.0.values() {
            if let Some(region) = &heard.region {
                let through = regions.entry(region.clone()).or_insert(heard.reached);
                *through = heard.reached.min(*through);
            }
        }
        regions
    }
}

impl Heard {
    /// Drops all claims up to the newest one that is met (the newest of all is kept). An earlier claim may never be
    /// met, because entries that it needs were lost in a roll-back; a later one that is met makes it irrelevant.
    fn settle(&mut self, known: &VersionVector) {
        let is_met =
            |claim: &Claim| claim.needs.iter().chain(&claim.rests_on).all(|(origin, seq)| known.get(*origin) >= *seq);
        let Some(last) = self.pending.iter().rposition(is_met) else { return };
        debug_assert!(self.reached <= self.pending[last].through, "a claim is met that is older than one met before");
        self.reached = self.reached.max(self.pending[last].through);
        let is_newest = last + 1 == self.pending.len();
        self.pending.drain(..last + usize::from(!is_newest));
    }
}

#[cfg(test)]
mod tests {
    use super::{Claim, Completeness};
    use crate::ids::ReplicaId;
    use crate::time::Wall;
    use crate::version::VersionVector;

    fn claim(through: u64, seq: u64) -> Claim {
        Claim {
            node: "us-east".parse().unwrap(),
            region: "us-east".parse().unwrap(),
            through: Wall(through),
            needs: vec![(ReplicaId(1), seq), (ReplicaId(2), 1)],
            rests_on: vec![],
        }
    }

    #[test]
    fn complete_only_when_every_incarnation_is_covered() {
        let mut known: VersionVector = [(ReplicaId(1), 5)].into_iter().collect();
        let mut completeness = Completeness::default();
        completeness.hear(claim(100, 5), &known);
        completeness.hear(claim(200, 9), &known);
        let region = "us-east".parse().unwrap();
        assert_eq!(completeness.by_region()[&region], Wall(0));
        known.advance(ReplicaId(2), 1);
        completeness.settle(&known);
        assert_eq!(completeness.by_region()[&region], Wall(100));
        known.advance(ReplicaId(1), 9);
        completeness.settle(&known);
        assert_eq!(completeness.by_region()[&region], Wall(200));
        assert_eq!(completeness.newest().count(), 1);
    }

    #[test]
    fn a_claim_also_needs_the_entries_that_its_acknowledgements_rest_on() {
        let mut known: VersionVector = [(ReplicaId(1), 9), (ReplicaId(2), 1)].into_iter().collect();
        let mut completeness = Completeness::default();
        completeness.hear(Claim { rests_on: vec![(ReplicaId(3), 4)], ..claim(100, 5) }, &known);
        let region = "us-east".parse().unwrap();
        assert_eq!(completeness.by_region()[&region], Wall(0));
        known.advance(ReplicaId(3), 4);
        completeness.settle(&known);
        assert_eq!(completeness.by_region()[&region], Wall(100));
        assert!(completeness.origins().all(|(origin, _)| origin != ReplicaId(3)), "it is not the node's own");
    }

    /// The disk of the node went back, and no store has the entries that it claimed before.
    #[test]
    fn a_claim_that_can_never_be_met_does_not_block_a_later_one() {
        let known: VersionVector = [(ReplicaId(1), 5), (ReplicaId(2), 1)].into_iter().collect();
        let mut completeness = Completeness::default();
        completeness.hear(claim(100, 9), &known);
        completeness.hear(claim(200, 5), &known);
        completeness.hear(claim(300, 6), &known);
        assert_eq!(completeness.by_region()[&"us-east".parse().unwrap()], Wall(200));
        assert_eq!(completeness.newest().next(), Some(&claim(300, 6)));
    }
}
