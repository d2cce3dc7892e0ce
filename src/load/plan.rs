//! Decides when the next operation is due, and of which kind it is.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::SmallRng;
use tokio::sync::Semaphore;

use super::measure::Kind;

/// Shortest sleep of the pacer: shorter than what is measured, and long enough to cost almost nothing.
const GRAIN: Duration = Duration::from_micros(200);

/// Longest sleep of the pacer, so that it notices a stop soon.
const LONGEST_NAP: Duration = Duration::from_millis(50);

/// Hands out intended moments to all connections.
pub(crate) struct Plan {
    /// Operations per second; `None` is as fast as possible.
    rate: Option<f64>,
    duration: Duration,
    corrections: f64,
    erasures: f64,
    /// Check-ins that may still start.
    visits_left: Option<AtomicU64>,
    start: OnceLock<Instant>,
    due: Semaphore,
    taken: AtomicU64,
    released: AtomicU64,
    stopped: AtomicBool,
}

impl Plan {
    /// A plan that has not started.
    pub(crate) fn new(args: &super::LoadArgs) -> Self {
        Self {
            rate: (!args.max).then_some(args.rate),
            duration: args.duration,
            corrections: args.corrections,
            erasures: args.erasures,
            visits_left: args.visits.map(AtomicU64::new),
            start: OnceLock::new(),
            due: Semaphore::new(0),
            taken: AtomicU64::new(0),
            released: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// The moment of the first operation; now, if there was none yet.
    pub(crate) fn start(&self) -> Instant {
        *self.start.get_or_init(Instant::now)
    }

    /// Ends the plan early.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.due.close();
    }

    /// Operations that were due and that no free connection could send.
    pub(crate) fn never_sent(&self) -> u64 {
        self.released.load(Ordering::Relaxed).saturating_sub(self.taken.load(Ordering::Relaxed))
    }

    /// Waits for the next operation and returns its intended moment; `None` at the end of the plan.
    pub(crate) async fn next(&self) -> Option<Instant> {
        let Some(rate) = self.rate else {
            let now = Instant::now();
            let over = self.stopped.load(Ordering::Relaxed) || now >= self.start() + self.duration;
            return (!over).then_some(now);
        };
        self.due.acquire().await.ok()?.forget();
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        Some(self.start() + Duration::from_secs_f64(number as f64 / rate))
    }

    /// The kind of the next operation; `None` if there were enough check-ins.
    pub(crate) fn kind(&self, rng: &mut SmallRng) -> Option<Kind> {
        let draw: f64 = rng.random();
        if draw < self.corrections {
            return Some(Kind::Correction);
        }
        if draw < self.corrections + self.erasures {
            return Some(Kind::Erasure);
        }
        self.claim_check_in().then_some(Kind::CheckIn)
    }

    /// Whether one more check-in may start.
    pub(crate) fn claim_check_in(&self) -> bool {
        let Some(left) = &self.visits_left else { return true };
        let claimed = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if !claimed {
            self.stop();
        }
        claimed
    }

    /// Releases operations when they are due, until the end of the plan. It blocks its own thread, because the
    /// runtime's timers have a resolution of a millisecond, which would be charged to the server.
    pub(crate) fn pace(&self) {
        let Some(rate) = self.rate else { return };
        let start = self.start();
        let all = (self.duration.as_secs_f64() * rate).ceil() as u64;
        let mut released = 0;
        while start.elapsed() < self.duration && !self.stopped.load(Ordering::Relaxed) {
            let due = ((start.elapsed().as_secs_f64() * rate) as u64 + 1).min(all);
            if due > released {
                self.due.add_permits(usize::try_from(due - released).unwrap_or(usize::MAX));
                self.released.store(due, Ordering::Relaxed);
                released = due;
            }
            let next = start + Duration::from_secs_f64(released as f64 / rate);
            std::thread::sleep(next.saturating_duration_since(Instant::now()).clamp(GRAIN, LONGEST_NAP));
        }
        self.due.close();
    }
}
