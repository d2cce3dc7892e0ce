//! Frames out. Direct first, relay if late.
//!
//! # Invariants
//! - Only what is durable is sent.
//! - Bytes in flight never exceed `in_flight_bytes` by more than one frame; at the limit sending stops.
//! - Another origin's entries go only to a peer that is not getting them from that origin: it lags for
//!   `relay_after`, or has no link to it and lags for a heartbeat. A full mesh sends nothing twice.
//! - Who forgot early relays nothing.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Replica, Standing, Transmit};
use crate::claim::Claim;
use crate::frame::{Deltas, Frame, Hello, MAX_ENTRIES, Progress};
use crate::ids::{Dot, LinkId, ReplicaId};
use crate::log::{Body, Delta, LogEntry, Reference};
use crate::storage::{Storage, StorageError, log_key, read_log_seq};
use crate::time::{Now, millis};

/// Payload bytes after which a frame is full.
const FRAME_BYTES: usize = 256 * 1024;
/// With this many frames unacknowledged a partly filled frame waits for more entries: batches form by themselves.
const EAGER_FRAMES: usize = 2;
/// A frame this full does not wait.
const FULL: u64 = MAX_ENTRIES as u64 / 2;

/// The last encoded frame, for the peers that are to get the very same.
pub(super) struct CachedFrame {
    origin: ReplicaId,
    after: u64,
    have: u64,
    through: u64,
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
        for id in links {
            self.control_frames(now, id);
            if let Some(transmit) = self.transmits.pop_front() {
                return Ok(Some(transmit));
            }
            if let Some(frame) = self.next_deltas(now, id)? {
                return Ok(Some(Transmit { link: id, frame }));
            }
        }
        Ok(None)
    }

    fn control_frames(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if std::mem::take(&mut link.hello_due) {
            let hello = Hello {
                replica: self.id,
                node: self.config.node.clone(),
                region: self.config.region.clone(),
                vector: self.durable.clone(),
                seen: self.vector.clone(),
                wall: now.wall,
                max_retention_ms: millis(self.config.max_retention),
            };
            self.transmits.push_back(Transmit { link: id, frame: Frame::Hello(hello).encode().into() });
        }
        if link.replica.is_some() && std::mem::take(&mut link.progress_due) {
            let missing = std::mem::take(&mut link.missing).into_iter().collect();
            let progress = Frame::Progress(self.progress_now(now, missing));
            self.transmits.push_back(Transmit { link: id, frame: progress.encode().into() });
        }
    }

    fn progress_now(&self, now: Now, missing: Vec<ReplicaId>) -> Progress {
        let mut claims: Vec<Claim> = self.completeness.newest().cloned().collect();
        // A clock in doubt cannot say before which moment something was acknowledged, and a log with gaps is not all.
        if self.clock.doubt().is_none() && self.standing == Standing::Running && !self.forgot_early() {
            let own = self.past.iter().chain([&self.id]);
            claims.push(Claim {
                node: self.config.node.clone(),
                region: self.config.region.clone(),
                through: self.clock.certain(),
                needs: own.map(|id| (*id, self.durable.get(*id).max(self.recover.get(*id)))).collect(),
            });
        }
        Progress {
            vector: self.durable.clone(),
            claims,
            horizon: self.horizon,
            wall: now.wall,
            direct: self.links.values().filter_map(|link| link.replica).collect(),
            missing,
        }
    }

    /// The next entries for one peer: own log first, then what it lacks of others.
    fn next_deltas(&mut self, now: Now, id: LinkId) -> Result<Option<Arc<[u8]>>, StorageError> {
        let Some(link) = self.links.get(&id) else { return Ok(None) };
        let Some(peer) = link.replica else { return Ok(None) };
        if link.bytes_in_flight >= self.config.in_flight_bytes {
            return Ok(None);
        }
        let mut origins: Vec<ReplicaId> = self.durable.iter().map(|(origin, _)| origin).collect();
        origins.sort_by_key(|origin| !self.is_own(*origin));
        for origin in origins {
            if origin == peer {
                continue;
            }
            let have = self.durable.get(origin);
            let wanted = self.is_own(origin) || self.is_late(now, id, origin, have);
            let Some(link) = self.links.get(&id) else { return Ok(None) };
            let after = link.acked.get(origin).max(link.sent.get(&origin).copied().unwrap_or(0));
            if !wanted || after >= have {
                continue;
            }
            if have - after < FULL && link.in_flight.len() >= EAGER_FRAMES {
                continue;
            }
            let (through, frame) = self.frame(origin, after, have)?;
            let Some(link) = self.links.get_mut(&id) else { return Ok(None) };
            if link.in_flight.is_empty() {
                link.advanced = now.mono;
            }
            link.sent.insert(origin, through);
            link.in_flight.push_back((origin, through, frame.len()));
            link.bytes_in_flight += frame.len();
            return Ok(Some(frame));
        }
        Ok(None)
    }

    /// Whether a peer has been without another origin's entries for so long that we relay them.
    fn is_late(&mut self, now: Now, id: LinkId, origin: ReplicaId, have: u64) -> bool {
        // Nobody else may miss what is missing here (rule 5).
        if self.forgot_early() {
            return false;
        }
        let Some(link) = self.links.get_mut(&id) else { return false };
        let theirs = link.acked.get(origin);
        if theirs >= have {
            link.late.remove(&origin);
            return false;
        }
        let watch = link.late.entry(origin).or_insert((have, now.mono));
        if theirs >= watch.0 {
            *watch = (have, now.mono);
        }
        let limit = if link.direct.contains(&origin) { self.config.relay_after } else { self.config.heartbeat };
        now.mono.since(watch.1) >= limit
    }

    /// The frame with the entries after `after`, and the seq through which it goes.
    fn frame(&mut self, origin: ReplicaId, after: u64, have: u64) -> Result<(u64, Arc<[u8]>), StorageError> {
        if let Some(cached) = &self.frame_cache
            && (cached.origin, cached.after, cached.have) == (origin, after, have)
        {
            return Ok((cached.through, cached.frame.clone()));
        }
        let recent = if origin == self.id { self.recent.read(after, have, MAX_ENTRIES) } else { None };
        let gone_through = self.gone_through();
        let (mut entries, mut through) = match recent {
            Some(entries) if entries.len() < MAX_ENTRIES => (entries, have),
            Some(entries) => {
                let last = entries.last().map_or(have, |last| last.dot.seq);
                (entries, last)
            }
            None => self.read_log(origin, after, have)?,
        };
        // As in the log: what has expired since is not sent.
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
        let frame: Arc<[u8]> = Frame::Deltas(Deltas { origin, after, through, entries }).encode().into();
        self.frame_cache = Some(CachedFrame { origin, after, have, through, frame: frame.clone() });
        Ok((through, frame))
    }

    /// Entries of a log after `after` from storage, merged over all buckets, and the seq through which they are
    /// all that is left to know.
    fn read_log(&self, origin: ReplicaId, after: u64, have: u64) -> Result<(Vec<Delta>, u64), StorageError> {
        let start = log_key(Dot { origin, seq: after + 1 });
        let end = log_key(Dot { origin, seq: have.saturating_add(1) });
        let mut found: Vec<(u64, LogEntry)> = Vec::new();
        for bucket in self.buckets.keys() {
            let mut taken = 0;
            let mut corrupt = false;
            self.storage.scan(*bucket, &start, &end, &mut |key, value| {
                match (read_log_seq(key), LogEntry::decode(value)) {
                    (Some(seq), Some(entry)) => found.push((seq, entry)),
                    _ => corrupt = true,
                }
                taken += 1;
                if taken >= MAX_ENTRIES || corrupt { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            if corrupt {
                return Err(StorageError::Corrupt { what: "log entry", bucket: *bucket });
            }
        }
        found.sort_unstable_by_key(|(seq, _)| *seq);
        // Each bucket gave its first MAX_ENTRIES, so the first MAX_ENTRIES of all are complete.
        found.truncate(MAX_ENTRIES);
        let through = if found.len() < MAX_ENTRIES { have } else { found.last().map_or(have, |(seq, _)| *seq) };
        let mut deltas = Vec::with_capacity(found.len());
        for (seq, entry) in found {
            deltas.extend(self.delta(Dot { origin, seq }, entry)?);
        }
        Ok((deltas, through))
    }

    /// What a log entry refers to, unless it is dead by now.
    fn delta(&self, dot: Dot, entry: LogEntry) -> Result<Option<Delta>, StorageError> {
        let delta = |key, body| Delta { dot, hlc: entry.hlc, key, body };
        match entry.what {
            Reference::Tombstone(name, until, reason) => Ok(Some(delta(name.expiring(until), Body::Tombstone(reason)))),
            Reference::Erased(name, until, reason) => Ok(Some(delta(name.expiring(until), Body::Erased(reason)))),
            Reference::Change(key) if key.expires_at <= self.gone_through() => Ok(None),
            Reference::Change(key) => {
                let (row, _) = self.row(&key)?;
                let corrupt = |_| StorageError::Corrupt { what: "row", bucket: key.bucket() };
                Ok(row.find(dot).map_err(corrupt)?.map(|change| delta(key, Body::Change(change))))
            }
        }
    }
}
