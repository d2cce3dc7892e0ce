//! I6: no clock error of one region deletes, extends or hides data in another.

use super::Invariant;
use crate::world::World;

impl World {
    /// A replica whose clock has been right since its start shows everything that it knows.
    pub(crate) fn clocks_of_others_do_no_harm(&mut self) {
        let skew = self.scenario.replica.max_clock_skew;
        for at in 0..self.nodes.len() {
            let right = self.clock_error(at).unsigned_abs() <= u64::try_from(skew.as_millis()).unwrap_or(u64::MAX);
            if !right || self.was_clock_wrong(at) || !self.is_settled(at) {
                continue;
            }
            let lacks = self.lacks(at);
            let elsewhere = (0..self.nodes.len()).any(|other| self.was_clock_wrong(other));
            let invariant = if elsewhere { Invariant::Clocks } else { Invariant::Durability };
            self.must(invariant, Some(at), lacks.is_none(), || {
                format!(
                    "knows of visit {} and does not show it, though its own clock is right",
                    lacks.unwrap_or_default()
                )
            });
        }
    }
}
