//! Watches, from outside the driver's thread, whether the driver and the disk still make progress.
//!
//! A disk that hangs returns no error, and a thread that computes for half a minute answers no request. Neither can
//! report itself. Therefore the driver records here the time of its last turn and the start of the batch that is being
//! written, and two readers check them: the probes (`/readyz`) and the watchdog.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Clock;

/// A batch older than this, or a driver silent for this much longer than its heartbeat, makes the node not ready.
pub const STALLED: Duration = Duration::from_secs(1);
/// How long a stall lasts before the watchdog stops the node, so that a supervisor restarts it or another node serves.
const HUNG: Duration = Duration::from_secs(30);
/// How often the watchdog looks.
const LOOK: Duration = Duration::from_millis(500);

/// Which part makes no progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stall {
    /// The disk has not finished a batch.
    Disk(Duration),
    /// The driver has not turned.
    Driver(Duration),
}

/// The last signs of life, in milliseconds of the monotonic clock plus one; 0 means none.
pub(super) struct Pulse {
    clock: Arc<dyn Clock>,
    heartbeat: Duration,
    turned: AtomicU64,
    batch_since: AtomicU64,
}

impl Pulse {
    pub(super) fn new(clock: Arc<dyn Clock>, heartbeat: Duration) -> Pulse {
        let pulse = Pulse { clock, heartbeat, turned: AtomicU64::new(0), batch_since: AtomicU64::new(0) };
        pulse.turn();
        pulse
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.now().mono.0.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// The driver begins a turn.
    pub(super) fn turn(&self) {
        self.turned.store(self.now(), Ordering::Relaxed);
    }

    /// A batch goes to the disk.
    pub(super) fn batch_begins(&self) {
        self.batch_since.store(self.now(), Ordering::Relaxed);
    }

    /// The batch is durable.
    pub(super) fn batch_ends(&self) {
        self.batch_since.store(0, Ordering::Relaxed);
    }

    /// The part that has made no progress for `limit`.
    pub(super) fn stalled(&self, limit: Duration) -> Option<Stall> {
        let now = self.now();
        let since = |at: u64| Duration::from_millis(now.saturating_sub(at));
        match self.batch_since.load(Ordering::Relaxed) {
            0 => {}
            begun if since(begun) >= limit => return Some(Stall::Disk(since(begun))),
            _ => {}
        }
        let silent = since(self.turned.load(Ordering::Relaxed));
        (silent >= limit + self.heartbeat).then_some(Stall::Driver(silent))
    }
}

/// Calls `hung` once a part has made no progress for [`HUNG`]. The watchdog ends when every other owner has dropped the
/// pulse.
pub(super) fn watch(pulse: &Arc<Pulse>, hung: impl FnOnce(Stall) + Send + 'static) -> std::io::Result<()> {
    let pulse = Arc::downgrade(pulse);
    std::thread::Builder::new().name("watchdog".into()).spawn(move || {
        let mut looks = Looks::default();
        while let Some(alive) = pulse.upgrade() {
            if let Some(stall) = looks.look(&alive) {
                return hung(stall);
            }
            drop(alive);
            std::thread::sleep(LOOK);
        }
    })?;
    Ok(())
}

/// How many looks in a row saw the same. Looks are counted instead of time, because a process that was suspended did
/// not look.
#[derive(Debug, Default)]
struct Looks {
    turned: (u64, u32),
    batch: (u64, u32),
}

impl Looks {
    fn look(&mut self, pulse: &Pulse) -> Option<Stall> {
        let same = |seen: &mut (u64, u32), now: u64| {
            *seen = if seen.0 == now { (now, seen.1 + 1) } else { (now, 0) };
            LOOK * seen.1
        };
        let batch = same(&mut self.batch, pulse.batch_since.load(Ordering::Relaxed));
        let turned = same(&mut self.turned, pulse.turned.load(Ordering::Relaxed));
        if self.batch.0 != 0 && batch >= HUNG {
            return Some(Stall::Disk(batch));
        }
        (turned >= HUNG + pulse.heartbeat).then_some(Stall::Driver(turned))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use replication::{Monotonic, Now, Wall};

    use super::{HUNG, LOOK, Looks, Pulse, STALLED, Stall};
    use crate::clock::Clock;

    #[derive(Default)]
    struct Hands(AtomicU64);

    impl Clock for Hands {
        fn now(&self) -> Now {
            Now { mono: Monotonic(Duration::from_millis(self.0.load(Ordering::Relaxed))), wall: Wall(0) }
        }
    }

    #[test]
    fn a_disk_and_a_driver_that_stand_still_are_told_apart() {
        let hands = Arc::new(Hands::default());
        let at = |ms: u64| hands.0.store(ms, Ordering::Relaxed);
        let pulse = Pulse::new(hands.clone(), Duration::from_millis(500));
        pulse.batch_begins();
        at(999);
        pulse.turn();
        assert_eq!(pulse.stalled(STALLED), None);
        at(1_000);
        assert_eq!(pulse.stalled(STALLED), Some(Stall::Disk(Duration::from_secs(1))));
        pulse.batch_ends();
        assert_eq!(pulse.stalled(STALLED), None);
        at(2_499);
        assert_eq!(pulse.stalled(STALLED), Some(Stall::Driver(Duration::from_millis(1_500))));
        pulse.turn();
        assert_eq!(pulse.stalled(STALLED), None);
    }

    #[test]
    fn the_watchdog_counts_its_looks_and_not_the_time_in_which_it_was_suspended() {
        let hands = Arc::new(Hands::default());
        let pulse = Pulse::new(hands.clone(), Duration::from_millis(500));
        let mut looks = Looks::default();
        pulse.batch_begins();
        assert_eq!(looks.look(&pulse), None);
        hands.0.store(3_600_000, Ordering::Relaxed);
        assert_eq!(looks.look(&pulse), None, "the process was suspended for an hour");
        let mut seen = 1;
        while looks.look(&pulse).is_none() {
            pulse.turn();
            seen += 1;
        }
        assert_eq!(LOOK * (seen + 1), HUNG, "the disk hangs while the driver runs");
    }
}
