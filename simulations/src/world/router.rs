//! The routers' views: each region has a router beside it that asks all regions over the network, by the geo-router's
//! own counters, and sends the clients near it to the nearest one that is up for it.

use std::time::Duration;

use geo_router::health::{HealthRules, Track, Verdict};
use rand::RngExt as _;
use replication::{BatchId, Status};

use super::{CalendarEvent, Network, World};
use crate::index::NodeIndex;
use crate::invariant::Invariant;
use crate::scenario::Scenario;
use crate::seed::{Stream, stream};

/// A batch in flight for longer makes a node not ready, as in `node/src/driver/pulse.rs`.
const STALLED: Duration = Duration::from_secs(1);

/// The views that the routers have of each region.
pub(super) struct Router {
    rules: HealthRules,
    /// By the router's own region, then by region.
    tracks: Vec<Vec<Track>>,
    /// For clients nearest to each region: all regions, the nearest first.
    order: Vec<Vec<NodeIndex>>,
    draws: Stream,
}

impl Router {
    pub(super) fn new(scenario: &Scenario, net: &Network, seed: u64) -> Router {
        let regions = scenario.regions.len();
        let order = (0..regions).map(NodeIndex).map(|home| {
            let mut order: Vec<NodeIndex> = (0..regions).map(NodeIndex).collect();
            order.sort_by_key(|region| (*region != home, net.latency(home, *region), *region));
            order
        });
        Router {
            rules: HealthRules::default(),
            tracks: vec![vec![Track::default(); regions]; regions],
            order: order.collect(),
            draws: stream(seed, "probes", 0),
        }
    }

    /// The regions that a client of `home` asks, the best first: those that are up, then the others, as a last resort.
    pub(super) fn ranking(&self, home: NodeIndex) -> Vec<NodeIndex> {
        let mut ranking = self.order[home.0].clone();
        ranking.sort_by_key(|region| self.tracks[home.0][region.0].verdict() == Verdict::Down);
        ranking
    }

    /// Time until the next probe of a region.
    fn next_probe(&mut self) -> Duration {
        self.rules.interval.mul_f64(0.9 + self.draws.random::<f64>() * 0.2)
    }

    /// The time within which a region that stopped answering must be down for every router (I9).
    fn detection_bound(&self) -> Duration {
        let rules = self.rules;
        // Probes come up to a tenth late, and the last successful one may just have been answered.
        (rules.interval.mul_f64(1.1)) * (rules.down_after + 1) + rules.timeout
    }

    /// Whether a region is down for every router.
    fn is_down_for_all(&self, node: NodeIndex) -> bool {
        self.tracks.iter().all(|view| view[node.0].verdict() == Verdict::Down)
    }
}

/// Whether the state of a replica lets its node say that it is ready, as `/readyz` does.
pub(super) fn is_fit(status: &Status) -> bool {
    let early = status.dropped_too_early && !status.peers.is_empty();
    status.doubt.is_none() && !status.starting && !status.recovering && !status.filling && !early
}

impl World {
    pub(super) fn schedule_probe(&mut self, region: NodeIndex) {
        let wait = self.router.next_probe();
        self.calendar.schedule(self.calendar.now() + wait, CalendarEvent::Probe(region));
    }

    /// Every router asks `/readyz` of a region.
    pub(super) fn probe(&mut self, region: NodeIndex) {
        let ready = self.is_ready(region);
        if ready {
            self.check_filled(region);
        }
        let (now, rules) = (self.calendar.elapsed(), self.router.rules);
        for home in self.nodes.indices() {
            let answers = ready && (home == region || self.net.is_open_both(home, region));
            let track = &mut self.router.tracks[home.0][region.0];
            let before = track.verdict();
            track.record(now, answers, &rules);
            let after = track.verdict();
            if before != after {
                self.trace.note(
                    self.calendar.now(),
                    b'p',
                    region.0,
                    &[u8::try_from(home.0).unwrap_or(u8::MAX), after as u8],
                );
            }
        }
        self.schedule_probe(region);
    }

    /// Whether a region answers `/readyz` with "ready".
    pub(super) fn is_ready(&self, region: NodeIndex) -> bool {
        let node = &self.nodes[region];
        let now = self.now_of(region);
        node.paused == 0
            && node.process.as_ref().is_some_and(|process| {
                let is_stalled =
                    process.syncing.is_some() && self.calendar.now().saturating_sub(process.syncing_since) >= STALLED;
                !is_stalled && is_fit(&process.replica.status(now))
            })
    }

    pub(super) fn watch_detection(&mut self, node: NodeIndex, epoch: u64) {
        let by = self.calendar.now() + self.router.detection_bound();
        self.calendar.schedule(by, CalendarEvent::Detect { node, epoch });
    }

    /// A sync does not return: checks later that the region is down for every router.
    pub(super) fn watch_hang(&mut self, node: NodeIndex, epoch: u64, batch: BatchId) {
        let by = self.calendar.now() + STALLED + self.router.detection_bound();
        self.calendar.schedule(by, CalendarEvent::DetectHang { node, epoch, batch });
    }

    pub(super) fn hang_must_be_detected(&mut self, node: NodeIndex, epoch: u64, batch: BatchId) {
        let still_hangs = self.nodes[node].hung && self.nodes[node].hung_sync == Some((epoch, batch));
        let seen = self.router.is_down_for_all(node);
        self.require(Invariant::Liveness, Some(node), !still_hangs || seen, || {
            "has a disk that hangs, beyond the detection bound, and clients are still sent there".to_owned()
        });
    }

    pub(super) fn must_be_detected(&mut self, node: NodeIndex, epoch: u64) {
        let still_down = self.nodes[node].epoch == epoch && self.nodes[node].process.is_none();
        let seen = self.router.is_down_for_all(node);
        self.require(Invariant::Liveness, Some(node), !still_down || seen, || {
            "has been down beyond the detection bound, and clients are still sent there".to_owned()
        });
    }
}
