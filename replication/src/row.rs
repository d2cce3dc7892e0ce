//! A document row: a grow-only set of encoded changes, keyed by change hash. Merging is set union.
//!
//! # Invariants
//! - A row never loses a hash. Compaction moves changes into one saved chunk that holds them all.
//! - The chunk holds well-formed changes only ([`crate::form`]). Changes that wait for a dependency, or are not
//!   well-formed, stay loose.
//! - Adding a change builds no document. Compaction takes time in proportion to the row and is asked for by the
//!   replica, for few rows at a time.
//! - Every change knows its dots in the logs, so that the log entries can be found when the row is removed.

use std::collections::{BTreeMap, BTreeSet};

use automerge::Automerge;
use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;
use crate::change::Change;
use crate::chunk::{ChangeError, ChangeHash};
use crate::document::Document;
use crate::form;
use crate::ids::Dot;
use crate::version::VersionVector;

/// A row with this many new loose changes is compacted. One visit has one to three; only a busy venue gets here.
const COMPACT_AT: usize = 16;

/// One loose change and the log entries that name it.
#[derive(Clone, Debug)]
struct Loose {
    dots: Vec<Dot>,
    change: Change,
}

/// Changes that were compacted: one saved document and what it holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Chunk {
    #[serde(with = "serde_bytes")]
    saved: Vec<u8>,
    holds: Vec<(ChangeHash, Vec<Dot>)>,
}

/// Everything stored of one document.
#[derive(Clone, Debug, Default)]
pub struct Row {
    chunk: Option<Chunk>,
    loose: Vec<Loose>,
    /// How many loose changes the last compaction could not take in.
    left: usize,
}

/// First byte of a row that lacks something. What follows is stored as every row is. One flipped bit makes it of no other
/// first byte but 1, whose rows are longer.
const PARTIAL: u8 = 5;

/// The stored form. It begins with 0 or 1, which tells it from a sealed one ([`crate::Sealed`]) and from one that lacks
/// something. `left` follows it, unless it is zero; rows of older versions do not have it.
#[derive(Serialize, Deserialize)]
struct StoredRow {
    chunk: Option<Chunk>,
    loose: Vec<(Vec<Dot>, serde_bytes::ByteBuf)>,
}

impl Row {
    /// Reads a stored row.
    ///
    /// # Errors
    /// [`ChangeError`] if the bytes are not what [`Row::encode`] wrote. So a row that lacks something is an error as well:
    /// a reader must not take a part for the whole.
    pub fn decode(bytes: &[u8]) -> Result<Row, ChangeError> {
        let (stored, rest) = postcard::take_from_bytes::<StoredRow>(bytes).map_err(|_| ChangeError::Row)?;
        let (left, rest) =
            if rest.is_empty() { (0, rest) } else { postcard::take_from_bytes(rest).map_err(|_| ChangeError::Row)? };
        // No empty row is stored. A sealed row whose first byte has lost its bit would be taken for one.
        if !rest.is_empty() || (stored.chunk.is_none() && stored.loose.is_empty()) {
            return Err(ChangeError::Row);
        }
        let loose = stored.loose.into_iter();
        let loose = loose.map(|(dots, bytes)| Ok(Loose { dots, change: Change::from_stored(bytes.into_vec())? }));
        Ok(Row { chunk: stored.chunk, loose: loose.collect::<Result<_, ChangeError>>()?, left })
    }

    /// The stored form.
    ///
    /// # Errors
    /// [`ChangeError::Row`] if it cannot be encoded.
    pub fn encode(self) -> Result<Vec<u8>, ChangeError> {
        let loose = self.loose.into_iter().map(|l| (l.dots, serde_bytes::ByteBuf::from(l.change.bytes))).collect();
        let stored = StoredRow { chunk: self.chunk, loose };
        let mut bytes = postcard::to_stdvec(&stored).map_err(|_| ChangeError::Row)?;
        if self.left > 0 {
            bytes = postcard::to_extend(&self.left, bytes).map_err(|_| ChangeError::Row)?;
        }
        Ok(bytes)
    }

