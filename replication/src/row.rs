//! A document row: a grow-only set of encoded changes, keyed by change hash. Merging is set union.
//!
//! # Invariants
//! - A row never loses a hash. Compaction replaces changes by one saved chunk that holds them all, and only when
//!   no dependency is missing.
//! - Every change knows the dots under which it stands in logs, so that removing the row removes the log's
//!   references too.

use std::collections::BTreeSet;

use automerge::Automerge;
use serde::{Deserialize, Serialize};

use crate::change::{Change, ChangeError, ChangeHash};
use crate::document::Document;
use crate::ids::Dot;
use crate::key::DocumentKey;
use crate::seal;
use crate::version::VersionVector;

/// A row with this many loose changes is compacted. One visit has one to three; only a busy venue gets here.
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

/// What the database has for one document.
#[derive(Clone, Debug, Default)]
pub struct Row {
    chunk: Option<Chunk>,
    loose: Vec<Loose>,
}

#[derive(Serialize, Deserialize)]
struct StoredRow {
    chunk: Option<Chunk>,
    loose: Vec<(Vec<Dot>, serde_bytes::ByteBuf)>,
}

impl Row {
    /// Reads a stored row.
    ///
    /// # Errors
    /// [`ChangeError`] if the bytes are not what [`Row::encode`] wrote.
    pub fn decode(key: &DocumentKey, sealed: Vec<u8>) -> Result<Row, ChangeError> {
        let stored: StoredRow = postcard::from_bytes(&seal::open(key, sealed)).map_err(|_| ChangeError::Row)?;
        let loose = stored.loose.into_iter();
        let loose = loose.map(|(dots, bytes)| Ok(Loose { dots, change: Change::from_stored(bytes.into_vec())? }));
        Ok(Row { chunk: stored.chunk, loose: loose.collect::<Result<_, ChangeError>>()? })
    }

    /// The stored form.
    ///
    /// # Errors
    /// [`ChangeError::Row`] if it cannot be encoded.
    pub fn encode(self, key: &DocumentKey) -> Result<Vec<u8>, ChangeError> {
        let loose = self.loose.into_iter().map(|l| (l.dots, serde_bytes::ByteBuf::from(l.change.bytes))).collect();
        let stored = StoredRow { chunk: self.chunk, loose };
        Ok(seal::seal(key, postcard::to_stdvec(&stored).map_err(|_| ChangeError::Row)?))
    }

    /// Whether the change is in the set.
    #[must_use]
    pub fn contains(&self, hash: ChangeHash) -> bool {
        self.loose.iter().any(|l| l.change.hash == hash)
            || self.chunk.iter().flat_map(|c| &c.holds).any(|(held, _)| *held == hash)
    }

    /// Adds a change under a dot; a change that is there already only gets the dot.
    ///
    /// # Errors
    /// [`ChangeError`] if the row is due for compaction and does not load.
    pub fn add(&mut self, dot: Dot, change: Change) -> Result<(), ChangeError> {
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
        if self.loose.len() >= COMPACT_AT { self.compact() } else { Ok(()) }
    }

    /// Takes a dot out, and its change with it if no other dot names it. A compacted change stays: it is a
    /// genuine change of its origin and will be sent again.
    pub fn forget(&mut self, dot: Dot) {
        for loose in &mut self.loose {
            loose.dots.retain(|d| *d != dot);
        }
        self.loose.retain(|loose| !loose.dots.is_empty());
        for (_, dots) in self.chunk.iter_mut().flat_map(|c| &mut c.holds) {
            dots.retain(|d| *d != dot);
        }
    }

    /// The row with only those changes of which `known` covers at least one dot.
    ///
    /// A chunk that holds another change is taken apart, because the document that it saves shows them all. That
    /// lasts as long as a batch that touches the row is on its way to the disk.
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

    /// Every dot under which a change of this row stands in a log.
    #[must_use]
    pub fn dots(&self) -> Vec<Dot> {
        let held = self.chunk.iter().flat_map(|c| &c.holds).flat_map(|(_, dots)| dots);
        self.loose.iter().flat_map(|l| &l.dots).chain(held).copied().collect()
    }

    /// The dots of the changes that created the document: where it was taken first, or at once. Empty while the
    /// creation has not arrived; a compacted row no longer tells it from what followed.
    #[must_use]
    pub fn creators(&self) -> Vec<Dot> {
        let held = self.chunk.iter().flat_map(|c| &c.holds).flat_map(|(_, dots)| dots);
        let roots = self.loose.iter().filter(|l| l.change.is_root()).flat_map(|l| &l.dots);
        roots.chain(held).copied().collect()
    }

    /// The change that stands at `dot`.
    ///
    /// # Errors
    /// [`ChangeError::Merge`] if the compacted chunk does not load.
    pub fn find(&self, dot: Dot) -> Result<Option<Change>, ChangeError> {
        if let Some(loose) = self.loose.iter().find(|l| l.dots.contains(&dot)) {
            return Ok(Some(loose.change.clone()));
        }
        let Some(chunk) = &self.chunk else { return Ok(None) };
        let Some((hash, _)) = chunk.holds.iter().find(|(_, dots)| dots.contains(&dot)) else { return Ok(None) };
        use automerge::ReadDoc;
        let saved = Automerge::load(&chunk.saved).map_err(ChangeError::Merge)?;
        let change = saved.get_change_by_hash(&automerge::ChangeHash(hash.0));
        Ok(change.map(|change| Change { hash: *hash, bytes: change.raw_bytes().to_vec() }))
    }

    /// The document that readers see.
    ///
    /// # Errors
    /// [`ChangeError`] if the changes do not merge.
    pub fn document(&self) -> Result<Document, ChangeError> {
        let loose: Vec<Change> = self.loose.iter().map(|l| l.change.clone()).collect();
        match &self.chunk {
            None => Document::of_changes(&loose),
            Some(_) => Document::of_automerge(&self.merged()?),
        }
    }

    fn merged(&self) -> Result<Automerge, ChangeError> {
        let mut merged = match &self.chunk {
            Some(chunk) => Automerge::load(&chunk.saved).map_err(ChangeError::Merge)?,
            None => Automerge::new(),
        };
        let parsed = self
            .loose
            .iter()
            .map(|l| automerge::Change::try_from(l.change.bytes.as_slice()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(ChangeError::Parse)?;
        merged.apply_changes(parsed).map_err(ChangeError::Merge)?;
        Ok(merged)
    }

    fn compact(&mut self) -> Result<(), ChangeError> {
        use automerge::ReadDoc;
        let merged = self.merged()?;
        if !merged.get_missing_deps(&[]).is_empty() {
            return Ok(());
        }
        let mut holds = self.chunk.take().map(|c| c.holds).unwrap_or_default();
        holds.extend(self.loose.drain(..).map(|l| (l.change.hash, l.dots)));
        self.chunk = Some(Chunk { saved: merged.save(), holds });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
