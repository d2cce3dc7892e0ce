//! The scrub: reads the whole store again and again, some rows at each heartbeat, and compares it with the peers.
//!
//! # The problem
//! A disk can give back other bytes than it was given, and a fault in an engine or in this code can lose a row. The
//! version vector then says that nothing is missing, so no peer sends anything.
//!
//! # The algorithm
//! A pass walks each bucket twice.
//! 1. *Rows.* Each must decode, which for a sealed row means that its seal holds. One peer is asked whether it holds the
//!    same rows of this slice: those that are alive for both, with the changes that both know. It answers with the digest
//!    of each row if the digest of the slice differs. Rows in which the peer holds something else are asked for
//!    (`repair.rs`).
//! 2. *Log.* Each entry that refers to a change of a living document must find it in its row.
//!
//! The store itself is read, not a running sum of what should be in it: such a sum stays equal when a disk loses a bit.
//! A pass is one round of range-based set reconciliation (Meyer, "Range-Based Set Reconciliation", SRDS 2023) over ranges
//! that are small enough to be listed, so no range is divided further. Each replica repairs itself only, because each one
//! asks.
//!
//! # Invariants
//! - A heartbeat reads at most [`AT_ONCE`] rows or entries, and answers a bounded number of questions.

use std::ops::ControlFlow;

use super::link::Link;
use super::{Event, Replica, StartPhase, Transmit};
use crate::frame::{Check, Compare, Compared, Digest, Frame, MOST_ROWS, Scope, Slice, row_digest, slice_digest};
use crate::ids::{Dot, LinkId};
use crate::key::{Bucket, DocumentKey};
use crate::log::{LogEntry, Reference};
use crate::row::Row;
use crate::storage::{KeyRange, Storage, StorageError, document_key, scan_documents, scan_log_from};
use crate::time::{Monotonic, Now};

/// Most rows or log entries that are read at one heartbeat.
const AT_ONCE: usize = 256;
/// A peer that has not answered after this many heartbeats is not waited for.
const PATIENCE: u32 = 4;

/// Where a pass is.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Behind this row of the bucket.
    Rows(Bucket, Option<DocumentKey>),
    /// Behind this log entry of the bucket.
    Log(Bucket, Option<Dot>),
}

/// A question that a peer has not answered.
#[derive(Debug)]
struct Asked {
    link: LinkId,
    at: Monotonic,
    slice: Slice,
    scope: Scope,
}

/// The scrub's state.
#[derive(Debug)]
pub(super) struct Scrub {
    next_pass: Monotonic,
    /// `None` between two passes.
    place: Option<Place>,
    asked: Option<Asked>,
    /// Slices so far: peers are asked in turn.
    slices: usize,
    passes: u64,
}

/// What a replica holds of a slice.
struct Held {
    /// The slice, or as much of it as was read.
    slice: Slice,
    rows: Vec<(DocumentKey, Digest)>,
    unreadable: Vec<DocumentKey>,
}

impl Scrub {
    pub(super) fn new(next_pass: Monotonic) -> Scrub {
        Scrub { next_pass, place: None, asked: None, slices: 0, passes: 0 }
    }
}

impl<S: Storage> Replica<S> {
    /// Begins a scrub at the next heartbeat, because there may be damage.
    pub fn scrub_now(&mut self, now: Now) {
        self.scrub.next_pass = now.mono;
    }

