//! Admission: how many writes may wait for their answers at one time.
//!
//! A node that is sent more than it can commit would otherwise let every guest wait, at last for longer than clients do,
//! and then all its work would be for nothing. By Little's law (J. D. C. Little, "A Proof for the Queuing Formula L = λW",
//! Operations Research 9(3), 1961) a write waits for as long as the node takes to answer all those before it. So the node
//! measures how many it answers while its batches are full, and admits as many as it answers in [`TARGET`].
//!
//! `little-loadshedder` and `tower-acc` are tower middleware, and they guess the capacity from latencies. Here it is known when
//! the node is at its capacity.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a write waits when the node is sent more than it can commit. A guest waits that long gladly, and a refusal costs
/// the node nearly as much time as an answer, so a shorter one would take fewer guests in.
const TARGET: Duration = Duration::from_secs(1);
/// How long answers are counted before the limit follows.
const WINDOW: Duration = Duration::from_millis(200);
/// The limits of the limit.
const LEAST: usize = 1024;
pub(super) const MOST: usize = 16 * 1024;

/// Counts writes that wait.
pub(super) struct Admission {
    /// With so many waiting all the time, each batch is as large as it may be.
    full: usize,
    waiting: AtomicUsize,
    most: AtomicUsize,
    window: Mutex<Window>,
}

/// What is measured.
struct Window {
    since: Instant,
    answered: usize,
    /// The fewest writes that waited at one time.
    fewest: usize,
}

/// A write that waits; dropping it ends that.
pub(super) struct Waiting(Arc<Admission>);

impl Admission {
    /// Admits all until the node is at its capacity, which it is while `full` writes wait all the time.
    pub(super) fn new(full: usize) -> Arc<Admission> {
        let window = Window { since: Instant::now(), answered: 0, fewest: 0 };
        Arc::new(Admission {
            full,
            waiting: AtomicUsize::new(0),
            most: AtomicUsize::new(MOST),
            window: Mutex::new(window),
        })
    }

    /// Admits a write; `None` if too many wait.
    pub(super) fn admit(self: &Arc<Admission>) -> Option<Waiting> {
        let most = self.most.load(Ordering::Relaxed);
        let more = |waiting: usize| (waiting < most).then_some(waiting + 1);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Waiting(Arc::clone(self)))
    }

    fn answered(&self, now: Instant) {
        let waiting = self.waiting.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
        let mut window = self.window.lock();
        window.answered += 1;
        window.fewest = window.fewest.min(waiting);
        let took = now.saturating_duration_since(window.since);
        if took < WINDOW {
            return;
        }
        let most = if window.fewest >= self.full {
            let in_target = window.answered as u128 * TARGET.as_micros() / took.as_micros().max(1);
            usize::try_from(in_target).unwrap_or(MOST).clamp(LEAST, MOST)
        } else {
            self.most.load(Ordering::Relaxed).saturating_mul(2).min(MOST)
        };
        self.most.store(most, Ordering::Relaxed);
        *window = Window { since: now, answered: 0, fewest: waiting };
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.answered(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::time::{Duration, Instant};

    use super::{Admission, LEAST, MOST, Waiting};

    const FULL: usize = 256;

    /// A node that answers so many writes in each millisecond, and is sent more until it refuses. Returns how many wait in
    /// the end.
    fn overloaded(admission: &Arc<Admission>, each: usize, for_ms: u64) -> usize {
        let begun = Instant::now();
        let mut waiting: Vec<Waiting> = Vec::new();
        for ms in 1..=for_ms {
            while let Some(more) = admission.admit() {
                waiting.push(more);
            }
            for answered in waiting.drain(..each) {
                // The time of the test, not that of the machine.
                std::mem::forget(answered);
                admission.answered(begun + Duration::from_millis(ms));
            }
        }
        let left = waiting.len();
        assert_eq!(admission.waiting.load(Ordering::Relaxed), left);
        waiting.into_iter().for_each(std::mem::forget);
        left
    }

    #[test]
    fn as_many_wait_as_are_answered_in_a_second() {
        let admission = Admission::new(FULL);
        let left = overloaded(&admission, 5, 10_000);
        assert!((4_900..=5_100).contains(&(left + 5)), "{left} of 5,000 a second");
    }

    #[test]
    fn a_slow_disk_leaves_room_for_some_batches() {
        let admission = Admission::new(FULL);
        let left = overloaded(&admission, 1, 20_000);
        assert_eq!(left + 1, LEAST);
    }

    #[test]
    fn a_node_with_little_to_do_admits_all() {
        let admission = Admission::new(FULL);
        overloaded(&admission, 20, 2_000);
        admission.waiting.store(0, Ordering::Relaxed);
        let begun = Instant::now() + Duration::from_secs(10);
        for window in 0..5_u64 {
            for answer in 0..3_u64 {
                std::mem::forget(admission.admit().unwrap());
                admission.answered(begun + Duration::from_millis(300 * window + answer));
            }
        }
        assert_eq!(admission.most.load(Ordering::Relaxed), MOST);
        let all: Vec<Waiting> = std::iter::from_fn(|| admission.admit()).collect();
        assert_eq!(all.len(), MOST);
        drop(all);
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);
    }
}
