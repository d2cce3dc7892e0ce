//! The newest entries of this replica's own log, kept so that live replication reads nothing back from storage.
//!
//! It holds payloads, so the changes of an erased document are removed from it at once (I4).

use std::collections::VecDeque;

use crate::key::DocumentName;
use crate::log::{Body, Delta, Reason};
use crate::time::Wall;

/// A bounded window on the end of one log.
#[derive(Debug)]
pub(crate) struct Recent {
    /// Each entry with the log's rolling hash after it.
    entries: VecDeque<(Delta, Option<u32>)>,
    bytes: usize,
    max_bytes: usize,
    /// All entries after this seq that are left to know are in `entries`.
    after: u64,
    /// The log's rolling hash at `after`, if it is known.
    head: Option<u32>,
}

impl Recent {
    /// An empty window at the end of a log whose rolling hash is `head`.
    pub(crate) fn new(after: u64, head: Option<u32>, max_bytes: usize) -> Recent {
        Recent { entries: VecDeque::new(), bytes: 0, max_bytes, after, head }
    }

    /// The log's rolling hash at `seq`, if the window still has it.
    pub(crate) fn head_at(&self, seq: u64) -> Option<u32> {
        if seq == self.after {
            return self.head;
        }
        let at = self.entries.binary_search_by_key(&seq, |(delta, _)| delta.dot.seq).ok()?;
        self.entries[at].1
    }

    /// Appends an entry, in log order. The oldest ones are dropped when the window is full.
    pub(crate) fn push(&mut self, delta: Delta, head: Option<u32>) {
        debug_assert!(
            self.entries.back().map_or(self.after, |(last, _)| last.dot.seq) < delta.dot.seq,
            "the window takes entries out of order"
        );
        self.bytes += size(&delta);
        self.entries.push_back((delta, head));
        while self.bytes > self.max_bytes {
            let Some((oldest, head)) = self.entries.pop_front() else { break };
            self.bytes -= size(&oldest);
            self.after = oldest.dot.seq;
            self.head = head;
        }
        debug_assert!(self.bytes <= self.max_bytes, "the window is too large");
        debug_assert_eq!(self.bytes, self.count_bytes(), "the window's bytes are counted wrongly");
    }

    /// Puts another entry at the same dot: the `Erased` entry of a change.
    pub(crate) fn replace(&mut self, delta: Delta) {
        if let Ok(at) = self.entries.binary_search_by_key(&delta.dot.seq, |(known, _)| known.dot.seq) {
            self.bytes += size(&delta);
            self.bytes -= size(&std::mem::replace(&mut self.entries[at].0, delta));
        }
    }

    /// Puts `Erased` entries in the place of all changes of a name. Goes through the whole window, so it is for rows that do
    /// not say any more where their changes are.
    pub(crate) fn erase(&mut self, name: &DocumentName, until: Wall, reason: Reason) {
        for (delta, _) in self.entries.iter_mut().filter(|(delta, _)| delta.key.name == *name) {
            if matches!(delta.body, Body::Change(_)) {
                delta.key = name.expiring(until);
                delta.body = Body::Erased(reason);
            }
        }
        self.bytes = self.count_bytes();
    }

    /// Forgets all but some entries.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Delta) -> bool) {
        self.entries.retain(|(delta, _)| keep(delta));
        self.bytes = self.count_bytes();
    }

    /// Whether the window has a change of a document of this name that expires after `gone_through`. A change that was
    /// on its way to the disk when its day was dropped stays in the window, and is left out of frames.
    pub(crate) fn has_change_of(&self, name: &DocumentName, gone_through: Wall) -> bool {
        let is_change = |delta: &Delta| matches!(delta.body, Body::Change(_)) && delta.key.expires_at > gone_through;
        self.entries.iter().any(|(delta, _)| delta.key.name == *name && is_change(delta))
    }

    fn count_bytes(&self) -> usize {
        self.entries.iter().map(|(delta, _)| size(delta)).sum()
    }

    /// The entries in `(after, through]`, at most `limit`; `None` if the window does not reach back that far.
    pub(crate) fn read(&self, after: u64, through: u64, limit: usize) -> Option<Vec<Delta>> {
        if after < self.after {
            return None;
        }
        let start = self.entries.partition_point(|(delta, _)| delta.dot.seq <= after);
        let wanted = self.entries.range(start..).map(|(delta, _)| delta).take_while(|delta| delta.dot.seq <= through);
        Some(wanted.take(limit).cloned().collect())
    }

    /// The entry at `seq`, if the window has it.
    pub(crate) fn at(&self, seq: u64) -> Option<&Delta> {
        self.first_after(seq.checked_sub(1)?).filter(|delta| delta.dot.seq == seq)
    }

    /// When the first entry after `seq` was written, if the window reaches back that far.
    pub(crate) fn first_after(&self, seq: u64) -> Option<&Delta> {
        self.entries.get(self.entries.partition_point(|(delta, _)| delta.dot.seq <= seq)).map(|(delta, _)| delta)
    }
}

fn size(delta: &Delta) -> usize {
    let payload = if let Body::Change(change) = &delta.body { change.bytes().len() } else { 0 };
    size_of::<Delta>() + payload
}
