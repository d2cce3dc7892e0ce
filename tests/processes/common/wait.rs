//! Waits for a condition, with a deadline.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Pause between two questions. The condition ends the wait; the pause only saves processor time.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until the answer is `Ok`; panics with the last `Err` once `limit` has passed.
#[track_caller]
pub(crate) fn within<T, E: Debug>(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<T, E>) -> T {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(why) if begun.elapsed() >= limit => panic!("{what}: not within {limit:?}: {why:?}"),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Asks until the answer is yes; panics once `limit` has passed.
#[track_caller]
pub(crate) fn holds(what: &str, limit: Duration, mut ask: impl FnMut() -> bool) {
    within(what, limit, || if ask() { Ok(()) } else { Err("still not so") });
}
