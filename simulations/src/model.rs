//! The model with which the replicas are compared: it keeps every request and answer and forgets nothing.

mod losses;
mod venues;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use replication::{ChangeHash, DocumentKey, DocumentName, Dot, ReplicaId, VersionVector, Wall};

use crate::figures::Losses;
use crate::index::{NodeIndex, VisitNumber};
use crate::invariant::{Broken, Invariant};

pub(crate) use venues::VenueTruth;

/// One change of a visit that some replica took.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub hash: ChangeHash,
    pub bytes: usize,
    pub node: NodeIndex,
    /// Its place in that replica's log, once it is durable there.
    pub dot: Option<Dot>,
    /// True time when it was acknowledged.
    pub acknowledged: Option<Wall>,
    /// Lost by contract: the only disk that had it went back in time or was taken away.
    pub lost: bool,
    /// It is among the [`Losses`].
    counted: bool,
}

/// An erasure that was acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Erased {
    pub dot: Dot,
    pub node: NodeIndex,
    /// True time when it was acknowledged.
    pub acknowledged: Wall,
    /// See [`Taken::lost`].
    pub lost: bool,
    /// It is among the [`Losses`].
    counted: bool,
}

/// An acknowledgement without an entry of its own: a repeated change, or an erasure of a visit that was erased already.
/// The replica that gave it has the change or the erasure durably.
#[derive(Clone, Debug)]
pub(crate) struct Again {
    /// The change; none for an erasure.
    pub hash: Option<ChangeHash>,
    pub node: NodeIndex,
    /// The disk went back in time.
    pub lost: bool,
    /// It is among the [`Losses`].
    counted: bool,
}

/// Everything about one visit.
#[derive(Clone, Debug)]
pub(crate) struct VisitTruth {
    /// Where venues are documents: that of the first check-in that was taken, and before one was, the latest possible.
    pub key: DocumentKey,
    /// Where venues are documents: every key under which a region took a check-in.
    pub keys: Vec<DocumentKey>,
    /// A region that did not know the visit took another check-in under its id.
    pub contradicted: bool,
    pub venue: u32,
    /// Changes that were taken, acknowledged or not.
    pub taken: Vec<Taken>,
    /// Whether an erasure was ever requested. From then on the visit may be gone in any region.
    pub erase_asked: bool,
    /// Erasures that were acknowledged.
    pub erased: Vec<Erased>,
    /// Repeats that were acknowledged, of changes and of erasures.
    pub again: Vec<Again>,
}

/// The entry at a dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Change(VisitNumber, ChangeHash),
    Erasure(VisitNumber),
    Venue(u32, ChangeHash),
}

/// What one client has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    pub token: VersionVector,
    /// Visits that it was shown, or wrote itself, with the changes seen.
    pub seen: BTreeMap<VisitNumber, BTreeSet<ChangeHash>>,
}

/// Everything that happened.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub visits: BTreeMap<VisitNumber, VisitTruth>,
    pub names: BTreeMap<DocumentName, VisitNumber>,
    /// Venues, where they are documents.
    pub venues: BTreeMap<u32, VenueTruth>,
    /// Guests' sessions by visit.
    pub guests: BTreeMap<VisitNumber, Session>,
    /// Owners' sessions by reader.
    pub owners: BTreeMap<VisitNumber, Session>,
    /// By the region that acknowledged.
    losses: BTreeMap<NodeIndex, Losses>,
    dots: BTreeMap<(ReplicaId, u64), What>,
    /// The changes that each correction depends on. Until they are there, the correction is not visible.
    needs: BTreeMap<ChangeHash, Vec<ChangeHash>>,
}

impl Model {
    /// A replica took a change of so many bytes; it is not durable yet.
    pub(crate) fn take(&mut self, visit: VisitNumber, (hash, bytes): (ChangeHash, usize), node: NodeIndex) {
        if let Some(truth) = self.visits.get_mut(&visit) {
            truth.taken.push(Taken { hash, bytes, node, dot: None, acknowledged: None, lost: false, counted: false });
        }
    }

    /// A correction was made of a document whose newest changes are `heads`.
    pub(crate) fn depends(&mut self, hash: ChangeHash, heads: &[ChangeHash]) {
        self.needs.insert(hash, heads.to_vec());
    }

    /// The changes of a row that a reader sees: those whose dependencies are all in the row as well.
    #[must_use]
    pub(crate) fn visible(&self, row: &BTreeSet<ChangeHash>) -> BTreeSet<ChangeHash> {
        let mut visible = row.clone();
        loop {
            let lacks = |hash: &ChangeHash| {
                self.needs.get(hash).is_some_and(|needs| !needs.iter().all(|n| visible.contains(n)))
            };
            let hidden: Vec<ChangeHash> = visible.iter().filter(|hash| lacks(hash)).copied().collect();
            if hidden.is_empty() {
                return visible;
            }
            hidden.iter().for_each(|hash| {
                visible.remove(hash);
            });
        }
    }

