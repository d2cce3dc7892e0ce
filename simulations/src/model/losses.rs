//! How many acknowledged writes are lost by contract, and how many erasures came undone with them.
//!
//! A write that only one disk had when that disk went back in time is lost, and no replica can know of it. So the
//! checks do not ask for it, and the figures say how many such writes there were.

use std::collections::BTreeSet;

use replication::{ChangeHash, DocumentName, Wall};

use super::{Model, VisitTruth};
use crate::figures::Losses;

impl Model {
    /// The losses counted so far, in the order of regions.
    #[must_use]
    pub(crate) fn losses(&self) -> Vec<Losses> {
        self.losses.values().cloned().collect()
    }

    /// Counts the losses since the last call. `wall` is true time; `is_shown` says whether some store still shows a
    /// document.
    pub(crate) fn count_losses(&mut self, wall: Wall, is_shown: impl Fn(&DocumentName) -> bool) {
        for truth in self.visits.values_mut().filter(|truth| truth.key.expires_at > wall) {
            if truth.has_standing_erasure() {
                continue;
            }
            let standing = truth.standing_changes();
            let is_lost = |hash: &ChangeHash| !standing.contains(hash);
            let taken = truth.taken.iter_mut().filter(|taken| taken.lost && taken.acknowledged.is_some());
            let taken = taken.map(|taken| (taken.node, Some(taken.hash), &mut taken.counted));
            let again = truth.again.iter_mut().filter(|again| again.lost);
            let again = again.map(|again| (again.node, again.hash, &mut again.counted));
            let erased = truth.erased.iter_mut().filter(|erased| erased.lost);
            let erased = erased.map(|erased| (erased.node, None, &mut erased.counted));
            let mut is_undone = None;
            for (node, hash, counted) in taken.chain(again).chain(erased) {
                if hash.is_some_and(|hash| !is_lost(&hash)) || std::mem::replace(counted, true) {
                    continue;
                }
                let losses = self.losses.entry(node).or_insert_with(|| Losses { region: node, ..Losses::default() });
                if hash.is_some() {
                    losses.changes += 1;
                } else {
                    losses.erasures += 1;
                    losses.undone += u64::from(*is_undone.get_or_insert_with(|| is_shown(&truth.key.name)));
                }
            }
        }
    }
}

impl VisitTruth {
    /// Whether some acknowledged erasure is not lost.
    fn has_standing_erasure(&self) -> bool {
        self.erased.iter().any(|erased| !erased.lost)
            || self.again.iter().any(|again| again.hash.is_none() && !again.lost)
    }

    /// Changes with an acknowledgement that is not lost.
    fn standing_changes(&self) -> BTreeSet<ChangeHash> {
        let taken = self.taken.iter().filter(|taken| !taken.lost && taken.acknowledged.is_some());
        let again = self.again.iter().filter(|again| !again.lost);
        taken.map(|taken| taken.hash).chain(again.filter_map(|again| again.hash)).collect()
    }
}
