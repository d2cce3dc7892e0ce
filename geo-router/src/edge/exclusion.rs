//! The breakers of all nodes, and which nodes may be excluded: outliers, as long as enough others serve.
//!
//! # Invariants
//! - The last node that serves is never excluded, and never more than `breaker.most_excluded` of the nodes that are up:
//!   if most nodes fail, the fault is likely not theirs, and those that are left could not take the load.
//! - An answer counts as good only after its end: one that breaks off is a failure. Exceptions are a trial and a stream
//!   of events, which count from their head; if they break off later, that is a failure too.
//! - A client that reads slowly, or goes, never makes its node fail.
//! - No lock is held while another request waits: locks of single breakers are taken one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::explanation::RegionState;
use api::status::BreakerState;
use api::{NodeName, RegionId};
use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::{Notify, watch};

use super::breaker::{Admission, Breaker, Counts, Reason};
use super::config::BreakerRules;
use super::metrics::EdgeMetrics;
use crate::fleet::{Fleet, NodeId};
use crate::signals::{Observed, Signals};
use crate::view::View;

/// Whether one more of `all` nodes may be out when `out` are.
fn may_exclude(most_excluded: f64, all: usize, out: usize) -> bool {
    // A small region may always lose one node, as long as there is another one.
    out + 1 < all && (out + 1) as f64 <= (most_excluded * all as f64).max(1.0)
}

/// The breaker of one node, with the series that shows it.
#[derive(Debug)]
struct NodeBreaker {
    breaker: Mutex<Breaker>,
    /// It opened.
    opened: Notify,
    shown: IntGauge,
    region: RegionId,
    node: NodeName,
}

/// The breakers of all nodes of a fleet.
#[derive(Debug)]
pub(super) struct Breakers {
    rules: BreakerRules,
    fleet: Arc<Fleet>,
    nodes: Vec<Vec<Arc<NodeBreaker>>>,
    views: watch::Receiver<Arc<View>>,
    metrics: Arc<EdgeMetrics>,
    /// Held while it is decided whether a node may be excluded, with the time at which one was kept that should have been.
    deciding: Mutex<Option<Instant>>,
}

impl Breakers {
    /// Breakers for a fleet. A node that stays at its address and in its region keeps its breaker.
    pub(super) fn new(
        rules: BreakerRules,
        fleet: Arc<Fleet>,
        views: watch::Receiver<Arc<View>>,
        metrics: Arc<EdgeMetrics>,
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
                    let (region, node) = (named.name.clone(), node.name.clone());
                    Arc::new(NodeBreaker { breaker, opened: Notify::new(), shown, region, node })
                })
            });
            of_region.collect()
        });
        Breakers { rules, nodes: nodes.collect(), fleet, views, metrics, deciding: Mutex::new(None) }
    }

    /// The state of a node's breaker; closed for a node that is not known.
    pub(super) fn state(&self, region: &RegionId, node: &NodeName) -> BreakerState {
        let mut nodes = self.nodes.iter().flatten();
        let known = nodes.find(|known| known.region == *region && known.node == *node);
        known.map_or(BreakerState::Closed, |known| known.breaker.lock().state())
    }

    /// Permission to send one request, if there is one; its outcome must be recorded.
    pub(super) fn admit(self: &Arc<Self>, node: NodeId) -> Option<Permit> {
        let known = self.of(node)?;
        let mut breaker = known.breaker.lock();
        let admission = breaker.admit(Instant::now());
        let state = breaker.state();
        drop(breaker);
        let is_trial = admission == Admission::Trial;
        if is_trial {
            known.shown.set(value(state));
        }
        let permit = || Permit { breakers: Arc::clone(self), node, is_trial, is_test: is_trial };
        (admission != Admission::No).then(permit)
    }

    /// Permission to send one request whatever the breaker says, because there is no better node.
    pub(super) fn force(self: &Arc<Self>, node: NodeId) -> Permit {
        Permit { breakers: Arc::clone(self), node, is_trial: false, is_test: true }
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

    /// A request that waited at this node was answered sooner by another one.
    pub(super) fn overtaken(&self, node: NodeId) {
        let is_test = self.of(node).is_some_and(|known| known.breaker.lock().state() == BreakerState::HalfOpen);
        self.record(node, false, is_test);
    }

    /// Records an outcome, and excludes the node if it is to be and may be.
    fn record(&self, node: NodeId, answered: bool, is_test: bool) {
        let (Some(known), now) = (self.of(node), Instant::now()) else { return };
        if let Some((reason, counts)) = known.change(|breaker| breaker.record(now, answered, is_test)) {
            self.decide(node, known, reason, counts, now);
        }
    }

    fn decide(&self, node: NodeId, known: &NodeBreaker, reason: Reason, counts: Counts, now: Instant) {
        let mut kept_at = self.deciding.lock();
        let mut others = Counts::default();
        let (mut all, mut out) = (0, 0);
        let view = Arc::clone(&self.views.borrow());
        let serves = |id: NodeId| {
            let is_ours = Arc::ptr_eq(&view.fleet, &self.fleet);
            // A view of another fleet says nothing about these indices. If no region is well, all are tried.
            !is_ours || view.fail_open || (view.is_well(id.region) && view.is_up(id))
        };
        for id in self.fleet.nodes() {
            let Some(other) = self.of(id).map(|other| *other.breaker.lock()) else { continue };
            if serves(id) {
                all += 1;
                out += usize::from(other.state() != BreakerState::Closed);
            }
            if id != node {
                others = others.and(other.counts(now));
            }
        }
        if reason == Reason::AboveOthers && !counts.is_above(others, &self.rules) {
            return;
        }
        let (region, name) = (&known.region, &known.node);
        let (failed, requests) = (counts.failed, counts.all());
        // A node that does not serve by the view takes nothing from those that do.
        if serves(node) && !may_exclude(self.rules.most_excluded, all, out) {
            self.metrics.kept(region.as_str(), name.as_str());
            let is_news = kept_at.is_none_or(|at| now >= at + self.rules.window);
            if is_news {
                *kept_at = Some(now);
            }
            drop(kept_at);
            if is_news {
                tracing::warn!(
                    %region, node = %name, reason = reason.name(), failed, requests, excluded = out, nodes = all,
                    action = "look at what the nodes have in common: a new version, a network, a peer",
                    "this node fails requests and should be excluded, but too few others serve: it goes on to get requests"
                );
            }
            return;
        }
        let excluded = known.change(|breaker| breaker.exclude(now));
        drop(kept_at);
        if let Some(wait) = excluded {
            self.metrics.excluded(region.as_str(), name.as_str(), reason);
            tracing::warn!(
                %region, node = %name, reason = reason.name(), failed, requests, excluded_ms = wait.as_millis() as u64,
                action = "look at the log of this node; it returns by itself when a trial request succeeds",
                "this node fails requests: it is excluded for a time, and other nodes get its requests"
            );
        }
    }
}

