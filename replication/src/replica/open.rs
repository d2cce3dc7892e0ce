//! Start, restart, and going on under a new id.
//!
//! # The problem
//! A dot (id, seq) must never name two entries. If the disk went back in time (a restored backup, a lost bucket), the
//! store does not know the dots that it used since, and nothing in it says so. Only peers know.
//!
//! # The algorithm
//! 1. What the process finds is forced to the disk first: a process that was killed may have left it in the page cache.
//! 2. The buckets' marks say what is proven (`marks.rs`). If buckets are missing or older than the store was, all beyond
//!    that is fetched again, under a new id.
//! 3. A restarted replica issues nothing under its old id before its peers have said that they do not know more of that
//!    log than it does ([`Standing::Confirming`]). If one knows more, it goes on under a new id.
//! 4. Peers that cannot be asked in time are not waited for. If those that answered are a majority with us, and all are
//!    among them that were linked when the store last said so, the old id is kept: an entry that only a silent peer has
//!    would take a disk that went back, and a peer that was cut off from all others with us. Otherwise a new id is taken.
//! 5. A new id is only drawn, not stored. It becomes durable with the first entry under it, in the same batch: each
//!    bucket's mark names the id, so half a batch loses no use of it. An id that never wrote is in no vector.
//!
//! # Invariants
//! - No two entries share a dot, even if the disk went back in time unnoticed (assumption A8 says when it can).
//! - The store names its node: a store that was copied from another node begins with an empty past.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::awaited::Awaited;
use super::head::Heads;
use super::marks::{self, Found, Mark};
use super::origins::{Hearsay, Origins};
use super::pending::Pending;
use super::{BatchId, Event, Mint, Replica, ReplicaConfig, Standing, Ticket, Told};
use crate::claim::Completeness;
use crate::ids::{Dot, LinkId, NodeName, ReplicaId};
use crate::key::Bucket;
use crate::log::{LogEntry, Reference, Tombstone};
use crate::recent::Recent;
use crate::storage::{
    BucketBatch, META_KEY, Storage, StorageError, WriteBatch, document_key, log_key, read_log_seq, read_tombstone_key,
    tombstone_key, tombstone_range,
};
use crate::time::{Hlc, Now, Wall, millis};
use crate::trust::TrustedClock;
use crate::version::VersionVector;

/// Format 1 had gaps in the log where 2 says that something is erased; it reads as it is. What 3 and 4 add to `meta` is
/// zero before; since 4 the marks have a table of all buckets.
const FORMAT: u16 = 4;

/// The replica's own state, in [`Bucket::Lasting`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Meta {
    format: u16,
    id: ReplicaId,
    past: BTreeSet<ReplicaId>,
    /// What was durable when this was written.
    vector: VersionVector,
    settled: VersionVector,
    issued: u64,
    batch: u64,
    /// Tombstones lie where this puts them, so it can never change for a store.
    max_retention_ms: u64,
    horizon: Wall,
    /// Certain time; the epoch if no peer ever confirmed the clock.
    certain: Wall,
    /// The latest that certain time ever was.
    reached: Wall,
    /// Whose store it is; empty up to format 3.
    node: String,
    /// Peers that were linked when this was written.
    linked: BTreeSet<NodeName>,
    /// The store began empty, or lost a bucket, and has not yet got what its peers had.
    filling: bool,
    /// The seqs issued under the ids of `past`.
    ended: VersionVector,
    /// Which node each known log belongs to.
    owners: BTreeMap<ReplicaId, NodeName>,
    hearsay: Hearsay,
}

/// How many fields of `meta`, zero if absent, came with format 3 and with 4.
const ADDED: [usize; 2] = [1, 6];

fn read_meta<S: Storage>(storage: &S) -> Result<Option<Meta>, StorageError> {
    let Some(mut bytes) = storage.get(Bucket::Lasting, META_KEY)? else { return Ok(None) };
    let (format, _) = postcard::take_from_bytes::<u16>(&bytes)
        .map_err(|_| StorageError::Corrupt { what: "meta", bucket: Bucket::Lasting })?;
    if !(1..=FORMAT).contains(&format) {
        return Err(StorageError::Format { found: format, expected: FORMAT });
    }
    let added: usize = ADDED.iter().skip(usize::from(format).saturating_sub(2)).sum();
    bytes.resize(bytes.len() + added, 0);
    decode(&bytes, "meta", Bucket::Lasting).map(Some)
}

