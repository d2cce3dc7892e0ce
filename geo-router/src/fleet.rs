//! The regions and nodes to which a router sends clients. Which of them are healthy: [`crate::health`].
//!
//! # Invariants
//! - A fleet never changes. A router that takes up other regions or nodes builds another [`Fleet`], and everything that
//!   is kept by index is built for it. An index therefore belongs to one fleet; names are what two fleets share.

use std::net::IpAddr;

use api::{NodeName, Position, RegionId};

use crate::endpoint::Endpoint;

/// A region's place in the order of one fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionIndex(pub u8);

impl RegionIndex {
    /// As an index into lists of regions.
    #[must_use]
    pub fn at(self) -> usize {
        usize::from(self.0)
    }
}

/// A node by its place in the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// Its region.
    pub region: RegionIndex,
    /// Its place in the region.
    pub node: usize,
}

/// All regions: the configured ones in the configuration's order, then those that operators added, by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// 1 to [`Fleet::MAX_REGIONS`] regions.
    pub regions: Vec<Region>,
}

/// One region.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Its name.
    pub name: RegionId,
    /// Where it is.
    pub position: Position,
    /// Its weight in a split by weights; more than 0.
    pub weight: f64,
    /// Requests per second that all its nodes together can take; `None` is no limit.
    pub capacity: Option<f64>,
    /// Not empty.
    pub nodes: Vec<Node>,
}

/// One node of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name, for people and metrics.
    pub name: NodeName,
    /// Its public listener, which is probed and to which the edge forwards.
    pub at: Endpoint,
    /// The addresses that DNS answers for it.
    pub addresses: Vec<IpAddr>,
    /// Its weight among the region's nodes; more than 0.
    pub weight: u32,
}

impl Fleet {
    /// The largest number of regions.
    pub(crate) const MAX_REGIONS: usize = 64;

    /// Every region's index.
    pub fn indices(&self) -> impl Iterator<Item = RegionIndex> + use<> {
        (0..self.regions.len()).filter_map(|index| u8::try_from(index).ok()).map(RegionIndex)
    }

    /// The region at an index of this fleet.
    #[must_use]
    pub fn region(&self, index: RegionIndex) -> &Region {
        &self.regions[index.at()]
    }

    /// The region of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<RegionIndex> {
        self.indices().find(|index| self.region(*index).name.as_str() == name)
    }

    /// The node at this place of this fleet.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.region(id.region).nodes[id.node]
    }

    /// Every node's place.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.indices().flat_map(|region| (0..self.region(region).nodes.len()).map(move |node| NodeId { region, node }))
    }

    /// The place of the node that has this name and is still the same listener.
    #[must_use]
    pub fn find_node(&self, name: &NodeName, at: &Endpoint) -> Option<NodeId> {
        self.nodes().find(|id| {
            let node = self.node(*id);
            node.name == *name && node.at.continues(at)
        })
    }

    /// The place of a region of this fleet in another fleet.
    #[must_use]
    pub(crate) fn carry(&self, region: RegionIndex, other: &Fleet) -> Option<RegionIndex> {
        other.find(self.region(region).name.as_str())
    }
}
