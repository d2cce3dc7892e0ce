//! Frames out: own entries to every peer at once, other origins' entries only to a peer that gets them late.
//!
//! # Invariants
//! - Only durable entries are sent.
//! - Bytes in flight never exceed `in_flight_bytes` by more than one frame; at the limit sending stops.
//! - Another origin's entries go only to a peer that has got nothing of that log for `relay_after`, or, if it has no
//!   link to the log's node, for a heartbeat. So a full mesh sends nothing twice. Of several replicas that could relay,
//!   the one with the least id begins, and the others see that the peer is getting what it lacks.
//! - A partly filled frame waits for [`LINGER`] at most, never for an acknowledgement.
//! - While `dropped_too_early()` is true no other origin's entries are sent, because ours may have gaps that the peer
//!   would take for expired entries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::link::{LINGER, Link, Watch};
use super::{Replica, StartPhase, Transmit};
use crate::claim::Claim;
use crate::frame::{Deltas, Frame, Hello, MAX_ENTRIES, Progress};
use crate::ids::{Dot, LinkId, ReplicaId};
use crate::key::DocumentKey;
use crate::log::{Body, Delta, LogEntry, Reference};
use crate::protocol::Protocol;
use crate::storage::{Storage, StorageError, scan_log};
use crate::time::{Now, millis};

/// Payload bytes after which a frame is full.
const FRAME_BYTES: usize = 256 * 1024;
/// With this many frames unacknowledged a partly filled frame waits for more entries, so that frames, and the peer's
/// commits, become larger under load.
const EAGER_FRAMES: usize = 1;
/// A frame with this many entries does not wait.
const FULL: u64 = MAX_ENTRIES as u64 / 2;

/// The seq through which a frame goes, and its bytes.
type Framed = (u64, Arc<[u8]>);

/// The last encoded frame, for other peers that get the very same one.
pub(super) struct CachedFrame {
    origin: ReplicaId,
    after: u64,
    have: u64,
    through: u64,
    version: Protocol,
    frame: Arc<[u8]>,
}

impl<S: Storage> Replica<S> {
    /// The next frame to send.
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails or a row is corrupt.
    pub fn poll_transmit(&mut self, now: Now) -> Result<Option<Transmit>, StorageError> {
        if let Some(transmit) = self.transmits.pop_front() {
            return Ok(Some(transmit));
        }
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for id in &links {
            self.control_frames(now, *id);
        }
        if let Some(transmit) = self.transmits.pop_front() {
            return Ok(Some(transmit));
        }
        let first = links.partition_point(|id| *id <= self.served);
        for id in links[first..].iter().chain(&links[..first]) {
            if let Some(frame) = self.next_deltas(now, *id)? {
                self.served = *id;
                return Ok(Some(Transmit { link: *id, frame }));
            }
        }
        Ok(None)
    }

    fn control_frames(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let (is_hello_due, progress_due) = (link.take_hello(), link.take_progress());
        if is_hello_due {
            // Before the peer's first `Hello` its id is not known; it may be the one under which it greeted last.
            let replica = link.replica().or(self.last_ids.get(link.peer()).copied());
            let yours = replica.and_then(|replica| Some((replica, self.heads.of(replica)?)));
            // Before its first `Hello` nothing is known of its version but what the last link showed.
            let is_greeted = link.replica().is_some();
            let known = self.greeted_in.get(link.peer()).copied().unwrap_or_default();
            let version = if is_greeted { link.speaks() } else { known };
            link.note_hello(version);
            let mut seen = self.vector.clone();
            seen.merge(&self.orphans.through);
            let hello = Hello {
                replica: self.id,
                node: self.config.node.clone(),
                boot: self.config.boot,
                yours,
                region: self.config.region.clone(),
                vector: self.durable.clone(),
                seen,
                wall: now.wall,
                max_retention_ms: millis(self.config.max_retention),
                newest: Protocol::NEWEST,
            };
            self.transmits.push_back(Transmit { link: id, frame: Frame::Hello(hello).encode_in(version).into() });
        }
        if let Some(missing) = progress_due
            && let Some(version) = self.links.get(&id).map(Link::speaks)
        {
            let progress = Frame::Progress(self.progress_now(now, missing));
            self.transmits.push_back(Transmit { link: id, frame: progress.encode_in(version).into() });
        }
    }