impl<S: Storage> Replica<S> {
    /// Opens a store, or begins one. Reads and writes storage; everything before `Ok` is durable.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails, the store is corrupt or of another format.
    pub fn open(config: ReplicaConfig, storage: S, mut mint: Mint, now: Now) -> Result<Replica<S>, StorageError> {
        // What lies in the page cache is not durable: the process before this one may have been killed.
        storage.sync()?;
        let buckets = marks::read(&storage)?;
        let stored = read_meta(&storage)?;
        let has_peers = !config.peers.is_empty();
        let persisted = stored.as_ref().map(|m| m.certain).filter(|certain| *certain > Wall::default());
        let reached = stored.as_ref().map(|m| m.reached).unwrap_or_default();
        let clock = TrustedClock::new(now, persisted, reached, has_peers, config.max_clock_skew, config.dead_after());
        let configured = millis(config.max_retention);
        if let Some(stored) = stored.as_ref().map(|m| m.max_retention_ms).filter(|stored| *stored != configured) {
            return Err(StorageError::Retention { stored, configured });
        }
        let horizon = stored.as_ref().map(|m| m.horizon).unwrap_or_default();
        let found = marks::judge(&buckets, horizon, stored.is_some());
        let last = marks::newest(&buckets);
        let is_fresh = stored.is_none();
        let meta = stored.unwrap_or_else(|| Meta {
            format: FORMAT,
            id: mint(),
            past: BTreeSet::new(),
            vector: VersionVector::default(),
            settled: VersionVector::default(),
            issued: 0,
            batch: 0,
            max_retention_ms: configured,
            horizon,
            certain: clock.certain(),
            reached: clock.reached(),
            node: config.node.to_string(),
            linked: BTreeSet::new(),
            filling: has_peers,
            ended: VersionVector::default(),
            owners: BTreeMap::new(),
            hearsay: Hearsay::default(),
        });
        let mut begun = Begun::of(&meta, &buckets, &found, &last, &config.node);
        if begun.needs_id && !is_fresh {
            begun.id = mint();
        }
        let waiting: BTreeSet<_> = config.peers.keys().cloned().collect();
        // A new id is in no peer's vector: there is nothing to confirm.
        let standing = if begun.needs_id || waiting.is_empty() {
            Standing::Running
        } else {
            Standing::Confirming { until: now.mono.plus(config.start_grace()), waiting }
        };
        let mut completeness = Completeness::default();
        for (node, region) in &config.peers {
            completeness.expect(node, region);
        }
        let mut awaited = Awaited::new((begun.filling || meta.filling) && has_peers, now.mono);
        for (origin, seq) in begun.recover.iter() {
            awaited.expect_back(origin, seq, now.mono);
        }
        let mut replica = Replica {
            id: begun.id,
            is_unsaved: begun.needs_id,
            past: begun.past.into_iter().filter(|past| *past != begun.id).collect(),
            standing,
            linked_then: meta.linked.clone(),
            started: now.mono,
            awaited,
            lost_since: None,
            lost_buckets: matches!(found, Found::WentBack { .. }),
            reminted: None,
            origins: Origins::new(meta.owners.clone()),
            hearsay: meta.hearsay.clone(),
            // What was acknowledged before the start rests on no more than was known then.
            promised: begun.vector.clone(),
            ended: begun.ended,
            complete: BTreeSet::new(),
            heads: Heads::new(begun.head),
            last_ids: BTreeMap::new(),
            boots: BTreeMap::new(),
            retire_at: now.mono,
            hlc: Hlc::default().tick(clock.trusted()),
            clock,
            issued: begun.issued,
            durable: begun.vector.clone(),
            vector: begun.vector,
            settled: begun.settled,
            horizon,
            told: Told::default(),
            buckets,
            pending: Pending::default(),
            in_flight: None,
            compaction_due: BTreeSet::new(),
            meta_written: now.mono,
            next_batch: BatchId(meta.batch.max(last.batch) + 1),
            next_ticket: Ticket(1),
            recent: Recent::new(begun.issued, begun.head, config.recent_bytes),
            completeness,
            links: BTreeMap::new(),
            served: LinkId(0),
            frame_cache: None,
            transmits: VecDeque::new(),
            events: begun.events,
            next_tick: now.mono,
            config,
            storage,
            mint,
        };
        if is_fresh || !replica.events.is_empty() {
            replica.write_meta_now()?;
        }
        if !begun.filling {
            replica.undo()?;
        }
        replica.finish_removals()?;
        Ok(replica)
    }

