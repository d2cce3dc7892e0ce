//! One circuit breaker per node: a node that keeps failing gets no requests for a time, then one trial at a time.
//!
//! The rules are those of Envoy's outlier detection
//! (<https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier>): failures in a row, the part of
//! failures, and the part of failures against the other nodes. Envoy compares by the standard deviation, which needs
//! five nodes; a difference also works with two.
//!
//! `recloser` and `failsafe` were passed over, because both read the clock themselves.
//!
//! # Invariants
//! - `now` is an argument: the state machine reads no clock.
//! - It opens only by [`exclude`](Breaker::exclude), because only [`super::exclusion`] knows whether other nodes serve.
//! - Half-open lets one request through, and a second only after the first ended or was given up.
//! - Each failed trial doubles the time until the next, up to a bound; a successful trial closes the breaker. The time
//!   also doubles if the breaker opens again within the longest time, because one success may be luck.
//! - While it is not closed, only the outcome of a request that tests the node counts. A request that was sent before
//!   says nothing new.
//! - Without requests a breaker closes by itself, because its next trial may never come, and its metric would tell of a
//!   failure that is over: once its wait has been over for a window, and the node's probes succeed.

use std::time::{Duration, Instant};

use api::status::BreakerState;

use super::config::BreakerRules;

api::named! {
    /// Why a node is to be excluded.
    Reason {
        /// Too many failures in a row.
        InARow = "in-a-row",
        /// Too large a part of its answers failed.
        Often = "often",
        /// A larger part of its answers failed than of those of the other nodes.
        AboveOthers = "above-others",
    }
}

/// What a node answered within a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) answered: u32,
    pub(super) failed: u32,
}

impl Counts {
    pub(super) fn all(self) -> u32 {
        self.answered.saturating_add(self.failed)
    }

    /// Both together.
    #[must_use]
    pub(super) fn and(self, other: Counts) -> Counts {
        Counts {
            answered: self.answered.saturating_add(other.answered),
            failed: self.failed.saturating_add(other.failed),
        }
    }

    /// The part of failures; 0 of nothing.
    pub(super) fn ratio(self) -> f64 {
        f64::from(self.failed) / f64::from(self.all().max(1))
    }

    /// Whether a node with these counts fails so much more than the others with theirs that it must be its own fault.
    pub(super) fn is_above(self, others: Counts, rules: &BreakerRules) -> bool {
        let are_enough = |counts: Counts| counts.all() >= rules.requests;
        are_enough(self) && are_enough(others) && self.ratio() >= others.ratio() + rules.above_others
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// `last` is when it closed and how long it had been open.
    Closed {
        in_a_row: u32,
        counts: Counts,
        since: Instant,
        last: Option<(Instant, Duration)>,
    },
    Open {
        until: Instant,
        wait: Duration,
    },
    HalfOpen {
        wait: Duration,
    },
}

/// The state machine of one node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Breaker {
    rules: BreakerRules,
    state: State,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub(super) fn new(rules: BreakerRules, now: Instant) -> Breaker {
        Breaker { rules, state: closed(now, None) }
    }

