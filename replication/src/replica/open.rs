//! Start, restart, and going on under a new id.
//!
//! # The problem
//! A dot (id, seq) must never name two entries. If the disk went back in time (a restored backup, a lost bucket), the
//! store no longer knows the dots that it used since, and may not show that anything is missing. Only the peers know.
//!
//! # The insight
//! A new id makes every old dot harmless, at the price of one more column in every vector. So the old id is kept only
//! if peers show that it is safe, and in doubt a new one is taken.
//!
//! # The algorithm
//! 1. The process forces the store that it finds to the disk first, because a killed process may have left it in the
//!    page cache.
//! 2. The buckets' headers say what is proven (`headers.rs`). If buckets are missing or older than the store was,
//!    everything beyond that is fetched again, and a new id is taken.
//! 3. A restarted replica issues nothing under its old id before its peers have said that they do not know more of that
//!    log than it does ([`StartPhase::Confirming`]). If one knows more, it goes on under a new id.
//! 4. Peers that do not answer in time are not waited for. The old id is kept if two things hold: those that answered
//!    are a majority with us, and all peers that the store last noted as linked are among them. Then a silent peer
//!    holds an entry that we lost only if our disk went back and that peer was cut off from all others together with
//!    us. Otherwise a new id is taken.
//! 5. After a half batch, step 3 compares with the log without that batch. A peer that has seen the batch shows that it
//!    was whole, and that a bucket was lost since.
//! 6. A new id is only drawn, not stored. It becomes durable in the batch of the first entry under it. Each bucket's
//!    header names the id, so half a batch cannot lose the fact that it was used. An id that never wrote is in no
//!    vector.
//!
//! # Invariants
//! - No two entries share a dot, even if the disk went back in time unnoticed (assumption A8 says when it can).
//! - A store names its node. A store that was copied from another node begins with an empty past.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::awaited::Awaited;
use super::begun::Begun;
use super::headers;
use super::meta::{self, FORMAT, Meta};
use super::origins::{Hearsay, Origins};
use super::pending::Pending;
use super::repair::Repairs;
use super::salvage::Orphans;
use super::scrub::Scrub;
use super::{BatchId, Event, LastReported, Mint, Replica, ReplicaConfig, StartPhase, Ticket};
use crate::claim::Completeness;
use crate::head::Heads;
use crate::ids::LinkId;
use crate::key::{Bucket, DocumentKey};
use crate::log::{LogEntry, Reason, Reference};
use crate::recent::Recent;
use crate::storage::{Storage, StorageError, document_key, scan_logs};
use crate::time::{Hlc, Now, Wall, millis};
use crate::trust::TrustedClock;
use crate::version::VersionVector;

