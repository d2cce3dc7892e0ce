//! I5: a day's documents, log entries and tombstones are gone when the day and the skew have passed.

use std::collections::BTreeSet;

use replication::{Bucket, ChangeHash};

use super::Invariant;
use crate::world::World;

impl World {
    /// A region whose clock was never wrong, and that believes it, shows nothing that has expired.
    pub(crate) fn shows_no_expired(&mut self, at: usize, shown: &[(u32, BTreeSet<ChangeHash>)]) {
        let now = self.now_of(at);
        let believed = self.nodes[at].process.as_ref().is_some_and(|p| p.replica.status(now).doubt.is_none());
        if !believed || self.was_clock_wrong(at) {
            return;
        }
        let moment = self.true_wall().minus(self.scenario.replica.max_clock_skew);
        let expired = |visit: &u32| self.model.visits.get(visit).is_some_and(|truth| truth.key.expires_at <= moment);
        let old = shown.iter().map(|(visit, _)| *visit).find(expired);
        self.must(Invariant::Forgetting, Some(at), old.is_none(), || {
            format!("answers with visit {} after its expiry", old.unwrap_or_default())
        });
    }

    /// No region of the core shows an expired visit.
    pub(crate) fn nothing_outlives_its_expiry(&mut self, core: &BTreeSet<usize>) {
        let moment = self.true_wall().minus(self.scenario.replica.max_clock_skew);
        for at in core {
            let old = self.live(*at).and_then(|live| live.into_keys().find(|key| key.expires_at <= moment));
            let visit = old.and_then(|key| self.model.names.get(&key.name).copied());
            self.must(Invariant::Forgetting, Some(*at), old.is_none(), || {
                format!("shows visit {} after its expiry", visit.unwrap_or_default())
            });
        }
    }

    /// When the longest retention has passed, only lasting documents are stored.
    pub(crate) fn everything_is_forgotten(&mut self, core: &BTreeSet<usize>) {
        for at in core {
            let left: Vec<Bucket> = replication::Storage::buckets(self.nodes[*at].disk.contents())
                .into_iter()
                .filter(|bucket| *bucket != Bucket::Lasting)
                .collect();
            self.must(Invariant::Forgetting, Some(*at), left.is_empty(), || format!("still has {left:?}"));
            let bytes = self.visits_in_bytes(*at).pop_first();
            self.must(Invariant::Forgetting, Some(*at), bytes.is_none(), || {
                format!("still has bytes of visit {}", bytes.unwrap_or_default())
            });
        }
    }
}