    /// Where the last batch reached only some of its buckets, what it held of other replicas' logs was never
    /// acknowledged and is taken out again: data beyond the vector would not be passed on by us, and could
    /// stay here alone if its origin's disk goes back in time. Each bucket's mark says what it may hold, so that this can
    /// itself be cut short and begun again.
    fn undo(&mut self) -> Result<(), StorageError> {
        let beyond = |mark: &&Mark| !self.vector.covers(&mark.vector);
        let half: Vec<_> = self.buckets.iter().filter(|(_, mark)| beyond(mark)).map(|(b, m)| (*b, m.clone())).collect();
        for (bucket, mark) in &half {
            for (origin, through) in mark.vector.iter().filter(|(origin, _)| origin.0 != mark.replica) {
                if self.vector.get(origin) >= through {
                    continue;
                }
                let start = log_key(Dot { origin, seq: self.vector.get(origin) + 1 });
                let end = log_key(Dot { origin, seq: through.saturating_add(1) });
                let mut entries = Vec::new();
                let mut corrupt = false;
                self.storage.scan(*bucket, &start, &end, &mut |key, value| {
                    match (read_log_seq(key), LogEntry::decode(value)) {
                        (Some(seq), Some(entry)) => entries.push((Dot { origin, seq }, entry.what)),
                        _ => corrupt = true,
                    }
                    if corrupt { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })?;
                if corrupt {
                    return Err(StorageError::Corrupt { what: "log entry", bucket: *bucket });
                }
                for (dot, what) in entries {
                    self.undo_entry(*bucket, dot, what)?;
                }
            }
        }
        Ok(())
    }

    fn undo_entry(&mut self, bucket: Bucket, dot: Dot, what: Reference) -> Result<(), StorageError> {
        match what {
            Reference::Erased(..) => {}
            Reference::Tombstone(name, until, _) => {
                // Several entries may erase the same name; the tombstone goes with the one that brought it.
                if self.tombstone(&name.expiring(until))?.is_some_and(|tombstone| tombstone.dot == dot) {
                    self.pending.remove(bucket, tombstone_key(&name));
                    self.pending.count(bucket, 0, -1);
                }
            }
            Reference::Change(key) => {
                let (mut row, existed) = self.row(&key)?;
                row.forget(dot);
                if row.is_empty() {
                    self.pending.remove(bucket, document_key(&key));
                    self.pending.count(bucket, -i64::from(existed), 0);
                } else {
                    let row = row.encode(&key).map_err(|_| StorageError::Corrupt { what: "row", bucket })?;
                    self.pending.put(bucket, document_key(&key), row);
                }
            }
        }
        self.pending.remove(bucket, log_key(dot));
        Ok(())
    }

    /// Tombstones that became durable just before a crash: their rows are removed now, before anyone reads.
    fn finish_removals(&mut self) -> Result<(), StorageError> {
        let (start, end) = tombstone_range(&[]);
        let mut unfinished = Vec::new();
        for bucket in self.buckets.keys() {
            let mut corrupt = false;
            self.storage.scan(*bucket, &start, &end, &mut |key, value| {
                match (read_tombstone_key(key), postcard::from_bytes::<Tombstone>(value)) {
                    (Some(name), Ok(tombstone)) if !self.settled.contains(tombstone.dot) => {
                        unfinished.push((name, tombstone));
                    }
                    (Some(_), Ok(_)) => {}
                    _ => corrupt = true,
                }
                if corrupt { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            if corrupt {
                return Err(StorageError::Corrupt { what: "tombstone", bucket: *bucket });
            }
        }
        for (name, tombstone) in unfinished {
            // One that was undone just now erases nothing.
            if self.tombstone(&name.expiring(tombstone.until))?.is_some() {
                self.remove_rows(&name, &tombstone)?;
            }
        }
        if let Some(batch) = self.poll_batch()? {
            self.storage.sync()?;
            if let Some(done) = self.in_flight.take() {
                self.settled = done.settles;
            }
            self.durable.merge(&self.vector);
            debug_assert!(batch < self.next_batch);
        }
        Ok(())
    }

    /// Goes on under a new id; the log until now becomes that of an earlier incarnation.
    pub(super) fn reincarnate(&mut self, now: Now) -> Result<(), StorageError> {
        // Peers may know more of the old log than we do: nothing is issued under the old id any more.
        let unexplained = std::mem::take(&mut self.pending.unexplained);
        // What was issued under the old id is made durable first, so that the old log's end is known for good.
        self.settle_batches(now)?;
        let old = self.id;
        if self.issued > 0 {
            self.past.insert(old);
            self.ended.advance(old, self.issued);
        }
        self.id = (self.mint)();
        self.is_unsaved = true;
        self.issued = 0;
        self.heads = self.heads.restart();
        self.recent = Recent::new(0, self.heads.own(), self.config.recent_bytes);
        self.standing = Standing::Running;
        self.pending.unexplained = unexplained;
        self.events.push_back(Event::Reincarnated { old, new: self.id });
        for link in self.links.values_mut() {
            link.hello_due = true;
        }
        self.observe(now);
        Ok(())
    }

    /// Makes durable what is on its way and what is gathered, and waits for it: before a change that no batch may cross.
    pub(super) fn settle_batches(&mut self, now: Now) -> Result<(), StorageError> {
        while let Some(last) = self.in_flight.as_ref().map(|batch| batch.id).or(self.poll_batch()?) {
            self.storage.sync()?;
            self.handle_durable(now, last)?;
        }
        Ok(())
    }

    /// The time is over in which peers could say that they know no more of our log than we do.
    pub(super) fn stop_confirming(&mut self, now: Now) -> Result<(), StorageError> {
        let Standing::Confirming { waiting, .. } = &self.standing else { return Ok(()) };
        let nodes = self.config.peers.len() + 1;
        let is_majority = (nodes - waiting.len()) * 2 > nodes;
        let has_witnesses = self.linked_then.is_disjoint(waiting);
        if is_majority && has_witnesses {
            self.standing = Standing::Running;
            return Ok(());
        }
        self.reincarnate(now)
    }

    /// Writes `meta` and waits until it is durable: at a new id and before a bucket goes, both rare.
    pub(super) fn write_meta_now(&mut self) -> Result<(), StorageError> {
        let writes = vec![(META_KEY.to_vec(), Some(self.encode_meta()))];
        let batch = WriteBatch { buckets: vec![(Bucket::Lasting, BucketBatch { writes })] };
        self.storage.apply(&batch)?;
        self.storage.sync()
    }

    pub(super) fn encode_meta(&self) -> Vec<u8> {
        let meta = Meta {
            format: FORMAT,
            id: self.id,
            past: self
                .past
                .iter()
                .filter(|id| self.ended.get(**id) > 0 || self.vector.get(**id) > 0)
                .copied()
                .collect(),
            vector: self.durable.clone(),
            settled: self.settled.clone(),
            issued: self.issued,
            batch: self.next_batch.0,
            max_retention_ms: millis(self.config.max_retention),
            horizon: self.horizon,
            certain: self.clock.certain(),
            reached: self.clock.reached(),
            node: self.config.node.to_string(),
            linked: self.linked_then.clone(),
            filling: self.awaited.is_filling(),
            ended: self.ended.clone(),
            owners: self.origins.owners_of(&self.durable),
            hearsay: self.hearsay.clone(),
        };
        postcard::to_stdvec(&meta).unwrap_or_default()
    }
}

/// With what a replica begins.
struct Begun {
    id: ReplicaId,
    needs_id: bool,
    past: BTreeSet<ReplicaId>,
    ended: VersionVector,
    vector: VersionVector,
    settled: VersionVector,
    issued: u64,
    head: Option<u32>,
    /// Own entries that are to be fetched back.
    recover: VersionVector,
    filling: bool,
    events: VecDeque<Event>,
}

impl Begun {
    fn of(meta: &Meta, marks: &BTreeMap<Bucket, Mark>, found: &Found, last: &Mark, node: &NodeName) -> Begun {
        let mut issued = marks::issued(marks);
        issued.advance(meta.id, meta.issued);
        // Ids that are newer than `meta`: the batch that held the first entry under one reached not all its buckets.
        let lasting = marks.get(&Bucket::Lasting).map_or(0, |mark| mark.batch);
        let newer = marks.values().filter(|mark| mark.batch > lasting && mark.replica != 0);
        let newer = newer.map(|mark| ReplicaId(mark.replica)).filter(|id| *id != meta.id);
        let mut past: BTreeSet<ReplicaId> = meta.past.iter().copied().chain(newer).collect();
        let mut events = VecDeque::new();
        let is_copy = !meta.node.is_empty() && meta.node != node.as_str();
        let has_head = |mark: &&Mark| mark.replica == meta.id.0 && mark.issued == issued.get(meta.id);
        let mut begun = Begun {
            id: meta.id,
            needs_id: false,
            past: BTreeSet::new(),
            ended: meta.ended.clone(),
            vector: VersionVector::default(),
            settled: meta.settled.clone(),
            issued: issued.get(meta.id),
            head: if issued.get(meta.id) == 0 { Some(0) } else { marks.values().find(has_head).and_then(|m| m.head) },
            recover: VersionVector::default(),
            filling: false,
            events: VecDeque::new(),
        };
        match found {
            Found::Whole(vector) | Found::Half(vector) => {
                begun.vector = meta.vector.clone();
                begun.vector.merge(vector);
                begun.settled.merge(&last.settled);
                // Issued but not durable: nothing was told of them, and nothing will be, but the seqs are used up.
                // Not those of earlier ids: they were settled when the id was given up, and if a bucket was lost since then
                // entries of theirs are still to be fetched back.
                let is_settled = |origin: &ReplicaId| meta.past.contains(origin);
                let used = issued.iter().filter(|(o, _)| (*o == meta.id || past.contains(o)) && !is_settled(o));
                for (origin, seq) in used {
                    begun.vector.advance(origin, seq);
                }
            }
            Found::WentBack { proven, missing } => {
                begun.vector = proven.clone();
                // Rows that were removed may be back: every tombstone is looked at again.
                begun.settled = VersionVector::default();
                begun.filling = true;
                events.push_back(Event::BucketsLost(missing.clone()));
            }
        }
        if is_copy {
            if let Ok(of) = meta.node.parse() {
                events.push_back(Event::CopiedFrom(of));
            }
            begun.filling = true;
            past.clear();
            begun.ended = VersionVector::default();
        } else if begun.filling {
            past.extend(Some(meta.id).filter(|id| issued.get(*id) > 0));
            for (origin, seq) in issued.iter().filter(|(origin, _)| past.contains(origin)) {
                begun.ended.advance(origin, seq);
            }
            begun.recover = begun.ended.clone();
        } else {
            for (origin, seq) in issued.iter().filter(|(origin, _)| past.contains(origin)) {
                begun.ended.advance(origin, seq);
            }
        }
        // Under the stored id the disk may have issued something before it went back to where nothing was issued.
        if begun.filling || begun.issued == 0 {
            (begun.needs_id, begun.issued, begun.head) = (true, 0, Some(0));
        }
        if begun.needs_id && !is_copy {
            past.insert(meta.id);
        } else {
            past.remove(&meta.id);
        }
        Begun { past, events, ..begun }
    }
}

fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8], what: &'static str, bucket: Bucket) -> Result<T, StorageError> {
    postcard::from_bytes(bytes).map_err(|_| StorageError::Corrupt { what, bucket })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::{ADDED, META_KEY, Meta};
    use crate::ids::ReplicaId;
    use crate::key::Bucket;
    use crate::memory::MemoryStorage;
    use crate::replica::{Replica, ReplicaConfig};
    use crate::storage::{BucketBatch, Storage as _, WriteBatch};
    use crate::time::{Monotonic, Now, Wall};

    #[test]
    fn a_store_of_an_older_format_opens() {
        let storage = MemoryStorage::default();
        let now = Now { mono: Monotonic(Duration::ZERO), wall: Wall(1_800_000_000_000) };
        let open = || {
            let config = ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), BTreeMap::new());
            Replica::open(config, storage.clone(), Box::new(|| ReplicaId(1)), now)
        };
        let status = open().unwrap().status(now);
        let meta = storage.get(Bucket::Lasting, META_KEY).unwrap().unwrap();
        let written = postcard::from_bytes::<Meta>(&meta).unwrap();
        assert_eq!(written.reached, now.wall);
        let reached = postcard::to_stdvec(&written.reached).unwrap().len();
        // What came with format 4 is one byte each while it is empty, but for the node's name.
        let added = ADDED[1] + written.node.len();
        for (format, missing) in [(1, added + reached), (2, added + reached), (3, added)] {
            let mut older = meta[..meta.len() - missing].to_vec();
            older[0] = format;
            let writes = vec![(META_KEY.to_vec(), Some(older))];
            let batch = WriteBatch { buckets: vec![(Bucket::Lasting, BucketBatch { writes })] };
            storage.apply(&batch).unwrap();
            let reopened = open().unwrap().status(now);
            assert_eq!(reopened.durable, status.durable);
            assert!(!reopened.forgot_early);
        }
    }
}
