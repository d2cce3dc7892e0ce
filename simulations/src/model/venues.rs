//! Venues whose documents are simulated: which retention their visits must have by what a region knows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use replication::{ChangeHash, DocumentKey, Dot, Wall};

use super::{Model, Taken, VisitTruth, What};
use crate::index::NodeIndex;
use crate::invariant::Broken;

/// Everything about one venue.
#[derive(Clone, Debug, Default)]
pub(crate) struct VenueTruth {
    /// The retention with which it was opened.
    pub(crate) opened: Duration,
    /// Each change of the retention: from which moment, and how long.
    pub(crate) changes: BTreeMap<ChangeHash, (Wall, Duration)>,
    /// Changes of its document that were taken, acknowledged or not.
    pub(crate) taken: Vec<Taken>,
}

impl VenueTruth {
    /// How long a visit of this arrival is kept by a region that knows these changes: as the last of them says that was
    /// ordered before. Of two changes in one millisecond the longer one counts.
    pub(crate) fn retention_at(&self, arrival: Wall, known: &BTreeSet<ChangeHash>) -> Duration {
        let ordered = self.changes.iter().filter(|(hash, _)| known.contains(hash)).map(|(_, change)| *change);
        ordered.filter(|(since, _)| *since <= arrival).max().map_or(self.opened, |(_, kept)| kept)
    }

    /// The moment of a change that a region takes at `now` and that knows these changes: moments only go on.
    pub(crate) fn next_moment(&self, now: Wall, known: &BTreeSet<ChangeHash>) -> Wall {
        let last = self.changes.iter().filter(|(hash, _)| known.contains(hash)).map(|(_, (since, _))| *since).max();
        last.map_or(now, |last| now.max(Wall(last.0.saturating_add(1))))
    }
}

impl VisitTruth {
    /// Whether regions took the visit under several keys.
    #[must_use]
    pub(crate) fn is_split(&self) -> bool {
        self.keys.len() > 1
    }

    /// A region took a check-in under this key. Returns whether it is a second one.
    pub(crate) fn take_as(&mut self, key: DocumentKey) -> bool {
        if self.keys.is_empty() {
            self.key = key;
        }
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
        self.is_split()
    }
}

impl Model {
    /// A replica took a change of a venue's document; it is not durable yet.
    pub(crate) fn take_venue(&mut self, venue: u32, (hash, bytes): (ChangeHash, usize), node: NodeIndex) {
        let taken = Taken { hash, bytes, node, dot: None, acknowledged: None, lost: false, counted: false };
        self.venues.entry(venue).or_default().taken.push(taken);
    }

    /// A change of a venue's document is acknowledged, at `at` of the run, which is `wall` in true time.
    ///
    /// # Errors
    /// [`Broken`] (I11) if the dot stands for something else already.
    pub(crate) fn venue_changed(
        &mut self,
        (at, wall): (Duration, Wall),
        venue: u32,
        hash: ChangeHash,
        node: NodeIndex,
        dot: Dot,
    ) -> Result<(), Broken> {
        let Some(truth) = self.venues.get_mut(&venue) else { return Ok(()) };
        let waiting = |t: &&mut Taken| t.hash == hash && t.node == node && t.dot.is_none();
        if let Some(taken) = truth.taken.iter_mut().find(waiting) {
            (taken.dot, taken.acknowledged) = (Some(dot), Some(wall));
        }
        self.stands_for(at, node, dot, What::Venue(venue, hash))
    }
}
