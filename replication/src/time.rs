//! Moments and clocks, as values. This crate never reads a clock; `Now` is always an argument.
//!
//! # Not here
//! Which wall clock may be believed: [`crate::trust`].

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds of one UTC day. Unix time has no leap seconds, so every day is this long.
pub(crate) const DAY_MS: u64 = 86_400_000;

/// Milliseconds of one hour.
pub(crate) const HOUR_MS: u64 = 3_600_000;

/// A wall-clock moment: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Wall(pub u64);

impl Wall {
    /// The expiry of documents that never expire.
    pub const NEVER: Wall = Wall(u64::MAX);

    /// This moment moved forward; saturates at [`Wall::NEVER`].
    #[must_use]
    pub fn plus(self, by: Duration) -> Wall {
        Wall(self.0.saturating_add(millis(by)))
    }

    /// This moment moved back; saturates at the epoch.
    #[must_use]
    pub fn minus(self, by: Duration) -> Wall {
        Wall(self.0.saturating_sub(millis(by)))
    }

    /// Time from `earlier` to `self`, zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Wall) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Distance between two moments, whichever is first.
    #[must_use]
    pub fn distance(self, other: Wall) -> Duration {
        Duration::from_millis(self.0.abs_diff(other.0))
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Wall::NEVER { f.write_str("never") } else { write!(f, "{}ms", self.0) }
    }
}

/// A moment of a clock that never steps, counted from an arbitrary start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(pub Duration);

impl Monotonic {
    /// This moment moved forward.
    #[must_use]
    pub fn plus(self, by: Duration) -> Monotonic {
        Monotonic(self.0.saturating_add(by))
    }

    /// Time from `earlier` to `self`, zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Monotonic) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The readings of both clocks of a machine at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The clock that never steps.
    pub mono: Monotonic,
    /// The clock on the wall, which may be wrong.
    pub wall: Wall,
}

/// A duration in whole milliseconds, saturating.
#[must_use]
pub fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// A hybrid logical clock reading: 48 bits of Unix milliseconds, 16 bits of counter
/// (Kulkarni et al., "Logical Physical Clocks", 2014).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The next reading: later than `self` and not before `wall`.
    #[must_use]
    pub fn tick(self, wall: Wall) -> Hlc {
        Hlc(self.0.saturating_add(1).max(wall.0 << 16))
    }

    /// The physical part.
    #[must_use]
    pub fn wall(self) -> Wall {
        Wall(self.0 >> 16)
    }
}

#[cfg(test)]
mod tests {
    use super::{Hlc, Wall};

    #[test]
    fn hlc_grows_when_the_wall_clock_goes_back() {
        let first = Hlc::default().tick(Wall(1_000));
        let second = first.tick(Wall(10));
        assert!(second > first);
        assert_eq!(second.wall(), Wall(1_000));
        assert_eq!(second.tick(Wall(2_000)).wall(), Wall(2_000));
    }
}
