//! I9, at the door: a region with which nothing is wrong takes writes, whatever becomes of the others and of the
//! network.

use replication::WriteError;

use super::Invariant;
use crate::scenario::FaultKind;
use crate::world::World;

impl World {
    /// A region does not take a write, for now or because the visit is gone.
    pub(crate) fn may_refuse(&mut self, at: usize, visit: u32, error: &WriteError) {
        if self.is_troubled(at) {
            return;
        }
        let gone = matches!(error, WriteError::Gone);
        self.must(Invariant::Liveness, Some(at), gone, || {
            format!("takes no writes ({error}) although nothing is wrong with it")
        });
        let Some(truth) = self.model.visits.get(&visit) else { return };
        let skew = self.scenario.replica.max_clock_skew;
        let over = truth.key.expires_at <= self.true_wall().plus(skew);
        let excused = !gone || over || truth.erase_asked;
        self.must(Invariant::Clocks, Some(at), excused, || {
            format!("takes visit {visit} for gone, which is neither erased nor over")
        });
    }

    /// Whether a fault has touched the region itself so far: not only its links, and not only other regions.
    fn is_troubled(&self, at: usize) -> bool {
        let name = &self.scenario.regions[at];
        let so_far = self.scenario.faults.iter().filter(|fault| fault.at <= self.now());
        so_far.into_iter().any(|fault| match fault.kind {
            FaultKind::Partition | FaultKind::Bridge => false,
            // Frames that are under way for longer than the skew look like clocks that are wrong.
            FaultKind::Degrade => true,
            // Everyone is restarted, for another configuration, or suspended.
            FaultKind::Add | FaultKind::Remove | FaultKind::Night => true,
            FaultKind::Crash
            | FaultKind::Restart
            | FaultKind::Pause
            | FaultKind::SlowNode
            | FaultKind::SlowDisk
            | FaultKind::FullDisk
            | FaultKind::ReadErrors
            | FaultKind::LyingDisk
            | FaultKind::Restore
            | FaultKind::ClockStep
            | FaultKind::ClockDrift
            | FaultKind::BelieveClock => fault.region.as_ref() == Some(name),
        })
    }
}
