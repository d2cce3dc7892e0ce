//! All machines of the deployment, and what follows from their states alone: which may have a link, which have one, and
//! what their stores hold.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Index, IndexMut};

use replication::{Dot, ReplicaConfig, ReplicaId, Storage as _, VersionVector, log_key};

use super::machine::Machine;
use super::network::Network;
use crate::index::NodeIndex;
use crate::scenario::{ReplicaSettings, Topology};

/// All machines, by their index.
pub(crate) struct Machines {
    all: Vec<Machine>,
    topology: Topology,
}

impl Index<NodeIndex> for Machines {
    type Output = Machine;

    fn index(&self, node: NodeIndex) -> &Machine {
        &self.all[node.0]
    }
}

impl IndexMut<NodeIndex> for Machines {
    fn index_mut(&mut self, node: NodeIndex) -> &mut Machine {
        &mut self.all[node.0]
    }
}

impl Machines {
    pub(super) fn new(all: Vec<Machine>, topology: Topology) -> Machines {
        Machines { all, topology }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn indices(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (0..self.all.len()).map(NodeIndex)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Machine> {
        self.all.iter()
    }

    pub(super) fn iter_indexed(&self) -> impl Iterator<Item = (NodeIndex, &Machine)> {
        self.indices().zip(&self.all)
    }

    /// The machines that are part of the deployment now.
    pub(super) fn existing(&self) -> impl Iterator<Item = NodeIndex> {
        self.iter_indexed().filter(|(_, machine)| machine.exists).map(|(node, _)| node)
    }

    /// The configuration of the replica on a machine, as of now.
    pub(super) fn config(&self, node: NodeIndex, settings: &ReplicaSettings) -> ReplicaConfig {
        // All others, linked or not. After a roll-back any of them may hold entries of the log, so all must be asked.
        let peers = self.existing().filter(|peer| *peer != node);
        let peers = peers.map(|peer| (self[peer].name.clone(), self[peer].region.clone())).collect();
        let machine = &self[node];
        ReplicaConfig {
            // Differs for each process.
            boot: (node.0 as u64) << 32 | machine.epoch,
            max_retention: settings.max_retention,
            max_clock_skew: settings.max_clock_skew,
            heartbeat: settings.heartbeat,
            relay_after: settings.relay_after,
            scrub_every: settings.scrub_every,
            in_flight_bytes: settings.in_flight_kib * 1024,
            ..ReplicaConfig::new(machine.name.clone(), machine.region.clone(), peers)
        }
    }

    /// Whether two machines can have a link.
    pub(super) fn are_neighbours(&self, a: NodeIndex, b: NodeIndex) -> bool {
        let exist: Vec<NodeIndex> = self.existing().collect();
        let place = |node| exist.iter().position(|other| *other == node);
        let (Some(a), Some(b)) = (place(a), place(b)) else { return false };
        a != b && self.topology.links(a, b, exist.len())
    }

    /// Whether both ends have a connection with each other.
    pub(super) fn are_linked(&self, a: NodeIndex, b: NodeIndex) -> bool {
        self[a].has_link_to(b) && self[b].has_link_to(a)
    }

    /// The machines to which there is a path now, direct or over others. Another fault may still be on.
    pub(super) fn reachable(&self, from: NodeIndex, net: &Network) -> BTreeSet<NodeIndex> {
        let mut reached = BTreeSet::from([from]);
        let mut waiting = vec![from];
        while let Some(node) = waiting.pop() {
            for next in self.indices() {
                let open = self.are_neighbours(node, next) && net.is_open_both(node, next);
                if open && self[next].is_up() && reached.insert(next) {
                    waiting.push(next);
                }
            }
        }
        reached
    }

    /// The longest of the shortest paths between these machines, in links.
    pub(super) fn hops(&self, core: &BTreeSet<NodeIndex>) -> usize {
        let mut longest = 0;
        for start in core {
            let mut reached = BTreeSet::from([*start]);
            let mut steps = 0;
            loop {
                let next = core.iter().filter(|to| reached.iter().any(|from| self.are_neighbours(*from, **to)));
                let before = reached.len();
                let next: Vec<NodeIndex> = next.copied().collect();
                reached.extend(next);
                if reached.len() == before {
                    break;
                }
                steps += 1;
            }
            longest = longest.max(steps);
        }
        longest
    }

    /// The origins of which some store has a log entry. Of any other origin nothing is left to show or to send, and a
    /// replica may have forgotten its name. So vectors that differ only there count as equal.
    pub(super) fn origins_left(&self) -> BTreeSet<ReplicaId> {
        let running = self.all.iter().filter_map(|machine| Some(machine.process.as_ref()?.replica.durable()));
        let origins: BTreeSet<ReplicaId> = running.flat_map(|known| known.iter()).map(|(origin, _)| origin).collect();
        let is_left = |origin: &ReplicaId| {
            let (start, end) =
                (log_key(Dot { origin: *origin, seq: 0 }), log_key(Dot { origin: *origin, seq: u64::MAX }));
            self.all.iter().filter(|machine| machine.exists).any(|machine| {
                let storage = machine.disk.contents();
                storage.buckets().into_iter().any(|bucket| {
                    let mut found = false;
                    let scanned = storage.scan(bucket, &start, &end, &mut |_, _| {
                        found = true;
                        ControlFlow::Break(())
                    });
                    found || scanned.is_err()
                })
            })
        };
        origins.into_iter().filter(is_left).collect()
    }

    /// The vector of everything that some machine has durably: a stopped process still has its disk, with all that it
    /// told.
    pub(super) fn known_anywhere(&self) -> VersionVector {
        let mut known = VersionVector::default();
        for machine in self.all.iter().filter(|machine| machine.exists) {
            known.merge(machine.known());
        }
        known
    }
}