impl<S: Storage> Replica<S> {
    /// Opens a store, or begins one. Reads and writes storage; when it returns `Ok`, all that it wrote or found is
    /// durable.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails, the store is corrupt or of another format.
    pub fn open(config: ReplicaConfig, storage: S, mut mint: Mint, now: Now) -> Result<Replica<S>, StorageError> {
        // The process before this one may have been killed, and its writes be in the page cache alone: force them.
        storage.sync()?;
        let buckets = headers::read(&storage)?;
        let stored = meta::read(&storage)?;
        let has_peers = !config.peers.is_empty();
        let persisted = stored.as_ref().map(|m| m.certain).filter(|certain| *certain > Wall::default());
        let reached = stored.as_ref().map(|m| m.reached).unwrap_or_default();
        let clock = TrustedClock::new(now, persisted, reached, has_peers, config.max_clock_skew, config.dead_after());
        let configured = millis(config.max_retention);
        if let Some(stored) = stored.as_ref().map(|m| m.max_retention_ms).filter(|stored| *stored != configured) {
            return Err(StorageError::Retention { stored, configured });
        }
        let horizon = stored.as_ref().map(|m| m.horizon).unwrap_or_default();
        storage.expire(horizon)?;
        let found = headers::judge(&buckets, horizon, stored.is_some());
        let last = headers::newest(&buckets);
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
            orphans: VersionVector::default(),
            unproven: VersionVector::default(),
        });
        let mut begun = Begun::of(&meta, &buckets, &found, &last, &config.node);
        if begun.needs_id && !is_fresh {
            begun.id = mint();
        }
        let waiting: BTreeSet<_> = config.peers.keys().cloned().collect();
        // A new id is in no peer's vector, so there is nothing to confirm.
        let phase = if begun.needs_id || waiting.is_empty() {
            StartPhase::Running
        } else {
            StartPhase::Confirming { until: now.mono.plus(config.start_grace()), waiting }
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
            phase,
            linked_then: meta.linked.clone(),
            started: now.mono,
            awaited,
            lost_since: None,
            unexplained: Vec::new(),
            unproven: begun.unproven,
            orphans: Orphans::new(begun.orphans),
            reminted: None,
            origins: Origins::new(meta.owners.clone()),
            hearsay: meta.hearsay.clone(),
            // Acknowledgements from before the start rest on entries that were known then.
            promised: begun.vector.clone(),
            ended: begun.ended,
            complete: BTreeSet::new(),
            heads: Heads::new(begun.head),
            last_ids: BTreeMap::new(),
            boots: BTreeMap::new(),
            greeted_in: BTreeMap::new(),
            retire_at: now.mono,
            hlc: Hlc::default().tick(clock.trusted()),
            clock,
            issued: begun.issued,
            durable: begun.vector.clone(),
            vector: begun.vector,
            settled: begun.settled,
            horizon,
            expired: horizon,
            expires_with: None,
            last_reported: LastReported::default(),
            buckets,
            pending: Pending::default(),
            in_flight: None,
            compaction_due: BTreeSet::new(),
            scrub: Scrub::new(now.mono.plus(config.scrub_every)),
            repairs: Repairs::default(),
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
        // `meta` must name the half batch now, because the headers of the next batch will make it look whole. It must name
        // the format before a row is written in it.
        if is_fresh || meta.format != FORMAT || !replica.events.is_empty() || replica.unproven != meta.unproven {
            replica.write_meta_now()?;
        }
        if !begun.filling {
            replica.undo()?;
        }
        if replica.phase == StartPhase::Running {
            replica.run();
        }
        replica.finish_removals()?;
        replica.bury_destroyed_rows()?;
        debug_assert!(replica.in_flight.is_none(), "a batch of the start is left");
        debug_assert_eq!(replica.durable, replica.vector, "something that was found is not durable");
        debug_assert!(!replica.past.contains(&replica.id), "the id is an earlier one as well");
        Ok(replica)
    }

    /// Goes on under a new id; the log until now becomes that of an earlier incarnation.
    pub(super) fn mint_new_replica_id(&mut self, now: Now) -> Result<(), StorageError> {
        // Peers may know more of the old log than we do, so these erasures are passed on under the new id, not the old
        // one.
        let erasures_without_tombstone = std::mem::take(&mut self.pending.erasures_without_tombstone);
        // Entries under the old id are made durable first, so that the end of the old log is known for good.
        self.settle_batches(now)?;
        let old = self.id;
        // A peer that is away may have seen the half batch, so what is left of it counts as orphans.
        self.pending.meta |= !self.unproven.is_empty();
        self.orphans.through.merge(&std::mem::take(&mut self.unproven));
        if self.issued > 0 {
            self.past.insert(old);
            self.ended.advance(old, self.issued);
        }
        debug_assert!(self.in_flight.is_none(), "a batch spans two ids");
        self.id = (self.mint)();
        debug_assert_ne!(self.id.0, 0, "0 marks a bucket that no replica has written");
        self.is_unsaved = true;
        self.issued = 0;
        self.heads = self.heads.restart();
        self.recent = Recent::new(0, self.heads.own(), self.config.recent_bytes);
        self.phase = StartPhase::Running;
        self.pending.erasures_without_tombstone = erasures_without_tombstone;
        self.explain();
        self.events.push_back(Event::Reincarnated { old, new: self.id });
        for link in self.links.values_mut() {
            link.owe_hello();
        }
        self.observe(now);
        Ok(())
    }

    /// Makes durable the batch on its way and those being gathered, and waits for the disk. For changes that no batch
    /// may span, and for drivers that have nothing else to do meanwhile.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails or a row is corrupt.
    pub fn settle_batches(&mut self, now: Now) -> Result<(), StorageError> {
        while let Some(last) = self.in_flight.as_ref().map(|batch| batch.id).or(self.poll_batch()?) {
            self.storage.sync()?;
            self.handle_durable(now, last)?;
        }
        debug_assert!(self.in_flight.is_none() && self.next_batch().is_none(), "a batch is left");
        Ok(())
    }

    /// The time is over in which peers could confirm that they know no more of our log than we do: keeps the id or
    /// takes a new one.
    pub(super) fn stop_confirming(&mut self, now: Now) -> Result<(), StorageError> {
        let StartPhase::Confirming { waiting, .. } = &self.phase else { return Ok(()) };
        let nodes = self.config.peers.len() + 1;
        let is_majority = (nodes - waiting.len()) * 2 > nodes;
        let has_witnesses = self.linked_then.is_disjoint(waiting);
        if is_majority && has_witnesses {
            self.run();
            return Ok(());
        }
        self.mint_new_replica_id(now)
    }

    /// The log goes on under the present id. No peer has seen what a half batch had issued, so its seqs count as used
    /// up.
    pub(super) fn run(&mut self) {
        self.phase = StartPhase::Running;
        let unproven = std::mem::take(&mut self.unproven);
        // The next batch makes the raised vector durable, and only then is it told to peers.
        self.pending.meta |= !unproven.is_empty();
        self.vector.merge(&unproven);
        self.explain();
    }

    /// Removes rows whose keys are destroyed. The log entries of their changes become `Erased`, as for every erased
    /// document, and tombstones are issued once that is allowed.
    fn bury_destroyed_rows(&mut self) -> Result<(), StorageError> {
        let mut gone: BTreeMap<Bucket, BTreeSet<DocumentKey>> = BTreeMap::new();
        for key in self.storage.destroyed_rows()? {
            gone.entry(key.bucket()).or_default().insert(key);
        }
        for (bucket, keys) in gone {
            let mut entries = Vec::new();
            scan_logs(&self.storage, bucket, &mut |dot, entry| {
                if let Reference::Change(key) = entry.what
                    && keys.contains(&key)
                {
                    entries.push((dot, entry.hlc, key));
                }
            })?;
            for (dot, hlc, key) in entries {
                let what = Reference::Erased(key.name, self.until(&key), Reason::Subject);
                self.put_log(bucket, dot, LogEntry { hlc, what });
            }
            for key in keys {
                self.pending.remove(bucket, document_key(&key));
                self.pending.count(bucket, -1, 0);
                self.unexplained.push(key.name.expiring(self.until(&key)));
            }
        }
        if self.phase == StartPhase::Running {
            self.explain();
        }
        Ok(())
    }

    /// Rows without keys are proof of erasures. Their tombstones went back in time with the store and perhaps no replica has
    /// them any more, so they are issued again.
    fn explain(&mut self) {
        let unexplained = std::mem::take(&mut self.unexplained).into_iter();
        self.pending.erasures_without_tombstone.extend(unexplained.map(|key| (key, Reason::Subject)));
    }
}