    /// Reads what is there of a row that lacks something.
    ///
    /// # Errors
    /// [`ChangeError`] if the bytes are not what [`Row::encode_partial`] wrote.
    pub(crate) fn decode_partial(bytes: &[u8]) -> Result<Row, ChangeError> {
        bytes.strip_prefix(&[PARTIAL]).ok_or(ChangeError::Row).and_then(Row::decode)
    }

    /// The stored form of a row that lacks something.
    ///
    /// # Errors
    /// [`ChangeError::Row`] if it cannot be encoded.
    pub(crate) fn encode_partial(self) -> Result<Vec<u8>, ChangeError> {
        let mut bytes = self.encode()?;
        bytes.insert(0, PARTIAL);
        Ok(bytes)
    }

    /// Whether the change is in the set.
    #[must_use]
    pub fn contains(&self, hash: ChangeHash) -> bool {
        self.loose.iter().any(|l| l.change.hash == hash)
            || self.chunk.iter().flat_map(|c| &c.holds).any(|(held, _)| *held == hash)
    }

    /// Whether the change is in the set and has a dot in some log. A change that [`Row::forget`] left in a chunk
    /// without a dot is hidden from readers until it is written again.
    pub(crate) fn stands(&self, hash: ChangeHash) -> bool {
        self.loose.iter().any(|l| l.change.hash == hash)
            || self.chunk.iter().flat_map(|c| &c.holds).any(|(held, dots)| *held == hash && !dots.is_empty())
    }

    /// The other dots of the change at `dot`; `None` if there is no such change.
    pub(crate) fn dots_beside(&self, dot: Dot) -> Option<Vec<Dot>> {
        let held = self.chunk.iter().flat_map(|c| &c.holds).map(|(_, dots)| dots);
        let mut each = self.loose.iter().map(|l| &l.dots).chain(held);
        let all = each.find(|dots| dots.contains(&dot))?;
        Some(all.iter().filter(|other| **other != dot).copied().collect())
    }

    /// Whether one more change keeps the row within `bounds`. A change that is there already always has room.
    #[must_use]
    pub fn has_room(&self, change: &Change, bounds: Bounds) -> bool {
        let chunk = self.chunk.as_ref().map_or((0, 0), |c| (c.holds.len(), c.saved.len()));
        let bytes: usize = self.loose.iter().map(|l| l.change.bytes.len()).sum();
        let fits = chunk.0 + self.loose.len() < bounds.changes && chunk.1 + bytes + change.bytes.len() <= bounds.bytes;
        fits || self.contains(change.hash)
    }

    /// Adds a change under a dot; a change that is there already only gets the dot.
    pub fn add(&mut self, dot: Dot, change: Change) {
        let held = self.chunk.iter_mut().flat_map(|c| &mut c.holds).find(|(hash, _)| *hash == change.hash);
        let dots = match held {
            Some((_, dots)) => Some(dots),
            None => self.loose.iter_mut().find(|l| l.change.hash == change.hash).map(|l| &mut l.dots),
        };
        match dots {
            Some(dots) => {
                if !dots.contains(&dot) {
                    dots.push(dot);
                }
            }
            None => self.loose.push(Loose { dots: vec![dot], change }),
        }
    }

    /// Takes a dot out, and its change with it if no other dot names it. A compacted change stays: it is a
    /// genuine change of its origin and will be sent again.
    pub fn forget(&mut self, dot: Dot) {
        for loose in &mut self.loose {
            loose.dots.retain(|d| *d != dot);
        }
        self.loose.retain(|loose| !loose.dots.is_empty());
        self.left = self.left.min(self.loose.len());
        for (_, dots) in self.chunk.iter_mut().flat_map(|c| &mut c.holds) {
            dots.retain(|d| *d != dot);
        }
    }

