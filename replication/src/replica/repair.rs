//! Repair: rows that do not decode, or lack what their log says, are fetched from peers again.
//!
//! # The algorithm
//! 1. A *lack* is noted when the scrub, a frame that is to be sent, a reader or a write meets a damaged row. What comes in
//!    from then on is put into a *partial* row, which readers cannot decode either, so they say that it is damaged.
//!    Otherwise they would show a part of the document as the whole.
//! 2. Each linked peer in turn is asked for the changes of rows that lack something. What it sends is checked as every
//!    entry from outside, and taken only if the version vector covers it already: anything else comes with its log.
//! 3. A row that has the change of every entry of its log again is *healed*, and readers see it. If every configured peer
//!    has answered and something is still missing, it is *lost*: its log entries go, the log is sent on without them, and
//!    readers see what is left.
//!
//! A replica without peers keeps a damaged row, because the rest of it may be all that there is.
//!
//! # Invariants
//! - A log is sent only as far as its changes are here, because a peer takes a gap for an expired document.
//! - A peer is believed about a change only if no other entry lies under its dot here.
//! - A reader never sees a part of a row that does not decode. (A row that is gone altogether is a document that is not
//!   there, until the scrub or a peer says otherwise.)

use std::collections::{BTreeMap, BTreeSet};

use super::receive::is_from_the_future;
use super::{Event, Replica};
use crate::bounds::Bounds;
use crate::chunk::ChangeHash;
use crate::frame::{Check, Copied, MOST_WANTED, Repair, Want};
use crate::ids::{Dot, LinkId, NodeName, ReplicaId};
use crate::key::{Bucket, DocumentKey, DocumentName};
use crate::log::{Body, Delta, LogEntry, Reference};
use crate::row::Row;
use crate::storage::{Storage, StorageError, document_key, log_key, scan_logs};
use crate::time::{Monotonic, Now};

/// Most rows that are known to lack something. The scrub waits while there are as many.
const MOST_LACKING: usize = 4_096;
/// Bytes of changes after which an answer is full.
const ANSWER_BYTES: usize = 256 * 1024;

/// What one row lacks.
#[derive(Debug, Default)]
struct Lack {
    /// Log entries whose changes may not be in the row. Empty if only a comparison with a peer, or a reader, found it.
    dots: BTreeSet<Dot>,
    /// The row does not decode, or is a partial one.
    unreadable: bool,
    /// The entries of an unreadable row are in `dots`.
    is_counted: bool,
    /// A part of it has come back.
    has_part: bool,
    /// An answer was not whole, so the next question names what is here.
    names_held: bool,
    /// Peers that have nothing more of it.
    answered: BTreeSet<NodeName>,
    /// It came from this peer that something is missing. No other one is asked.
    only: Option<LinkId>,
}

/// The row of a document as a write finds it.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What is there of it.
    pub(super) row: Row,
    pub(super) is_stored: bool,
    pub(super) is_damaged: bool,
}

impl Found {
    /// The form in which the row is stored again.
    pub(super) fn encode(self, bucket: Bucket) -> Result<Vec<u8>, StorageError> {
        let encoded = if self.is_damaged { self.row.encode_partial() } else { self.row.encode() };
        encoded.map_err(StorageError::corrupt("row", bucket))
    }
}

/// Rows that lack something.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    lacking: BTreeMap<DocumentKey, Lack>,
    asked: BTreeMap<LinkId, (Monotonic, Vec<DocumentKey>)>,
    /// Logs that cannot be sent on before this moment.
    held_up: BTreeMap<ReplicaId, Monotonic>,
}

impl Repairs {
    /// Whether no more damage is looked for.
    pub(super) fn is_full(&self) -> bool {
        self.lacking.len() >= MOST_LACKING
    }

    /// Rows that are known to be damaged.
    pub(super) fn damaged(&self) -> usize {
        self.lacking.values().filter(|lack| lack.only.is_none()).count()
    }

