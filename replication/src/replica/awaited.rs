//! The entries that this replica waits for before it calls itself fit to serve, because peers have them.
//!
//! A store that began empty, or lost a bucket, waits for all that each linked peer had at its greeting. A replica whose
//! disk went back waits for its own entries. Both waits end when those entries are here. Neither waits for a peer that
//! is away or one that sends nothing, otherwise a dead region, or a peer that lies about what it has, would block this
//! one.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Event, Replica};
use crate::ids::{NodeName, ReplicaId};
use crate::storage::Storage;
use crate::time::{Monotonic, Now};
use crate::version::VersionVector;

/// Heartbeats without any awaited entry after which the replica waits no longer.
const PATIENCE: u32 = 120;

/// Filling an empty store, and fetching own entries back.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    /// While the store is filling: what each peer had when it greeted first.
    filling: Option<BTreeMap<NodeName, VersionVector>>,
    /// After a roll-back: what peers knew of our own logs.
    pub(super) recover: VersionVector,
    /// When an awaited entry last came.
    moved: Monotonic,
    reached: u64,
}

impl Awaited {
    pub(super) fn new(filling: bool, now: Monotonic) -> Awaited {
        Awaited { filling: filling.then(BTreeMap::new), moved: now, ..Awaited::default() }
    }

    pub(super) fn is_filling(&self) -> bool {
        self.filling.is_some()
    }

    /// A peer greets and tells what it has.
    pub(super) fn greeted(&mut self, peer: &NodeName, vector: &VersionVector, now: Monotonic) {
        if let Some(filling) = &mut self.filling
            && !filling.contains_key(peer)
        {
            filling.insert(peer.clone(), vector.clone());
            self.moved = now;
        }
    }

    /// Peers know more of our own logs than we do.
    pub(super) fn expect_back(&mut self, origin: ReplicaId, through: u64, now: Monotonic) {
        if through > self.recover.get(origin) {
            self.recover.advance(origin, through);
            self.moved = now;
        }
    }

    /// From now on only own entries are waited for.
    pub(super) fn end_filling(&mut self) {
        self.filling = None;
    }

    /// A peer was removed for good: what it had is not waited for.
    pub(super) fn forget_peer(&mut self, peer: &NodeName) {
        if let Some(filling) = &mut self.filling {
            filling.remove(peer);
        }
    }

    pub(super) fn drop_origin(&mut self, origin: ReplicaId) {
        self.recover.remove(origin);
        for vector in self.filling.iter_mut().flat_map(BTreeMap::values_mut) {
            vector.remove(origin);
        }
    }

    /// Measures how far both waits have come.
    pub(super) fn observe(&mut self, durable: &VersionVector, now: Monotonic) {
        let wanted = self.filling.iter().flat_map(BTreeMap::values).chain([&self.recover]);
        let reached = wanted.flat_map(VersionVector::iter).map(|(origin, seq)| seq.min(durable.get(origin))).sum();
        if reached > self.reached {
            self.moved = now;
        }
        self.reached = reached;
    }

    /// Whether awaited entries came within `patience`. If not, they are no longer waited for.
    pub(super) fn is_moving(&self, now: Monotonic, patience: Duration) -> bool {
        now.since(self.moved) < patience
    }

    /// What a peer had when it greeted first, while the store is filling.
    pub(super) fn had(&self, peer: &NodeName) -> Option<&VersionVector> {
        self.filling.as_ref()?.get(peer)
    }

    pub(super) fn has_greeted(&self, peer: &NodeName) -> bool {
        self.filling.as_ref().is_some_and(|filling| filling.contains_key(peer))
    }

    pub(super) fn greeted_any(&self) -> bool {
        self.filling.as_ref().is_some_and(|filling| !filling.is_empty())
    }
}

impl<S: Storage> Replica<S> {
    /// Whether the store lacks what linked peers had when they greeted. Without any greeting the store counts as
    /// filling only for `start_grace`.
    pub(super) fn is_filling(&self, now: Now) -> bool {
        let may_yet_greet = now.mono.since(self.started) < self.config.start_grace();
        self.awaited.is_filling() && (self.awaited.greeted_any() || may_yet_greet)
    }

    /// Whether own entries are on their way back from a peer that has a link.
    pub(super) fn is_recovering(&self, now: Now) -> bool {
        let has_more = |(origin, seq): (ReplicaId, u64)| {
            let ours = self.durable.get(origin);
            ours < seq && self.links.values().any(|link| link.acked().get(origin) > ours)
        };
        self.awaited.recover.iter().any(has_more) && self.awaited.is_moving(now.mono, self.patience())
    }

    fn patience(&self) -> Duration {
        self.config.heartbeat * PATIENCE
    }

    /// Ends the filling of the store when everything is here that peers had at their greeting.
    pub(super) fn look_at_awaited(&mut self, now: Now) {
        self.awaited.observe(&self.durable, now.mono);
        if !self.awaited.is_filling() || !self.awaited.greeted_any() {
            return;
        }
        let all_greeted = self.config.peers.keys().all(|peer| self.awaited.has_greeted(peer));
        if !all_greeted && now.mono.since(self.started) < self.config.start_grace() {
            return;
        }
        // Only what a linked peer still has is waited for, because its disk may have gone back since its greeting.
        let lacks = self.links.values().filter(|link| link.replica().is_some()).any(|link| {
            let had = self.awaited.had(link.peer()).into_iter().flat_map(VersionVector::iter);
            let (ours, theirs) = (&self.durable, link.acked());
            had.filter(|(o, _)| *o != self.id).any(|(o, seq)| ours.get(o) < seq.min(theirs.get(o)))
        });
        if !lacks || !self.awaited.is_moving(now.mono, self.patience()) {
            self.awaited.end_filling();
            self.pending.meta = true;
            self.events.push_back(Event::Filled);
        }
    }

    /// Own entries are lost if every peer has been linked for six heartbeats (longer while orphans are left) and none
    /// has them. They are waited for no longer, and an event says how many they are. While a peer is away it may still
    /// have them.
    pub(super) fn give_up_what_is_lost(&mut self, now: Now) {
        let recover = &self.awaited.recover;
        let is_more = |origin| self.links.values().any(|link| link.acked().get(origin) > self.durable.get(origin));
        let is_lost = !self.durable.covers(recover)
            && self.has_heard_all()
            && !recover.iter().any(|(origin, seq)| self.durable.get(origin) < seq && is_more(origin));
        if !is_lost {
            self.lost_since = None;
            return;
        }
        // A peer may have received entries and not yet made them durable, so wait a while for its next `Progress`.
        let patience = if self.orphans.is_empty() { self.config.start_grace() } else { self.patience() };
        if now.mono.since(*self.lost_since.get_or_insert(now.mono)) >= patience {
            for (origin, through) in std::mem::take(&mut self.awaited.recover).iter() {
                let count = through.saturating_sub(self.durable.get(origin));
                if count > 0 {
                    self.events.push_back(Event::Lost { origin, count });
                }
            }
        }
    }
}
