//! I3: what is dead in a replica is never alive there again.

use replication::{DocumentName, Reader};

use super::Invariant;
use crate::world::World;

impl World {
    /// A document changed somewhere: it may have died, and may not have risen.
    pub(crate) fn no_resurrection(&mut self, at: usize, name: &DocumentName) {
        let Some(visit) = self.model.names.get(name).copied() else { return };
        let (alive, dead) = self.is_alive(at, visit);
        let was_dead = self.nodes[at].dead.contains(&visit);
        self.must(Invariant::Resurrection, Some(at), !(alive && was_dead), || {
            format!("visit {visit} was dead here and is alive again")
        });
        if dead {
            self.nodes[at].dead.insert(visit);
        }
    }

    /// The same for every visit.
    pub(crate) fn no_resurrection_at_all(&mut self, at: usize) {
        let names: Vec<DocumentName> = self.model.visits.values().map(|truth| truth.key.name).collect();
        for name in names {
            self.no_resurrection(at, &name);
        }
    }

    /// Whether readers see a visit, and whether it is dead for good: erased, or expired by a clock that is right.
    fn is_alive(&self, at: usize, visit: u32) -> (bool, bool) {
        let Some(truth) = self.model.visits.get(&visit) else { return (false, false) };
        let Some(process) = &self.nodes[at].process else { return (false, false) };
        let reader = Reader::new(self.nodes[at].disk.contents().clone(), self.scenario.replica.max_retention);
        let dead_through = process.replica.dead_through();
        let alive = reader.rows(&truth.key.name, false, dead_through).is_ok_and(|rows| !rows.is_empty());
        let erased = reader.is_erased(&truth.key.name, false).unwrap_or(false);
        // A clock that was wrong beyond the skew and came back may show again what only it had hidden.
        let honest = dead_through <= self.true_wall().plus(self.scenario.replica.max_clock_skew);
        (alive, erased || (honest && truth.key.expires_at <= dead_through))
    }
}
