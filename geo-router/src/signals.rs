//! Signals from the data plane to the control plane: counters that only grow, written without a lock.
//!
//! # Invariants
//! - Nothing here can be traced to a client: counts are by class of place, region and node only.
//! - Counters belong to one fleet and one table of places. With another fleet counting begins anew.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::fleet::{Fleet, RegionIndex};
use crate::location::PlaceClass;

/// The outcome of one request that the edge sent to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The node answered, and not with a failure of its own.
    Answered,
    /// No connection, no answer in time, a broken answer, or 502, 503, 504.
    Failed,
}

/// Counters of one node.
#[derive(Debug, Default)]
struct NodeSignals {
    answered: AtomicU64,
    failed: AtomicU64,
}

/// Counters since the start.
#[derive(Debug)]
pub struct Signals {
    demand: Vec<AtomicU64>,
    forwarded: Vec<AtomicU64>,
    nodes: Vec<Vec<NodeSignals>>,
}

impl Signals {
    /// No signals yet.
    #[must_use]
    pub fn new(fleet: &Fleet, classes: usize) -> Signals {
        let nodes = |count: usize| (0..count).map(|_| NodeSignals::default()).collect();
        Signals {
            demand: (0..classes).map(|_| AtomicU64::new(0)).collect(),
            forwarded: fleet.regions.iter().map(|_| AtomicU64::new(0)).collect(),
            nodes: fleet.regions.iter().map(|region| nodes(region.nodes.len())).collect(),
        }
    }

    /// A client in this class of places sent the edge a request.
    pub fn asked(&self, class: PlaceClass) {
        self.demand[class.at()].fetch_add(1, Ordering::Relaxed);
    }

    /// The edge sends a request to this region.
    pub fn forwarded(&self, region: RegionIndex) {
        self.forwarded[region.at()].fetch_add(1, Ordering::Relaxed);
    }

    /// Records the outcome of a request to a node of a region.
    pub fn observed(&self, region: RegionIndex, node: usize, observed: Observed) {
        let node = &self.nodes[region.at()][node];
        let counter = match observed {
            Observed::Answered => &node.answered,
            Observed::Failed => &node.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests by class of places.
    #[must_use]
    pub fn demand(&self) -> Vec<u64> {
        self.demand.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Requests forwarded, by region.
    #[must_use]
    pub fn load(&self) -> Vec<u64> {
        self.forwarded.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Answered and failed requests of a node.
    #[must_use]
    pub fn outcomes(&self, region: RegionIndex, node: usize) -> (u64, u64) {
        let node = &self.nodes[region.at()][node];
        (node.answered.load(Ordering::Relaxed), node.failed.load(Ordering::Relaxed))
    }
}
