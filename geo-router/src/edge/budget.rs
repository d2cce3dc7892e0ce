//! The retry budget of an edge: retries are a small part of the requests, otherwise a fault that fails all of them would
//! multiply the load on nodes that are in trouble already.
//!
//! The rule is that of Finagle's `RetryBudget` (retries are a part of the requests of the last ten seconds, and a floor
//! lets a quiet client retry at all: <https://twitter.github.io/finagle/guide/Clients.html#retries>) and Envoy's
//! `retry_budget` (20 % by default). A retry that succeeds is given back, as in the standard mode of the AWS SDKs
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html>): it was the one time that a node did
//! the request, so it is no additional load. Otherwise a router most of whose clients are near one region would lose
//! check-ins when that region hangs.
//!
//! `tower::retry::budget` was passed over, because it reads the clock itself and gives nothing back.
//!
//! # Invariants
//! - Within ten seconds, the retries that were not given back are at most the floor and the part of the requests.
//! - `now` is an argument: the budget reads no clock.

use std::time::Instant;

use parking_lot::Mutex;

/// The length of the window in seconds.
const WINDOW: usize = 10;

/// What happened in one second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    number: u64,
    requests: u32,
    /// Retries that were not given back.
    retries: u32,
}

/// The budget of one edge.
#[derive(Debug)]
pub(super) struct Budget {
    part: f64,
    floor: u32,
    begun: Instant,
    window: Mutex<[Second; WINDOW]>,
}

/// Permission for one retry, with the second in which it was given.
#[derive(Debug)]
#[must_use]
pub(super) struct RetryToken(u64);

impl Budget {
    /// A budget of this part of the requests and `floor` retries more, in ten seconds.
    pub(super) fn new(part: f64, floor: u32, now: Instant) -> Budget {
        Budget { part, floor, begun: now, window: Mutex::default() }
    }

    /// A request is sent for the first time.
    pub(super) fn request(&self, now: Instant) {
        let number = self.number(now);
        let mut window = self.window.lock();
        let second = second(&mut window, number);
        second.requests = second.requests.saturating_add(1);
    }

    /// Permission for a retry, if there is one.
    pub(super) fn take(&self, now: Instant) -> Option<RetryToken> {
        let number = self.number(now);
        let mut window = self.window.lock();
        let (mut requests, mut retries) = (0_u64, 0_u64);
        for second in window.iter().filter(|second| second.number + WINDOW as u64 > number) {
            requests += u64::from(second.requests);
            retries += u64::from(second.retries);
        }
        // One more than there were must still fit.
        if (retries + 1) as f64 > f64::from(self.floor) + self.part * requests as f64 {
            return None;
        }
        second(&mut window, number).retries += 1;
        Some(RetryToken(number))
    }

    /// The retry was not made, or it succeeded.
    pub(super) fn give_back(&self, token: RetryToken) {
        let mut window = self.window.lock();
        let second = &mut window[place(token.0)];
        // A retry that took longer than the window is forgotten already.
        if second.number == token.0 {
            second.retries = second.retries.saturating_sub(1);
        }
    }

    fn number(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_secs()
    }
}

fn place(number: u64) -> usize {
    (number % WINDOW as u64) as usize
}

/// The entry of a second, empty if the entry at its place was of an earlier one.
fn second(window: &mut [Second; WINDOW], number: u64) -> &mut Second {
    let second = &mut window[place(number)];
    // Of two threads that read the clock before they wait for the lock, the later one may have the earlier time.
    if second.number < number {
        *second = Second { number, ..Second::default() };
    }
    second
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{Budget, RetryToken};

    fn taken(budget: &Budget, now: Instant, wanted: usize) -> Vec<RetryToken> {
        (0..wanted).map_while(|_| budget.take(now)).collect()
    }

    #[test]
    fn retries_are_a_part_of_the_requests_of_ten_seconds() {
        let begun = Instant::now();
        let budget = Budget::new(0.2, 0, begun);
        assert_eq!(taken(&budget, begun, 5).len(), 0, "no request, no retry");
        for _ in 0..100 {
            budget.request(begun);
        }
        assert_eq!(taken(&budget, begun, 100).len(), 20);
        let later = begun + Duration::from_secs(9);
        assert_eq!(taken(&budget, later, 100).len(), 0);
        for _ in 0..50 {
            budget.request(later);
        }
        assert_eq!(taken(&budget, later, 100).len(), 10);
        // The first second has left the window, with its requests and its retries.
        assert_eq!(taken(&budget, begun + Duration::from_secs(10), 100).len(), 0);
        assert_eq!(taken(&budget, begun + Duration::from_secs(100), 100).len(), 0);
    }

    #[test]
    fn a_quiet_router_may_retry() {
        let begun = Instant::now();
        let budget = Budget::new(0.2, 3, begun);
        for ten_seconds in 0..5 {
            let now = begun + Duration::from_secs(10 * ten_seconds);
            assert_eq!(taken(&budget, now, 10).len(), 3);
        }
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let begun = Instant::now();
        let budget = Budget::new(0.2, 2, begun);
        for _ in 0..1_000 {
            let Some(token) = budget.take(begun) else { panic!("each retry was given back") };
            budget.give_back(token);
        }
        let kept = taken(&budget, begun, 10);
        assert_eq!(kept.len(), 2);
        // Given back after its second has left the window: it takes nothing from another second.
        let later = begun + Duration::from_secs(10);
        assert_eq!(taken(&budget, later, 10).len(), 2);
        kept.into_iter().for_each(|token| budget.give_back(token));
        assert_eq!(taken(&budget, later, 10).len(), 0);
    }

    proptest! {
        /// Beside a model that keeps every event: the same retries are allowed.
        #[test]
        fn histories_match_the_model(steps in prop::collection::vec((0_u64..1_500, 0_u8..4), 0..300)) {
            let begun = Instant::now();
            let budget = Budget::new(0.2, 3, begun);
            let (mut now, mut requests, mut retries) = (begun, Vec::new(), Vec::new());
            let mut under_way: VecDeque<(RetryToken, u64)> = VecDeque::new();
            for (wait, step) in steps {
                now += Duration::from_millis(wait);
                let second = (now - begun).as_secs();
                match step {
                    0 | 1 => {
                        budget.request(now);
                        requests.push(second);
                    }
                    2 => {
                        let within = |events: &[u64]| events.iter().filter(|at| **at + 10 > second).count() as f64;
                        let allowed = within(&retries) + 1.0 <= 3.0 + 0.2 * within(&requests);
                        let token = budget.take(now);
                        prop_assert_eq!(token.is_some(), allowed);
                        if let Some(token) = token {
                            retries.push(second);
                            under_way.push_back((token, second));
                        }
                    }
                    _ => if let Some((token, second)) = under_way.pop_front() {
                        budget.give_back(token);
                        let given = retries.iter().position(|at| *at == second).unwrap();
                        retries.swap_remove(given);
                    }
                }
            }
        }
    }
}
