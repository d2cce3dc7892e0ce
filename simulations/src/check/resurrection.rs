//! I3: a document that is dead in a replica is never alive there again.

use std::collections::BTreeSet;

use replication::{DocumentName, View};

use super::Invariant;
use crate::world::World;

impl World {
    /// A document changed in a replica: it may have died, and may not be alive again.
    pub(crate) fn no_resurrection(&mut self, at: usize, name: &DocumentName) {
        let Some(visit) = self.model.names.get(name).copied() else { return };
        let Some(process) = &self.nodes[at].process else { return };
        let view = View::applied(process.replica.dead_through());
        let rows = self.reader(at).rows(name, false, view);
        let alive = rows.is_ok_and(|rows| !rows.is_empty());
        let dead = self.is_dead(at, visit);
        self.not_risen(at, visit, alive, dead);
    }

    /// The same for every visit.
    pub(crate) fn no_resurrection_at_all(&mut self, at: usize) {
        let Some(live) = self.live(at) else { return };
        let alive: BTreeSet<DocumentName> = live.into_keys().map(|key| key.name).collect();
        let visits: Vec<(u32, DocumentName)> =
            self.model.visits.iter().map(|(visit, truth)| (*visit, truth.key.name)).collect();
        for (visit, name) in visits {
            let dead = self.is_dead(at, visit);
            self.not_risen(at, visit, alive.contains(&name), dead);
        }
    }

    fn not_risen(&mut self, at: usize, visit: u32, alive: bool, dead: bool) {
        let was_dead = self.nodes[at].dead.contains(&visit);
        self.must(Invariant::Resurrection, Some(at), !(alive && was_dead), || {
            format!("visit {visit} was dead here and is alive again")
        });
        if dead {
            self.nodes[at].dead.insert(visit);
        }
    }

    /// Whether a visit is dead for good: erased, or expired by certain time that is right.
    fn is_dead(&self, at: usize, visit: u32) -> bool {
        let Some(truth) = self.model.visits.get(&visit) else { return false };
        let Some(process) = &self.nodes[at].process else { return false };
        // By certain time, because trusted time only hides and may go back (ALGORITHM, section 4).
        let gone_through = process.replica.gone_through();
        // If that time was wrong beyond the skew, it may go back, and then visits that only it had hidden are shown
        // again.
        let honest = gone_through <= self.true_wall().plus(self.scenario.replica.max_clock_skew);
        (honest && truth.key.expires_at <= gone_through) || (truth.erase_asked && self.has_tombstone(at, visit))
    }
}
