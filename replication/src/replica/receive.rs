//! Frames in: entries, each checked before it is stored, and what a peer says of its progress.
//!
//! # Invariants
//! - The vector never advances past a gap, because a frame that starts beyond what we know is not applied.
//! - An entry that breaks the rules is reported and left out; the entries after it are still applied.
//! - An entry whose arrival is later than our clock allows is held back with all that follows it in its log, because
//!   only a clock that is ahead can have dated it. It is taken when its time has come.
//! - How far a peer is believed about a log is decided by `Replica::believed_through` alone.

use super::link::Receipt;
use super::{Event, LinkError, Replica, StartPhase};
use crate::bounds::Bounds;
use crate::frame::{Deltas, Progress};
use crate::head::Head;
use crate::ids::{LinkId, NodeName};
use crate::key::{Bucket, DocumentKey};
use crate::log::{Body, Delta, LogEntry, Reason, Reference};
use crate::storage::{Storage, StorageError};
use crate::time::{Now, Wall};

impl<S: Storage> Replica<S> {
    pub(super) fn progress(
        &mut self,
        now: Now,
        id: LinkId,
        peer: &NodeName,
        mut progress: Progress,
    ) -> Result<(), StorageError> {
        let Some(region) = self.config.peers.get(peer).cloned() else { return Ok(()) };
        self.clock.hear(now, peer, &region, progress.wall);
        self.observe(now);
        // Claims that lie in our future are ignored: a node whose clock is ahead may have dropped entries by that
        // clock. The limit is twice the skew, because two correct clocks may be that far apart.
        let latest = self.clock.trusted().plus(self.config.max_clock_skew * 2);
        if let Some(mut claim) = progress.claim.take()
            && claim.node == *peer
            && claim.region == region
            && claim.through <= latest
        {
            claim.needs.retain(|(origin, _)| self.origins.bind(*origin, peer));
            self.completeness.hear(claim, &self.durable);
        }
        self.origins.tell(peer, &progress.vector);
        if progress.horizon > self.horizon {
            // Rule 5: otherwise a region whose clock is a month ahead would make us forget everything.
            if progress.horizon <= self.clock.certain().plus(self.config.max_clock_skew) {
                self.horizon = progress.horizon;
                self.pending.meta = true;
                debug_assert!(
                    self.horizon <= self.clock.trusted().plus(self.config.max_clock_skew),
                    "a horizon is ahead of trusted time by more than the skew"
                );
            } else {
                self.events.push_back(Event::HorizonRefused { peer: peer.clone(), horizon: progress.horizon });
            }
        }
        let heartbeat = self.config.heartbeat;
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        let forgotten = link.hear_progress(now.mono, heartbeat, self.id, &progress);
        link.renew_watches(now.mono, &self.durable);
        self.watch_all(now, id);
        if !forgotten.is_empty() {
            self.look_for_over(now)?;
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.fill_gaps(now.mono, heartbeat, &progress);
        }
        self.end_hearsay(now, id)
    }

