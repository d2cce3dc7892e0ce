//! The state of a replica, for operators, readers and metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use super::link::Link;
use super::{Replica, StartPhase};
use crate::ids::{NodeName, RegionId, ReplicaId};
use crate::storage::Storage;
use crate::time::{Monotonic, Now, Wall};
use crate::trust::{Doubt, TrustedReading};
use crate::version::VersionVector;

/// A replica at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    /// Present incarnation.
    pub replica: ReplicaId,
    /// What it durably knows.
    pub durable: VersionVector,
    /// Trusted time, and how it runs on between two observations.
    pub clock: TrustedReading,
    /// All that expired up to here is gone.
    pub horizon: Wall,
    /// Why the clock is not believed, if it is not.
    pub doubt: Option<Doubt>,
    /// Whether it takes no writes yet, because it waits for its peers to confirm that its log did not go back in time.
    pub starting: bool,
    /// Whether entries that were lost by a roll-back are being fetched back from a linked peer.
    pub recovering: bool,
    /// Whether the store began empty, or lost a bucket, and lacks what linked peers had when they greeted.
    pub filling: bool,
    /// Whether documents that have not expired may be missing here, because the clock was ahead
    /// ([`Replica::dropped_too_early`]).
    pub dropped_too_early: bool,
    /// Documents in storage.
    pub documents: u64,
    /// Tombstones in storage.
    pub tombstones: u64,
    /// Buckets in storage.
    pub buckets: usize,
    /// Rows that are known to be damaged here and not healed yet.
    pub damaged: usize,
    /// For each region the moment through which everything acknowledged there is here; the epoch if that is not known.
    pub complete_through: BTreeMap<RegionId, Wall>,
    /// The region of every incarnation that this replica knows of since its start.
    pub origins: BTreeMap<ReplicaId, RegionId>,
    /// Every configured peer.
    pub peers: Vec<PeerStatus>,
}

/// One peer as this replica sees it.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Which node.
    pub node: NodeName,
    /// Its region.
    pub region: RegionId,
    /// Its incarnation, if a link to it is up.
    pub replica: Option<ReplicaId>,
    /// What it durably knows, if a link to it is up.
    pub vector: VersionVector,
    /// When it last said what it has, if a link to it is up.
    pub told: Option<Monotonic>,
    /// Entries that we know and it has not acknowledged.
    pub lag_entries: u64,
    /// Those of them that no other linked node writes: of our own logs, and of nodes that are away.
    pub lag_from_here: u64,
    /// Age of the oldest entry of ours that it has not acknowledged, if that entry is still in memory.
    pub lag: Duration,
    /// Its clock less ours, as last heard.
    pub clock_offset_ms: Option<i64>,
}

impl Status {
    /// The moment up to which everything is dead for readers, at `mono`.
    #[must_use]
    pub fn dead_through(&self, mono: Monotonic) -> Wall {
        self.clock.at(mono).max(self.horizon)
    }
}

impl<S: Storage> Replica<S> {
    /// Whether it takes no writes yet, because it waits for its peers to confirm that its log did not go back in time.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        self.phase != StartPhase::Running
    }

    /// The replica's state now.
    #[must_use]
    pub fn status(&self, now: Now) -> Status {
        let mut complete_through = self.completeness.by_region();
        // A claim of another node of this region may lag. Without such a node, this replica alone is the region.
        let own = complete_through.entry(self.config.region.clone()).or_insert(self.clock.trusted());
        *own = self.clock.trusted().min(*own);
        // While orphans are left or own entries are still being fetched back, some entries that were acknowledged here
        // are not shown.
        let is_whole = self.orphans.is_empty() && self.durable.covers(&self.awaited.recover);
        if self.phase != StartPhase::Running || self.is_filling(now) || !is_whole {
            *own = Wall::default();
        }
        if self.clock.doubt().is_some() {
            complete_through.values_mut().for_each(|through| *through = self.clock.certain().min(*through));
        }
        if self.dropped_too_early() {
            complete_through.values_mut().for_each(|through| *through = Wall::default());
        }
        Status {
            replica: self.id,
            durable: self.durable.clone(),
            clock: self.clock.reading(),
            horizon: self.horizon,
            doubt: self.clock.doubt(),
            starting: self.is_starting(),
            recovering: self.is_recovering(now),
            filling: self.is_filling(now),
            dropped_too_early: self.dropped_too_early(),
            documents: self.buckets.values().map(|header| header.documents).sum(),
            tombstones: self.buckets.values().map(|header| header.tombstones).sum(),
            buckets: self.buckets.len(),
            damaged: self.repairs.damaged(),
            complete_through,
            origins: self.origins(),
            peers: self.config.peers.iter().map(|(node, region)| self.peer(now, node, region)).collect(),
        }
    }

    fn origins(&self) -> BTreeMap<ReplicaId, RegionId> {
        let claimed = self.completeness.origins().map(|(origin, region)| (origin, region.clone()));
        let linked =
            self.links.values().filter_map(|link| Some((link.replica()?, self.config.peers.get(link.peer())?.clone())));
        let bound = self.durable.iter().filter_map(|(origin, _)| {
            let owner = self.origins.owner(origin)?;
            let region = self.config.peers.get(owner).or_else(|| self.config.former.get(owner))?;
            Some((origin, region.clone()))
        });
        let own = self.past.iter().chain([&self.id]).map(|id| (*id, self.config.region.clone()));
        claimed.chain(linked).chain(bound).chain(own).collect()
    }

    fn peer(&self, now: Now, node: &NodeName, region: &RegionId) -> PeerStatus {
        let link = self.links.values().find(|link| link.peer() == node && link.replica().is_some());
        let vector = link.map(|link| link.acked().clone()).unwrap_or_default();
        let oldest = self.recent.first_after(vector.get(self.id));
        let is_written_elsewhere = |origin: ReplicaId| self.links.values().any(|link| link.leads_to(origin));
        let lacks = |(origin, seq): (ReplicaId, u64)| seq.saturating_sub(vector.get(origin));
        PeerStatus {
            node: node.clone(),
            region: region.clone(),
            replica: link.and_then(Link::replica),
            told: link.map(Link::told),
            lag_entries: self.durable.ahead_of(&vector),
            lag_from_here: self.durable.iter().filter(|(origin, _)| !is_written_elsewhere(*origin)).map(lacks).sum(),
            lag: oldest.map_or(Duration::ZERO, |delta| self.clock.trusted().since(delta.hlc.wall())),
            clock_offset_ms: self.clock.offset_ms(now, node),
            vector,
        }
    }

    /// The present incarnation.
    #[must_use]
    pub fn id(&self) -> ReplicaId {
        self.id
    }

    /// What is durably known.
    #[must_use]
    pub fn durable(&self) -> &VersionVector {
        &self.durable
    }

    /// The horizon.
    #[must_use]
    pub fn horizon(&self) -> Wall {
        self.horizon
    }
}