    /// Whether a log waits for a change before it is sent on.
    pub(super) fn holds_up(&self, origin: ReplicaId, now: Monotonic) -> bool {
        self.held_up.get(&origin).is_some_and(|until| now < *until)
    }

    /// A log waits for a change.
    pub(super) fn hold_up(&mut self, origin: ReplicaId, until: Monotonic) {
        self.held_up.insert(origin, until);
    }

    /// Whether a document of this name is known to lack something.
    pub(super) fn lacks(&self, name: &DocumentName) -> bool {
        self.lacking.keys().any(|key| key.name == *name)
    }

    fn lack(&mut self, key: DocumentKey) -> Option<&mut Lack> {
        let room = self.lacking.contains_key(&key) || self.lacking.len() < MOST_LACKING;
        room.then(|| self.lacking.entry(key).or_default())
    }
}

impl<S: Storage> Replica<S> {
    /// A row does not decode: it is fetched from peers again. For readers beside the replica, which meet one first.
    pub fn note_unreadable(&mut self, key: DocumentKey) {
        let is_new = !self.repairs.lacking.contains_key(&key);
        if let Some(lack) = self.repairs.lack(key) {
            lack.unreadable = true;
            lack.only = None;
            if is_new {
                self.events.push_back(Event::DamageFound(key.bucket()));
            }
        }
    }

    /// A log entry refers to a change that is not in its row.
    pub(super) fn note_lack(&mut self, key: DocumentKey, dot: Dot) {
        let is_new = !self.repairs.lacking.contains_key(&key);
        if let Some(lack) = self.repairs.lack(key) {
            lack.dots.insert(dot);
            lack.only = None;
            if is_new {
                self.events.push_back(Event::DamageFound(key.bucket()));
            }
        }
    }

    /// A peer holds something else in a row. That may be a change which was erased here a moment ago, so it counts as
    /// damage only once the peer has sent something that is missing.
    pub(super) fn note_difference(&mut self, key: DocumentKey, peer: LinkId) {
        if !self.repairs.lacking.contains_key(&key)
            && let Some(lack) = self.repairs.lack(key)
        {
            lack.only = Some(peer);
        }
    }

    /// The row of a document. If it is damaged, that is noted.
    pub(super) fn row_or_lack(&mut self, key: &DocumentKey) -> Result<Found, StorageError> {
        let found = self.found(key)?;
        if found.is_damaged {
            self.note_unreadable(*key);
        }
        Ok(found)
    }

    /// The row of a document, with what is there of a damaged one.
    fn found(&self, key: &DocumentKey) -> Result<Found, StorageError> {
        let Some(stored) = self.get(key.bucket(), &document_key(key))? else { return Ok(Found::default()) };
        Ok(match Row::decode(&stored) {
            Ok(row) => Found { row, is_stored: true, is_damaged: false },
            Err(_) => {
                let row = Row::decode_partial(&stored).unwrap_or_default();
                Found { row, is_stored: true, is_damaged: true }
            }
        })
    }

    /// Whether the row of a living document holds the change at `dot`; true if the document is over or erased.
    pub(super) fn has_change_at(&self, key: &DocumentKey, dot: Dot) -> Result<bool, StorageError> {
        if key.expires_at <= self.gone_through() {
            return Ok(true);
        }
        Ok(self.found(key)?.row.has_dot(dot) || self.is_dead(key)? || self.is_destroyed(key))
    }

