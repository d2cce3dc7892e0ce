//! What the regions say of our wall clock: one vote for each region.
//!
//! A region with ten nodes is not ten witnesses, because nodes of one region share a time server, and often a mistake.
//! So each region votes as most of its nodes heard lately, and a region whose nodes are divided does not vote. Our own
//! clock has no vote, because it is the one that is judged.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{NodeName, RegionId};
use crate::time::{Monotonic, Now, Wall, millis};

/// A peer's clock as last heard.
#[derive(Clone, Debug)]
struct Heard {
    region: RegionId,
    wall: Wall,
    at: Monotonic,
}

impl Heard {
    /// The peer's clock by now. One-way latency is not taken out: it is small against the skew that matters here.
    fn wall_at(&self, now: Monotonic) -> Wall {
        self.wall.plus(now.since(self.at))
    }
}

/// The clocks of peers.
#[derive(Clone, Debug)]
pub(super) struct Votes {
    /// The largest difference at which two clocks agree.
    max_skew: Duration,
    /// Silence after which a peer no longer counts as heard.
    forget_after: Duration,
    peers: BTreeMap<NodeName, Heard>,
}

/// How many regions agree with our wall clock, and how many do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) agree: usize,
    pub(super) disagree: usize,
}

impl Tally {
    pub(super) fn majority_agrees(self) -> bool {
        self.agree > self.disagree && self.agree > 0
    }

    /// At least two regions are heard, and more disagree than agree.
    pub(super) fn is_outvoted(self) -> bool {
        self.agree + self.disagree >= 2 && self.disagree > self.agree
    }

    /// At least one region disagrees, and not more agree.
    pub(super) fn contradicts(self) -> bool {
        self.disagree > 0 && self.disagree >= self.agree
    }
}

impl Votes {
    pub(super) fn new(max_skew: Duration, forget_after: Duration) -> Votes {
        Votes { max_skew, forget_after, peers: BTreeMap::new() }
    }

    /// A peer of `region` told its wall clock.
    pub(super) fn hear(&mut self, now: Monotonic, peer: &NodeName, region: &RegionId, wall: Wall) {
        self.peers.insert(peer.clone(), Heard { region: region.clone(), wall, at: now });
    }

    /// A peer is out of reach.
    pub(super) fn lose(&mut self, peer: &NodeName) {
        self.peers.remove(peer);
    }

    pub(super) fn tally(&self, now: Now) -> Tally {
        let mut regions: BTreeMap<&RegionId, i64> = BTreeMap::new();
        for heard in self.peers.values().filter(|heard| now.mono.since(heard.at) <= self.forget_after) {
            let agrees = heard.wall_at(now.mono).distance(now.wall) <= self.max_skew;
            *regions.entry(&heard.region).or_default() += if agrees { 1 } else { -1 };
        }
        let agree = regions.values().filter(|balance| **balance > 0).count();
        let tally = Tally { agree, disagree: regions.values().filter(|balance| **balance < 0).count() };
        debug_assert!(!(tally.majority_agrees() && tally.is_outvoted()), "regions agree and outvote: {tally:?}");
        tally
    }

    /// How far a peer's clock is ahead of ours (negative: behind), as last heard, in milliseconds.
    pub(super) fn offset_ms(&self, now: Now, peer: &NodeName) -> Option<i64> {
        let heard = self.peers.get(peer)?;
        let theirs = heard.wall.0.saturating_add(millis(now.mono.since(heard.at)));
        Some(theirs.wrapping_sub(now.wall.0).cast_signed())
    }
}
