//! One circuit breaker per node: a node that keeps failing gets no requests for a time, then one trial at a time.
//!
//! `recloser` and `failsafe` were passed over, because both read the clock themselves.
//!
//! # Invariants
//! - `now` is an argument: the state machine reads no clock.
//! - Half-open lets one request through, and a second only after the first ended or was given up.
//! - Each failed trial doubles the time until the next, up to a bound; a successful trial closes the breaker.
//! - Without requests a breaker closes by itself, because its next trial may never come, and its metric would tell of a
//!   failure that is over: once its wait has been over for a window, and the node's probes succeed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::explanation::RegionState;
use api::status::BreakerState;
use api::{NodeName, RegionId};
use parking_lot::Mutex;
use prometheus::IntGauge;

use super::config::BreakerRules;
use super::metrics::EdgeMetrics;
use crate::fleet::{Fleet, NodeId};
use crate::view::View;

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { in_a_row: u32, answered: u32, failed: u32, since: Instant },
    Open { until: Instant, wait: Duration },
    HalfOpen { wait: Duration },
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
        Breaker { rules, state: closed(now) }
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

    /// Records the outcome of a request, trial or not.
    pub(super) fn record(&mut self, now: Instant, answered: bool) {
        match &mut self.state {
            State::HalfOpen { .. } if answered => self.state = closed(now),
            State::HalfOpen { wait } => {
                let wait = wait.saturating_mul(2).min(self.rules.open_max);
                self.state = State::Open { until: now + wait, wait };
            }
            // The request was sent before the breaker opened, or as a last resort. A failure is expected here; an
            // answer is new.
            State::Open { .. } if answered => self.state = closed(now),
            State::Open { .. } => {}
            State::Closed { in_a_row, answered: good, failed, since } => {
                if now.saturating_duration_since(*since) > self.rules.window {
                    (*good, *failed, *since) = (0, 0, now);
                }
                if answered {
                    *good = good.saturating_add(1);
                    *in_a_row = 0;
                } else {
                    *failed = failed.saturating_add(1);
                    *in_a_row += 1;
                }
                let all = good.saturating_add(*failed);
                let often = all >= self.rules.requests && f64::from(*failed) >= self.rules.ratio * f64::from(all);
                if !answered && (*in_a_row >= self.rules.failures || often) {
                    self.state = State::Open { until: now + self.rules.open, wait: self.rules.open };
                }
            }
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
            self.state = closed(now);
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

fn closed(now: Instant) -> State {
    State::Closed { in_a_row: 0, answered: 0, failed: 0, since: now }
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

/// The breaker of one node, with the series that shows it.
#[derive(Debug)]
struct NodeBreaker {
    breaker: Mutex<Breaker>,
    shown: IntGauge,
    region: RegionId,
    node: NodeName,
}

/// The breakers of all nodes of a fleet.
#[derive(Debug)]
pub(super) struct Breakers {
    fleet: Arc<Fleet>,
    nodes: Vec<Vec<Arc<NodeBreaker>>>,
}

impl Breakers {
    /// Breakers for a fleet. A node that stays at its address and in its region keeps its breaker.
    pub(super) fn new(
        rules: BreakerRules,
        fleet: Arc<Fleet>,
        metrics: &EdgeMetrics,
        before: Option<&Breakers>,
    ) -> Breakers {
        let now = Instant::now();
        let nodes = fleet.indices().map(|region| {
            let named = fleet.region(region);
            let of_region = named.nodes.iter().map(|node| {
                let kept = before.and_then(|before| {
                    let kept = before.of(before.fleet.find_node(&node.name, &node.at)?)?;
                    (kept.region == named.name).then(|| Arc::clone(kept))
                });
                kept.unwrap_or_else(|| {
                    let shown = metrics.breaker(named.name.as_str(), node.name.as_str());
                    shown.set(value(BreakerState::Closed));
                    let breaker = Mutex::new(Breaker::new(rules, now));
                    Arc::new(NodeBreaker { breaker, shown, region: named.name.clone(), node: node.name.clone() })
                })
            });
            of_region.collect()
        });
        Breakers { nodes: nodes.collect(), fleet }
    }

    /// The state of a node's breaker; closed for a node that is not known.
    pub(super) fn state(&self, region: &RegionId, node: &NodeName) -> BreakerState {
        let mut nodes = self.nodes.iter().flatten();
        let known = nodes.find(|known| known.region == *region && known.node == *node);
        known.map_or(BreakerState::Closed, |known| known.breaker.lock().state())
    }

    /// Permission to send one request, if there is one; its outcome must be recorded.
    pub(super) fn admit(&self, node: NodeId) -> Option<Permit> {
        let known = self.of(node)?;
        let mut breaker = known.breaker.lock();
        let admission = breaker.admit(Instant::now());
        let state = breaker.state();
        drop(breaker);
        if admission == Admission::Trial {
            known.shown.set(value(state));
        }
        let permit = || Permit { breaker: Some(Arc::clone(known)), trial: admission == Admission::Trial };
        (admission != Admission::No).then(permit)
    }

    /// Permission to send one request whatever the breaker says, because there is no better node.
    pub(super) fn force(&self, node: NodeId) -> Permit {
        Permit { breaker: self.of(node).cloned(), trial: false }
    }

    /// Lets the breakers of nodes that are up by the view, which is of this fleet, close without a request.
    pub(super) fn rest(&self, view: &View) {
        let now = Instant::now();
        for (region, nodes) in self.fleet.indices().zip(&self.nodes) {
            for (node, known) in nodes.iter().enumerate() {
                if view.regions[region.at()].state != RegionState::Down && view.is_up(NodeId { region, node }) {
                    known.change(|breaker| breaker.rest(now));
                }
            }
        }
    }

    fn of(&self, node: NodeId) -> Option<&Arc<NodeBreaker>> {
        self.nodes.get(node.region.at())?.get(node.node)
    }
}

impl NodeBreaker {
    fn change(&self, change: impl FnOnce(&mut Breaker)) {
        let mut breaker = self.breaker.lock();
        let before = breaker.state();
        change(&mut breaker);
        let after = breaker.state();
        drop(breaker);
        if before != after {
            // The series of a node that went stays away, whatever is counted into it.
            self.shown.set(value(after));
            let (region, node) = (&self.region, &self.node);
            tracing::info!(%region, %node, from = ?before, to = ?after, "a circuit breaker changed its state");
        }
    }
}

/// A state as its metric shows it.
fn value(state: BreakerState) -> i64 {
    match state {
        BreakerState::Closed => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Open => 2,
    }
}

/// Permission to send one request.
#[derive(Debug)]
pub(super) struct Permit {
    breaker: Option<Arc<NodeBreaker>>,
    trial: bool,
}

impl Permit {
    /// Records the outcome of the request.
    pub(super) fn record(mut self, answered: bool) {
        self.trial = false;
        if let Some(known) = &self.breaker {
            known.change(|breaker| breaker.record(Instant::now(), answered));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.trial
            && let Some(known) = &self.breaker
        {
            known.change(|breaker| breaker.give_up(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{Admission, Breaker, BreakerRules, BreakerState};

    const RULES: BreakerRules = BreakerRules {
        failures: 3,
        ratio: 0.5,
        requests: 10,
        window: Duration::from_secs(10),
        open: Duration::from_secs(1),
        open_max: Duration::from_secs(4),
    };

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(RULES, now);
        for _ in 0..3 {
            assert_eq!(breaker.state(), BreakerState::Closed);
            breaker.record(now, false);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_and_answers_between_do_not() {
        let now = Instant::now();
        assert_eq!(opened(now).state(), BreakerState::Open);
        let mut breaker = Breaker::new(RULES, now);
        for _ in 0..3 {
            breaker.record(now, false);
            breaker.record(now, false);
            breaker.record(now, true);
            breaker.record(now + Duration::from_secs(11), true);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn half_of_a_window_opens() {
        let now = Instant::now();
        let mut breaker = Breaker::new(RULES, now);
        for step in 0..10 {
            assert_eq!(breaker.state(), BreakerState::Closed, "{step}");
            breaker.record(now, step % 2 == 0);
        }
        assert_eq!(breaker.state(), BreakerState::Open);
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
            breaker.record(now, false);
        }
        now += Duration::from_secs(4);
        assert_eq!(breaker.admit(now), Admission::Trial);
        breaker.record(now, true);
        assert_eq!(breaker.admit(now), Admission::Yes);
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
        /// Whatever happens, time alone leads to a trial: no node is excluded for ever.
        #[test]
        fn no_node_is_excluded_for_ever(steps in prop::collection::vec((0_u64..5_000, 0_u8..4), 0..200)) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(RULES, now);
            for (wait, step) in steps {
                now += Duration::from_millis(wait);
                match step {
                    0 => drop(breaker.admit(now)),
                    1 => breaker.record(now, true),
                    2 => breaker.record(now, false),
                    _ => breaker.give_up(now),
                }
            }
            // A trial that was admitted must be ended.
            breaker.give_up(now);
            prop_assert_ne!(breaker.admit(now + RULES.open_max), Admission::No);
        }
    }
}
