//! The verdict of a run: the first invariant that did not hold. It ends the run.

use super::{World, check};
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
        node: Option<usize>,
        holds: bool,
        what: impl FnOnce() -> String,
    ) {
        self.check(check::require(self, invariant, node, holds, what));
    }

    /// Checks that no dead document is alive again, and notes those that have died.
    pub(super) fn check_dead(&mut self, at: usize) {
        let dead = check::resurrection::all_dead_stay_dead(self, at);
        self.note_dead(at, dead);
    }

    /// Notes the visits that a check found dead.
    pub(super) fn note_dead(&mut self, at: usize, dead: Result<impl IntoIterator<Item = u32>, Broken>) {
        match dead {
            Ok(dead) => self.nodes[at].dead.extend(dead),
            Err(broken) => self.fail_run(broken),
        }
    }

    /// A region has filled its store, or is ready: if it began empty, it must have what its peers had.
    pub(super) fn check_filled(&mut self, at: usize) {
        if let Some(filling) = self.nodes[at].filling.take() {
            self.check(check::availability::is_filled(self, at, &filling));
        }
    }
}