impl NodeBreaker {
    fn change<T>(&self, change: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breaker = self.breaker.lock();
        let before = breaker.state();
        let changed = change(&mut breaker);
        let after = breaker.state();
        drop(breaker);
        if before != after {
            if after == BreakerState::Open {
                self.opened.notify_waiters();
            }
            // The series of a node that went stays away, whatever is counted into it.
            self.shown.set(value(after));
            let (region, node) = (&self.region, &self.node);
            tracing::info!(%region, %node, from = ?before, to = ?after, "a circuit breaker changed its state");
        }
        changed
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
    breakers: Arc<Breakers>,
    node: NodeId,
    is_trial: bool,
    /// The request was sent although the breaker was not closed.
    is_test: bool,
}

impl Permit {
    /// Waits until the breaker opens. A request that tests the node waits for the node's answer instead.
    pub(super) async fn opened(&self) {
        if let Some(known) = self.breakers.of(self.node).filter(|_| !self.is_test) {
            // Registered before the state is read, otherwise an opening in between would be missed.
            let opened = known.opened.notified();
            if known.breaker.lock().state() != BreakerState::Closed {
                return;
            }
            return opened.await;
        }
        std::future::pending().await
    }

    /// Records the outcome of the request.
    pub(super) fn record(mut self, answered: bool) {
        self.is_trial = false;
        self.breakers.record(self.node, answered, self.is_test);
    }

    /// The head of a good answer has come: its end decides.
    pub(super) fn watch(self, signals: Arc<Signals>) -> Witness {
        let (breakers, node, is_test) = (Arc::clone(&self.breakers), self.node, self.is_test);
        let mut witness = Witness { breakers, node, signals, is_counted: false };
        if is_test {
            // Other requests wait for the outcome, and the body may be long.
            self.record(true);
            witness.is_counted = true;
        }
        witness
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.is_trial
            && let Some(known) = self.breakers.of(self.node)
        {
            known.change(|breaker| breaker.give_up(Instant::now()));
        }
    }
}

/// Sees how an answer ends. Dropped without a word, it counts for nothing.
#[derive(Debug)]
pub(super) struct Witness {
    breakers: Arc<Breakers>,
    node: NodeId,
    signals: Arc<Signals>,
    is_counted: bool,
}

impl Witness {
    /// The answer is good.
    pub(super) fn is_good(&mut self) {
        if !std::mem::replace(&mut self.is_counted, true) {
            self.breakers.record(self.node, true, false);
        }
    }

