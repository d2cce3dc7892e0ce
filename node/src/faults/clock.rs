//! The wall clock as the node sees it while a fault is active.

use std::sync::Arc;

use api::faults::Act;
use replication::{Now, Wall};

use super::Faults;
use crate::clock::Clock;

/// A clock whose wall reading is off by what the active faults say. The monotonic reading is never wrong.
pub struct SteppedClock {
    /// The machine's clocks.
    pub right: Arc<dyn Clock>,
    /// The node's faults.
    pub faults: Faults,
}

impl Clock for SteppedClock {
    fn now(&self) -> Now {
        let now = self.right.now();
        let by = self.faults.sum(|act| if let Act::ClockStep { by_ms } = act { Some(*by_ms) } else { None });
        Now { wall: Wall(now.wall.0.saturating_add_signed(by)), ..now }
    }
}