    /// The row with only those changes of which `known` covers at least one dot.
    ///
    /// A chunk that also holds another change is taken apart, because its saved document would show all of them.
    /// Readers pay for that only while a batch that touches the row is on its way to the disk.
    ///
    /// # Errors
    /// [`ChangeError::Merge`] if the compacted chunk does not load.
    pub fn within(mut self, known: &VersionVector) -> Result<Row, ChangeError> {
        let covers = |dots: &[Dot]| dots.iter().any(|dot| known.contains(*dot));
        self.loose.retain(|loose| covers(&loose.dots));
        if let Some(chunk) = self.chunk.take_if(|chunk| !chunk.holds.iter().all(|(_, dots)| covers(dots))) {
            use automerge::ReadDoc;
            let saved = Automerge::load(&chunk.saved).map_err(ChangeError::Merge)?;
            for (hash, dots) in chunk.holds.into_iter().filter(|(_, dots)| covers(dots)) {
                if let Some(change) = saved.get_change_by_hash(&automerge::ChangeHash(hash.0)) {
                    self.loose.push(Loose { dots, change: Change { hash, bytes: change.raw_bytes().to_vec() } });
                }
            }
        }
        Ok(self)
    }

    /// What a replica must know to show this row: one dot of each change, one that `known` covers if there is one.
    #[must_use]
    pub fn needs(&self, known: &VersionVector) -> VersionVector {
        let held = self.chunk.iter().flat_map(|chunk| &chunk.holds).map(|(_, dots)| dots);
        let each = self.loose.iter().map(|loose| &loose.dots).chain(held);
        let one = each.filter_map(|dots| dots.iter().find(|dot| known.contains(**dot)).or(dots.first()));
        one.map(|dot| (dot.origin, dot.seq)).collect()
    }