    fn progress_now(&self, now: Now, missing: Vec<ReplicaId>) -> Progress {
        let sum = |seqs: &mut dyn Iterator<Item = (ReplicaId, u64)>| seqs.filter(|(_, seq)| *seq > 0).collect();
        // No claim while the clock is in doubt, because it cannot say when something was acknowledged, nor while our
        // log may have gaps.
        let can_claim = self.clock.doubt().is_none()
            && self.phase == StartPhase::Running
            && !self.dropped_too_early()
            && !self.awaited.is_filling();
        let recover = &self.awaited.recover;
        let own = || self.past.iter().chain([&self.id]).copied();
        let claim = can_claim.then(|| Claim {
            node: self.config.node.clone(),
            region: self.config.region.clone(),
            through: self.clock.certain(),
            needs: sum(&mut own().map(|id| (id, self.durable.get(id).max(recover.get(id))))),
            rests_on: sum(&mut self.promised.iter()),
        });
        debug_assert!(
            claim.as_ref().is_none_or(|claim| claim.rests_on.iter().all(|(o, seq)| *seq <= self.vector.get(*o))),
            "a claim rests on entries that are not known"
        );
        let durable = |origin: &ReplicaId| self.durable.get(*origin);
        Progress {
            vector: self.durable.clone(),
            received: self.vector.iter().filter(|(origin, seq)| *seq > durable(origin)).collect(),
            claim,
            horizon: self.horizon,
            wall: now.wall,
            direct: self.links.values().filter_map(Link::replica).collect(),
            missing,
        }
    }

    /// The next entries for one peer: our own log first, then those of earlier incarnations, then what it lacks of
    /// other logs.
    fn next_deltas(&mut self, now: Now, id: LinkId) -> Result<Option<Arc<[u8]>>, StorageError> {
        let Some(link) = self.links.get(&id) else { return Ok(None) };
        if !link.takes_entries(self.config.in_flight_bytes) {
            return Ok(None);
        }
        let own = [&self.id].into_iter().chain(&self.past).copied();
        let late = link.late().filter(|(origin, watch)| self.is_relayed(now, link, *origin, *watch));
        let (mut lingers, mut next) = (None, None);
        for origin in own.chain(late.map(|(origin, _)| origin)) {
            let have = self.durable.get(origin);
            let after = link.sent_through(origin);
            if after >= have || link.leads_to(origin) || self.repairs.holds_up(origin, now.mono) {
                continue;
            }
            // The origin may be over, and the peer may have forgotten it for that reason: look first.
            if after == 0 && origin != self.id && self.is_look_due(now) {
                continue;
            }
            if have - after < FULL && link.frames_in_flight() >= EAGER_FRAMES {
                let since = link.lingers().unwrap_or(now.mono);
                if now.mono.since(since) < LINGER {
                    lingers = Some(since);
                    continue;
                }
            }
            next = Some((origin, after, have));
            break;
        }
        let version = link.speaks();
        let sent = match next {
            None => None,
            Some((origin, after, have)) => self.frame(now, version, origin, after, have)?.map(|sent| (origin, sent)),
        };
        let Some(link) = self.links.get_mut(&id) else { return Ok(None) };
        let Some((origin, (through, frame))) = sent else {
            debug_assert!(lingers.is_none_or(|since| now.mono.since(since) < LINGER), "a frame waits too long");
            link.linger(lingers);
            return Ok(None);
        };
        debug_assert!(link.takes_entries(self.config.in_flight_bytes), "more than one frame beyond the limit");
        debug_assert!(through <= self.durable.get(origin), "what is sent is not durable");
        link.note_sent(now.mono, origin, through, frame.len());
        Ok(Some(frame))
    }

    /// Whether another origin's entries are relayed to a peer that has got none of them since `watch` began.
    fn is_relayed(&self, now: Now, link: &Link, origin: ReplicaId, watch: Watch) -> bool {
        // Rule 5: the peer would take our gaps for expired entries.
        if self.dropped_too_early() {
            return false;
        }
        // Earlier incarnations come from the same node as the present one.
        let owner = self.origins.owner(origin);
        let is_direct =
            |direct: ReplicaId| direct == origin || (owner.is_some() && self.origins.owner(direct) == owner);
        let after = if link.direct().any(is_direct) {
            self.config.relay_after
        } else {
            let before = link.direct().filter(|other| *other < self.id).count();
            self.config.heartbeat + self.config.heartbeat / 2 * u32::try_from(before).unwrap_or(u32::MAX)
        };
        now.mono.since(watch.since) >= after
    }

    /// From now on watches every origin of which a peer lacks entries.
    pub(super) fn watch_all(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let is_foreign = |origin: ReplicaId| origin != self.id && !self.past.contains(&origin);
        link.watch(now.mono, self.durable.iter().filter(|(origin, _)| is_foreign(*origin)));
    }

    /// Entries of these origins have become durable here: watches the peers that lack them.
    pub(super) fn watch_foreign(&mut self, now: Now, origins: &BTreeSet<ReplicaId>) {
        let is_foreign = |origin: &ReplicaId| *origin != self.id && !self.past.contains(origin);
        let foreign = origins.iter().copied().filter(is_foreign).map(|origin| (origin, self.durable.get(origin)));
        for link in self.links.values_mut() {
            link.watch(now.mono, foreign.clone());
        }
    }