    /// Asks every peer that has nothing left to answer for rows that lack something.
    pub(super) fn ask_for_repairs(&mut self, now: Now) -> Result<(), StorageError> {
        if self.repairs.lacking.is_empty() {
            return Ok(());
        }
        let (patience, links) = (self.config.heartbeat * 4, &self.links);
        self.repairs.asked.retain(|link, (at, _)| now.mono.since(*at) < patience && links.contains_key(link));
        // The next comparison finds again what only a peer that has gone could say.
        self.repairs.lacking.retain(|_, lack| lack.only.is_none_or(|only| links.contains_key(&only)));
        self.give_up_lacks()?;
        let free = self.links.iter().filter(|(id, link)| link.takes_checks() && !self.repairs.asked.contains_key(id));
        let free: Vec<(LinkId, NodeName)> = free.map(|(id, link)| (*id, link.peer().clone())).collect();
        for (id, peer) in free {
            let lacking = self.repairs.lacking.iter();
            let open = lacking.filter(|(_, lack)| lack.only.is_none_or(|o| o == id) && !lack.answered.contains(&peer));
            let keys: Vec<DocumentKey> = open.map(|(key, _)| *key).take(MOST_WANTED).collect();
            if keys.is_empty() {
                continue;
            }
            let mut rows = Vec::new();
            for key in &keys {
                let found = self.found(key)?;
                // A change that is here under one dot may be missing under another one, so only a row that is too large
                // for one answer names what it has.
                let names_held = self.repairs.lacking.get(key).is_some_and(|lack| lack.names_held);
                let is_named = names_held || !found.is_damaged;
                let held = if is_named { found.row.hashes_within(&self.vector) } else { BTreeSet::new() };
                rows.push((*key, held.into_iter().collect::<Vec<ChangeHash>>()));
            }
            self.repairs.asked.insert(id, (now.mono, keys));
            self.say(id, Check::Want(Want { rows }));
        }
        Ok(())
    }

    /// Sends a peer what it asks for.
    pub(super) fn want(&mut self, id: LinkId, want: Want) -> Result<(), StorageError> {
        let mut repair = Repair { whole: Vec::new(), entries: Vec::new() };
        let mut bytes = 0;
        for (key, have) in want.rows {
            let is_dead = self.is_dead(&key)?;
            // Of a damaged row, what is there of it is sent.
            let row = self.row_or_lack(&key)?.row;
            let dots: Vec<Dot> = row.dots().into_iter().filter(|dot| !is_dead && self.durable.contains(*dot)).collect();
            let mut is_whole = true;
            for (dot, change) in row.find_all(&dots).unwrap_or_default() {
                if have.contains(&change.hash()) {
                    continue;
                }
                let Some(entry) = self.entry_at(key.bucket(), dot)? else { continue };
                let copied = Copied::of(dot, entry.hlc, key, change);
                if bytes > 0 && bytes + copied.bytes() > ANSWER_BYTES {
                    is_whole = false;
                    break;
                }
                bytes += copied.bytes();
                repair.entries.push(copied);
            }
            if !is_whole {
                break;
            }
            repair.whole.push(key);
        }
        self.say(id, Check::Repair(repair));
        Ok(())
    }

    /// A peer sends changes of rows that lack something.
    pub(super) fn repair(&mut self, now: Now, id: LinkId, repair: Repair) -> Result<(), StorageError> {
        let Some(peer) = self.links.get(&id).map(|link| link.peer().clone()) else { return Ok(()) };
        let Some((_, keys)) = self.repairs.asked.remove(&id) else { return Ok(()) };
        let is_news = !(repair.whole.is_empty() && repair.entries.is_empty());
        for copied in repair.entries {
            let (dot, key) = (copied.dot, copied.key);
            if !keys.contains(&key) {
                continue;
            }
            match copied.delta() {
                Ok(delta) => self.put_back(delta)?,
                Err(_) => self.events.push_back(Event::Refused { peer: peer.clone(), dot }),
            }
        }
        let (answered, cut_short): (Vec<DocumentKey>, Vec<DocumentKey>) =
            keys.into_iter().partition(|key| repair.whole.contains(key));
        for key in cut_short {
            self.repairs.lacking.get_mut(&key).into_iter().for_each(|lack| lack.names_held = true);
        }
        self.count_entries(&answered)?;
        for key in answered {
            self.put_back_own(&key)?;
            self.judge(&key, id, &peer)?;
        }
        // An answer without news is not asked for again before the next heartbeat.
        if is_news { self.ask_for_repairs(now) } else { Ok(()) }
    }

