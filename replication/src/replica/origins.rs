//! Which node each log belongs to, what that node has said of it, and origins that are over.
//!
//! # The problem
//! A frame says "with this you know the log through n". Nothing in it proves that nothing is left out, nor that its
//! entries are genuine. A peer that lies could hide a whole log, because the receiver skips the entries that its vector
//! covers.
//!
//! # The rules
//! 1. An origin is bound to the node whose certified link named it first. Another node cannot take it over.
//! 2. While the replica that writes a log is linked, other peers are believed only as far as that replica itself has
//!    said.
//! 3. While it is not linked, a peer that relays the log is believed, because no other source is left. The same holds
//!    for logs of earlier incarnations, which their node may have lost. The replica remembers how far the log was
//!    proven until then ([`Hearsay`]). If the node is linked again and its log is shorter than was said, the vector
//!    goes back to what was proven, and the node sends the rest.
//! 4. An origin is retired when no entry of it is left in storage and its node goes on under another id, or is no
//!    longer configured. So no origin is forgotten that still has entries to send, or whose node could come back and
//!    ask how far its log went.
//!
//! `ALGORITHM.md`, section 6, lists what a peer that lies can still do.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Event, Replica};
use crate::ids::{LinkId, NodeName, ReplicaId};
use crate::storage::{Storage, StorageError, has_log_entries};
use crate::time::Now;
use crate::version::VersionVector;

/// Most origins that no node has named as its own. They come from stores that were lost, and no honest deployment loses
/// this many within a retention.
const MOST_UNKNOWN: usize = 4_096;

/// The longest gap in a log that a relay is believed: more entries than any retention leaves.
const MOST_AHEAD: u64 = 1 << 32;

/// How often to look for origins that are over. They are also looked for when a day is dropped.
const RETIRE_EVERY: Duration = Duration::from_hours(1);

/// Logs of which a relaying peer has said more than their own node, with the seq up to which each is proven.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hearsay(pub(super) BTreeMap<ReplicaId, u64>);

/// The node of each origin, and how far each log goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins {
    owners: BTreeMap<ReplicaId, NodeName>,
    /// How far each log goes, as its own node has said.
    told: VersionVector,
}

impl Origins {
    pub(super) fn new(owners: BTreeMap<ReplicaId, NodeName>) -> Origins {
        Origins { owners, told: VersionVector::default() }
    }

    /// `node` says that `origin` is its own. `false` if it is another node's.
    pub(super) fn bind(&mut self, origin: ReplicaId, node: &NodeName) -> bool {
        self.owners.entry(origin).or_insert_with(|| node.clone()) == node
    }

    pub(super) fn owner(&self, origin: ReplicaId) -> Option<&NodeName> {
        self.owners.get(&origin)
    }

    /// `node` says what it durably knows. For its own logs that is how far they go.
    pub(super) fn tell(&mut self, node: &NodeName, vector: &VersionVector) {
        for (origin, seq) in vector.iter().filter(|(origin, _)| self.owners.get(origin) == Some(node)) {
            self.told.advance(origin, seq);
        }
    }

    /// How far `origin`'s log goes, as its own node has said.
    pub(super) fn told(&self, origin: ReplicaId) -> u64 {
        self.told.get(origin)
    }

    /// The bindings that are kept: those of logs in the vector `known`.
    pub(super) fn owners_of(&self, known: &VersionVector) -> BTreeMap<ReplicaId, NodeName> {
        let known = |origin: &ReplicaId| known.get(*origin) > 0;
        self.owners.iter().filter(|(origin, _)| known(origin)).map(|(o, node)| (*o, node.clone())).collect()
    }

    fn forget(&mut self, origin: ReplicaId) {
        self.owners.remove(&origin);
        self.told.remove(origin);
    }
}

impl<S: Storage> Replica<S> {
    /// Through which seq `peer` is believed about `origin`'s log, if the last entry that it sends is `last`.
    pub(super) fn believed_through(&self, peer: &NodeName, origin: ReplicaId, last: u64) -> u64 {
        if self.past.contains(&origin) {
            // Our own log goes further than we know only if another process wrote under our id, and then the frame has
            // entries.
            return self.ended.get(origin).max(last);
        }
        match self.origins.owner(origin) {
            Some(owner) if owner == peer => u64::MAX,
            Some(_) if self.links.values().any(|link| link.leads_to(origin)) => self.origins.told(origin),
            _ => self.vector.get(origin).saturating_add(MOST_AHEAD),
        }
    }

    /// Advances our vector through `through` in `origin`'s log, on `peer`'s word. Notes what was proven before if that
    /// word is hearsay.
    pub(super) fn advance(&mut self, peer: &NodeName, origin: ReplicaId, through: u64) {
        let known = self.vector.get(origin);
        let is_proven = self.origins.owner(origin) == Some(peer)
            || self.past.contains(&origin)
            || through <= self.origins.told(origin);
        if is_proven {
            self.hearsay.0.remove(&origin);
        } else if through > known && !self.hearsay.0.contains_key(&origin) {
            self.hearsay.0.insert(origin, known);
            self.pending.meta = true;
        }
        self.vector.advance(origin, through);
        debug_assert!(self.vector.get(origin) >= known.max(through), "the vector goes back");
    }

