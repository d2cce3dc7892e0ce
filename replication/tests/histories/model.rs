//! The model: every event for ever, nothing forgotten.

use std::collections::{BTreeMap, BTreeSet};

use replication::{ChangeHash, DocumentKey, DocumentName, Dot, VersionVector, Wall};

/// One change that some replica took.
#[derive(Clone, Debug)]
pub struct Taken {
    pub key: DocumentKey,
    pub hash: ChangeHash,
    pub dot: Dot,
    pub at: usize,
    pub acknowledged: bool,
    /// The only disk that had it went back in time: lost by contract.
    pub lost: bool,
}

/// Everything that happened.
#[derive(Default)]
pub struct Model {
    pub changes: Vec<Taken>,
    /// Erasures that were asked for: name to whether one was acknowledged and not lost with its disk since.
    pub erased: BTreeMap<DocumentName, Vec<Erasure>>,
    /// Tokens of acknowledged writes: who covers the vector must show the change.
    pub sessions: Vec<(VersionVector, DocumentKey, ChangeHash)>,
}

/// One erasure that some replica took.
#[derive(Clone, Debug)]
pub struct Erasure {
    pub dot: Dot,
    pub at: usize,
    pub acknowledged: bool,
    pub lost: bool,
}

impl Model {
    /// Whether an erasure of the name was ever asked for.
    pub fn maybe_erased(&self, name: &DocumentName) -> bool {
        self.erased.contains_key(name)
    }

    /// Whether an erasure of the name was acknowledged and must hold everywhere in the end.
    pub fn surely_erased(&self, name: &DocumentName) -> bool {
        self.erased.get(name).is_some_and(|all| all.iter().any(|e| e.acknowledged && !e.lost))
    }

    /// For each key that must be alive: the hashes that must be there.
    pub fn must(&self, now: Wall) -> BTreeMap<DocumentKey, BTreeSet<ChangeHash>> {
        let mut must: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for taken in self.changes.iter().filter(|t| t.acknowledged && !t.lost) {
            if taken.key.expires_at > now && !self.maybe_erased(&taken.key.name) {
                must.entry(taken.key).or_default().insert(taken.hash);
            }
        }
        must
    }

    /// For each key the hashes that may be there: taken by someone, acknowledged or not.
    pub fn may(&self, key: &DocumentKey) -> BTreeSet<ChangeHash> {
        self.changes.iter().filter(|t| t.key == *key).map(|t| t.hash).collect()
    }
}