    /// Whether a request may be sent now. A trial must be ended by [`record`](Self::record) or
    /// [`give_up`](Self::give_up).
    pub(super) fn admit(&mut self, now: Instant) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Yes,
            State::Open { until, wait } if now >= until => {
                self.state = State::HalfOpen { wait };
                Admission::Trial
            }
            State::Open { .. } | State::HalfOpen { .. } => Admission::No,
        }
    }

    /// Records the outcome of a request; `is_test` says that it was sent although the breaker was not closed. Returns
    /// why the node is to be excluded, if it is.
    pub(super) fn record(&mut self, now: Instant, answered: bool, is_test: bool) -> Option<(Reason, Counts)> {
        match &mut self.state {
            State::HalfOpen { wait } | State::Open { wait, .. } if answered && is_test => {
                self.state = closed(now, Some((now, *wait)));
                None
            }
            State::HalfOpen { wait } if is_test => {
                let wait = wait.saturating_mul(2).min(self.rules.open_max);
                self.state = State::Open { until: now + wait, wait };
                None
            }
            State::HalfOpen { .. } | State::Open { .. } => None,
            State::Closed { in_a_row, counts, since, .. } => {
                if now.saturating_duration_since(*since) > self.rules.window {
                    (*counts, *since) = (Counts::default(), now);
                }
                if answered {
                    counts.answered = counts.answered.saturating_add(1);
                    *in_a_row = 0;
                    return None;
                }
                counts.failed = counts.failed.saturating_add(1);
                *in_a_row = in_a_row.saturating_add(1);
                let are_enough = counts.all() >= self.rules.requests;
                let reason = if *in_a_row >= self.rules.failures {
                    Reason::InARow
                } else if are_enough && counts.ratio() >= self.rules.ratio {
                    Reason::Often
                } else if are_enough && counts.ratio() >= self.rules.above_others {
                    Reason::AboveOthers
                } else {
                    return None;
                };
                Some((reason, *counts))
            }
        }
    }

    /// Opens a closed breaker. Returns for how long.
    pub(super) fn exclude(&mut self, now: Instant) -> Option<Duration> {
        let State::Closed { last, .. } = self.state else { return None };
        let wait = match last {
            Some((at, wait)) if now < at + self.rules.open_max => wait.saturating_mul(2).min(self.rules.open_max),
            _ => self.rules.open,
        };
        self.state = State::Open { until: now + wait, wait };
        Some(wait)
    }

    /// What the node answered in the window, if the breaker is closed.
    pub(super) fn counts(&self, now: Instant) -> Counts {
        match self.state {
            State::Closed { counts, since, .. } if now.saturating_duration_since(since) <= self.rules.window => counts,
            _ => Counts::default(),
        }
    }

    /// A trial ended without an outcome, for example because its client went away. The next request is a trial.
    pub(super) fn give_up(&mut self, now: Instant) {
        if let State::HalfOpen { wait } = self.state {
            self.state = State::Open { until: now, wait };
        }
    }

    /// The node is well by its probes. Closes the breaker if no request has tried it for a window after its wait.
    pub(super) fn rest(&mut self, now: Instant) {
        if let State::Open { until, .. } = self.state
            && now >= until + self.rules.window
        {
            self.state = closed(now, None);
        }
    }

    /// The breaker's state.
    #[must_use]
    pub(super) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }
}

fn closed(now: Instant, last: Option<(Instant, Duration)>) -> State {
    State::Closed { in_a_row: 0, counts: Counts::default(), since: now, last }
}

