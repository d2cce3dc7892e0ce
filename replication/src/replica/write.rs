//! Local writes, and the checks that keep dead documents out.

use std::collections::BTreeSet;

use super::repair::Found;
use super::{Outcome, Replica, StartPhase, Ticket};
use crate::bounds::Bounds;
use crate::change::Change;
use crate::chunk::ChangeHash;
use crate::encode::encode;
use crate::ids::{Dot, ReplicaId};
use crate::key::{Bucket, DocumentKey, DocumentName};
use crate::log::{Body, Delta, LogEntry, Reason, Reference, Tombstone};
use crate::storage::{Storage, StorageError, document_key, log_key, tombstone_key};
use crate::time::{Hlc, Now, Wall};
use crate::version::VersionVector;

/// What a client wants.
#[derive(Clone, Debug)]
pub enum Write {
    /// Adds a change to a document, creating it if need be.
    Change {
        /// The document.
        key: DocumentKey,
        /// Built by [`Change::create`] or [`crate::Document::amend`] for this very key.
        change: Change,
    },
    /// Erases every document of this name, known here or not.
    Erase {
        /// The name.
        name: DocumentName,
        /// Whether documents of this name have no expiry.
        lasting: bool,
        /// Who asked for it: the document's subject or its owner.
        reason: Reason,
    },
}