    /// Whether the row holds no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.loose.is_empty() && self.chunk.is_none()
    }

    /// Hashes of all changes, visible or waiting for a dependency.
    #[must_use]
    pub fn hashes(&self) -> BTreeSet<ChangeHash> {
        let held = self.chunk.iter().flat_map(|c| &c.holds).map(|(hash, _)| *hash);
        self.loose.iter().map(|l| l.change.hash).chain(held).collect()
    }

    /// Hashes of the changes of which `known` covers at least one dot, in order.
    pub(crate) fn hashes_within(&self, known: &VersionVector) -> BTreeSet<ChangeHash> {
        let held = self.chunk.iter().flat_map(|c| &c.holds).map(|(hash, dots)| (*hash, dots));
        let each = self.loose.iter().map(|l| (l.change.hash, &l.dots)).chain(held);
        each.filter(|(_, dots)| dots.iter().any(|dot| known.contains(*dot))).map(|(hash, _)| hash).collect()
    }

    /// Whether a change of this row stands at `dot` in its log.
    pub(crate) fn has_dot(&self, dot: Dot) -> bool {
        let held = self.chunk.iter().flat_map(|c| &c.holds).map(|(_, dots)| dots);
        self.loose.iter().map(|l| &l.dots).chain(held).any(|dots| dots.contains(&dot))
    }

    /// Every dot under which a change of this row stands in a log.
    #[must_use]
    pub fn dots(&self) -> Vec<Dot> {
        let held = self.chunk.iter().flat_map(|c| &c.holds).flat_map(|(_, dots)| dots);
        self.loose.iter().flat_map(|l| &l.dots).chain(held).copied().collect()
    }

    /// The dots of the changes that created the document. Empty while the creation has not arrived. Dots of compacted
    /// changes are all included, because a compacted row no longer tells the creation from what followed.
    #[must_use]
    pub fn creators(&self) -> Vec<Dot> {
        let held = self.chunk.iter().flat_map(|c| &c.holds).flat_map(|(_, dots)| dots);
        let roots = self.loose.iter().filter(|l| l.change.is_root()).flat_map(|l| &l.dots);
        roots.chain(held).copied().collect()
    }

    /// The change at `dot`. Several are found faster by [`Row::find_all`].
    ///
    /// # Errors
    /// [`ChangeError::Merge`] if the compacted chunk does not load.
    pub fn find(&self, dot: Dot) -> Result<Option<Change>, ChangeError> {
        Ok(self.find_all(&[dot])?.remove(&dot))
    }

    /// The changes at `dots`, as far as there are any. The chunk is loaded once, and only if one of them is in it.
    ///
    /// # Errors
    /// [`ChangeError::Merge`] if the compacted chunk does not load.
    pub fn find_all(&self, dots: &[Dot]) -> Result<BTreeMap<Dot, Change>, ChangeError> {
        let wanted: BTreeSet<Dot> = dots.iter().copied().collect();
        let mut found = BTreeMap::new();
        for loose in &self.loose {
            for dot in loose.dots.iter().filter(|dot| wanted.contains(dot)) {
                found.insert(*dot, loose.change.clone());
            }
        }
        let Some(chunk) = &self.chunk else { return Ok(found) };
        let mut held: BTreeMap<ChangeHash, Vec<Dot>> = BTreeMap::new();
        for (hash, dots) in &chunk.holds {
            let dots: Vec<Dot> = dots.iter().filter(|dot| wanted.contains(dot)).copied().collect();
            if !dots.is_empty() {
                held.insert(*hash, dots);
            }
        }
        if held.is_empty() {
            return Ok(found);
        }
        let saved = Automerge::load(&chunk.saved).map_err(ChangeError::Merge)?;
        // Looking up one change takes as long as reading all of them.
        for change in saved.get_changes(&[]) {
            let hash = ChangeHash(change.hash().0);
            for dot in held.get(&hash).into_iter().flatten() {
                found.insert(*dot, Change { hash, bytes: change.raw_bytes().to_vec() });
            }
        }
        Ok(found)
    }

    /// The document that readers see.
    ///
    /// # Errors
    /// [`ChangeError`] if the changes do not merge.
    pub fn document(&self) -> Result<Document, ChangeError> {
        match &self.chunk {
            None => {
                let loose: Vec<Change> = self.loose.iter().map(|l| l.change.clone()).collect();
                Document::of_changes(&loose)
            }
            Some(_) => Document::of_automerge(&self.merged()?.0),
        }
    }

    /// Whether [`Row::compact`] is worth its time, because many changes came since the last compaction.
    #[must_use]
    pub fn wants_compaction(&self) -> bool {
        self.loose.len() >= self.left.saturating_add(COMPACT_AT)
    }

    /// Moves all loose changes that are well-formed, with all that they depend on, into the chunk. Changes that it
    /// could not take in are tried again only after as many new ones have come.
    ///
    /// # Errors
    /// [`ChangeError`] if the changes do not merge; the row is as before then.
    pub fn compact(&mut self) -> Result<(), ChangeError> {
        let (merged, taken) = self.merged()?;
        debug_assert_eq!(taken.len(), self.loose.len(), "a loose change is not judged");
        let (hashes, dots) = (self.count_hashes(), self.dots().len());
        let mut taken = taken.into_iter();
        let (take, stay) = self.loose.drain(..).partition::<Vec<_>, _>(|_| taken.next() == Some(true));
        self.loose = stay;
        self.left = self.loose.len();
        if !take.is_empty() {
            let mut holds = self.chunk.take().map(|c| c.holds).unwrap_or_default();
            holds.extend(take.into_iter().map(|l| (l.change.hash, l.dots)));
            self.chunk = Some(Chunk { saved: merged.save(), holds });
        }
        debug_assert_eq!(self.count_hashes(), hashes, "compaction lost a change");
        debug_assert_eq!(self.dots().len(), dots, "compaction lost a place in a log");
        Ok(())
    }

    fn count_hashes(&self) -> usize {
        self.loose.len() + self.chunk.as_ref().map_or(0, |chunk| chunk.holds.len())
    }

    /// The document with all its history, and for each loose change whether it is in it.
    fn merged(&self) -> Result<(Automerge, Vec<bool>), ChangeError> {
        let mut merged = match &self.chunk {
            Some(chunk) => Automerge::load(&chunk.saved).map_err(ChangeError::Merge)?,
            None => Automerge::new(),
        };
        if self.loose.is_empty() {
            return Ok((merged, Vec::new()));
        }
        let mut changes = merged.get_changes(&[]);
        let held = changes.len();
        for loose in &self.loose {
            changes.push(form::parse(&loose.change.bytes)?);
        }
        let good = form::well_formed(&changes, held).split_off(held);
        let mut flags = good.iter();
        let loose: Vec<_> = changes.drain(held..).filter(|_| flags.next() == Some(&true)).collect();
        merged.apply_changes(loose).map_err(ChangeError::Merge)?;
        Ok((merged, good))
    }
}

#[cfg(test)]
mod tests;
