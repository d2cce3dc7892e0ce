//! The router's view: its probes and its verdicts, by the geo-router's own counters, and the nearest healthy region.

use std::time::Duration;

use geo_router::health::{HealthRules, Track, Verdict};
use rand::RngExt as _;

use super::{Event, Network, World};
use crate::check::Invariant;
use crate::scenario::Scenario;
use crate::seed::{Stream, stream};

/// What the routers think of each region.
pub(super) struct Router {
    rules: HealthRules,
    tracks: Vec<Track>,
    /// For clients nearest to each region: all regions, the nearest first.
    order: Vec<Vec<usize>>,
    draws: Stream,
}

impl Router {
    pub(super) fn new(scenario: &Scenario, net: &Network, seed: u64) -> Router {
        let regions = scenario.regions.len();
        let order = (0..regions).map(|home| {
            let mut order: Vec<usize> = (0..regions).collect();
            order.sort_by_key(|region| (*region != home, net.latency(home, *region), *region));
            order
        });
        Router {
            rules: HealthRules::default(),
            tracks: vec![Track::default(); regions],
            order: order.collect(),
            draws: stream(seed, "probes", 0),
        }
    }

    /// The regions in which a client of `home` is served, the best first: those that are up, then, for want of
    /// better, the others.
    pub(super) fn ranking(&self, home: usize) -> Vec<usize> {
        let mut ranking = self.order[home].clone();
        ranking.sort_by_key(|region| self.tracks[*region].verdict() == Verdict::Down);
        ranking
    }
}

impl World {
    pub(super) fn schedule_probe(&mut self, region: usize) {
        let rules = self.router.rules;
        let wait = rules.interval.mul_f64(0.9 + self.router.draws.random::<f64>() * 0.2);
        self.schedule(self.now + wait, Event::Probe(region));
    }

    /// `/readyz` of a region is asked.
    pub(super) fn probe(&mut self, region: usize) {
        let ready = self.takes_writes(region);
        let (now, rules) = (self.elapsed(), self.router.rules);
        let before = self.router.tracks[region].verdict();
        self.router.tracks[region].record(now, ready, &rules);
        let after = self.router.tracks[region].verdict();
        if before != after {
            self.trace.note(self.now, b'p', region, &[after as u8]);
        }
        self.schedule_probe(region);
    }

    /// Whether a region answers, and would take a write.
    pub(crate) fn takes_writes(&self, region: usize) -> bool {
        let node = &self.nodes[region];
        let now = self.now_of(region);
        node.paused == 0
            && node.process.as_ref().is_some_and(|process| {
                let status = process.replica.status(now);
                status.doubt.is_none() && !status.starting
            })
    }

    /// Within so long a region that stopped answering is down for every router (I9).
    fn detection_bound(&self) -> Duration {
        let rules = self.router.rules;
        // Probes come up to a tenth late; the first may just have been answered.
        (rules.interval.mul_f64(1.1)) * (rules.down_after + 1) + rules.timeout
    }

    pub(super) fn watch_detection(&mut self, node: usize, epoch: u64) {
        let by = self.now + self.detection_bound();
        self.schedule(by, Event::Detect { node, epoch });
    }

    pub(super) fn must_be_detected(&mut self, node: usize, epoch: u64) {
        let still_down = self.nodes[node].epoch == epoch && self.nodes[node].process.is_none();
        let verdict = self.router.tracks[node].verdict();
        self.must(Invariant::Liveness, Some(node), !still_down || verdict == Verdict::Down, || {
            "has been down beyond the detection bound, and clients are still sent there".to_owned()
        });
    }
}