    /// Entries of one log arrived. Returns what is owed to the peer for them.
    pub(super) fn deltas(&mut self, peer: &NodeName, deltas: Deltas) -> Result<Receipt, LinkError> {
        let Deltas { origin, after, through, heads, entries } = deltas;
        let known = self.vector.get(origin);
        if origin == self.id {
            return Ok(Receipt::default());
        }
        if after > known {
            return Ok(Receipt { is_missing: true, ..Receipt::default() });
        }
        if through <= known {
            // The frame came before. If it is durable it is acknowledged at once, otherwise with its batch.
            let is_durable = through <= self.durable.get(origin);
            let gathered = if self.pending.is_empty() { None } else { Some(self.next_batch) };
            let batch = gathered.or(self.in_flight.as_ref().map(|batch| batch.id)).filter(|_| !is_durable);
            return Ok(Receipt { is_durable, batch, ..Receipt::default() });
        }
        // The new entries go into the batch that is being gathered. So its end is acknowledged, not that of an earlier
        // batch.
        let mut receipt = Receipt { batch: Some(self.next_batch), ..Receipt::default() };
        // Even if no entry is stored, the new vector must become durable before it is told.
        self.pending.force = true;
        if !self.has_room_for(origin) {
            self.events.push_back(Event::Refused { peer: peer.clone(), dot: crate::ids::Dot { origin, seq: through } });
            return Ok(receipt);
        }
        if let Some([first, last]) = heads
            && self.origins.owner(origin) == Some(peer)
        {
            let heads = [Head { seq: after, hash: first }, Head { seq: through, hash: last }];
            if !self.heads.agree(origin, heads) {
                return Err(LinkError::Fork { peer: peer.clone() });
            }
        }
        let last = entries.last().map_or(0, |entry| entry.dot.seq);
        let mut through = through.min(self.believed_through(peer, origin, last));
        let latest = self.clock.latest_arrival(self.config.arrival_allowance);
        let believed = through;
        for delta in entries.into_iter().filter(|delta| delta.dot.seq > known && delta.dot.seq <= believed) {
            if is_from_the_future(&delta.key, latest) {
                self.events.push_back(Event::HeldBack { peer: peer.clone(), dot: delta.dot });
                through = delta.dot.seq - 1;
                break;
            }
            // An `Erased` entry without a tombstone makes us issue one, so it waits until we may write to our own log. So
            // does a change of a document whose keys we destroyed before our store went back in time.
            if self.phase != StartPhase::Running
                && (matches!(delta.body, Body::Erased(_)) || self.is_destroyed(&delta.key))
                && self.tombstone(&delta.key)?.is_none()
            {
                through = delta.dot.seq - 1;
                receipt.is_missing = true;
                break;
            }
            self.apply(peer, delta)?;
        }
        debug_assert!(after <= known && !self.pending.is_empty(), "the vector jumps a gap, or moves without a batch");
        debug_assert_ne!(origin, self.id, "a peer sends this replica its own log");
        self.advance(peer, origin, through);
        debug_assert!(self.vector.get(origin) >= known, "the vector goes back");
        self.pending.foreign.insert(origin);
        Ok(receipt)
    }

    /// Checks one entry of another replica against the rules of deletion, and stores it or what is left of it.
    fn apply(&mut self, peer: &NodeName, delta: Delta) -> Result<(), StorageError> {
        let Delta { dot, hlc, key, body } = delta;
        if self.outlives(&key) {
            self.events.push_back(Event::Refused { peer: peer.clone(), dot });
            return Ok(());
        }
        // A tombstone is passed on until its day may be dropped everywhere, because a replica whose clock is behind by
        // the skew still needs it.
        let over = match &body {
            Body::Change(_) => key.expires_at <= self.gone_through(),
            Body::Tombstone(_) | Body::Erased(_) => self.is_droppable(key.bucket()),
        };
        if over {
            return Ok(());
        }
        // A tombstone with any other expiry than the latest would be dropped too early, or outlive its day.
        if !matches!(&body, Body::Change(_)) && key.expires_at != self.until(&key) {
            self.events.push_back(Event::Refused { peer: peer.clone(), dot });
            return Ok(());
        }
        let tombstone = self.tombstone(&key)?;
        let (name, until) = (key.name, self.until(&key));
        // If the payload is not stored, the log entry still says why. A gap would be passed on without its reason.
        let what = match (body, &tombstone) {
            (Body::Change(_), None) if self.is_destroyed(&key) => {
                let key = name.expiring(until);
                self.pending.erasures_without_tombstone.push((key, Reason::Subject));
                Reference::Erased(name, until, Reason::Subject)
            }
            (Body::Change(change), None) => {
                let found = self.row_or_lack(&key)?;
                if !found.row.has_room(&change, Bounds::foreign(&key)) {
                    self.events.push_back(Event::Refused { peer: peer.clone(), dot });
                    return Ok(());
                }
                return self.put_change(&key, found, dot, hlc, change);
            }
            (Body::Tombstone(reason), None) => {
                self.put_tombstone(&key, reason, dot, hlc);
                return Ok(());
            }
            (Body::Change(_), Some(tombstone)) => Reference::Erased(name, until, tombstone.reason),
            (Body::Tombstone(reason), Some(_)) => Reference::Tombstone(name, until, reason),
            (Body::Erased(reason), Some(_)) => Reference::Erased(name, until, reason),
            (Body::Erased(reason), None) => {
                self.pending.erasures_without_tombstone.push((key, reason));
                Reference::Erased(name, until, reason)
            }
        };
        self.put_log(Bucket::of(until), dot, LogEntry { hlc, what });
        Ok(())
    }
}

/// Whether an id's arrival is later than `latest`.
pub(super) fn is_from_the_future(key: &DocumentKey, latest: Wall) -> bool {
    key.expires_at != Wall::NEVER && key.name.id.arrival() > latest
}
