//! Start, restart, and going on under a new id.
//!
//! # Invariants
//! - An id is durable before anything is issued under it.
//! - A restarted replica issues nothing under its old id before every configured peer has said that it does not
//!   know more of that log than we do; if one does, or one cannot be asked in time, a new id is minted. So no
//!   two entries ever share a dot, even if the disk went back in time unnoticed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::pending::{Mark, Pending};
use super::{BatchId, Event, Mint, Replica, ReplicaConfig, Standing, Ticket};
use crate::claim::Completeness;
use crate::ids::{Dot, ReplicaId};
use crate::key::Bucket;
use crate::log::{LogEntry, Reference, Tombstone};
use crate::recent::Recent;
use crate::storage::{
    BucketBatch, MARK_KEY, META_KEY, Storage, StorageError, WriteBatch, document_key, log_key, read_log_seq,
    read_tombstone_key, tombstone_key, tombstone_range,
};
use crate::time::{Hlc, Now, Wall, millis};
use crate::trust::TrustedClock;
use crate::version::VersionVector;

/// Format 1 had gaps in the log where 2 says that something is erased; it reads as it is. What 3 adds to `meta` is zero in both.
const FORMAT: u16 = 3;

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
}

impl<S: Storage> Replica<S> {
    /// Opens a store, or begins one. Reads and writes storage; everything before `Ok` is durable.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails, the store is corrupt or of another format.
    pub fn open(config: ReplicaConfig, storage: S, mut mint: Mint, now: Now) -> Result<Replica<S>, StorageError> {
        let mut buckets = BTreeMap::new();
        for bucket in storage.buckets() {
            // A crash may leave a bucket of which not even the first batch survived.
            let mark = storage.get(bucket, MARK_KEY)?;
            let mark = mark.map_or(Ok(Mark::default()), |mark| decode(&mark, "mark", bucket))?;
            buckets.insert(bucket, mark);
        }
        let meta: Option<Meta> = match storage.get(Bucket::Lasting, META_KEY)? {
            Some(bytes) => {
                let (format, _) = postcard::take_from_bytes::<u16>(&bytes)
                    .map_err(|_| StorageError::Corrupt { what: "meta", bucket: Bucket::Lasting })?;
                if !(1..=FORMAT).contains(&format) {
                    return Err(StorageError::Format { found: format, expected: FORMAT });
                }
                let ending: &[u8] = if format < 3 { &[0] } else { &[] };
                Some(decode(&[&bytes[..], ending].concat(), "meta", Bucket::Lasting)?)
            }
            None => None,
        };
        let restarted = meta.is_some();
        let persisted = meta.as_ref().map(|m| m.certain).filter(|certain| *certain > Wall::default());
        let reached = meta.as_ref().map(|m| m.reached).unwrap_or_default();
        let has_peers = !config.peers.is_empty();
        let clock = TrustedClock::new(now, persisted, reached, has_peers, config.max_clock_skew, config.dead_after());
        let meta = meta.unwrap_or_else(|| Meta {
            format: FORMAT,
            id: mint(),
            past: BTreeSet::new(),
            vector: VersionVector::default(),
            settled: VersionVector::default(),
            issued: 0,
            batch: 0,
            max_retention_ms: millis(config.max_retention),
            horizon: Wall(0),
            certain: clock.certain(),
            reached: clock.reached(),
        });

        if meta.max_retention_ms != millis(config.max_retention) {
            let configured = millis(config.max_retention);
            return Err(StorageError::Retention { stored: meta.max_retention_ms, configured });
        }
        let mut past = meta.past.clone();
        let mut vector = meta.vector.clone();
        let mut settled = meta.settled.clone();
        let last = buckets.values().max_by_key(|mark| mark.batch).cloned().unwrap_or_default();
        let complete = last.touched.iter().all(|bucket| {
            bucket.end() <= meta.horizon || buckets.get(bucket).is_some_and(|mark| mark.batch == last.batch)
        });
        vector.merge(if complete { &last.vector } else { &last.previous });
        settled.merge(&last.settled);
        // Issued but not durable: nobody was told, and nobody will be, but the seqs are used up.
        vector.advance(meta.id, meta.issued);
        for mark in buckets.values().filter(|mark| mark.replica != 0) {
            let replica = ReplicaId(mark.replica);
            vector.advance(replica, mark.issued);
            if replica != meta.id {
                past.insert(replica);
            }
        }
        let issued = vector.get(meta.id);
        let waiting: BTreeSet<_> = config.peers.keys().cloned().collect();
        let standing = if restarted && !waiting.is_empty() {
            Standing::Confirming { until: now.mono.plus(config.start_grace()), waiting }
        } else {
            Standing::Running
        };
        let mut completeness = Completeness::default();
        for (node, region) in &config.peers {
            completeness.expect(node, region);
        }
        let mut replica = Replica {
            id: meta.id,
            past,
            standing,
            recover: VersionVector::default(),
            lost_since: None,
            hlc: Hlc::default().tick(clock.trusted()),
            clock,
            issued,
            durable: vector.clone(),
            vector,
            settled,
            horizon: meta.horizon,
            forgot_early: false,
            buckets,
            pending: Pending::default(),
            in_flight: None,
            compaction_due: BTreeSet::new(),
            meta_written: now.mono,
            next_batch: BatchId(meta.batch.max(last.batch) + 1),
            next_ticket: Ticket(1),
            recent: Recent::new(issued, config.recent_bytes),
            completeness,
            links: BTreeMap::new(),
            frame_cache: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            next_tick: now.mono,
            config,
            storage,
            mint,
        };
        if !restarted {
            replica.write_meta_now()?;
        }
        replica.undo()?;
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
        while let Some(last) = self.in_flight.as_ref().map(|batch| batch.id).or(self.poll_batch()?) {
            self.storage.sync()?;
            self.handle_durable(now, last)?;
        }
        let old = self.id;
        self.past.insert(old);
        self.id = (self.mint)();
        self.issued = 0;
        self.recent = Recent::new(0, self.config.recent_bytes);
        self.standing = Standing::Running;
        self.pending.unexplained = unexplained;
        self.write_meta_now()?;
        self.events.push_back(Event::Reincarnated { old, new: self.id });
        for link in self.links.values_mut() {
            link.hello_due = true;
        }
        self.observe(now);
        Ok(())
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
            past: self.past.clone(),
            vector: self.durable.clone(),
            settled: self.settled.clone(),
            issued: self.issued,
            batch: self.next_batch.0,
            max_retention_ms: millis(self.config.max_retention),
            horizon: self.horizon,
            certain: self.clock.certain(),
            reached: self.clock.reached(),
        };
        postcard::to_stdvec(&meta).unwrap_or_default()
    }
}

fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8], what: &'static str, bucket: Bucket) -> Result<T, StorageError> {
    postcard::from_bytes(bytes).map_err(|_| StorageError::Corrupt { what, bucket })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::{META_KEY, Meta};
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
        let reached = postcard::from_bytes::<Meta>(&meta).unwrap().reached;
        assert_eq!(reached, now.wall);
        for format in [1, 2] {
            let mut older = meta[..meta.len() - postcard::to_stdvec(&reached).unwrap().len()].to_vec();
            older[0] = format;
            let writes = vec![(META_KEY.to_vec(), Some(older))];
            let batch = WriteBatch { buckets: vec![(Bucket::Lasting, BucketBatch { writes })] };
            storage.apply(&batch).unwrap();
            let reopened = open().unwrap().status(now);
            assert_eq!((reopened.replica, reopened.durable), (status.replica, status.durable.clone()));
            assert!(!reopened.forgot_early);
        }
    }
}