    /// The answer broke off, by the node's fault.
    pub(super) fn broke_off(self) {
        self.signals.observed(self.node.region, self.node.node, Observed::Failed);
        self.breakers.record(self.node, false, false);
    }
}

/// A client that takes nothing of an answer for this long may itself be why the node gave up.
pub(super) const CLIENT_IS_SLOW: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use api::explanation::RegionState::{self, Down, Maintenance, Up};
    use api::status::BreakerState;
    use prometheus::Registry;
    use proptest::prelude::*;
    use tokio::sync::watch;

    use super::super::config::BreakerRules;
    use super::super::metrics::EdgeMetrics;
    use super::super::testing;
    use super::{Breakers, may_exclude};
    use crate::fleet::{NodeId, RegionIndex};

    const RULES: BreakerRules = BreakerRules {
        failures: 3,
        ratio: 0.5,
        above_others: 0.2,
        requests: 10,
        window: std::time::Duration::from_secs(3_600),
        open: std::time::Duration::from_secs(3_600),
        open_max: std::time::Duration::from_secs(3_600),
        most_excluded: 0.7,
    };

    #[test]
    fn the_share_is_rounded_down_but_one_node_of_several_may_always_go() {
        let most = |share, all| (0..all).take_while(|out| may_exclude(share, all, *out)).count();
        assert_eq!([0, 1, 2, 3, 4, 6, 10].map(|all| most(0.7, all)), [0, 0, 1, 2, 2, 4, 7]);
        assert_eq!([1, 2, 3, 10].map(|all| most(0.1, all)), [0, 1, 1, 1]);
        assert_eq!([1, 2, 3, 10].map(|all| most(1.0, all)), [0, 1, 2, 9], "the last one stays");
    }

    /// Breakers of regions of one node in these states.
    fn breakers(states: &[RegionState]) -> (Arc<Breakers>, watch::Sender<Arc<crate::view::View>>, Registry) {
        let fleet = Arc::new(testing::fleet(&vec![1; states.len()]));
        let mut view = testing::view(&fleet);
        view.regions.iter_mut().zip(states).for_each(|(region, state)| region.state = *state);
        let (sender, views) = watch::channel(Arc::new(view));
        let registry = Registry::new();
        let metrics = Arc::new(EdgeMetrics::register(&registry).unwrap());
        (Arc::new(Breakers::new(RULES, fleet, views, metrics, None)), sender, registry)
    }

    fn id(region: u8) -> NodeId {
        NodeId { region: RegionIndex(region), node: 0 }
    }

    fn is_open(breakers: &Breakers, region: u8) -> bool {
        breakers.of(id(region)).unwrap().breaker.lock().state() == BreakerState::Open
    }

    fn fail(breakers: &Arc<Breakers>, region: u8) {
        for _ in 0..3 {
            breakers.force(id(region)).record(false);
        }
    }

    #[test]
    fn the_last_node_that_serves_is_never_excluded() {
        for (states, expected) in [
            ([Up, Up, Up], [true, true, false]),
            // What does not serve by the view is no help to those that do.
            ([Up, Up, Down], [true, false, true]),
            ([Up, Maintenance, Up], [true, true, false]),
            ([Up, Down, Maintenance], [false, true, true]),
        ] {
            let (breakers, _views, registry) = breakers(&states);
            (0..3).for_each(|region| fail(&breakers, region));
            assert_eq!([0, 1, 2].map(|region| is_open(&breakers, region)), expected, "{states:?}");
            let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
            assert!(text.contains("meridian_router_edge_exclusions_refused_total{"), "{states:?}");
        }
    }

    #[test]
    fn a_node_is_excluded_if_it_fails_more_than_the_others() {
        let (breakers, _views, _) = breakers(&[Up, Up]);
        for round in 0..10 {
            breakers.force(id(0)).record(round % 5 > 1);
            breakers.force(id(1)).record(true);
        }
        breakers.force(id(0)).record(false);
        assert!(is_open(&breakers, 0) && !is_open(&breakers, 1));
        // If all fail alike, the fault is not theirs.
        let (breakers, _views, _) = self::breakers(&[Up, Up]);
        for round in 0..100 {
            (0..2).for_each(|region| breakers.force(id(region)).record(round % 5 > 1));
        }
        assert!(!is_open(&breakers, 0) && !is_open(&breakers, 1));
    }

    proptest! {
        /// Whatever fails, as many nodes are left as the share says, and one at least.
        #[test]
        fn enough_nodes_are_left(outcomes in prop::collection::vec((0_u8..6, any::<bool>()), 0..300)) {
            let (breakers, _views, _) = breakers(&[Up; 6]);
            for (region, answered) in outcomes {
                if !is_open(&breakers, region) {
                    breakers.force(id(region)).record(answered);
                }
                let out = (0..6).filter(|region| is_open(&breakers, *region)).count();
                prop_assert!(out <= 4, "{}", out);
            }
        }
    }
}
