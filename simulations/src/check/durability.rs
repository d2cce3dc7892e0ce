//! I1: an acknowledged write is in its replica after any crash, and in every region in the end.

use std::collections::BTreeSet;

use replication::{Bucket, ChangeHash, DocumentKey, DocumentName, Dot, View, Wall};

use super::Invariant;
use crate::world::World;

impl World {
    /// Changes that must be alive at `at`: acknowledged, known there, not lost by contract, not erased, not expired. A
    /// repeat has no dot of its own, so it counts if `told` is true for the node that acknowledged it.
    fn must_show(&self, at: usize, told: impl Fn(usize) -> bool) -> Vec<(u32, DocumentKey, ChangeHash)> {
        let Some(process) = &self.nodes[at].process else { return Vec::new() };
        let known = process.replica.durable();
        // A clock that was wrong and was believed at a start may stay ahead of a correct one by twice the skew.
        let slack = if self.was_clock_wrong(at) { 3 } else { 1 };
        let horizon = self.true_wall().plus(self.scenario.replica.max_clock_skew * slack);
        let mut must = Vec::new();
        for (visit, truth) in &self.model.visits {
            if truth.erase_asked || truth.key.expires_at <= horizon {
                continue;
            }
            // A node that was misled about its clock leaves out what expires by that clock, so its own writes
            // may be lost.
            let due = truth.taken.iter().filter(|taken| {
                !taken.lost && !self.nodes[taken.node].misled && taken.dot.is_some_and(|dot| known.contains(dot))
            });
            must.extend(due.map(|taken| (*visit, truth.key, taken.hash)));
            let again = truth.again.iter().filter(|again| !again.lost && !self.nodes[again.node].misled);
            let again = again.filter(|again| told(again.node)).filter_map(|again| again.hash);
            must.extend(again.map(|hash| (*visit, truth.key, hash)));
        }
        must
    }

    /// The first acknowledged change that a replica knows of and does not show.
    pub(crate) fn lacks(&self, at: usize) -> Option<u32> {
        self.lacks_of(at, |node| node == at)
    }

    /// The same, with the repeats that others have acknowledged.
    fn lacks_of(&self, at: usize, told: impl Fn(usize) -> bool) -> Option<u32> {
        let live = self.live(at)?;
        let has = |key: &DocumentKey, hash: &ChangeHash| live.get(key).is_some_and(|hashes| hashes.contains(hash));
        self.must_show(at, told).into_iter().find(|(_, key, hash)| !has(key, hash)).map(|(visit, _, _)| visit)
    }

    /// In the end, in the core: nothing acknowledged in the core is unknown there, and everything known is shown.
    pub(crate) fn nothing_is_lost(&mut self, core: &BTreeSet<usize>) {
        // Entries that a disk lost when it went back, and that only regions outside the core still have, stay outside.
        let partial = core.len() < self.nodes.iter().filter(|node| node.exists).count();
        let heard: BTreeSet<usize> =
            core.iter().copied().filter(|node| !(partial && self.nodes[*node].restored_at.is_some())).collect();
        for at in core {
            let unknown = self.unknown(*at, &heard);
            self.must(Invariant::Durability, Some(*at), unknown.is_none(), || {
                format!("does not know of visit {}, acknowledged in the core", unknown.unwrap_or_default())
            });
            // A node that was misled about its clock has forgotten too early.
            let misled = self.nodes[*at].misled;
            let lacks = if misled { None } else { self.lacks_of(*at, |node| heard.contains(&node)) };
            self.must(Invariant::Durability, Some(*at), lacks.is_none(), || {
                format!("does not show visit {}, which was acknowledged", lacks.unwrap_or_default())
            });
            let risen = self.risen(*at, &heard);
            self.must(Invariant::Resurrection, Some(*at), risen.is_none(), || {
                format!("shows visit {}, which is erased", risen.unwrap_or_default())
            });
        }
    }

    /// A visit with a change or an erasure that one of `heard` acknowledged and that a region does not know.
    fn unknown(&self, at: usize, heard: &BTreeSet<usize>) -> Option<u32> {
        let known = self.nodes[at].process.as_ref()?.replica.durable();
        let live = self.live(at)?;
        let is_unknown = |node: usize, lost: bool, dot: Option<Dot>| {
            heard.contains(&node) && !lost && dot.is_some_and(|dot| !known.contains(dot))
        };
        // If all entries of an origin are over the vector no longer names it, so visits that are over are skipped.
        let over = self.true_wall().plus(self.scenario.replica.max_clock_skew);
        let unknown = self.model.visits.iter().find(|(_, truth)| {
            let until = truth.key.name.id.arrival().plus(self.scenario.replica.max_retention);
            // The same change may be there under another dot, if two regions took it and one disk went back.
            let has = |hash| live.get(&truth.key).is_some_and(|hashes| hashes.contains(hash));
            let taken = truth.taken.iter().filter(|_| truth.key.expires_at > over);
            let erased = truth.erased.iter().filter(|_| Bucket::of(until).end() > over);
            let lacks =
                taken.into_iter().any(|taken| is_unknown(taken.node, taken.lost, taken.dot) && !has(&taken.hash))
                    || erased.into_iter().any(|erased| is_unknown(erased.node, erased.lost, Some(erased.dot)));
            // The erasure may be there under another dot as well, and then the change need not be there.
            lacks && !self.is_erased_in(at, &truth.key.name)
        });
        unknown.map(|(visit, _)| *visit)
    }

    /// A visit that is shown though an acknowledged erasure of it is known here, or was repeated by one of `heard`.
    fn risen(&self, at: usize, heard: &BTreeSet<usize>) -> Option<u32> {
        let risen = self.model.visits.iter().find(|(visit, truth)| {
            let again =
                truth.again.iter().any(|again| again.hash.is_none() && !again.lost && heard.contains(&again.node));
            (again || self.erasure_reached(at, **visit)) && self.shows(at, &truth.key)
        });
        risen.map(|(visit, _)| *visit)
    }

    fn is_erased_in(&self, at: usize, name: &DocumentName) -> bool {
        self.reader(at).is_erased(name, false, View::applied(Wall::default())).unwrap_or(false)
    }

    fn shows(&self, at: usize, key: &DocumentKey) -> bool {
        let reader = self.reader(at);
        let as_of = self.nodes[at].process.as_ref().map(|process| process.replica.dead_through());
        as_of
            .is_some_and(|as_of| reader.rows(&key.name, false, View::applied(as_of)).is_ok_and(|rows| !rows.is_empty()))
    }
}
