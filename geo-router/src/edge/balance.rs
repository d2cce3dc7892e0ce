//! The order in which the nodes of a region are tried.
//!
//! # Invariants
//! - Every order holds every node of the region once. The caller that walks it skips unhealthy nodes.
//! - A hash gives the same order in every router and at every time. When a node is passed over, only its own clients go
//!   elsewhere.

use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use pingora_ketama::{Bucket, Continuum};
use rand::seq::SliceRandom as _;
use siphasher::sip::SipHasher13;
use smallvec::{SmallVec, smallvec};

use super::config::Balance;
use crate::fleet::{Fleet, Node, NodeId, Region, RegionIndex};
use crate::rendezvous;
use service::client::prefix;

/// The parts of a request that decide the order.
#[derive(Clone, Copy, Debug)]
pub(super) struct HashKeys<'a> {
    /// The client.
    pub client: IpAddr,
    /// The venue that the request concerns.
    pub venue: Option<&'a str>,
}

/// The venue in a path.
#[must_use]
pub fn venue(path: &str) -> Option<&str> {
    path.strip_prefix("/v1/venues/")?.split('/').next().filter(|venue| !venue.is_empty())
}

/// The nodes of a region in the order in which they are tried.
pub(super) type Order = SmallVec<[usize; 4]>;

/// One region's nodes.
struct Nodes {
    weights: Vec<u32>,
    /// Requests under way.
    busy: Vec<Arc<AtomicUsize>>,
    turn: AtomicUsize,
    /// The saved-up credit of each node, for nginx's smooth weighted round robin.
    credit: Mutex<Vec<i64>>,
    names: Vec<u64>,
    ring: Option<(Continuum, Vec<SocketAddr>)>,
}

/// The nodes of all regions.
pub(super) struct Balancer {
    how: Balance,
    regions: Vec<Nodes>,
}

impl std::fmt::Debug for Balancer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Balancer").field("how", &self.how).finish_non_exhaustive()
    }
}

impl Balancer {
    /// A balancer for a fleet.
    #[must_use]
    pub(super) fn new(how: Balance, fleet: &Fleet) -> Balancer {
        Balancer { how, regions: fleet.regions.iter().map(|region| Nodes::new(region, how)).collect() }
    }

    /// A balancer for another fleet. A node that stays at its address keeps its count of requests under way.
    #[must_use]
    pub(super) fn carried(&self, from: &Fleet, to: &Fleet) -> Balancer {
        let mut balancer = Balancer::new(self.how, to);
        for id in to.nodes() {
            let node = to.node(id);
            if let Some(known) = from.find_node(&node.name, &node.at) {
                balancer.regions[id.region.at()].busy[id.node] = Arc::clone(self.busy(known));
            }
        }
        balancer
    }

    /// All nodes of a region, in the order in which they should be tried.
    #[must_use]
    pub(super) fn order(&self, region: RegionIndex, asked: &HashKeys<'_>) -> Order {
        let nodes = &self.regions[region.at()];
        if nodes.weights.len() == 1 {
            return smallvec![0];
        }
        match self.how {
            Balance::RoundRobin => nodes.in_turn(),
            Balance::Weighted => nodes.weighted(),
            Balance::LeastConnections => nodes.least_busy(),
            Balance::Random => nodes.by_chance(),
            Balance::IpHash => nodes.by_client(asked.client),
            Balance::VenueHash => asked.venue.map_or_else(|| nodes.in_turn(), |venue| nodes.by_venue(venue)),
        }
    }

    /// The number of requests under way at a node.
    pub(super) fn busy(&self, node: NodeId) -> &Arc<AtomicUsize> {
        &self.regions[node.region.at()].busy[node.node]
    }
}

impl Nodes {
    fn new(region: &Region, how: Balance) -> Nodes {
        let count = region.nodes.len();
        let ring = (how == Balance::VenueHash).then(|| {
            // The ring hashes addresses. A weight is at least 1, because the configuration refuses 0.
            // A node whose name was never resolved gets a place of its own.
            let nowhere = |index: usize| SocketAddr::from(([0; 4], u16::try_from(index).unwrap_or(u16::MAX)));
            let address = |(index, node): (usize, &Node)| node.at.sockets().first().copied().unwrap_or(nowhere(index));
            let addresses: Vec<SocketAddr> = region.nodes.iter().enumerate().map(address).collect();
            let buckets = addresses.iter().zip(&region.nodes).map(|(at, node)| Bucket::new(*at, node.weight.max(1)));
            (Continuum::new(&buckets.collect::<Vec<_>>()), addresses)
        });
        Nodes {
            weights: region.nodes.iter().map(|node| node.weight.max(1)).collect(),
            busy: (0..count).map(|_| Arc::default()).collect(),
            turn: AtomicUsize::new(0),
            credit: Mutex::new(vec![0; count]),
            names: region.nodes.iter().map(|node| hash(0, node.name.as_str().as_bytes())).collect(),
            ring,
        }
    }

    fn from(&self, first: usize) -> Order {
        let count = self.weights.len();
        (0..count).map(|step| (first + step) % count).collect()
    }

    fn in_turn(&self) -> Order {
        self.from(self.turn.fetch_add(1, Ordering::Relaxed) % self.weights.len())
    }

    fn weighted(&self) -> Order {
        let mut credit = self.credit.lock();
        let mut all = 0;
        let mut best = 0;
        for node in 0..credit.len() {
            let weight = i64::from(self.weights[node]);
            credit[node] += weight;
            all += weight;
            if credit[node] > credit[best] {
                best = node;
            }
        }
        credit[best] -= all;
        drop(credit);
        self.from(best)
    }

