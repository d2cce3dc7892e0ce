//! I4: no readable byte of an erased visit is left.

use std::collections::BTreeSet;

use super::Invariant;
use crate::world::World;
use memchr::memmem::Finder;
use replication::{View, Wall};

const MARK: &[u8] = b"canary-";

impl World {
    /// Whether this replica has a tombstone of the visit.
    pub(crate) fn has_tombstone(&self, at: usize, visit: u32) -> bool {
        let truth = self.model.visits.get(&visit);
        let view = View::applied(Wall::default());
        truth.is_some_and(|truth| self.reader(at).is_erased(&truth.key.name, false, view).unwrap_or(false))
    }

    /// Whether the latest expiry that the visit could have has passed for this replica. Then an erasure may be
    /// acknowledged without a tombstone, because the rows are dropped with their day.
    pub(crate) fn is_over(&self, at: usize, visit: u32) -> bool {
        let Some(truth) = self.model.visits.get(&visit) else { return false };
        let until = truth.key.name.id.arrival().plus(self.scenario.replica.max_retention);
        let process = self.nodes[at].process.as_ref();
        process.is_some_and(|process| until <= process.replica.dead_through())
    }

    /// An erasure was acknowledged here just now, the first or a repeat: checks that the rows are gone.
    pub(crate) fn erased_from_disk(&mut self, at: usize, visit: u32) {
        let hidden = self.is_over(at, visit) || self.has_tombstone(at, visit);
        self.must(Invariant::Erasure, Some(at), hidden, || {
            format!("acknowledged the erasure of visit {visit} and has no tombstone of it")
        });
        if self.scenario.checks.deep {
            self.no_erased_bytes(at, Some(visit));
        }
    }

    /// No stored byte belongs to a visit whose erasure was acknowledged here. Checks `only` that visit, or all.
    pub(crate) fn no_erased_bytes(&mut self, at: usize, only: Option<u32>) {
        let wanted = |visit: u32| only.is_none_or(|only| only == visit) && self.erasure_acknowledged(at, visit);
        let left = self.visits_in_bytes(at).into_iter().find(|visit| wanted(*visit));
        self.must(Invariant::Erasure, Some(at), left.is_none(), || {
            format!("holds bytes of visit {}, which is erased", left.unwrap_or_default())
        });
    }

    /// An acknowledged erasure, in whichever region it was made, has left no byte of its visit in a replica that knows
    /// it.
    pub(crate) fn no_erased_bytes_anywhere(&mut self, at: usize) {
        let left = self.visits_in_bytes(at).into_iter().find(|visit| self.erasure_reached(at, *visit));
        self.must(Invariant::Erasure, Some(at), left.is_none(), || {
            format!("holds bytes of visit {}, whose erasure it knows", left.unwrap_or_default())
        });
    }

    /// Every visit of which a stored value holds bytes.
    pub(crate) fn visits_in_bytes(&self, at: usize) -> BTreeSet<u32> {
        let finder = Finder::new(MARK);
        let mut visits = BTreeSet::new();
        for value in self.nodes[at].disk.contents().values() {
            for found in finder.find_iter(&value) {
                let digits = value.get(found + MARK.len()..found + MARK.len() + 8);
                let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
                visits.extend(digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()));
            }
        }
        visits
    }

    /// Whether this replica has acknowledged an erasure of the visit, and has not lost it with its disk.
    pub(crate) fn erasure_acknowledged(&self, at: usize, visit: u32) -> bool {
        let Some(process) = &self.nodes[at].process else { return false };
        let known = process.replica.durable();
        self.model.visits.get(&visit).is_some_and(|truth| {
            truth.erased.iter().any(|erased| erased.node == at && !erased.lost && known.contains(erased.dot))
                || truth.again.iter().any(|again| again.node == at && !again.lost && again.hash.is_none())
        })
    }

    /// Whether this replica knows an acknowledged erasure of the visit. Not after the longest retention has passed:
    /// then tombstones need not be sent any more, because what is left of the visit is dropped with its day.
    pub(crate) fn erasure_reached(&self, at: usize, visit: u32) -> bool {
        let Some(process) = &self.nodes[at].process else { return false };
        let known = process.replica.durable();
        let settings = &self.scenario.replica;
        let needless_from = self.true_wall().plus(settings.max_clock_skew);
        self.model.visits.get(&visit).is_some_and(|truth| {
            truth.key.name.id.arrival().plus(settings.max_retention) > needless_from
                && truth.erased.iter().any(|erased| !erased.lost && known.contains(erased.dot))
        })
    }
}
