//! A view: everything that the data plane needs to answer. The control plane builds it; it is immutable and swapped
//! whole. Fleet, places and signals of a view belong together: their indices are those of its fleet.
//!
//! # Invariants
//! - Within a leaf every client gets the same region, so an answer may be kept for the leaf's whole scope.
//! - The leaf of an address depends on the fleet and never on health.
//! - A view always names some region, because fail-open is decided before it is built. So a router always has an
//!   answer.

use api::explanation::{RegionState, RouteReason};
use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use crate::connector::Connector;
use crate::fleet::{Fleet, NodeId, RegionIndex};
use crate::location::{Leaf, PlaceClass, Places};
use crate::policy::Assignment;
use crate::rendezvous;
use crate::signals::Signals;

/// One region as of a view.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionView {
    /// Its state.
    pub state: RegionState,
    /// The part of its share that it takes: 1, or less while it ramps or fails requests of the edge.
    pub admission: f64,
    /// Which of its nodes are up by this router's own probes, in the fleet's order. An unprobed node counts as
    /// up, unless it was added while the router runs.
    pub nodes_up: Vec<bool>,
}

impl RegionView {
    fn is_well(&self) -> bool {
        self.state.serves() || self.state == RegionState::Drained
    }
}

/// The route of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The region.
    pub region: RegionIndex,
    /// The reason.
    pub reason: RouteReason,
    /// The leaf of the address.
    pub leaf: Leaf,
}

/// Regions, places and shares as of one moment.
#[derive(Debug)]
pub struct View {
    /// Grows by one with each view of this process.
    pub epoch: u64,
    /// The regions and nodes. Another fleet is another `Arc`, so tables that were built for one are recognised by it.
    pub fleet: Arc<Fleet>,
    /// The way to the nodes.
    pub connector: Arc<Connector>,
    /// Where the data plane counts what it sends to this fleet.
    pub signals: Arc<Signals>,
    /// The table of places.
    pub places: Arc<Places>,
    /// In the fleet's order.
    pub regions: Vec<RegionView>,
    /// The share of each class that goes to each region.
    pub assignment: Assignment,
    /// How long a DNS answer may be kept, in seconds: until the next possible change, within the configured bounds.
    pub ttl: u32,
    /// All regions are out, so health is ignored.
    pub fail_open: bool,
    /// Too few routers are heard for a verdict, so the last one holds.
    pub frozen: bool,
}

impl View {
    /// The route of a client at `address`.
    #[must_use]
    pub fn route(&self, address: IpAddr) -> Route {
        let leaf = self.places.leaf(address);
        let region = self.pick(&leaf);
        let first = self.places.place(leaf.class).order[0];
        let reason = if self.fail_open {
            RouteReason::FailOpen
        } else if region == first && self.regions[first.at()].state.serves() {
            RouteReason::Preferred
        } else if self.regions[first.at()].state.serves() {
            RouteReason::Split
        } else {
            RouteReason::Failover
        };
        Route { region, reason, leaf }
    }

    /// The order of regions in which the edge tries a request of `address`: its region first, then the others that
    /// serve in its order of preference, then those that are drained or down, which may still be better than a refusal.
    /// A region under maintenance is left out, unless all are.
    #[must_use]
    pub fn ranking(&self, address: IpAddr) -> Vec<RegionIndex> {
        let route = self.route(address);
        let order = &self.places.place(route.leaf.class).order;
        let rank = |region: &RegionIndex| match self.regions[region.at()].state {
            _ if *region == route.region => 0,
            state if state.serves() => 1,
            RegionState::Drained => 2,
            _ => 3,
        };
        let allowed = |region: &&RegionIndex| {
            **region == route.region || self.regions[region.at()].state != RegionState::Maintenance
        };
        let mut ranking: Vec<RegionIndex> = order.iter().filter(allowed).copied().collect();
        ranking.sort_by_key(rank);
        ranking
    }

    /// Whether a region may get clients beyond its shares. One that ramps, fails requests, gives up a part of its clients
    /// by an order or is full may not, because its share is small for that reason.
    #[must_use]
    pub(crate) fn takes_more(&self, region: RegionIndex) -> bool {
        // Only relative fitness counts, as it does for the shares.
        let most = self.regions.iter().map(|region| region.admission).fold(0.0, f64::max);
        let RegionView { state, admission, nodes_up } = &self.regions[region.at()];
        let is_fit = state.serves() && *admission > 0.0 && *admission >= most;
        is_fit && nodes_up.contains(&true) && !self.assignment.is_full(region)
    }