    fn least_busy(&self) -> Order {
        // Nodes with equal load are taken in turn.
        let mut order = self.in_turn();
        let load = |node: usize| self.busy[node].load(Ordering::Relaxed) as f64 + 1.0;
        // Each load is read once, because numbers that change during sorting have no order.
        let loads: Vec<f64> = (0..order.len()).map(|node| load(node) / f64::from(self.weights[node])).collect();
        order.sort_by(|one, other| loads[*one].total_cmp(&loads[*other]));
        order
    }

    fn by_chance(&self) -> Order {
        let mut order = self.from(0);
        order.shuffle(&mut rand::rng());
        order
    }

    fn by_client(&self, client: IpAddr) -> Order {
        let key = prefix(client).to_be_bytes();
        let score = |node: usize| rendezvous::score(hash(self.names[node], &key), f64::from(self.weights[node]));
        let mut order = self.from(0);
        order.sort_by(|one, other| score(*other).total_cmp(&score(*one)));
        order
    }

    fn by_venue(&self, venue: &str) -> Order {
        let Some((ring, addresses)) = &self.ring else { return self.from(0) };
        let count = addresses.len();
        let mut order = Order::with_capacity(count);
        for address in ring.node_iter(venue.as_bytes()) {
            if let Some(node) = addresses.iter().position(|one| one == address)
                && !order.contains(&node)
            {
                order.push(node);
            }
            if order.len() == count {
                break;
            }
        }
        order
    }
}

fn hash(key: u64, bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(key, 0);
    hasher.write(bytes);
    hasher.finish()
}

/// True with this probability. Not for secrets.
pub(super) fn happens(probability: f64) -> bool {
    // Most views shed nothing, and then nothing is drawn. A probability that is not a number is not above 0.
    probability > 0.0 && rand::random_bool(probability.min(1.0))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::atomic::Ordering;

    use super::super::testing::{fleet, weighted_fleet};
    use super::{Balance, Balancer, HashKeys, NodeId, venue};
    use crate::fleet::RegionIndex;

    const REGION: RegionIndex = RegionIndex(0);

    fn asked(number: u32) -> (IpAddr, String) {
        (IpAddr::V4(Ipv4Addr::from(0x0808_0000 + number)), format!("venue-{number}"))
    }

    fn orders(balancer: &Balancer, count: u32) -> Vec<Vec<usize>> {
        let order = |number| {
            let (client, venue) = asked(number);
            balancer.order(REGION, &HashKeys { client, venue: Some(&venue) }).into_vec()
        };
        (0..count).map(order).collect()
    }

    /// The invariants of every way to balance.
    #[test]
    fn battery() {
        for how in Balance::ALL {
            for nodes in [1, 2, 5] {
                let orders = orders(&Balancer::new(how, &fleet(&[nodes])), 600);
                for order in &orders {
                    let distinct: HashSet<_> = order.iter().collect();
                    assert_eq!((order.len(), distinct.len()), (nodes, nodes), "{how:?}");
                }
                for node in 0..nodes {
                    let first = orders.iter().filter(|order| order[0] == node).count();
                    // Every node has at least half of its fair share.
                    assert!(first >= 300 / nodes, "{how:?}: node {node} of {nodes} is first {first} times");
                }
            }
        }
    }

    #[test]
    fn with_hashes_only_the_clients_of_a_lost_node_move() {
        for how in [Balance::IpHash, Balance::VenueHash] {
            let before = orders(&Balancer::new(how, &fleet(&[5])), 400);
            assert_eq!(before, orders(&Balancer::new(how, &fleet(&[5])), 400), "{how:?}");
            // The same nodes except the last one.
            let after = orders(&Balancer::new(how, &fleet(&[4])), 400);
            for (before, after) in before.iter().zip(&after) {
                let expected = before.iter().find(|node| **node != 4).copied();
                assert_eq!(expected, after.first().copied(), "{how:?}");
            }
        }
    }

    #[test]
    fn weights_are_shares() {
        for how in [Balance::Weighted, Balance::IpHash, Balance::VenueHash] {
            let orders = orders(&Balancer::new(how, &weighted_fleet(&[3, 1])), 4_000);
            let first = orders.iter().filter(|order| order[0] == 0).count();
            assert!((2_700..=3_300).contains(&first), "{how:?}: {first}");
        }
        // Smooth: with weights (2, 1) no node comes first three times in a row.
        let orders = orders(&Balancer::new(Balance::Weighted, &weighted_fleet(&[2, 1])), 6);
        assert_eq!(orders.iter().map(|order| order[0]).collect::<Vec<_>>(), [0, 1, 0, 0, 1, 0]);
    }

    #[test]
    fn the_least_busy_comes_first() {
        let balancer = Balancer::new(Balance::LeastConnections, &weighted_fleet(&[1, 1, 4]));
        let busy = |node| balancer.busy(NodeId { region: REGION, node });
        for (node, requests) in [(0, 3), (1, 1), (2, 11)] {
            busy(node).store(requests, Ordering::Relaxed);
        }
        assert_eq!(orders(&balancer, 1)[0], [1, 2, 0]);
    }

    #[test]
    fn the_venue_is_in_the_path() {
        assert_eq!(venue("/v1/venues/abc/visits/x"), Some("abc"));
        assert_eq!(venue("/v1/venues/abc"), Some("abc"));
        for path in ["/v1/venues/", "/v1/venues", "/", "/v2/venues/abc", "//v1/venues/abc"] {
            assert_eq!(venue(path), None, "{path}");
        }
    }
}