    /// Puts a change back into its row.
    fn put_back(&mut self, delta: Delta) -> Result<(), StorageError> {
        let Delta { dot, hlc, key, body: Body::Change(change) } = delta else { return Ok(()) };
        if !self.vector.contains(dot) || self.outlives(&key) || self.is_dead(&key)? || self.is_destroyed(&key) {
            return Ok(());
        }
        if is_from_the_future(&key, self.clock.latest_arrival(self.config.arrival_allowance)) {
            return Ok(());
        }
        for bucket in self.buckets.keys().copied().collect::<Vec<Bucket>>() {
            if let Some(entry) = self.entry_at(bucket, dot)?
                && entry.what != Reference::Change(key)
            {
                return Ok(());
            }
        }
        let mut found = self.row_or_lack(&key)?;
        if found.row.has_dot(dot) || !found.row.has_room(&change, Bounds::foreign(&key)) {
            return Ok(());
        }
        // A comparison alone did not prove that something is missing; this does.
        if let Some(lack) = self.repairs.lacking.get_mut(&key)
            && lack.only.take().is_some()
        {
            self.events.push_back(Event::DamageFound(key.bucket()));
        }
        if !found.is_stored {
            // The whole row was gone. Readers must not see it before all of it is back.
            found.is_damaged = true;
            self.note_unreadable(key);
        }
        self.pending.force = true;
        self.put_change(&key, found, dot, hlc, change)
    }

    /// Puts own changes back that the sending window still has. No peer need have them yet.
    fn put_back_own(&mut self, key: &DocumentKey) -> Result<(), StorageError> {
        let Some(lack) = self.repairs.lacking.get(key) else { return Ok(()) };
        let own = lack.dots.iter().filter(|dot| dot.origin == self.id);
        let kept = own.filter_map(|dot| self.recent.at(dot.seq)).filter(|delta| delta.key == *key);
        for delta in kept.cloned().collect::<Vec<Delta>>() {
            self.put_back(delta)?;
        }
        Ok(())
    }

    fn entry_at(&self, bucket: Bucket, dot: Dot) -> Result<Option<LogEntry>, StorageError> {
        let stored = self.get(bucket, &log_key(dot))?;
        stored.map(|stored| StorageError::decode(&stored, "log entry", bucket)).transpose()
    }

    /// Finds the log entries of damaged rows. Reads the log of a bucket once for all of its rows that are new.
    fn count_entries(&mut self, answered: &[DocumentKey]) -> Result<(), StorageError> {
        let is_new = |lack: &Lack| lack.unreadable && !lack.is_counted;
        let new = answered.iter().filter(|key| self.repairs.lacking.get(key).is_some_and(is_new));
        for bucket in new.map(DocumentKey::bucket).collect::<BTreeSet<Bucket>>() {
            let lacking = &mut self.repairs.lacking;
            let mut found: BTreeMap<DocumentKey, &mut Lack> = lacking
                .iter_mut()
                .filter(|(key, lack)| key.bucket() == bucket && is_new(lack))
                .map(|(key, lack)| (*key, lack))
                .collect();
            found.values_mut().for_each(|lack| lack.is_counted = true);
            scan_logs(&self.storage, bucket, &mut |dot, entry| {
                if let Reference::Change(key) = entry.what
                    && let Some(lack) = found.get_mut(&key)
                {
                    lack.dots.insert(dot);
                }
            })?;
        }
        Ok(())
    }

