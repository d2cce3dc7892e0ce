//! I5: a day's documents, log entries and tombstones are gone when the day and the skew have passed.

use std::collections::BTreeSet;

use replication::Bucket;

use super::Invariant;
use crate::world::World;

impl World {
    /// Nobody shows what has expired.
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
        }
    }
}
