//! The invariants of a history, named as in the README.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use replication::{
    Bucket, ChangeHash, DocumentKey, DocumentName, Dot, LogEntry, ReplicaId, Storage, View, Wall, has_log_entries,
    scan_logs,
};

use crate::steps::Ending;
use crate::world::{MAX_RETENTION, SKEW, World, payload};

/// Ticks within which healed replicas must agree. Reconnecting, doubt about clocks, relays and retransmissions each
/// take a few heartbeats of five ticks.
const CONVERGENCE_TICKS: usize = 300;

/// I4: an acknowledged erasure left no readable byte behind.
pub(crate) fn erased_from_disk(world: &World, at: usize, name: &DocumentName) -> Result<(), String> {
    for content in 0..=u8::MAX {
        let canary = payload(name, content);
        let canary = canary.as_bytes();
        for value in world.nodes[at].storage.values() {
            if value.windows(canary.len()).any(|window| window == canary) {
                return Err(format!("I4: replica {at} still holds bytes of an erased document"));
            }
        }
        // Contents 0 and 1 are creations; amendments are checked by a sample.
        if content == 3 {
            break;
        }
    }
    Ok(())
}

type Live = BTreeMap<DocumentKey, BTreeSet<ChangeHash>>;

impl World {
    fn live(&self, at: usize) -> Live {
        let Some(replica) = &self.nodes[at].replica else { return Live::new() };
        let rows = self.reader(at).all(replica.dead_through()).expect("readable");
        rows.into_iter().map(|(key, row)| (key, row.hashes())).collect()
    }

    /// Checks what must hold at every moment.
    pub(crate) fn check_safety(&mut self) -> Result<(), String> {
        for at in 0..self.nodes.len() {
            let live = self.live(at);
            self.no_resurrection(at, &live)?;
            self.sessions_hold(at, &live)?;
            let phantom = live.iter().find(|(key, hashes)| !hashes.is_subset(&self.model.may(key)));
            if let Some((key, _)) = phantom {
                return Err(format!("replica {at} shows a change of {key:?} that no client wrote"));
            }
        }
        self.no_dot_stands_for_two_entries()?;
        self.equal_vectors_mean_equal_documents()
    }

    /// I11: two stores have the same entry at one dot, its time included.
    fn no_dot_stands_for_two_entries(&self) -> Result<(), String> {
        let mut entries: BTreeMap<Dot, LogEntry> = BTreeMap::new();
        for node in &self.nodes {
            for bucket in node.storage.buckets() {
                let mut fork = None;
                let scanned = scan_logs(&node.storage, bucket, &mut |dot, entry| {
                    if !entries.entry(dot).or_insert(entry).is_same(&entry) {
                        fork = Some(dot);
                    }
                });
                scanned.map_err(|e| e.to_string())?;
                if let Some(dot) = fork {
                    return Err(format!("I11: {dot:?} stands for two entries"));
                }
            }
        }
        Ok(())
    }

    /// I3: a document that was dead in a replica is not alive there again. A restart may lose an erasure that was not
    /// acknowledged, and a roll-back any; both start the observation anew.
    fn no_resurrection(&mut self, at: usize, live: &Live) -> Result<(), String> {
        let resurrected = live.keys().find(|key| self.nodes[at].dead.contains(key));
        if let Some(key) = resurrected {
            return Err(format!("I3: {key:?} is alive again in replica {at}"));
        }
        let Some(replica) = &self.nodes[at].replica else { return Ok(()) };
        let reader = self.reader(at);
        let dead_through = replica.dead_through();
        // If a clock was wrong beyond the skew and came back, documents that only it had hidden are shown again.
        let honest = dead_through <= self.true_time().plus(SKEW);
        let mut dead = BTreeSet::new();
        for taken in &self.model.changes {
            let lasting = taken.key.expires_at == Wall::NEVER;
            let erased = reader.is_erased(&taken.key.name, lasting, View::applied(dead_through)).expect("readable");
            if erased || (honest && taken.key.expires_at <= dead_through) {
                dead.insert(taken.key);
            }
        }
        self.nodes[at].dead.extend(dead);
        Ok(())
    }

    /// I7: a replica that covers a session's token shows what the session wrote.
    fn sessions_hold(&self, at: usize, live: &Live) -> Result<(), String> {
        let Some(replica) = &self.nodes[at].replica else { return Ok(()) };
        for (token, key, hash) in &self.model.sessions {
            let shows = live.get(key).is_some_and(|hashes| hashes.contains(hash));
            let excused =
                key.expires_at <= replica.dead_through().max(self.true_time()) || self.model.maybe_erased(&key.name);
            if replica.durable().covers(token) && !shows && !excused {
                return Err(format!("I7: replica {at} covers {token:?} and does not show {key:?}"));
            }
        }
        Ok(())
    }