    /// A repeat is acknowledged: of a change, or of an erasure.
    pub(crate) fn repeated(&mut self, visit: VisitNumber, hash: Option<ChangeHash>, node: NodeIndex) {
        if let Some(truth) = self.visits.get_mut(&visit) {
            truth.again.push(Again { hash, node, lost: false, counted: false });
        }
    }

    /// A change is acknowledged, at `at` of the run, which is `wall` in true time.
    ///
    /// # Errors
    /// [`Broken`] (I11) if the dot stands for something else already.
    pub(crate) fn changed(
        &mut self,
        (at, wall): (Duration, Wall),
        visit: VisitNumber,
        hash: ChangeHash,
        node: NodeIndex,
        dot: Dot,
    ) -> Result<(), Broken> {
        let Some(truth) = self.visits.get_mut(&visit) else { return Ok(()) };
        let waiting = |t: &&mut Taken| t.hash == hash && t.node == node && t.dot.is_none();
        if let Some(taken) = truth.taken.iter_mut().find(waiting) {
            (taken.dot, taken.acknowledged) = (Some(dot), Some(wall));
        }
        self.stands_for(at, node, dot, What::Change(visit, hash))
    }

    /// An erasure is acknowledged, at `at` of the run, which is `wall` in true time.
    ///
    /// # Errors
    /// [`Broken`] (I11) if the dot stands for something else already.
    pub(crate) fn erased(
        &mut self,
        (at, wall): (Duration, Wall),
        visit: VisitNumber,
        node: NodeIndex,
        dot: Dot,
    ) -> Result<(), Broken> {
        if let Some(truth) = self.visits.get_mut(&visit) {
            truth.erased.push(Erased { dot, node, acknowledged: wall, lost: false, counted: false });
        }
        self.stands_for(at, node, dot, What::Erasure(visit))
    }

    /// An origin is over: takes it out of all tokens, so that none waits for it.
    pub(crate) fn forget_origin(&mut self, origin: ReplicaId) {
        for session in self.guests.values_mut().chain(self.owners.values_mut()) {
            session.token = session.token.iter().filter(|(other, _)| *other != origin).collect();
        }
    }

    fn stands_for(&mut self, at: Duration, node: NodeIndex, dot: Dot, what: What) -> Result<(), Broken> {
        match self.dots.insert((dot.origin, dot.seq), what) {
            Some(earlier) if earlier != what => Err(Broken::new(
                Invariant::NoFork,
                at,
                Some(node),
                format!("{dot:?} was acknowledged for {earlier:?} and now for {what:?}"),
            )),
            _ => Ok(()),
        }
    }

    /// Marks acknowledged writes as lost by contract if no store has them any more. `is_left` says whether some store
    /// still has the entry at a dot of a node. Sessions whose tokens name a lost dot begin anew, because the dot may be
    /// used again (assumption A8). `went_back` is the machine whose disk went back: its acknowledgements of repeats no
    /// longer count. Returns whether a dot was lost.
    pub(crate) fn lose(&mut self, went_back: NodeIndex, is_left: impl Fn(Dot, NodeIndex) -> bool) -> bool {
        let mut lost: BTreeMap<ReplicaId, u64> = BTreeMap::new();
        let mut note = |dot: Dot| {
            let first = lost.entry(dot.origin).or_insert(dot.seq);
            *first = dot.seq.min(*first);
        };
        for truth in self.visits.values_mut() {
            truth.again.iter_mut().filter(|again| again.node == went_back).for_each(|again| again.lost = true);
            for taken in truth.taken.iter_mut().filter(|taken| !taken.lost) {
                if let Some(dot) = taken.dot.filter(|dot| !is_left(*dot, taken.node)) {
                    taken.lost = true;
                    note(dot);
                }
            }
            for erased in truth.erased.iter_mut().filter(|erased| !erased.lost) {
                if !is_left(erased.dot, erased.node) {
                    erased.lost = true;
                    note(erased.dot);
                }
            }
        }
        for taken in self.venues.values_mut().flat_map(|venue| &mut venue.taken).filter(|taken| !taken.lost) {
            if let Some(dot) = taken.dot.filter(|dot| !is_left(*dot, taken.node)) {
                taken.lost = true;
                note(dot);
            }
        }
        self.dots.retain(|(origin, seq), _| lost.get(origin).is_none_or(|first| seq < first));
        for session in self.guests.values_mut().chain(self.owners.values_mut()) {
            let names_lost =
                session.token.iter().any(|(origin, seq)| lost.get(&origin).is_some_and(|first| seq >= *first));
            if names_lost {
                *session = Session::default();
            }
        }
        !lost.is_empty()
    }
}