    /// The frame with the entries after `after`, and the seq through which it goes. `None` if the first of them is
    /// damaged here.
    fn frame(
        &mut self,
        now: Now,
        version: Protocol,
        origin: ReplicaId,
        after: u64,
        have: u64,
    ) -> Result<Option<Framed>, StorageError> {
        if let Some(cached) = &self.frame_cache
            && (cached.origin, cached.after, cached.have, cached.version) == (origin, after, have, version)
        {
            return Ok(Some((cached.through, cached.frame.clone())));
        }
        let recent = if origin == self.id { self.recent.read(after, have, MAX_ENTRIES) } else { None };
        let gone_through = self.gone_through();
        let (mut entries, mut through) = match recent {
            Some(entries) if entries.len() < MAX_ENTRIES => (entries, have),
            Some(entries) => {
                let last = entries.last().map_or(have, |last| last.dot.seq);
                (entries, last)
            }
            None => self.read_log(now, origin, after, have)?,
        };
        if through == after {
            return Ok(None);
        }
        // As when a log is read from storage, expired changes are left out.
        entries.retain(|delta| delta.key.expires_at > gone_through || !matches!(delta.body, Body::Change(_)));
        let mut bytes = 0;
        let fits = entries.iter().take_while(|delta| {
            let room = bytes < FRAME_BYTES;
            bytes += if let Body::Change(change) = &delta.body { change.bytes().len() } else { 0 };
            room
        });
        let fits = fits.count();
        if fits < entries.len() {
            entries.truncate(fits);
            through = entries.last().map_or(have, |last| last.dot.seq);
        }
        let heads = if origin == self.id { self.recent.head_at(after).zip(self.recent.head_at(through)) } else { None };
        let heads = heads.map(|(first, last)| [first, last]);
        debug_assert!(after < through && through <= have, "a frame goes nowhere, or too far");
        debug_assert!(entries.is_sorted_by(|one, two| one.dot.seq < two.dot.seq), "entries are not in log order");
        debug_assert!(
            entries.iter().all(|delta| delta.dot.origin == origin && (after + 1..=through).contains(&delta.dot.seq)),
            "an entry lies outside its frame"
        );
        let deltas = Frame::Deltas(Deltas { origin, after, through, heads, entries });
        let frame: Arc<[u8]> = deltas.encode_in(version).into();
        self.frame_cache = Some(CachedFrame { origin, after, have, through, version, frame: frame.clone() });
        Ok(Some((through, frame)))
    }

    /// Entries of a log after `after` from storage, merged over all buckets, and the seq through which nothing else is
    /// left to know. It ends before a change that is damaged here, because the peer would take a gap for an expired
    /// document.
    fn read_log(
        &mut self,
        now: Now,
        origin: ReplicaId,
        after: u64,
        have: u64,
    ) -> Result<(Vec<Delta>, u64), StorageError> {
        let mut found: Vec<(u64, LogEntry)> = Vec::new();
        for bucket in self.buckets.keys() {
            found.extend(scan_log(&self.storage, *bucket, origin, (after, have), MAX_ENTRIES)?);
        }
        // After a bucket was lost an entry may have come again as `Erased`, into the bucket of its tombstone, while the
        // change's own bucket still has it. One entry is sent, and the erasure goes first.
        found.sort_unstable_by_key(|(seq, entry)| (*seq, matches!(entry.what, Reference::Change(_))));
        found.dedup_by_key(|(seq, _)| *seq);
        // Each bucket gave its first MAX_ENTRIES, so the first MAX_ENTRIES of all are complete.
        found.truncate(MAX_ENTRIES);
        let mut through = if found.len() < MAX_ENTRIES { have } else { found.last().map_or(have, |(seq, _)| *seq) };
        // A frame opens each row once: one document may have hundreds of entries in it.
        let mut wanted: BTreeMap<DocumentKey, Vec<Dot>> = BTreeMap::new();
        for (seq, entry) in &found {
            if let Reference::Change(key) = entry.what
                && key.expires_at > self.gone_through()
            {
                wanted.entry(key).or_default().push(Dot { origin, seq: *seq });
            }
        }
        let mut changes = BTreeMap::new();
        for (key, dots) in wanted {
            let row = self.row_or_lack(&key)?.row;
            changes.extend(row.find_all(&dots).unwrap_or_default());
            for dot in dots.into_iter().filter(|dot| !changes.contains_key(dot)) {
                if !self.has_change_at(&key, dot)? {
                    self.note_lack(key, dot);
                    self.repairs.hold_up(origin, now.mono.plus(self.config.heartbeat));
                    through = through.min(dot.seq - 1);
                }
            }
        }
        found.retain(|(seq, _)| *seq <= through);
        let deltas = found.into_iter().filter_map(|(seq, entry)| {
            let dot = Dot { origin, seq };
            let (key, body) = match entry.what {
                Reference::Tombstone(name, until, reason) => (name.expiring(until), Body::Tombstone(reason)),
                Reference::Erased(name, until, reason) => (name.expiring(until), Body::Erased(reason)),
                // No change was looked up for a key that is dead by now.
                Reference::Change(key) => (key, Body::Change(changes.remove(&dot)?)),
            };
            Some(Delta { dot, hlc: entry.hlc, key, body })
        });
        Ok((deltas.collect(), through))
    }
}
