//! The network: for each ordered pair of regions how long a message takes, and whether it arrives at all.
//!
//! Messages of a pair arrive in order unless they are drawn to be overtaken, as on one connection.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::RngExt as _;
use rand_distr::{Distribution as _, LogNormal};

use crate::coverage::Coverage;
use crate::index::{FaultIndex, NodeIndex};
use crate::regions;
use crate::scenario::{Matrix, Scenario};
use crate::seed::{Stream, stream};

/// How much worse a path gets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Degradation {
    /// Share of messages that vanish.
    pub(super) loss: f64,
    /// Share that arrives twice.
    pub(super) duplicate: f64,
    /// Share that is overtaken.
    pub(super) reorder: f64,
    /// Added to the one-way time.
    pub(super) latency: Duration,
    /// Upper limit.
    pub(super) bandwidth_mbps: Option<f64>,
}

/// One direction between two regions.
struct Path {
    latency: Duration,
    /// Partitions that are in force on it.
    cuts: u32,
    degraded: BTreeMap<FaultIndex, Degradation>,
    /// When the messages sent before have left.
    free_at: Duration,
    last_arrival: Duration,
    draws: Stream,
}

/// All directions.
pub(crate) struct Network {
    paths: BTreeMap<(NodeIndex, NodeIndex), Path>,
    jitter: Option<LogNormal<f64>>,
    bytes_per_second: f64,
    queue: Duration,
    loss: f64,
    duplicate: f64,
    reorder: f64,
    /// How much later than the others a message may come that is overtaken or repeated.
    latest: Duration,
    happened: BTreeSet<Coverage>,
}

/// When a message arrives, if it does, and when its copy does.
pub(crate) type Arrivals = [Option<Duration>; 2];

impl Network {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Network {
        let network = &scenario.network;
        let position = |name: &String| {
            let written = scenario.positions.get(name);
            let written =
                written.map(|[latitude, longitude]| api::Position { latitude: *latitude, longitude: *longitude });
            written.or_else(|| regions::position(name)).unwrap_or(api::Position { latitude: 0.0, longitude: 0.0 })
        };
        let mut paths = BTreeMap::new();
        for (a, from) in scenario.regions.iter().enumerate() {
            for (b, to) in scenario.regions.iter().enumerate().filter(|(b, _)| *b != a) {
                let estimated = regions::estimated(position(from), position(to));
                let latency = match network.matrix {
                    Matrix::Measured => regions::measured(from, to).unwrap_or(estimated),
                    Matrix::Positions => estimated,
                };
                let path = Path {
                    latency,
                    cuts: 0,
                    degraded: BTreeMap::new(),
                    free_at: Duration::ZERO,
                    last_arrival: Duration::ZERO,
                    draws: stream(seed, "path", (a as u64) << 8 | b as u64),
                };
                paths.insert((NodeIndex(a), NodeIndex(b)), path);
            }
        }
        let bytes_per_second = network.bandwidth_mbps * 125_000.0;
        Network {
            paths,
            jitter: LogNormal::new(0.0, network.jitter).ok().filter(|_| network.jitter > 0.0),
            bytes_per_second,
            queue: Duration::from_secs_f64(network.queue_kib as f64 * 1024.0 / bytes_per_second),
            loss: network.loss,
            duplicate: network.duplicate,
            reorder: network.reorder,
            // The algorithm assumes that the skew is large against the time that messages take.
            latest: scenario.replica.max_clock_skew / 4,
            happened: BTreeSet::new(),
        }
    }

    fn path(&mut self, from: NodeIndex, to: NodeIndex) -> Option<&mut Path> {
        self.paths.get_mut(&(from, to))
    }