    /// Reads the next rows or log entries.
    pub(super) fn scrub_some(&mut self, now: Now) -> Result<(), StorageError> {
        if self.phase != StartPhase::Running
            || self.clock.doubt().is_some()
            || !self.orphans.is_empty()
            || self.is_filling(now)
            || self.is_recovering(now)
            || self.repairs.is_full()
        {
            return Ok(());
        }
        let patience = self.config.heartbeat * PATIENCE;
        let (scrub, links) = (&mut self.scrub, &self.links);
        scrub.asked.take_if(|asked| now.mono.since(asked.at) >= patience || !links.contains_key(&asked.link));
        if scrub.asked.is_some() {
            return Ok(());
        }
        let Some(place) = scrub.place else {
            if now.mono >= scrub.next_pass {
                scrub.place = self.buckets.first_key_value().map(|(bucket, _)| Place::Rows(*bucket, None));
            }
            return Ok(());
        };
        let next = match place {
            Place::Rows(bucket, after) => self.scrub_rows(now, bucket, after)?,
            Place::Log(bucket, after) => self.scrub_log(bucket, after)?,
        };
        if next.is_none() {
            self.scrub.passes += 1;
            self.events.push_back(Event::Scrubbed);
            self.scrub.next_pass = now.mono.plus(self.config.scrub_every);
        }
        self.scrub.place = next;
        Ok(())
    }

    fn scrub_rows(
        &mut self,
        now: Now,
        bucket: Bucket,
        after: Option<DocumentKey>,
    ) -> Result<Option<Place>, StorageError> {
        let partner = self.partner();
        let known = partner.and_then(|link| self.links.get(&link)).map(Link::acked);
        let covered = known.map_or_else(|| self.durable.clone(), |known| self.durable.meet(known));
        let scope = Scope { covered, alive_after: self.dead_through() };
        let held = self.held(Slice { bucket, after, through: None }, &scope, AT_ONCE)?;
        for key in held.unreadable {
            self.note_unreadable(key);
        }
        self.scrub.slices += 1;
        if let Some(link) = partner {
            let question = Compare { slice: held.slice, scope: scope.clone(), digest: slice_digest(&held.rows) };
            self.say(link, Check::Compare(question));
            self.scrub.asked = Some(Asked { link, at: now.mono, slice: held.slice, scope });
        }
        Ok(Some(match held.slice.through {
            Some(last) => Place::Rows(bucket, Some(last)),
            None => Place::Log(bucket, None),
        }))
    }