/// Why a write was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The document is erased or expired: no document of this name can live again.
    #[error("the document is erased or expired")]
    Gone,
    /// The expiry lies beyond the id's arrival + `max_retention`.
    #[error("the document would outlive the longest retention")]
    TooLong,
    /// The document has as many changes or bytes as a local write may give it ([`crate::bounds::Bounds`]).
    #[error("the document takes no more changes")]
    Full,
    /// The replica does not believe its clock.
    #[error("the clock of this replica is in doubt")]
    ClockInDoubt,
    /// The replica started just now and does not know yet under which id to write.
    #[error("the replica is starting")]
    Starting,
    /// The document is damaged here and is being fetched from a peer again.
    #[error("the document is damaged here and is being repaired")]
    Damaged,
    /// The document is not any more what the writer saw ([`Replica::handle_write_if`]).
    #[error("the document has changed")]
    Changed,
    /// The engine failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl<S: Storage> Replica<S> {
    /// Takes a write. [`super::Event::Written`] reports it once it is durable (an erasure: once its bytes are
    /// gone as well).
    ///
    /// # Errors
    /// [`WriteError`]; nothing is written then.
    pub fn handle_write(&mut self, now: Now, write: Write) -> Result<Ticket, WriteError> {
        self.observe(now);
        if self.clock.doubt().is_some() {
            return Err(WriteError::ClockInDoubt);
        }
        if self.phase != StartPhase::Running {
            return Err(WriteError::Starting);
        }
        let ticket = self.next_ticket;
        match write {
            Write::Change { key, change } => {
                if self.outlives(&key) {
                    return Err(WriteError::TooLong);
                }
                if key.expires_at <= self.dead_through() || self.is_destroyed(&key) || self.is_dead(&key)? {
                    return Err(WriteError::Gone);
                }
                let outcome = self.write_change(key, change)?;
                self.pending.done.push((ticket, outcome));
            }
            Write::Erase { name, lasting, reason } => {
                let until = self.latest_expiry(&name, lasting);
                let key = name.expiring(until);
                if self.pending.erased.iter().any(|(erased, _)| *erased == name) {
                    // The tombstone is in this very batch, and the rows are removed in the next.
                    self.pending.done_when_removed.push((ticket, Outcome::AlreadyErased));
                } else if self.is_dead(&key)? {
                    self.pending.done.push((ticket, Outcome::AlreadyErased));
                } else {
                    let dot = self.erase(&key, reason);
                    self.pending.done_when_removed.push((ticket, Outcome::Erased(dot)));
                }
            }
        }
        self.pending.force = true;
        self.next_ticket.0 += 1;
        Ok(ticket)
    }

    /// Takes a write if it is still built on what is here: each row of `seen` holds exactly these changes, gathered ones
    /// included, and none is erased. An empty set stands for a row that does not exist.
    ///
    /// This compares with the state of this replica alone. A write that another replica takes at the same time is merged,
    /// as every concurrent write is.
    ///
    /// # Errors
    /// [`WriteError::Changed`] if a row is different, otherwise as [`Replica::handle_write`].
    pub fn handle_write_if(
        &mut self,
        now: Now,
        write: Write,
        seen: &[(DocumentKey, BTreeSet<ChangeHash>)],
    ) -> Result<Ticket, WriteError> {
        for (key, hashes) in seen {
            let row = self.whole_row(key)?.row;
            let standing = row.hashes().into_iter().filter(|hash| row.stands(*hash));
            if !standing.eq(hashes.iter().copied()) || self.tombstone(key)?.is_some() {
                return Err(WriteError::Changed);
            }
        }
        self.handle_write(now, write)
    }

    fn write_change(&mut self, key: DocumentKey, change: Change) -> Result<Outcome, WriteError> {
        let found = self.whole_row(&key)?;
        let (row, existed) = (&found.row, found.is_stored);
        // The acknowledgement rests on the changes that are already in the row, so a claim must name them.
        let others = row.needs(&self.vector);
        let others: VersionVector = others.iter().filter(|(origin, _)| !self.is_own(*origin)).collect();
        self.promised.merge(&others);
        if row.stands(change.hash()) {
            return Ok(Outcome::Repeat);
        }
        if !row.has_room(&change, Bounds::local(&key)) {
            return Err(WriteError::Full);
        }
        let (dot, hlc) = self.issue();
        self.put_change(&key, found, dot, hlc, change.clone())?;
        self.note_issued(Delta { dot, hlc, key, body: Body::Change(change) });
        Ok(if existed { Outcome::Amended(dot) } else { Outcome::Created(dot) })
    }

    /// Issues a tombstone in this replica's log.
    pub(super) fn erase(&mut self, key: &DocumentKey, reason: Reason) -> Dot {
        let (dot, hlc) = self.issue();
        self.put_tombstone(key, reason, dot, hlc);
        self.note_issued(Delta { dot, hlc, key: *key, body: Body::Tombstone(reason) });
        dot
    }

    /// If an `Erased` entry came before its tombstone, we issue a tombstone in our own log. Otherwise our vector would
    /// equal that of a replica that still shows the document, and if all disks with the original tombstone were lost,
    /// that replica would never learn of the erasure.
    pub(super) fn pass_on_erasures(&mut self) -> Result<(), StorageError> {
        for (key, reason) in std::mem::take(&mut self.pending.erasures_without_tombstone) {
            // Its day may have been dropped since the entry came.
            if !self.is_droppable(key.bucket()) && self.tombstone(&key)?.is_none() {
                self.erase(&key, reason);
            }
        }
        Ok(())
    }

    /// The next dot of this replica's log.
    pub(super) fn issue(&mut self) -> (Dot, Hlc) {
        if std::mem::take(&mut self.is_unsaved) {
            self.pending.meta = true;
        }
        debug_assert_eq!(self.phase, StartPhase::Running, "an entry is issued before peers have confirmed the log");
        debug_assert!(!self.past.contains(&self.id), "an entry is issued under an id that was given up");
        debug_assert_eq!(self.vector.get(self.id), self.issued, "a dot would be used twice");
        self.issued += 1;
        self.vector.advance(self.id, self.issued);
        let before = self.hlc;
        self.hlc = self.hlc.tick(self.clock.trusted());
        debug_assert!(self.hlc > before, "the log's clock stands still");
        (Dot { origin: self.id, seq: self.issued }, self.hlc)
    }

    pub(super) fn note_issued(&mut self, delta: Delta) {
        debug_assert!(
            self.pending.issued.last().is_none_or(|(last, _)| last.dot.seq < delta.dot.seq),
            "own entries are gathered out of order"
        );
        let head = self.heads.issue(delta.dot, delta.hlc);
        self.pending.issued.push((delta, head));
    }

    /// The row of a document that a client writes to.
    fn whole_row(&mut self, key: &DocumentKey) -> Result<Found, WriteError> {
        let found = self.row_or_lack(key)?;
        // An answer must not depend on what is damaged.
        if found.is_damaged { Err(WriteError::Damaged) } else { Ok(found) }
    }

    /// Adds a change to its row and writes the log entry that refers to it, both in one bucket.
    pub(super) fn put_change(
        &mut self,
        key: &DocumentKey,
        mut found: Found,
        dot: Dot,
        hlc: Hlc,
        change: Change,
    ) -> Result<(), StorageError> {
        let (bucket, existed) = (key.bucket(), found.is_stored);
        debug_assert!(key.expires_at > self.gone_through(), "a change of a dead document is stored");
        found.row.add(dot, change);
        self.note_compaction(key, &found.row);
        self.pending.put(bucket, document_key(key), found.encode(bucket)?);
        self.put_log(bucket, dot, LogEntry { hlc, what: Reference::Change(*key) });
        if !existed {
            self.pending.count(bucket, 1, 0);
        }
        self.pending.changed.push(key.name);
        Ok(())
    }

    /// Writes a tombstone and its log entry, both in the bucket of the latest expiry that the id allows.
    pub(super) fn put_tombstone(&mut self, key: &DocumentKey, reason: Reason, dot: Dot, hlc: Hlc) {
        let bucket = key.bucket();
        debug_assert!(!self.is_droppable(bucket), "a tombstone lies in a day that may be dropped");
        let tombstone = Tombstone { until: key.expires_at, reason, dot };
        self.pending.put(bucket, tombstone_key(&key.name), encode(&tombstone));
        self.put_log(bucket, dot, LogEntry { hlc, what: Reference::Tombstone(key.name, key.expires_at, reason) });
        self.pending.count(bucket, 0, 1);
        self.pending.erased.push((key.name, tombstone));
        self.pending.changed.push(key.name);
    }

    pub(super) fn put_log(&mut self, bucket: Bucket, dot: Dot, entry: LogEntry) {
        self.pending.put(bucket, log_key(dot), encode(&entry));
        self.pending.records += 1;
    }

    /// Whether the document is expired or erased for good, so that no entry may bring it back (rule 2).
    pub(super) fn is_dead(&self, key: &DocumentKey) -> Result<bool, StorageError> {
        Ok(key.expires_at <= self.gone_through() || self.tombstone(key)?.is_some())
    }

    /// Whether the keys of a document's name were destroyed, so that it was erased here once.
    pub(super) fn is_destroyed(&self, key: &DocumentKey) -> bool {
        self.storage.is_destroyed(&key.name, key.expires_at == Wall::NEVER)
    }

    /// The tombstone of a document, if it is erased.
    pub(super) fn tombstone(&self, key: &DocumentKey) -> Result<Option<Tombstone>, StorageError> {
        let bucket = Bucket::of(self.until(key));
        let stored = self.get(bucket, &tombstone_key(&key.name))?;
        stored.map(|stored| StorageError::decode(&stored, "tombstone", bucket)).transpose()
    }

    /// Whether the key claims a longer life than its id allows.
    pub(super) fn outlives(&self, key: &DocumentKey) -> bool {
        key.expires_at != Wall::NEVER && key.expires_at > self.latest_expiry(&key.name, false)
    }

    /// The latest expiry that any document with the name of `key` can have.
    pub(super) fn until(&self, key: &DocumentKey) -> Wall {
        self.latest_expiry(&key.name, key.expires_at == Wall::NEVER)
    }

    /// The latest expiry that any document of this name can have.
    pub(super) fn latest_expiry(&self, name: &DocumentName, lasting: bool) -> Wall {
        if lasting { Wall::NEVER } else { name.id.arrival().plus(self.config.max_retention) }
    }

    /// A value of storage as it will be once the gathered batch is applied.
    pub(super) fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        if let Some(pending) = self.pending.get(bucket, key) {
            return Ok(pending);
        }
        if self.buckets.contains_key(&bucket) { self.storage.get(bucket, key) } else { Ok(None) }
    }

    /// Whether `origin` is one of this node's incarnations, present or earlier.
    pub(super) fn is_own(&self, origin: ReplicaId) -> bool {
        origin == self.id || self.past.contains(&origin)
    }
}