/// Whether a request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Yes,
    /// Yes, and its outcome decides.
    Trial,
    /// No.
    No,
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{Admission, Breaker, BreakerRules, BreakerState, Counts, Reason};

    const RULES: BreakerRules = BreakerRules {
        failures: 3,
        ratio: 0.5,
        above_others: 0.2,
        most_excluded: 0.7,
        requests: 10,
        window: Duration::from_secs(10),
        open: Duration::from_secs(1),
        open_max: Duration::from_secs(4),
    };

    /// Records an ordinary outcome, and excludes the node if it is to be, as if enough others served.
    fn record(breaker: &mut Breaker, now: Instant, answered: bool) -> Option<Reason> {
        let (reason, counts) = breaker.record(now, answered, false)?;
        let others = Counts { answered: 1_000, failed: 0 };
        if reason != Reason::AboveOthers || counts.is_above(others, &RULES) {
            breaker.exclude(now);
        }
        Some(reason)
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(RULES, now);
        for _ in 0..3 {
            assert_eq!(breaker.state(), BreakerState::Closed);
            record(&mut breaker, now, false);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_and_answers_between_do_not() {
        let now = Instant::now();
        assert_eq!(opened(now).state(), BreakerState::Open);
        let mut breaker = Breaker::new(RULES, now);
        for _ in 0..3 {
            record(&mut breaker, now, false);
            record(&mut breaker, now, false);
            record(&mut breaker, now, true);
            record(&mut breaker, now + Duration::from_secs(11), true);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn half_of_a_window_is_often() {
        let now = Instant::now();
        let mut breaker = Breaker::new(RULES, now);
        let reasons: Vec<_> = (0..10).map(|step| record(&mut breaker, now, step % 2 == 0)).collect();
        assert_eq!(reasons.iter().flatten().collect::<Vec<_>>(), [&Reason::Often]);
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn what_others_answer_well_is_the_fault_of_the_node() {
        let counts = |answered, failed| Counts { answered, failed };
        assert!(counts(6, 4).is_above(counts(10, 0), &RULES));
        assert!(!counts(6, 4).is_above(counts(7, 3), &RULES), "all fail alike");
        assert!(!counts(6, 4).is_above(counts(9, 0), &RULES), "the others had too few requests");
        assert!(!counts(5, 4).is_above(counts(10, 0), &RULES), "the node had too few requests");
    }

    #[test]
    fn one_trial_at_a_time_and_each_that_fails_doubles_the_wait() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        for wait in [1, 2, 4, 4] {
            assert_eq!(breaker.admit(now + Duration::from_millis(wait * 1_000 - 1)), Admission::No);
            now += Duration::from_secs(wait);
            assert_eq!(breaker.admit(now), Admission::Trial);
            assert_eq!(breaker.admit(now), Admission::No);
            breaker.give_up(now);
            assert_eq!(breaker.admit(now), Admission::Trial, "a trial that was given up is repeated");
            breaker.record(now, true, false);
            assert_eq!(breaker.state(), BreakerState::HalfOpen, "an answer of before says nothing");
            breaker.record(now, false, true);
        }
        now += Duration::from_secs(4);
        assert_eq!(breaker.admit(now), Admission::Trial);
        breaker.record(now, true, true);
        assert_eq!(breaker.admit(now), Admission::Yes);
    }

    #[test]
    fn a_node_that_fails_again_soon_after_its_return_stays_out_longer() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(RULES, now);
        for wait in [1, 2, 4, 4] {
            assert_eq!(breaker.exclude(now), Some(Duration::from_secs(wait)));
            now += Duration::from_secs(wait);
            assert_eq!(breaker.admit(now), Admission::Trial);
            breaker.record(now, true, true);
            now += RULES.open_max - Duration::from_millis(1);
        }
        now += Duration::from_millis(1);
        assert_eq!(breaker.exclude(now), Some(RULES.open));
    }

    #[test]
    fn without_requests_a_breaker_closes_after_its_wait_and_a_window() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.rest(now + RULES.open + RULES.window - Duration::from_millis(1));
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker.rest(now + RULES.open + RULES.window);
        assert_eq!(breaker.state(), BreakerState::Closed);
        // A trial decides for itself.
        let mut breaker = opened(now);
        assert_eq!(breaker.admit(now + RULES.open), Admission::Trial);
        breaker.rest(now + RULES.open_max + RULES.window);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }

    proptest! {
        /// Beside a model that keeps every outcome of the window: the node is to be excluded at the same moments.
        #[test]
        fn outcomes_match_the_model(steps in prop::collection::vec((0_u64..800, 0_u8..10), 0..200)) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(RULES, now);
            let (mut since, mut window, mut all) = (now, Vec::new(), Vec::new());
            for (wait, step) in steps {
                now += Duration::from_millis(wait);
                let answered = step < 6;
                if now - since > RULES.window {
                    window.clear();
                    since = now;
                }
                window.push(answered);
                all.push(answered);
                let part = window.iter().filter(|answered| !**answered).count() as f64 / window.len() as f64;
                let expected = if answered {
                    None
                } else if all.len() >= 3 && !all[all.len() - 3..].contains(&true) {
                    Some(Reason::InARow)
                } else if window.len() >= 10 && part >= RULES.ratio {
                    Some(Reason::Often)
                } else if window.len() >= 10 && part >= RULES.above_others {
                    Some(Reason::AboveOthers)
                } else {
                    None
                };
                let reason = breaker.record(now, answered, false).map(|(reason, _)| reason);
                prop_assert_eq!(reason, expected);
            }
        }

        /// Whatever happens, time alone leads to a trial: no node is excluded for ever.
        #[test]
        fn no_node_is_excluded_for_ever(steps in prop::collection::vec((0_u64..5_000, 0_u8..6), 0..200)) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(RULES, now);
            for (wait, step) in steps {
                now += Duration::from_millis(wait);
                match step {
                    0 => drop(breaker.admit(now)),
                    1 => drop(breaker.record(now, true, wait % 2 == 0)),
                    2 => drop(breaker.record(now, false, wait % 2 == 0)),
                    3 => breaker.give_up(now),
                    4 => drop(breaker.exclude(now)),
                    _ => breaker.rest(now),
                }
            }
            // A trial that was admitted must be ended.
            breaker.give_up(now);
            prop_assert_ne!(breaker.admit(now + RULES.open_max), Admission::No);
        }
    }
}
