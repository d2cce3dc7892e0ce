//! Whether the wall clock advances with the monotonic clock.
//!
//! The monotonic clock says how much time has passed, but not what time it is. So the last reading at which the wall
//! clock was known to be right is kept, and the wall clock must be where that reading has run on to. A time daemon
//! slews a clock by a small share of the time that passed; a step is a jump.

use std::time::Duration;

use crate::time::{Now, Wall};

/// A clock that deviates from the monotonic one by up to this share is being slewed, not stepped (NTP's own bound is
/// 500 ppm).
const SLEW_PPM: u128 = 1_000;

/// The wall clock against the monotonic clock.
#[derive(Clone, Debug)]
pub(super) struct Slew {
    max_skew: Duration,
    /// The reading of both clocks that was believed last.
    anchor: Now,
    /// How far the clock could have been slewed when it jumped. It stays fixed during the doubt, otherwise a jump would
    /// be within the slew after a while.
    at_jump: Duration,
}

impl Slew {
    pub(super) fn new(now: Now, max_skew: Duration) -> Slew {
        Slew { max_skew, anchor: now, at_jump: Duration::ZERO }
    }

    /// This reading is right: later ones are compared with it.
    pub(super) fn believe(&mut self, now: Now) {
        self.anchor = now;
    }

    /// Whether the wall clock is somewhere else than where the anchor has run on to. `is_known`: it was so before.
    pub(super) fn has_jumped(&mut self, now: Now, is_known: bool) -> bool {
        let passed = now.mono.since(self.anchor.mono);
        let expected: Wall = self.anchor.wall.plus(passed);
        let slew = if is_known {
            self.at_jump
        } else {
            Duration::from_millis(u64::try_from(passed.as_millis() * SLEW_PPM / 1_000_000).unwrap_or(u64::MAX))
        };
        let has_jumped = now.wall.distance(expected) > (self.max_skew / 2).saturating_add(slew);
        if has_jumped {
            self.at_jump = slew;
        }
        has_jumped
    }
}
