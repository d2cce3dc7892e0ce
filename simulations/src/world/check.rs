//! The checks of the invariants, a file for each group. They are made during the run where that is cheap, and completely
//! at its end.
//!
//! A check is a function of the world as it is: it compares the disks and what clients were told with
//! [`crate::model::Model`], and returns what broke. It cannot change the world. The caller records the verdict.

pub(super) mod availability;
pub(super) mod bounds;
pub(super) mod clocks;
pub(super) mod completeness;
pub(super) mod convergence;
pub(super) mod durability;
pub(super) mod erasure;
pub(super) mod forgetting;
pub(super) mod fork;
pub(super) mod idempotence;
pub(super) mod resurrection;
pub(super) mod retention;
pub(super) mod session;

use super::World;
use crate::index::NodeIndex;
use crate::invariant::{Broken, Invariant};

/// Fails with what broke, unless the invariant holds.
pub(super) fn require(
    world: &World,
    invariant: Invariant,
    node: Option<NodeIndex>,
    holds: bool,
    what: impl FnOnce() -> String,
) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken::new(invariant, world.calendar.now(), node, what())) }
}