    /// I2: equal version vectors and equal horizons mean equal live documents.
    fn equal_vectors_mean_equal_documents(&self) -> Result<(), String> {
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                let (Some(one), Some(two)) = (&self.nodes[a].replica, &self.nodes[b].replica) else { continue };
                // Only settled replicas: with nothing gathered, a replica's visible state is what its vector covers.
                if self.nodes[a].restarted || self.nodes[b].restarted {
                    continue;
                }
                if one.durable() != two.durable()
                    || one.horizon() != two.horizon()
                    || !self.settled(a)
                    || !self.settled(b)
                {
                    continue;
                }
                let moment = one.dead_through().max(two.dead_through());
                let (mine, theirs) = (self.live(a), self.live(b));
                let alive =
                    |live: Live| -> Live { live.into_iter().filter(|(key, _)| key.expires_at > moment).collect() };
                if alive(mine) != alive(theirs) {
                    return Err(format!("I2: replicas {a} and {b} have equal vectors and differ"));
                }
            }
        }
        Ok(())
    }

    /// The end of every history: all faults end, and within bounded time all replicas agree with the model.
    pub(crate) fn heal_and_compare(&mut self, ending: Ending) -> Result<(), String> {
        self.heal(ending);
        let mut last = String::new();
        for _ in 0..CONVERGENCE_TICKS {
            self.tick()?;
            match self.agrees_with_model() {
                Ok(()) if (0..self.nodes.len()).all(|at| self.settled(at)) => {
                    for node in &mut self.nodes {
                        node.restarted = false;
                    }
                    self.check_safety()?;
                    return self.check_forgetting();
                }
                Ok(()) => last = "batches never settle".to_owned(),
                Err(why) => last = why,
            }
        }
        Err(format!("I9: not converged: {last}"))
    }

    /// I1: every acknowledged change that is neither erased nor expired.
    pub(crate) fn shows_what_it_must(&self, at: usize) -> Result<(), String> {
        let live = self.live(at);
        for (key, hashes) in self.model.must(self.true_time().plus(SKEW)) {
            if !live.get(&key).is_some_and(|have| hashes.is_subset(have)) {
                return Err(format!("I1: replica {at} lacks an acknowledged change of {key:?}"));
            }
        }
        Ok(())
    }

    /// Whether all agree within this many ticks.
    pub(crate) fn converges(&mut self, ticks: usize) -> Result<bool, String> {
        for _ in 0..ticks {
            self.tick()?;
            if self.agrees_with_model().is_ok() && (0..self.nodes.len()).all(|at| self.settled(at)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// An origin of which some replica has entries and of which not all know the same. An origin without entries is
    /// left out, because a replica may have forgotten its name.
    fn differing(&self) -> Option<ReplicaId> {
        let running: Vec<_> =
            self.nodes.iter().filter_map(|n| Some((n.replica.as_ref()?.durable(), &n.storage))).collect();
        let origins: BTreeSet<ReplicaId> =
            running.iter().flat_map(|(v, _)| v.iter()).map(|(origin, _)| origin).collect();
        origins.into_iter().find(|origin| {
            let seqs: BTreeSet<u64> = running.iter().map(|(vector, _)| vector.get(*origin)).collect();
            seqs.len() > 1 && running.iter().any(|(_, storage)| has_log_entries(*storage, *origin, 0).expect("memory"))
        })
    }

    fn agrees_with_model(&self) -> Result<(), String> {
        let now = self.true_time();
        if let Some(origin) = self.differing() {
            let vectors: Vec<_> =
                self.nodes.iter().filter_map(|n| n.replica.as_ref()).map(|r| (r.id(), r.durable())).collect();
            return Err(format!("vectors differ in {origin}: {vectors:?}"));
        }
        for at in 0..self.nodes.len() {
            let status = self.nodes[at].replica.as_ref().map(|replica| replica.status(self.now(at)));
            if status.as_ref().is_some_and(|status| status.doubt.is_some()) {
                return Err(format!("replica {at} doubts its clock"));
            }
            // Entries of a half batch are in the store beyond the vector until the peers were asked.
            if status.is_some_and(|status| status.starting) {
                return Err(format!("replica {at} is starting"));
            }
            self.shows_what_it_must(at)?;
            for key in self.live(at).keys() {
                if key.expires_at <= now {
                    return Err(format!("I5: replica {at} shows {key:?} after its expiry"));
                }
                if self.model.surely_erased(&key.name) {
                    return Err(format!("I3: replica {at} shows {key:?}, which is erased"));
                }
            }
            for (name, erasures) in &self.model.erased {
                // An expired day's bytes go with its bucket, and its tombstones need not be sent any more.
                let expired = name.id.arrival().plus(MAX_RETENTION) <= now;
                if erasures.iter().any(|e| e.acknowledged && !e.lost) && !expired {
                    erased_from_disk(self, at, name)?;
                }
            }
        }
        Ok(())
    }

    fn settled(&self, at: usize) -> bool {
        self.nodes[at].replica.as_ref().is_some_and(|r| r.gathered() == 0) && self.idle(at)
    }

    /// I5: when the longest retention has passed only lasting documents are stored.
    fn check_forgetting(&mut self) -> Result<(), String> {
        for _ in 0..3 {
            self.elapsed += MAX_RETENTION / 2 + Duration::from_hours(13);
            for _ in 0..30 {
                self.tick()?;
            }
            self.check_safety()?;
        }
        for at in 0..self.nodes.len() {
            let buckets = self.nodes[at].storage.buckets();
            if buckets.iter().any(|bucket| *bucket != Bucket::Lasting) {
                return Err(format!("I5: replica {at} still has {buckets:?}"));
            }
        }
        Ok(())
    }
}
