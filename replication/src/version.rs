//! Version vectors: for each origin, the seq up to which everything is known.
//!
//! "Known" includes "nothing left to know": the entry of an expired document is a gap in the log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{Dot, ReplicaId};

/// For each origin, the seq up to which everything is known (Parker et al., 1983).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionVector(BTreeMap<ReplicaId, u64>);

impl VersionVector {
    /// The seq up to which `origin`'s log is known; 0 if nothing is.
    #[must_use]
    pub fn get(&self, origin: ReplicaId) -> u64 {
        self.0.get(&origin).copied().unwrap_or(0)
    }

    /// Raises `origin`'s seq; never lowers it.
    pub fn advance(&mut self, origin: ReplicaId, seq: u64) {
        if seq > 0 {
            let known = self.0.entry(origin).or_insert(0);
            *known = seq.max(*known);
        }
    }

    /// The least vector that covers both.
    pub fn merge(&mut self, other: &VersionVector) {
        for (origin, seq) in other.iter() {
            self.advance(origin, seq);
        }
        debug_assert!(self.covers(other), "a merge covers both");
    }

    /// The greatest vector that both cover.
    #[must_use]
    pub fn meet(&self, other: &VersionVector) -> VersionVector {
        let meet: VersionVector = self.iter().map(|(origin, seq)| (origin, seq.min(other.get(origin)))).collect();
        debug_assert!(self.covers(&meet) && other.covers(&meet), "both cover what they have in common");
        meet
    }

    /// Origins that `other` does not name.
    pub(crate) fn origins_beyond(&self, other: &VersionVector) -> Vec<ReplicaId> {
        self.0.keys().filter(|origin| !other.0.contains_key(origin)).copied().collect()
    }

    /// Removes an origin, as if nothing of its log were known.
    pub(crate) fn remove(&mut self, origin: ReplicaId) {
        self.0.remove(&origin);
    }

    /// Whether everything in `other` is known here.
    #[must_use]
    pub fn covers(&self, other: &VersionVector) -> bool {
        other.iter().all(|(origin, seq)| self.get(origin) >= seq)
    }

    /// Whether the entry at `dot` is known.
    #[must_use]
    pub fn contains(&self, dot: Dot) -> bool {
        self.get(dot.origin) >= dot.seq
    }

    /// Entries that `self` knows and `other` does not, gaps included.
    #[must_use]
    pub fn ahead_of(&self, other: &VersionVector) -> u64 {
        self.iter().map(|(origin, seq)| seq.saturating_sub(other.get(origin))).sum()
    }

    /// Every origin with its seq, in order of origin.
    pub fn iter(&self) -> impl Iterator<Item = (ReplicaId, u64)> {
        self.0.iter().map(|(origin, seq)| (*origin, *seq))
    }

    /// Number of origins.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(ReplicaId, u64)> for VersionVector {
    fn from_iter<I: IntoIterator<Item = (ReplicaId, u64)>>(pairs: I) -> Self {
        let mut vector = VersionVector::default();
        for (origin, seq) in pairs {
            vector.advance(origin, seq);
        }
        vector
    }
}