    /// Sends a message of this many bytes.
    pub(super) fn send(&mut self, now: Duration, from: NodeIndex, to: NodeIndex, bytes: usize) -> Arrivals {
        let (loss, duplicate, reorder) = (self.loss, self.duplicate, self.reorder);
        let (jitter, mut rate, queue, latest) = (self.jitter, self.bytes_per_second, self.queue, self.latest);
        let Some(path) = self.path(from, to) else { return [None, None] };
        if path.cuts > 0 {
            return [None, None];
        }
        let mut how = Degradation { loss, duplicate, reorder, ..Degradation::default() };
        for degraded in path.degraded.values() {
            how.loss = how.loss.max(degraded.loss);
            how.duplicate = how.duplicate.max(degraded.duplicate);
            how.reorder = how.reorder.max(degraded.reorder);
            how.latency += degraded.latency;
            rate = degraded.bandwidth_mbps.map_or(rate, |mbps| rate.min(mbps * 125_000.0));
        }
        // All draws are made for every message, so that one setting does not shift the draws of the others.
        let [lost, twice, overtaken] = [path.draws.random::<f64>(), path.draws.random(), path.draws.random()];
        let stretch = jitter.map_or(1.0, |jitter| jitter.sample(&mut path.draws));
        let late = path.draws.random_range(0.0..4.0);
        let starts = path.free_at.max(now);
        if starts - now > queue {
            return [None, None];
        }
        path.free_at = starts + Duration::from_secs_f64(bytes as f64 / rate);
        let (lost, twice, overtaken) = (lost < how.loss, twice < how.duplicate, overtaken < how.reorder);
        let happened =
            [(lost, Coverage::Lost), (!lost && twice, Coverage::Duplicated), (!lost && overtaken, Coverage::Overtaken)];
        self.happened.extend(happened.into_iter().filter(|(happened, _)| *happened).map(|(_, seen)| seen));
        let Some(path) = self.path(from, to) else { return [None, None] };
        if lost {
            return [None, None];
        }
        let takes = path.latency.mul_f64(stretch) + how.latency;
        let arrives = path.free_at + takes;
        let late = takes.mul_f64(late).min(latest);
        let first = if overtaken {
            arrives + late
        } else {
            path.last_arrival = arrives.max(path.last_arrival);
            path.last_arrival
        };
        [Some(first), twice.then(|| first + late)]
    }

    /// Whether messages pass.
    pub(super) fn is_open(&self, from: NodeIndex, to: NodeIndex) -> bool {
        self.paths.get(&(from, to)).is_some_and(|path| path.cuts == 0)
    }

    /// Whether messages pass in both directions.
    pub(super) fn is_open_both(&self, a: NodeIndex, b: NodeIndex) -> bool {
        self.is_open(a, b) && self.is_open(b, a)
    }

    /// The longest one-way time between two of these machines.
    pub(super) fn longest_crossing(&self, core: &BTreeSet<NodeIndex>) -> Duration {
        let pairs = core.iter().flat_map(|a| core.iter().filter(move |b| *b != a).map(move |b| (*a, *b)));
        pairs.map(|(a, b)| self.latency(a, b)).max().unwrap_or_default()
    }

    /// One way, without jitter and queues.
    pub(super) fn latency(&self, from: NodeIndex, to: NodeIndex) -> Duration {
        let added = |path: &Path| path.degraded.values().map(|how| how.latency).sum::<Duration>();
        self.paths.get(&(from, to)).map_or(Duration::ZERO, |path| path.latency + added(path))
    }

    pub(super) fn cut(&mut self, pairs: impl IntoIterator<Item = (NodeIndex, NodeIndex)>) {
        for (from, to) in pairs {
            if let Some(path) = self.path(from, to) {
                path.cuts += 1;
            }
        }
    }

    pub(super) fn mend(&mut self, pairs: impl IntoIterator<Item = (NodeIndex, NodeIndex)>) {
        for (from, to) in pairs {
            if let Some(path) = self.path(from, to) {
                path.cuts = path.cuts.saturating_sub(1);
            }
        }
    }

    pub(super) fn degrade(
        &mut self,
        fault: FaultIndex,
        pairs: impl IntoIterator<Item = (NodeIndex, NodeIndex)>,
        how: Degradation,
    ) {
        for (from, to) in pairs {
            if let Some(path) = self.path(from, to) {
                path.degraded.insert(fault, how);
            }
        }
    }

    pub(super) fn restore(&mut self, fault: FaultIndex) {
        for path in self.paths.values_mut() {
            path.degraded.remove(&fault);
        }
    }

    /// Everything works between these regions and nothing passes between them and the others.
    pub(super) fn heal(&mut self, core: &BTreeSet<NodeIndex>) {
        (self.loss, self.duplicate, self.reorder) = (0.0, 0.0, 0.0);
        for ((from, to), path) in &mut self.paths {
            path.degraded.clear();
            path.cuts = u32::from(core.contains(from) != core.contains(to));
        }
    }

    /// What came up on some path.
    pub(super) fn happened(&self) -> &BTreeSet<Coverage> {
        &self.happened
    }

    /// Bytes per second of each direction.
    pub(super) fn bytes_per_second(&self) -> f64 {
        self.bytes_per_second
    }
}
