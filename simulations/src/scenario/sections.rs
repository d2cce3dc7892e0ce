//! The sections of a scenario and their defaults.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::index::VisitNumber;

/// `[network]`: the links between regions, each direction by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Where one-way times come from.
    pub matrix: Matrix,
    /// Which regions have a link with each other.
    pub topology: Topology,
    /// Spread of the one-way time: sigma of a log-normal factor.
    pub jitter: f64,
    /// Megabits per second of each direction.
    pub bandwidth_mbps: f64,
    /// Most bytes that may wait in each direction; frames beyond that are lost.
    pub queue_kib: u64,
    /// Share of frames that vanish. Harsher than TCP, where they would be late.
    pub loss: f64,
    /// Share of frames that arrive twice.
    pub duplicate: f64,
    /// Share of frames that are overtaken.
    pub reorder: f64,
}

impl Default for Network {
    fn default() -> Network {
        Network {
            matrix: Matrix::Measured,
            topology: Topology::Mesh,
            jitter: 0.08,
            bandwidth_mbps: 200.0,
            queue_kib: 4096,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
        }
    }
}

/// Where one-way times come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matrix {
    /// From the table of measured round-trip times, and by distance for pairs that it lacks.
    Measured,
    /// All by distance.
    Positions,
}

/// Which regions have a link with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topology {
    /// All with all.
    Mesh,
    /// Each with the one before and the one after, in the order of `regions`.
    Ring,
    /// All with the first.
    Star,
}

impl Topology {
    /// Whether two of so many regions have a link, by their places among those that exist.
    pub(crate) fn links(self, a: usize, b: usize, count: usize) -> bool {
        match self {
            Topology::Mesh => true,
            Topology::Ring => a.abs_diff(b) == 1 || a.abs_diff(b) == count - 1,
            Topology::Star => a == 0 || b == 0,
        }
    }
}

/// `[replica]`: what production sets in a node's configuration.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplicaSettings {
    /// Longest silence on a link.
    #[serde(with = "api::duration")]
    pub heartbeat: Duration,
    /// How long another origin's entry may be late before it is relayed.
    #[serde(with = "api::duration")]
    pub relay_after: Duration,
    /// Time from the end of a scrub of the whole store to the next one.
    #[serde(with = "api::duration")]
    pub scrub_every: Duration,
    /// The longest life of a visit.
    #[serde(with = "api::duration")]
    pub max_retention: Duration,
    /// The largest clock difference that is normal.
    #[serde(with = "api::duration")]
    pub max_clock_skew: Duration,
    /// Most records of one batch.
    pub batch_records: usize,
    /// Most unacknowledged bytes of a link.
    pub in_flight_kib: usize,
}

impl Default for ReplicaSettings {
    fn default() -> ReplicaSettings {
        ReplicaSettings {
            heartbeat: Duration::from_millis(500),
            relay_after: Duration::from_secs(2),
            scrub_every: Duration::from_hours(6),
            max_retention: Duration::from_hours(28 * 24),
            max_clock_skew: Duration::from_mins(1),
            batch_records: 256,
            in_flight_kib: 4096,
        }
    }
}

/// `[clocks]`: how wrong a healthy clock is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clocks {
    /// Each clock is off by up to this, either way.
    #[serde(with = "api::duration")]
    pub skew: Duration,
    /// Each clock drifts by up to this many millionths until it is set right, every ten minutes.
    pub drift_ppm: f64,
}

impl Default for Clocks {
    fn default() -> Clocks {
        Clocks { skew: Duration::from_millis(50), drift_ppm: 20.0 }
    }
}

/// `[disks]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Disks {
    /// Mean time of a sync (exponential, at least a tenth of it).
    #[serde(with = "api::duration")]
    pub sync: Duration,
}

impl Default for Disks {
    fn default() -> Disks {
        Disks { sync: Duration::from_millis(4) }
    }
}

/// `[workload]`: generated citizens.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workload {
    /// Check-ins per second over all regions; with `by_hour` the mean over a day.
    pub rate: f64,
    /// Whether the rate follows the hours of a day, in each region's own time.
    pub by_hour: bool,
    /// How many venues there are.
    pub venues: u32,
    /// Exponent of Zipf's law by which venues are popular; 0 makes them equal.
    pub popularity: f64,
    /// Share of visits that are corrected later.
    pub corrections: f64,
    /// Share of those that are corrected in two regions at once.
    pub concurrent: f64,
    /// Further corrections per second, only of the `hot_visits`, until their documents are full.
    pub hot: f64,
    /// How many of the first visits get those corrections.
    pub hot_visits: u32,
    /// Share of corrections that carry `large_kib`.
    pub large: f64,
    /// Size of the text in those.
    pub large_kib: u32,
    /// Share of visits that their guest erases.
    pub erasures: f64,
    /// Share of check-ins that are sent again, to any region.
    pub repeats: f64,
    /// Guest lists read per second, each by a reader with a session token.
    pub reads: f64,
    /// Share of later requests that come from another region than the first.
    pub roaming: f64,
    /// The longest time after the check-in at which later requests come.
    #[serde(with = "api::duration")]
    pub later: Duration,
    /// How long visits are kept; each takes one of them.
    #[serde(with = "durations")]
    pub retentions: Vec<Duration>,
}

