//! What [`Health`] knows, by the names of regions and nodes: it outlives the fleet, and the router that hands it to its
//! successor.

use crate::endpoint::Endpoint;
use std::collections::BTreeMap;

use api::NodeName;
use serde::{Deserialize, Serialize};

use super::{Agreed, Health};
use crate::fleet::{Node, Region};
use crate::health::orders::Orders;
use crate::health::quorum::Heard;
use crate::health::{Track, Verdict};

/// Everything that was observed and decided. Its times count from the start of the router that has observed it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HealthMemory {
    nodes: Vec<(NodeName, Endpoint, Track)>,
    regions: BTreeMap<String, Agreed>,
    heard: BTreeMap<String, Heard>,
    orders: Orders,
    frozen: bool,
}

impl HealthMemory {
    /// The other routers that are in it.
    pub(crate) fn heard(&self) -> impl Iterator<Item = &str> {
        self.heard.keys().map(String::as_str)
    }

    /// Whether a node of it is up.
    pub(crate) fn has_a_node_up(&self) -> bool {
        self.nodes.iter().any(|(.., track)| track.verdict() == Verdict::Up)
    }
}

impl Health {
    /// All that is known now.
    pub(crate) fn memory(&self) -> HealthMemory {
        let node = |id| {
            let node = self.fleet.node(id);
            (node.name.clone(), node.at.clone(), self.tracks[id.region.at()][id.node].clone())
        };
        let names = self.fleet.regions.iter().map(|region| region.name.to_string());
        HealthMemory {
            nodes: self.fleet.nodes().map(node).collect(),
            regions: names.zip(self.agreed.iter().cloned()).collect(),
            heard: self.heard.clone(),
            orders: self.orders.clone(),
            frozen: self.frozen,
        }
    }

    /// Goes on from what another router knew. `now` of the following calls must go on from its time.
    pub(crate) fn go_on_from(&mut self, memory: HealthMemory) {
        self.place(&memory);
        let HealthMemory { heard, orders, frozen, .. } = memory;
        (self.heard, self.orders, self.frozen) = (heard, orders, frozen);
        self.heard.remove(&self.me.0);
    }

    /// Gives each region and node of the fleet what the memory has of it.
    pub(super) fn place(&mut self, memory: &HealthMemory) {
        let known: BTreeMap<&NodeName, (&Endpoint, &Track)> =
            memory.nodes.iter().map(|(name, at, track)| (name, (at, track))).collect();
        let track = |region: &Region, node: &Node| {
            if let Some((_, track)) = known.get(&node.name).filter(|(at, _)| node.at.continues(at)) {
                return (*track).clone();
            }
            // The nodes of a region that is down prove themselves like any node that is down.
            let region = memory.regions.get(region.name.as_str());
            let is_down = region.is_some_and(|region| region.verdict == Verdict::Down);
            if is_down { Track::down() } else { Track::added() }
        };
        let new = Agreed { keeps: 100, is_new: true, ..Agreed::default() };
        let agreed = |region: &Region| memory.regions.get(region.name.as_str()).unwrap_or(&new).clone();
        let regions = &self.fleet.regions;
        self.tracks =
            regions.iter().map(|region| region.nodes.iter().map(|node| track(region, node)).collect()).collect();
        self.agreed = regions.iter().map(agreed).collect();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use api::Position;
    use jiff::Timestamp;

    use super::{Health, HealthMemory, Node};
    use crate::fleet::{Fleet, Region, RegionIndex};
    use crate::health::orders::Orders;
    use crate::health::{Ballot, HealthRules, Verdict};

    fn fleet(names: &[&str]) -> Arc<Fleet> {
        let node = |name: String, port: u16| Node {
            name: name.parse().unwrap(),
            at: std::net::SocketAddr::from(([127, 0, 0, 1], port)).into(),
            addresses: Vec::new(),
            weight: 1,
        };
        let region = |name: &str, port: u16| Region {
            name: name.parse().unwrap(),
            position: Position { latitude: 0.0, longitude: 0.0 },
            weight: 1.0,
            capacity: None,
            nodes: vec![node(format!("{name}-1"), port), node(format!("{name}-2"), port + 1)],
        };
        Arc::new(Fleet {
            regions: names.iter().zip((1..).step_by(10)).map(|(name, port)| region(name, port)).collect(),
        })
    }

    fn health(fleet: &Arc<Fleet>) -> Health {
        let me = ("router-1".to_owned(), None);
        Health::new(Arc::clone(fleet), HealthRules::default(), me, 2, &BTreeMap::new(), Orders::default())
    }

    /// A successor says the same as its predecessor, at the same moment and later, whatever both see.
    #[test]
    fn a_successor_goes_on_where_its_predecessor_is() {
        let (fleet, wall) = (fleet(&["eu", "us"]), Timestamp::UNIX_EPOCH);
        let mut old = health(&fleet);
        let down = |health: &mut Health, second: u64| {
            let now = Duration::from_secs(second);
            let ballot = Ballot {
                router: "router-2".to_owned(),
                region: None,
                verdicts: vec![("us".to_owned(), Verdict::Down)],
            };
            health.handle_ballot(now, ballot);
            for (region, node) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                // The region us is down from the beginning and comes back; one node of eu is down.
                let good = if region == 0 { node == 0 } else { second > 30 };
                health.handle_probe(now, RegionIndex(region), node, good);
            }
            health.assess(now, wall)
        };
        for second in 1..40 {
            down(&mut old, second);
        }
        let memory = serde_json::to_vec(&old.memory()).unwrap();
        let memory: HealthMemory = serde_json::from_slice(&memory).unwrap();
        assert_eq!((memory.heard().collect::<Vec<_>>(), memory.has_a_node_up()), (vec!["router-2"], true));
        let mut new = health(&fleet);
        new.go_on_from(memory);
        assert_eq!(new.memory(), old.memory());
        for second in 40..90 {
            assert_eq!(down(&mut new, second), down(&mut old, second), "second {second}");
        }
    }

    #[test]
    fn what_the_predecessor_does_not_know_takes_no_clients_yet() {
        let wall = Timestamp::UNIX_EPOCH;
        let (one, two) = (fleet(&["eu"]), fleet(&["eu", "us"]));
        let mut old = health(&one);
        for second in 1..5 {
            old.handle_probe(Duration::from_secs(second), RegionIndex(0), 0, true);
        }
        old.assess(Duration::from_secs(5), wall);
        let mut new = health(&two);
        new.go_on_from(old.memory());
        let fitness = new.assess(Duration::from_secs(5), wall);
        assert_eq!((fitness.admission[1], &fitness.regions[1].nodes_up), (0.0, &vec![false, false]));
        // An old router that says nothing of its state changes nothing that is harmful.
        let memory: HealthMemory = serde_json::from_str("{}").unwrap();
        assert_eq!(memory, HealthMemory::default());
    }
}