    /// The peer that is asked about the next slice.
    fn partner(&self) -> Option<LinkId> {
        let mut links: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| link.takes_checks()).map(|(id, _)| *id).collect();
        // A pass begins with another peer than the one before, otherwise one peer could be asked about a slice always.
        let turn = usize::try_from(self.scrub.passes).unwrap_or(usize::MAX).wrapping_add(self.scrub.slices);
        (!links.is_empty()).then(|| links.swap_remove(turn % links.len()))
    }

    /// What this replica holds of a slice, at most `most` rows.
    fn held(&self, slice: Slice, scope: &Scope, most: usize) -> Result<Held, StorageError> {
        let mut range = KeyRange::of_documents(&[]);
        if let Some(after) = slice.after {
            range.start = document_key(&after);
        }
        let mut held = Held { slice, rows: Vec::new(), unreadable: Vec::new() };
        let (mut read, mut last) = (0, None);
        scan_documents(&self.storage, slice.bucket, &range, &mut |key, stored| {
            if slice.after == Some(key) {
                return Ok(ControlFlow::Continue(()));
            }
            if !slice.contains(&key) {
                return Ok(ControlFlow::Break(()));
            }
            if read == most {
                held.slice.through = last;
                return Ok(ControlFlow::Break(()));
            }
            read += 1;
            last = Some(key);
            if key.expires_at > scope.alive_after {
                match Row::decode(stored) {
                    Ok(row) => held.rows.extend(digest_in(&row, &key, scope).map(|digest| (key, digest))),
                    Err(_) => held.unreadable.push(key),
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(held)
    }

    /// A peer compares rows, or repairs them.
    pub(super) fn check(&mut self, now: Now, id: LinkId, check: Check) -> Result<(), StorageError> {
        let may_answer = self.links.get_mut(&id).is_some_and(Link::may_answer);
        match check {
            Check::Compare(question) if may_answer => self.compare(id, question),
            Check::Want(want) if may_answer => self.want(id, want),
            // The peer asks again.
            Check::Compare(_) | Check::Want(_) => Ok(()),
            Check::Compared(answer) => self.compared(id, answer),
            Check::Repair(repair) => self.repair(now, id, repair),
        }
    }

    /// Answers a peer's question.
    pub(super) fn compare(&mut self, id: LinkId, question: Compare) -> Result<(), StorageError> {
        let Compare { slice, mut scope, digest } = question;
        scope.covered = scope.covered.meet(&self.durable);
        scope.alive_after = scope.alive_after.max(self.dead_through());
        let held = self.held(slice, &scope, MOST_ROWS)?;
        let is_same = held.slice == slice && slice_digest(&held.rows) == digest;
        let rows = (!is_same).then_some(held.rows);
        self.say(id, Check::Compared(Compared { slice: held.slice, rows }));
        Ok(())
    }

    /// A peer has answered: asks it for the rows in which it holds something else.
    pub(super) fn compared(&mut self, id: LinkId, answer: Compared) -> Result<(), StorageError> {
        let is_answer = |asked: &mut Asked| {
            let Slice { bucket, after, .. } = asked.slice;
            asked.link == id && (bucket, after) == (answer.slice.bucket, answer.slice.after)
        };
        let Some(asked) = self.scrub.asked.take_if(is_answer) else { return Ok(()) };
        let Some(theirs) = answer.rows else { return Ok(()) };
        let ours = self.held(asked.slice, &asked.scope, MOST_ROWS)?;
        for (key, digest) in theirs {
            let is_ours =
                ours.rows.binary_search_by_key(&key, |(key, _)| *key).is_ok_and(|at| ours.rows[at].1 == digest);
            if asked.slice.contains(&key) && key.expires_at > asked.scope.alive_after && !is_ours {
                self.note_difference(key, id);
            }
        }
        // The peer has more rows here than one answer holds: the walk goes on behind them.
        if let (Some(through), Some(Place::Rows(bucket, _) | Place::Log(bucket, None))) =
            (answer.slice.through, self.scrub.place)
            && asked.slice.contains(&through)
            && bucket == asked.slice.bucket
        {
            self.scrub.place = Some(Place::Rows(bucket, Some(through)));
        }
        Ok(())
    }

    fn scrub_log(&mut self, bucket: Bucket, after: Option<Dot>) -> Result<Option<Place>, StorageError> {
        let mut entries: Vec<(Dot, LogEntry)> = Vec::new();
        scan_log_from(&self.storage, bucket, after, &mut |dot, entry| {
            entries.push((dot, entry));
            if entries.len() < AT_ONCE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        let last = entries.last().map(|(dot, _)| *dot).filter(|_| entries.len() == AT_ONCE);
        for (dot, entry) in entries {
            if let Reference::Change(key) = entry.what
                && self.durable.contains(dot)
                && !self.has_change_at(&key, dot)?
            {
                self.note_lack(key, dot);
            }
        }
        if let Some(last) = last {
            return Ok(Some(Place::Log(bucket, Some(last))));
        }
        let next = self.buckets.keys().find(|next| **next > bucket);
        Ok(next.map(|next| Place::Rows(*next, None)))
    }

    /// Sends a question or an answer, unless the peer has greeted again in a version that does not have them.
    pub(super) fn say(&mut self, id: LinkId, check: Check) {
        if let Some(link) = self.links.get(&id).filter(|link| link.takes_checks()) {
            let frame = Frame::Check(check).encode_in(link.speaks()).into();
            self.transmits.push_back(Transmit { link: id, frame });
        }
    }
}

/// The digest of the part of a row that is compared; `None` if no change is.
fn digest_in(row: &Row, key: &DocumentKey, scope: &Scope) -> Option<Digest> {
    let hashes = row.hashes_within(&scope.covered);
    (!hashes.is_empty()).then(|| row_digest(key, hashes.into_iter()))
}
