//! I2: replicas with equal vectors and equal horizons show the same.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use replication::memory::MemoryStorage;
use replication::storage::log_key;
use replication::{ChangeHash, DocumentKey, Dot, Reader, ReplicaId, Storage as _, VersionVector};

use super::Invariant;
use crate::world::World;

type Live = BTreeMap<DocumentKey, BTreeSet<ChangeHash>>;

impl World {
    /// A reader of a disk, as the node has it, but without errors of the device.
    pub(crate) fn reader(&self, at: usize) -> Reader<MemoryStorage> {
        Reader::new(self.nodes[at].disk.contents().clone(), self.scenario.replica.max_retention)
    }

    /// What readers of a replica see, by change.
    pub(crate) fn live(&self, at: usize) -> Option<Live> {
        let process = self.nodes[at].process.as_ref()?;
        let rows = self.reader(at).all(process.replica.dead_through()).ok()?;
        Some(rows.into_iter().map(|(key, row)| (key, row.hashes())).collect())
    }

    /// Whether a replica's visible state is exactly what its vector covers: no batch is gathered or in flight.
    pub(crate) fn is_settled(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        node.process.as_ref().is_some_and(|process| process.replica.gathered() == 0 && process.syncing.is_none())
    }

    /// Whether a store that lost a bucket may hold entries beyond its vector in the other buckets. It may until it has
    /// fetched its own log back or given it up; so long it does not say that it is complete for itself.
    fn awaits_own(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        let Some(process) = node.process.as_ref().filter(|_| node.lost_bucket) else { return false };
        let status = process.replica.status(self.now_of(at));
        status.complete_through.get(&node.region).is_none_or(|through| through.0 == 0)
    }

    /// The origins of which some store has a log entry. Of any other origin nothing is left to show or to send, and a
    /// replica may have forgotten its name. So vectors that differ only there count as equal.
    pub(crate) fn origins_left(&self) -> BTreeSet<ReplicaId> {
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
    pub(crate) fn known_of(&self, at: usize, origins: &BTreeSet<ReplicaId>) -> Option<VersionVector> {
        let known = self.nodes[at].process.as_ref()?.replica.durable();
        Some(known.iter().filter(|(origin, _)| origins.contains(origin)).collect())
    }

    /// Compares each pair that must be equal.
    pub(crate) fn equal_vectors_mean_equal_documents(&mut self) {
        let mut live: BTreeMap<usize, Option<Live>> = BTreeMap::new();
        let left = self.origins_left();
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                if !self.is_settled(a) || !self.is_settled(b) || self.awaits_own(a) || self.awaits_own(b) {
                    continue;
                }
                let (Some(one), Some(two)) = (&self.nodes[a].process, &self.nodes[b].process) else { continue };
                let (one, two) = (&one.replica, &two.replica);
                if self.known_of(a, &left) != self.known_of(b, &left) || one.horizon() != two.horizon() {
                    continue;
                }
                // A replica that relayed a document may have taken it for expired, because its clock was ahead within
                // the skew.
                let skew = self.scenario.replica.max_clock_skew;
                let moment = one.dead_through().max(two.dead_through()).plus(skew);
                for at in [a, b] {
                    live.entry(at).or_insert_with(|| self.live(at));
                }
                let (Some(Some(mine)), Some(Some(theirs))) = (live.get(&a), live.get(&b)) else { continue };
                let differ = mine
                    .iter()
                    .chain(theirs.iter())
                    .filter(|(key, _)| key.expires_at > moment)
                    .find(|(key, _)| mine.get(key) != theirs.get(key));
                let visit = differ.and_then(|(key, _)| self.model.names.get(&key.name).copied());
                let equal = differ.is_none();
                let other = self.nodes[b].name.clone();
                self.must(Invariant::Convergence, Some(a), equal, || {
                    format!("knows exactly what {other} knows, and they differ in visit {}", visit.unwrap_or_default())
                });
                if !equal {
                    return;
                }
            }
        }
    }

    /// In the end: the same changes give the same values.
    pub(crate) fn equal_values(&mut self, a: usize, b: usize) {
        // A single change has one value; replicas can differ only where several changes are merged.
        let read = |world: &World, at: usize| {
            let process = world.nodes[at].process.as_ref()?;
            let rows = world.reader(at).all(process.replica.dead_through()).ok()?;
            let merged = rows.into_iter().filter(|(_, row)| row.hashes().len() > 1);
            // Rows are compared only if they hold the same changes: of a visit that expires within the skew one replica
            // may have fewer.
            Some(merged.map(|(key, row)| ((key, row.hashes()), row.document().ok())).collect::<BTreeMap<_, _>>())
        };
        let (Some(mine), Some(theirs)) = (read(self, a), read(self, b)) else { return };
        let same = mine.iter().all(|(key, value)| theirs.get(key).is_none_or(|other| other == value));
        self.must(Invariant::Convergence, Some(a), same, || {
            "shows other values than another replica, of the same changes".to_owned()
        });
    }
}
