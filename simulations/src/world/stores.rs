//! What is stored and what readers would see, for clients and for checks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use replication::memory::MemoryStorage;
use replication::storage::log_key;
use replication::{ChangeHash, DocumentKey, Dot, Reader, ReplicaId, Storage as _, VersionVector};

use super::World;

/// The documents that a reader sees, with the changes in each.
pub(super) type Live = BTreeMap<DocumentKey, BTreeSet<ChangeHash>>;

impl World {
    /// A reader of a disk, as the node has it, but without errors of the device.
    pub(super) fn reader(&self, at: usize) -> Reader<MemoryStorage> {
        Reader::new(self.nodes[at].disk.contents().clone(), self.scenario.replica.max_retention)
    }

    /// What readers of a replica see, by change.
    pub(super) fn live(&self, at: usize) -> Option<Live> {
        let process = self.nodes[at].process.as_ref()?;
        let rows = self.reader(at).all(process.replica.dead_through()).ok()?;
        Some(rows.into_iter().map(|(key, row)| (key, row.hashes())).collect())
    }

    /// Whether a replica's visible state is exactly what its vector covers: no batch is gathered or in flight.
    pub(super) fn is_settled(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        node.process.as_ref().is_some_and(|process| process.replica.gathered() == 0 && process.syncing.is_none())
    }

    /// Whether a store that lost a bucket may hold entries beyond its vector in the other buckets. It may until it has
    /// fetched its own log back or given it up; so long it does not say that it is complete for itself.
    pub(super) fn awaits_own(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        let Some(process) = node.process.as_ref().filter(|_| node.lost_bucket) else { return false };
        let status = process.replica.status(self.now_of(at));
        status.complete_through.get(&node.region).is_none_or(|through| through.0 == 0)
    }

    /// The origins of which some store has a log entry. Of any other origin nothing is left to show or to send, and a
    /// replica may have forgotten its name. So vectors that differ only there count as equal.
    pub(super) fn origins_left(&self) -> BTreeSet<ReplicaId> {
        let running = self.nodes.iter().filter_map(|node| Some(node.process.as_ref()?.replica.durable()));
        let origins: BTreeSet<ReplicaId> = running.flat_map(|known| known.iter()).map(|(origin, _)| origin).collect();
        let is_left = |origin: &ReplicaId| {
            let (start, end) =
                (log_key(Dot { origin: *origin, seq: 0 }), log_key(Dot { origin: *origin, seq: u64::MAX }));
            self.nodes.iter().filter(|node| node.exists).any(|node| {
                let storage = node.disk.contents();
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

    /// What a replica durably knows of these origins.
    pub(super) fn known_of(&self, at: usize, origins: &BTreeSet<ReplicaId>) -> Option<VersionVector> {
        let known = self.nodes[at].process.as_ref()?.replica.durable();
        Some(known.iter().filter(|(origin, _)| origins.contains(origin)).collect())
    }
}