    /// Puts other regions behind the first of `regions`, which is the one of `route`, in the order in which its clients
    /// would get them if those before were gone: by the shares of their class, then by their preference. Returns how many
    /// there are with the first. `takes` says which regions may be among them.
    pub(crate) fn others(
        &self,
        route: &Route,
        takes: impl Fn(RegionIndex) -> bool,
        regions: &mut [RegionIndex],
    ) -> usize {
        let shares = self.assignment.shares(route.leaf.class);
        let order = &self.places.place(route.leaf.class).order;
        let mut count = 1;
        while count < regions.len() {
            let is_next = |region: RegionIndex| takes(region) && !regions[..count].contains(&region);
            let shared = shares.iter().filter(|(region, _)| is_next(*region));
            let next = self.best(&route.leaf, shared).or_else(|| order.iter().copied().find(|one| is_next(*one)));
            let Some(next) = next else { break };
            regions[count] = next;
            count += 1;
        }
        count
    }

    /// Whether a region is down while another one is well, that is serves or is drained. The edge asks such a region
    /// only if the others have failed, never because they are full.
    pub(crate) fn is_spare(&self, region: RegionIndex) -> bool {
        self.regions[region.at()].state == RegionState::Down && self.regions.iter().any(RegionView::is_well)
    }

    /// Whether a region serves or is drained, so that it answers.
    pub(crate) fn is_well(&self, region: RegionIndex) -> bool {
        self.regions[region.at()].is_well()
    }

    /// Whether a node is up by this router's own probes.
    pub(crate) fn is_up(&self, node: NodeId) -> bool {
        self.regions[node.region.at()].nodes_up.get(node.node).copied().unwrap_or(true)
    }

    /// The nodes of a region whose addresses DNS gives: those that are up, or all if none is up.
    pub fn published(&self, region: RegionIndex) -> impl Iterator<Item = IpAddr> + '_ {
        let up = &self.regions[region.at()].nodes_up;
        let none = !up.contains(&true);
        let nodes = self.fleet.region(region).nodes.iter().zip(up);
        nodes.filter(move |(_, up)| **up || none).flat_map(|(node, _)| node.addresses.iter().copied())
    }

    /// When shares change, no more leaves move than necessary.
    fn pick(&self, leaf: &Leaf) -> RegionIndex {
        let shares = self.assignment.shares(leaf.class);
        if let [(region, _)] = shares {
            return *region;
        }
        self.best(leaf, shares.iter()).unwrap_or_else(|| self.least_bad(leaf.class))
    }

    /// The region of these shares that takes a leaf.
    fn best<'a>(&self, leaf: &Leaf, shares: impl Iterator<Item = &'a (RegionIndex, f64)>) -> Option<RegionIndex> {
        let score = |region: RegionIndex, share: f64| rendezvous::score(self.hash(leaf, region), share);
        let best = shares.max_by(|(a, x), (b, y)| score(*a, *x).total_cmp(&score(*b, *y)));
        best.map(|(region, _)| *region)
    }

    /// The region for a class without capacity: DNS must name one, and the edge sheds. It is a region that serves,
    /// otherwise a drained one, which is healthy.
    fn least_bad(&self, class: PlaceClass) -> RegionIndex {
        let order = &self.places.place(class).order;
        let state = |region: &RegionIndex| self.regions[region.at()].state;
        let serving = order.iter().find(|region| state(region).serves());
        let drained = || order.iter().find(|region| state(region) == RegionState::Drained);
        *serving.or_else(drained).unwrap_or(&order[0])
    }

    /// The part of a class's clients for which no region has capacity.
    #[must_use]
    pub fn shed(&self, class: PlaceClass) -> f64 {
        self.assignment.shed(class)
    }

    /// A number that is fixed for a leaf and a region's name, in every router and every version. The name and not the
    /// index counts, otherwise the removal of one region would move the clients of all regions after it.
    fn hash(&self, leaf: &Leaf, region: RegionIndex) -> u64 {
        let mut hasher = SipHasher13::new();
        match leaf.network {
            IpAddr::V4(network) => hasher.write(&network.octets()),
            IpAddr::V6(network) => hasher.write(&network.octets()),
        }
        hasher.write(&[leaf.prefix]);
        hasher.write(self.fleet.region(region).name.as_str().as_bytes());
        hasher.finish()
    }
}

#[cfg(test)]
mod tests;