impl Default for Workload {
    fn default() -> Workload {
        Workload {
            rate: 0.0,
            by_hour: false,
            venues: 20,
            popularity: 1.0,
            corrections: 0.05,
            concurrent: 0.2,
            hot: 0.0,
            hot_visits: 2,
            large: 0.0,
            large_kib: 8,
            erasures: 0.03,
            repeats: 0.05,
            reads: 0.0,
            roaming: 0.2,
            later: Duration::from_secs(20),
            retentions: vec![Duration::from_hours(14 * 24)],
        }
    }
}

/// `[owners]`: venues are lasting documents, as in production. Owners open them and change their retention, and a check-in
/// takes the retention from the document that its region has. Without this section a visit is kept as its request says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Owners {
    /// Changes of the retention per second, over all venues; each takes one of `workload.retentions`.
    pub changes: f64,
    /// Share of them that are made in two regions at once, each to its own length.
    pub concurrent: f64,
    /// How often a check-in is sent again at most, to any region, until `workload.later` is over.
    pub again: u32,
    /// Share of those that come with another body.
    pub contradictions: f64,
}

impl Default for Owners {
    fn default() -> Owners {
        Owners { changes: 0.1, concurrent: 0.3, again: 6, contradictions: 0.2 }
    }
}

/// `[swarm]`: what is drawn for each seed. Each kind of fault is left out of a run with probability `omit`, so that
/// rare combinations come up (swarm testing: Groce et al., 2012).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Swarm {
    /// The kinds to draw from; all if empty.
    pub kinds: Vec<super::FaultKind>,
    /// Probability that a kind does not occur in a run.
    pub omit: f64,
    /// Least and greatest number of faults.
    pub faults: [u32; 2],
    /// Least and greatest number of regions, taken from the front of `regions`.
    pub regions: [usize; 2],
    /// Least and greatest number of check-ins.
    pub visits: [u32; 2],
    /// Whether network, disks, settings and topology are drawn as well.
    pub settings: bool,
}

impl Swarm {
    /// Which kinds it draws from: without a list, all that keep to the assumptions of the algorithm.
    pub(crate) fn kinds(&self) -> Vec<super::FaultKind> {
        if !self.kinds.is_empty() {
            return self.kinds.clone();
        }
        super::FaultKind::all().filter(|kind| !kind.must_be_named()).collect()
    }
}

impl Default for Swarm {
    fn default() -> Swarm {
        Swarm { kinds: Vec::new(), omit: 0.5, faults: [1, 8], regions: [2, 5], visits: [10, 80], settings: true }
    }
}

/// `[checks]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checks {
    /// Regions that heal at the end and must converge; the faults of the others become permanent. All if empty.
    pub core: Vec<String>,
    /// Whether every stored byte and every frame is checked as well. Slow for large worlds.
    pub deep: bool,
    /// Whether time goes on at the end until everything has expired and only venues may be left.
    pub forget: bool,
    /// Factor on the computed convergence bound.
    pub bound: f64,
}

impl Default for Checks {
    fn default() -> Checks {
        Checks { core: Vec::new(), deep: true, forget: true, bound: 1.0 }
    }
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// A new visit, or the same one again.
    CheckIn,
    /// Another phone number.
    Correct,
    /// The guest erases the visit.
    Erase,
    /// The guest reads their own record.
    Look,
    /// The owner reads the guest list of the last hour.
    Read,
    /// Another check-in under the id of a visit.
    Contradict,
    /// The owner opens the venue. Only with `[owners]`, as the next.
    Open,
    /// The owner changes how long the venue's visits are kept.
    Retain,
}

impl OperationKind {
    /// As in scenarios.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            OperationKind::CheckIn => "check-in",
            OperationKind::Correct => "correct",
            OperationKind::Erase => "erase",
            OperationKind::Look => "look",
            OperationKind::Read => "read",
            OperationKind::Contradict => "contradict",
            OperationKind::Open => "open",
            OperationKind::Retain => "retain",
        }
    }

    /// Whether it is about a visit and not about a venue.
    #[must_use]
    pub fn is_of_a_visit(self) -> bool {
        !matches!(self, OperationKind::Read | OperationKind::Open | OperationKind::Retain)
    }

    /// Whether it changes something.
    #[must_use]
    pub fn is_write(self) -> bool {
        !matches!(self, OperationKind::Look | OperationKind::Read)
    }
}

/// `[[operation]]`: one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// When the client asks.
    #[serde(with = "api::duration")]
    pub at: Duration,
    /// The kind of request.
    pub kind: OperationKind,
    /// The region nearest to the client.
    pub from: String,
    /// The number of the visit; for `read` of the reader. Without meaning for `open` and `retain`.
    pub visit: VisitNumber,
    /// The venue.
    #[serde(default)]
    pub venue: u32,
    /// When the guest arrived: part of the visit's name, the same for all requests about it.
    #[serde(default, with = "api::duration")]
    pub arrived: Duration,
    /// How long the visit is kept; for `open` and `retain` the retention of the venue.
    #[serde(default, with = "api::duration")]
    pub retention: Duration,
    /// Bytes of text that a correction carries beside the new phone number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: u32,
}

// As serde calls it.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(bytes: &u32) -> bool {
    *bytes == 0
}

/// Lists of lengths of time, written as people write them.
mod durations {
    use std::time::Duration;

    use api::duration::Text;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(all: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
        all.iter().copied().map(Text).collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
        Ok(Vec::<Text>::deserialize(deserializer)?.into_iter().map(|Text(length)| length).collect())
    }
}
