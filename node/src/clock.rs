//! The one place that reads clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use replication::{Monotonic, Now, Wall};

/// A source of time.
pub trait Clock: Send + Sync {
    /// The reading of both clocks.
    fn now(&self) -> Now;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl SystemClock {
    /// Clocks whose monotonic reading starts now.
    #[must_use]
    pub fn start() -> SystemClock {
        SystemClock(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        // A clock before 1970 reads as 1970. The replica doubts such a clock as soon as it hears a peer.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: Monotonic(self.0.elapsed()), wall: Wall(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)) }
    }
}
