//! The verdict of a run: the first invariant that did not hold. It ends the run.

use super::{World, check};
use crate::index::{NodeIndex, VisitNumber};
use crate::invariant::{Broken, Invariant};

impl World {
    /// Notes a broken invariant, unless one is noted already.
    pub(super) fn fail_run(&mut self, broken: Broken) {
        self.broken.get_or_insert(broken);
    }

    /// Notes what a check found.
    pub(super) fn check(&mut self, result: Result<(), Broken>) {
        if let Err(broken) = result {
            self.fail_run(broken);
        }
    }

    /// Fails the run unless something holds.
    pub(super) fn require(
        &mut self,
        invariant: Invariant,
        node: Option<NodeIndex>,
        holds: bool,
        what: impl FnOnce() -> String,
    ) {
        self.check(check::require(self, invariant, node, holds, what));
    }

    /// Checks that no dead document is alive again, and notes those that have died.
    pub(super) fn check_dead(&mut self, node: NodeIndex) {
        let dead = check::resurrection::all_dead_stay_dead(self, node);
        self.note_dead(node, dead);
    }

    /// Notes the visits that a check found dead.
    pub(super) fn note_dead(&mut self, node: NodeIndex, dead: Result<impl IntoIterator<Item = VisitNumber>, Broken>) {
        match dead {
            Ok(dead) => self.nodes[node].dead.extend(dead),
            Err(broken) => self.fail_run(broken),
        }
    }

    /// A region has filled its store, or is ready: if it began empty, it must have what its peers had.
    pub(super) fn check_filled(&mut self, node: NodeIndex) {
        if let Some(filling) = self.nodes[node].filling.take() {
            self.check(check::availability::is_filled(self, node, &filling));
        }
    }
}