    /// A peer has sent everything that it has of a row.
    fn judge(&mut self, key: &DocumentKey, id: LinkId, peer: &NodeName) -> Result<(), StorageError> {
        let found = self.found(key)?;
        let Some(lack) = self.repairs.lacking.get_mut(key) else { return Ok(()) };
        if lack.only == Some(id) {
            self.repairs.lacking.remove(key);
            return Ok(());
        }
        if found.is_damaged && found.row.is_empty() && lack.has_part {
            // The partial row was damaged as well: everything begins again.
            *lack = Lack { unreadable: true, ..Lack::default() };
            return Ok(());
        }
        lack.has_part |= !found.row.is_empty();
        lack.answered.insert(peer.clone());
        // A damaged row without entries has nothing to be healed by: it is lost once all peers have said so.
        let is_missing = lack.dots.iter().any(|dot| !found.row.has_dot(*dot));
        if is_missing || (found.is_damaged && found.row.is_empty()) {
            return Ok(());
        }
        self.repairs.lacking.remove(key);
        if found.is_damaged {
            self.put_whole(key, found.row)?;
        }
        self.events.push_back(Event::DamageHealed(key.bucket()));
        Ok(())
    }

    /// A damaged row has everything that there is of it: readers see it again.
    fn put_whole(&mut self, key: &DocumentKey, row: Row) -> Result<(), StorageError> {
        let bucket = key.bucket();
        let row = row.encode().map_err(StorageError::corrupt("row", bucket))?;
        self.pending.put(bucket, document_key(key), row);
        self.pending.records += 1;
        self.pending.changed.push(key.name);
        self.pending.force = true;
        Ok(())
    }

    /// Forgets lacks of documents that are over or erased, and takes for lost what no peer has.
    fn give_up_lacks(&mut self) -> Result<(), StorageError> {
        let peers: BTreeSet<&NodeName> = self.config.peers.keys().collect();
        let is_answered = |lack: &Lack| !peers.is_empty() && peers.iter().all(|peer| lack.answered.contains(*peer));
        let gone_through = self.gone_through();
        let due = self.repairs.lacking.iter().filter(|(key, lack)| key.expires_at <= gone_through || is_answered(lack));
        let due: Vec<DocumentKey> = due.map(|(key, _)| *key).take(MOST_WANTED).collect();
        for key in due {
            let Some(lack) = self.repairs.lacking.remove(&key) else { continue };
            if self.is_dead(&key)? {
                continue;
            }
            self.lose(&key, lack)?;
        }
        Ok(())
    }

    /// Removes what is left of changes that no peer has.
    fn lose(&mut self, key: &DocumentKey, lack: Lack) -> Result<(), StorageError> {
        let bucket = key.bucket();
        let mut dots = lack.dots;
        let found = self.found(key)?;
        if found.is_damaged {
            dots.extend(self.dots_of(key)?);
        }
        dots.retain(|dot| !found.row.has_dot(*dot));
        if found.is_damaged {
            if found.row.is_empty() {
                self.pending.remove(bucket, document_key(key));
                self.pending.count(bucket, -1, 0);
            } else {
                self.put_whole(key, found.row)?;
            }
        }
        for dot in dots {
            self.pending.remove(bucket, log_key(dot));
        }
        self.pending.force = true;
        self.frame_cache = None;
        self.events.push_back(Event::DamageLost(bucket));
        Ok(())
    }

    /// The documents of this name are erased, so nothing of them is fetched any more.
    pub(super) fn end_repairs(&mut self, name: &DocumentName) {
        self.repairs.lacking.retain(|key, _| key.name != *name);
    }

    /// The places in logs of a row that does not decode. Reads the log of its bucket, which is rare enough.
    pub(super) fn dots_of(&self, key: &DocumentKey) -> Result<Vec<Dot>, StorageError> {
        let mut dots = Vec::new();
        scan_logs(&self.storage, key.bucket(), &mut |dot, entry| {
            if entry.what == Reference::Change(*key) {
                dots.push(dot);
            }
        })?;
        Ok(dots)
    }
}
