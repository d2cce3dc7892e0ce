//! The model: it keeps every event and forgets nothing.

use std::collections::{BTreeMap, BTreeSet};

use replication::{ChangeHash, DocumentKey, DocumentName, Dot, ReplicaId, VersionVector, Wall};

/// One change that some replica took.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
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
pub(crate) struct Model {
    pub changes: Vec<Taken>,
    /// Requested erasures by name, and whether one was acknowledged and not lost with its disk since.
    pub erased: BTreeMap<DocumentName, Vec<Erasure>>,
    /// Tokens of acknowledged writes: a replica that covers the vector must show the change.
    pub sessions: Vec<(VersionVector, DocumentKey, ChangeHash)>,
    /// The entry that was acknowledged under each dot, even if it was removed since.
    dots: BTreeMap<(ReplicaId, u64), What>,
}

/// The entry at a dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Change(DocumentKey, ChangeHash),
    Erasure(DocumentName),
}

/// One erasure that some replica took.
#[derive(Clone, Debug)]
pub(crate) struct Erasure {
    pub dot: Dot,
    pub at: usize,
    pub acknowledged: bool,
    pub lost: bool,
}

impl Model {
    /// I11: an acknowledged dot stands for one entry for ever, though the entry may be gone from every log.
    pub(crate) fn acknowledge(&mut self, dot: Dot, what: What) -> Result<(), String> {
        match self.dots.insert((dot.origin, dot.seq), what.clone()) {
            Some(earlier) if earlier != what => {
                Err(format!("I11: {dot:?} was acknowledged for {earlier:?} and now for {what:?}"))
            }
            _ => Ok(()),
        }
    }

    /// A disk went back in time. Dots that no other replica has seen may be used again, because only clients know of
    /// them.
    pub(crate) fn forget_dots(&mut self, seen_elsewhere: impl Fn(Dot) -> bool) {
        self.dots.retain(|(origin, seq), _| seen_elsewhere(Dot { origin: *origin, seq: *seq }));
    }

    /// Whether an erasure of the name was ever requested.
    pub(crate) fn maybe_erased(&self, name: &DocumentName) -> bool {
        self.erased.contains_key(name)
    }

    /// Whether an erasure of the name was acknowledged and must hold everywhere in the end.
    pub(crate) fn surely_erased(&self, name: &DocumentName) -> bool {
        self.erased.get(name).is_some_and(|all| all.iter().any(|e| e.acknowledged && !e.lost))
    }

    /// For each key that must be alive: the hashes that must be there.
    pub(crate) fn must(&self, now: Wall) -> BTreeMap<DocumentKey, BTreeSet<ChangeHash>> {
        let mut must: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for taken in self.changes.iter().filter(|t| t.acknowledged && !t.lost) {
            if taken.key.expires_at > now && !self.maybe_erased(&taken.key.name) {
                must.entry(taken.key).or_default().insert(taken.hash);
            }
        }
        must
    }

    /// For each key the hashes that may be there: taken by some replica, acknowledged or not.
    pub(crate) fn may(&self, key: &DocumentKey) -> BTreeSet<ChangeHash> {
        self.changes.iter().filter(|t| t.key == *key).map(|t| t.hash).collect()
    }
}
