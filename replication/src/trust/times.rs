//! The two times: trusted time hides, certain time drops.
//!
//! # Invariants
//! - Certain time is never ahead of trusted time.
//! - While the clock is in doubt neither time follows it; both run on by the monotonic clock.
//! - `reached`, the latest that certain time ever was, only grows.

use std::time::Duration;

use crate::time::Wall;

/// The most by which an operator's statement moves certain time forward: one that is wrong by a month costs a day.
const LARGEST_STATED_STEP: Duration = Duration::from_hours(24);

/// Trusted and certain time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    trusted: Wall,
    /// The certain time at which the clock was last confirmed or the replica started, run on by the monotonic clock.
    /// `None` if no clock was ever confirmed.
    floor: Option<Wall>,
    reached: Wall,
}

/// The epoch is stored for a time that never was.
fn since_epoch(time: Wall) -> Option<Wall> {
    (time > Wall::default()).then_some(time)
}

impl Times {
    pub(super) fn new(trusted: Wall, floor: Option<Wall>, reached: Wall) -> Times {
        let floor = floor.and_then(since_epoch);
        Times { trusted, floor, reached: reached.max(floor.unwrap_or_default()) }
    }

    pub(super) fn trusted(&self) -> Wall {
        self.trusted
    }

    /// The epoch if no clock was ever confirmed.
    pub(super) fn certain(&self) -> Wall {
        self.floor.unwrap_or_default().min(self.trusted)
    }

    pub(super) fn reached(&self) -> Wall {
        self.reached
    }

    /// The clock is in doubt: both times run on by the monotonic clock.
    pub(super) fn run_on(&mut self, passed: Duration) {
        let before = *self;
        self.floor = self.floor.map(|floor| floor.plus(passed));
        self.trusted = self.trusted.plus(passed);
        debug_assert!(self.certain() <= before.certain().plus(passed), "certain time follows a clock that is in doubt");
        self.note_certain(before);
    }

    /// The clock is believed. A majority confirms it (`is_confirmed`), or nothing contradicts it; `is_alone` if no peer
    /// could.
    pub(super) fn follow(
        &mut self,
        wall: Wall,
        passed: Duration,
        max_skew: Duration,
        is_confirmed: bool,
        is_alone: bool,
    ) {
        let (before, certain) = (*self, self.certain());
        self.floor = self.floor.map(|floor| floor.plus(passed));
        // Two readings that are each within the skew can be twice as far apart, so time goes back only beyond that.
        // If a majority agrees, trusted time may go back to certain time, because what only trusted time hid was not
        // dropped.
        let is_far_ahead = |time: Wall| time.plus(passed) > wall.plus(max_skew * 2);
        self.trusted = if is_far_ahead(certain) {
            wall
        } else if is_confirmed || is_far_ahead(self.trusted) {
            wall.max(certain)
        } else {
            self.trusted.max(wall)
        };
        if is_confirmed || is_alone {
            self.floor = since_epoch(self.trusted);
        }
        debug_assert!(
            self.trusted >= certain || is_far_ahead(certain),
            "trusted time went back behind what may have been dropped"
        );
        self.note_certain(before);
    }

    /// An operator states that the wall clock is right.
    pub(super) fn believe(&mut self, wall: Wall, passed: Duration) {
        let before = *self;
        // If no clock was ever confirmed, there is nothing to bound the statement by.
        let latest = self.floor.map_or(Wall::NEVER, |_| self.certain().plus(passed).plus(LARGEST_STATED_STEP));
        self.trusted = wall;
        self.floor = since_epoch(wall.min(latest));
        self.note_certain(before);
    }

    fn note_certain(&mut self, before: Times) {
        self.reached = self.reached.max(self.certain());
        debug_assert!(self.certain() <= self.trusted, "certain time is ahead of trusted time");
        debug_assert!(self.reached >= before.reached && self.reached >= self.certain(), "what was reached goes back");
    }
}