    /// Once a replica is linked for a while, compares how far its log goes with what others said. Takes back everything
    /// beyond that and asks for it again. Within [`super::ReplicaConfig::start_grace`] of the link the replica's word
    /// may be older than theirs.
    pub(super) fn end_hearsay(&mut self, now: Now, id: LinkId) -> Result<(), StorageError> {
        let Some(link) = self.links.get(&id) else { return Ok(()) };
        if self.hearsay.0.is_empty() || link.age(now.mono) < self.config.start_grace() {
            return Ok(());
        }
        let (peer, present) = (link.peer().clone(), link.replica());
        let said = self.hearsay.0.iter().filter(|(origin, _)| self.origins.owner(**origin) == Some(&peer));
        for (origin, proven) in said.map(|(o, p)| (*o, *p)).collect::<Vec<_>>() {
            let (known, ends) = (self.vector.get(origin), self.origins.told(origin));
            // A node that does not name a log says nothing about it. The disk of the node may have lost the end of an
            // earlier log: if we have entries there, they are kept.
            let is_named = ends > 0 || Some(origin) == present;
            let is_kept = Some(origin) != present && known > ends && has_log_entries(&self.storage, origin, ends + 1)?;
            if is_named && !is_kept {
                self.hearsay.0.remove(&origin);
                self.pending.meta = true;
            }
            if !is_named || is_kept || known <= ends {
                continue;
            }
            // The batch in flight carries the vector that it was made with, so it must be durable first.
            self.settle_batches(now)?;
            for vector in [&mut self.vector, &mut self.durable] {
                vector.remove(origin);
                vector.advance(origin, proven);
            }
            debug_assert!(self.vector.covers(&self.durable) && !self.is_own(origin), "our own log goes back");
            self.pending.force = true;
            if let Some(link) = self.links.get_mut(&id) {
                link.ask_again(origin);
            }
            self.events.push_back(Event::Contradicted { peer: peer.clone(), origin });
        }
        Ok(())
    }

    /// Whether one more log may begin here. Otherwise a peer could make up origins without end, and every vector would
    /// carry them.
    pub(super) fn has_room_for(&self, origin: ReplicaId) -> bool {
        if self.vector.get(origin) > 0 || self.is_own(origin) || self.origins.owner(origin).is_some() {
            return true;
        }
        let unknown = self.vector.iter().filter(|(o, _)| self.origins.owner(*o).is_none()).count();
        unknown < MOST_UNKNOWN
    }

    /// A peer has forgotten an origin. If the origin is over here too, it is forgotten before its log is sent again.
    /// Otherwise two replicas that look at different times would bring it back to each other for ever.
    pub(super) fn look_for_over(&mut self, now: Now) -> Result<(), StorageError> {
        self.retire_at = now.mono;
        if self.clock.doubt().is_none() { self.retire(now) } else { Ok(()) }
    }

    /// Whether it is time to look for origins that are over. The look is taken as soon as no batch is in flight.
    pub(super) fn is_look_due(&self, now: Now) -> bool {
        now.mono >= self.retire_at
    }

    /// Removes an origin from the vector if all its entries are gone and no more can come: earlier incarnations, and
    /// those of lost stores or of nodes that are no longer configured. Every replica does so when the last day with an
    /// entry of the origin is dropped.
    pub(super) fn retire(&mut self, now: Now) -> Result<(), StorageError> {
        // A batch in flight would write back the vector that it was made with; the next heartbeat looks again.
        if now.mono < self.retire_at || self.in_flight.is_some() {
            return Ok(());
        }
        // Not more often, because a peer that still has entries of a retired log sends it again.
        self.retire_at = now.mono.plus(RETIRE_EVERY);
        let over = self.vector.iter().map(|(origin, _)| origin).filter(|origin| !self.may_go_on(*origin));
        for origin in over.collect::<Vec<_>>() {
            if has_log_entries(&self.storage, origin, 0)? || self.pending.has_entries(origin) {
                continue;
            }
            for vector in [&mut self.vector, &mut self.durable, &mut self.settled, &mut self.promised, &mut self.ended]
            {
                vector.remove(origin);
            }
            debug_assert_ne!(origin, self.id, "the present id is over");
            self.awaited.drop_origin(origin);
            self.past.remove(&origin);
            self.origins.forget(origin);
            self.hearsay.0.remove(&origin);
            self.heads.forget(origin);
            self.pending.meta = true;
            self.events.push_back(Event::Retired(origin));
            for link in self.links.values_mut() {
                link.forget_origin(origin);
            }
        }
        Ok(())
    }

    /// Whether a log may get more entries: it is ours, or that of a configured node that has not greeted under another
    /// id since. While such a node is away its log must not be forgotten, otherwise its peers could not tell it that
    /// its disk went back, and it would reuse dots.
    fn may_go_on(&self, origin: ReplicaId) -> bool {
        if origin == self.id || self.links.values().any(|link| link.leads_to(origin)) {
            return true;
        }
        let owner = self.origins.owner(origin).filter(|owner| self.config.peers.contains_key(*owner));
        owner.is_some_and(|owner| self.last_ids.get(owner).is_none_or(|last| *last == origin))
    }
}
