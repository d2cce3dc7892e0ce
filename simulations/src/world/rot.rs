//! Documents that decay on a disk, and readers that meet one.
//!
//! A bit flips where no checksum of the engine covers it, so only the seal of the row shows it. The replica fetches the
//! row from a peer again (`replication/src/replica/repair.rs`). That is promised only while a peer has the row, so:
//! - a document decays only if another region shows all of it, durably;
//! - documents of one region at a time decay;
//! - no document decays in a plan with a fault that takes entries away from a store for good.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use replication::{DocumentKey, StorageError};

use super::World;
use super::machine::Live;
use crate::index::NodeIndex;
use crate::scenario::Act;

/// Rows that one read tells the replica of, as a node has it.
const TOLD: usize = 64;

/// How a reader tells of damaged rows.
pub(super) type Tell = SyncSender<DocumentKey>;

/// Tells of damaged rows, and what was told.
pub(super) fn telling() -> (Tell, Receiver<DocumentKey>) {
    sync_channel(TOLD)
}

/// Whether a fault takes entries away from a store, or lets a replica drop them.
fn takes_entries(act: &Act<NodeIndex>) -> bool {
    matches!(
        act,
        Act::LoseBucket { .. }
            | Act::OldBucket { .. }
            | Act::Flip { .. }
            | Act::Restore { .. }
            | Act::Remove { .. }
            | Act::Rejoin { .. }
            | Act::LyingDisk { .. }
            | Act::BelieveClock { .. }
            | Act::ClockStep { .. }
            | Act::ClockDrift { .. }
    )
}

impl World {
    /// A share of the documents of a machine decays. Returns whether there was one that may.
    pub(super) fn rot(&mut self, node: NodeIndex, share: f64) -> bool {
        let others_decay = self.nodes.indices().any(|other| other != node && self.is_rotten(other));
        if others_decay || self.faults.iter().any(|fault| takes_entries(&fault.act)) {
            return false;
        }
        let core = self.core();
        let witnesses: Vec<Live> = core
            .into_iter()
            .filter(|other| *other != node && self.nodes[*other].is_settled())
            .filter_map(|other| self.nodes[other].live())
            .collect();
        let Some(own) = self.nodes[node].live() else { return false };
        let is_elsewhere = |key: &DocumentKey, hashes| {
            witnesses.iter().any(|live| live.get(key).is_some_and(|theirs| theirs.is_superset(hashes)))
        };
        let mut happened = false;
        for key in own.iter().filter(|(key, hashes)| is_elsewhere(key, hashes)).map(|(key, _)| *key) {
            happened |= self.nodes[node].disk.rot(&key, share);
        }
        self.nodes[node].rotten |= happened;
        happened
    }

    /// Whether a document of a machine has decayed and is not healed yet.
    pub(super) fn is_rotten(&self, node: NodeIndex) -> bool {
        let machine = &self.nodes[node];
        machine.rotten && machine.live().is_none()
    }

    /// Tells the replica of damaged rows that a read met. Returns whether there were any.
    pub(super) fn note_met(&mut self, node: NodeIndex, met: impl IntoIterator<Item = DocumentKey>) -> bool {
        let Some(process) = &mut self.nodes[node].process else { return false };
        let mut any = false;
        for key in met {
            any = true;
            process.replica.note_unreadable(key);
        }
        any
    }

    /// A read failed. A row that has decayed is refused, and the replica learns of it; after any other error the process
    /// gives its store up.
    pub(super) fn read_failed(
        &mut self,
        node: NodeIndex,
        error: &StorageError,
        met: impl IntoIterator<Item = DocumentKey>,
    ) {
        let is_row = matches!(error, StorageError::Corrupt { what: "row", .. });
        if !(is_row && self.nodes[node].rotten && self.note_met(node, met)) {
            self.fail(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::coverage::Coverage;
    use crate::run::{Keep, run};
    use crate::scenario::{FaultKind, Scenario};

    #[test]
    fn what_decays_is_healed_and_a_fault_that_takes_entries_stands_against_it() {
        let scenario = |more: &str| {
            let text = include_str!("../../scenarios/rot.toml");
            Scenario::parse(&format!("{text}{more}")).expect("a scenario")
        };
        let seen = |scenario: &Scenario| {
            let outcome = run(scenario, 1, Keep::default()).expect("it runs");
            assert_eq!(outcome.broken, None);
            outcome.coverage.contains(&Coverage::Fault(FaultKind::Rot))
        };
        assert!(seen(&scenario("")));
        assert!(!seen(&scenario("[[fault]]\nat = \"1s\"\nfor = \"1s\"\nkind = \"flip\"\nregion = \"us-east\"\n")));
    }
}
