//! The measurements of one run, as plain numbers. Reports draw them, and their data files hold them.
//!
//! Times are seconds of true virtual time since the start of the run, unless a name says otherwise. Regions are
//! indices into [`Figures::regions`]. Nothing here depends on how fast the machine was.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::index::NodeIndex;
use crate::scenario::{OperationKind, Scenario};
use crate::trace::TraceHash;

/// One run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Figures {
    /// The scenario's name, and the setting if several are compared.
    pub name: String,
    /// What the scenario is about, in a sentence or two.
    pub about: String,
    /// The seed.
    pub seed: u64,
    /// The hash of everything that happened. Two reports with the same hash show the same run.
    pub trace: TraceHash,
    /// The scenario as given, with its settings. A report of several runs has it as a file.
    #[serde(skip)]
    pub asked: Option<Arc<Scenario>>,
    /// The plan that the seed made of it, to repeat the run. A report of one run has it as a file.
    #[serde(skip)]
    pub plan: Option<Arc<Scenario>>,
    /// The regions in the scenario's order.
    pub regions: Vec<String>,
    /// The settings that matter for reading the figures: `("heartbeat", "500ms")`.
    pub settings: Vec<(String, String)>,
    /// The end of the phase with faults; then everything in the core heals.
    pub healed_at: f64,
    /// The end of the run.
    pub ended_at: f64,
    /// Faults, for bands in time.
    pub faults: Vec<FaultBand>,
    /// What happened after the final healing.
    pub convergence: Convergence,
    /// How many pairs of regions were behind each time a fault ended. Faults that only the final healing ends are left
    /// out.
    pub fault_ends: Vec<FaultEnd>,
    /// The pairs that were behind: how long until one region had what the other one had when the fault ended.
    pub recoveries: Vec<Recovery>,
    /// Per ordered pair of regions: after how long a write acknowledged in the first is shown by the second.
    pub staleness: Vec<Staleness>,
    /// Regular samples of every region, the last one when the core has converged.
    pub samples: Vec<Sample>,
    /// A sample of every region when everything that may be forgotten was forgotten; empty if the run ended before.
    pub forgotten: Vec<Sample>,
    /// Requests by the region nearest to the client, in slices of time.
    pub availability: Vec<Availability>,
    /// Bytes and frames sent over each directed pair of regions.
    pub traffic: Vec<Traffic>,
    /// Requests by kind.
    pub requests: Vec<RequestCount>,
    /// Acknowledged writes that were lost by contract, for each region that lost some.
    pub losses: Vec<Losses>,
    /// Batches that were written, in all regions.
    pub batches: Batches,
    /// Characters of the longest session token that a client carried, as the node writes it into a header.
    pub longest_token: u64,
    /// Broken invariants, empty if all held.
    pub broken: Vec<String>,
}

/// A fault's time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FaultBand {
    /// The kind, as scenarios write it: `partition`, `crash`, `clock-step`, ...
    pub kind: String,
    /// For people: `partition us-east | others`.
    pub label: String,
    /// From.
    pub from: f64,
    /// Until; equal to `from` for a moment.
    pub until: f64,
}

/// The phase after the final healing, in which all remaining faults have ended and the core must converge.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Convergence {
    /// Seconds within which the core must converge, computed from the network and the timers.
    pub bound: f64,
    /// Seconds that it took; `None` if it did not within the bound.
    pub took: Option<f64>,
    /// The first condition that was not met, if any.
    pub unmet: Option<String>,
}

/// A fault ended while the run was on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FaultEnd {
    /// When.
    pub at: f64,
    /// Ordered pairs of running regions with a path from one to the other, direct or over other regions.
    pub pairs: u64,
    /// Pairs whose second region lacked entries of the first.
    pub behind: u64,
}

/// One pair of regions that was behind when a fault ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recovery {
    /// The region that had the writes.
    pub from: NodeIndex,
    /// The region that lacked them.
    pub to: NodeIndex,
    /// When the fault ended.
    pub at: f64,
    /// How long it took; `None` if it never did.
    pub took: Option<f64>,
}

/// How old one region's view of another's writes is (probabilistically bounded staleness, Bailis et al., 2012).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Staleness {
    /// The region that acknowledged the writes.
    pub from: NodeIndex,
    /// The region in which they were looked for.
    pub to: NodeIndex,
    /// Milliseconds from the acknowledgement until it is shown, one for each write, ascending.
    pub delays_ms: Vec<f32>,
    /// Writes that were never shown there.
    pub never: u64,
}

/// One region at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub at: f64,
    /// Which region.
    pub region: NodeIndex,
    /// Whether its process runs.
    pub up: bool,
    /// Whether it takes writes.
    pub ready: bool,
    /// Documents stored.
    pub documents: u64,
    /// Tombstones stored.
    pub tombstones: u64,
    /// Log entries stored.
    pub log_entries: u64,
    /// Bytes stored, keys and values.
    pub bytes: u64,
    /// Per region: entries of that region that this one does not know.
    pub lag_entries: Vec<u64>,
    /// Per region: seconds since the oldest such entry was acknowledged.
    pub lag_s: Vec<f64>,
    /// Per region: how far behind the present a guest list here is complete, in seconds; `None` if it cannot say.
    pub completeness_s: Vec<Option<f64>>,
}

/// A slice of time as the clients of one place knew it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Availability {
    /// Begin of the slice.
    pub at: f64,
    /// Length of the slice.
    pub seconds: f64,
    /// The region nearest to the clients.
    pub region: NodeIndex,
    /// Requests answered by that region, whatever the answer was.
    pub at_home: u64,
    /// Requests answered by another region, whatever the answer was.
    pub elsewhere: u64,
    /// Those of them that were answered with gone, unknown there, stale, or full.
    pub otherwise: u64,
    /// Requests that no region answered.
    pub failed: u64,
}

/// Bytes of one directed pair.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// Sender.
    pub from: NodeIndex,
    /// Receiver.
    pub to: NodeIndex,
    /// Frames sent.
    pub frames: u64,
    /// Bytes of changes, before compression.
    pub payload: u64,
    /// Bytes of frames with entries, without the compressed `payload`: names, dots, times.
    pub metadata: u64,
    /// Bytes of greetings and progress.
    pub control: u64,
    /// Bytes that were sent and did not arrive.
    pub lost: u64,
}

/// Batches. A region writes one at a time, so an acknowledgement waits for its own batch and for the one before.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Batches {
    /// How many.
    pub count: u64,
    /// Log entries in them.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

impl Batches {
    /// Mean number of `all` in a batch.
    #[must_use]
    pub fn mean(&self, all: u64) -> f64 {
        if self.count == 0 { 0.0 } else { all as f64 / self.count as f64 }
    }
}

/// Acknowledged writes of one region that were lost by contract: every disk that had them went back in time or was
/// taken away. An acknowledgement is counted once, when the last entry behind it was lost. Visits that had expired by
/// then are not counted, nor are changes of a visit whose erasure is not lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// The region that acknowledged them.
    pub region: NodeIndex,
    /// Check-ins and corrections, repeats included.
    pub changes: u64,
    /// Erasures.
    pub erasures: u64,
    /// Erasures that came undone, because a store still had the visit.
    pub undone: u64,
}

impl Losses {
    /// Check-ins, corrections and erasures.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.changes + self.erasures
    }
}

/// Requests of one kind.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RequestCount {
    /// `check-in`, `correct`, `erase`, `look`, `read`; with `[owners]` also `contradict`, `open`, `retain`.
    pub kind: String,
    /// Writes that were acknowledged as durable, reads that were shown what is there.
    pub done: u64,
    /// Answered: the visit is erased or has expired. For such a visit it is the right answer.
    pub gone: u64,
    /// Answered: no region that was asked knows the visit (yet).
    pub unknown: u64,
    /// Answered: the region does not have what the session has seen.
    pub stale: u64,
    /// Answered: the document has as many changes or bytes as it may have.
    pub full: u64,
    /// Answered: another check-in has the id of the visit.
    #[serde(default)]
    pub conflict: u64,
    /// Answered by another region than the nearest, with any answer.
    pub elsewhere: u64,
    /// Refused or not answered by any region.
    pub failed: u64,
    /// Median, 99th percentile and maximum of the time to the answer, in milliseconds.
    pub latency_ms: [f64; 3],
}

impl Figures {
    /// The run was broken off before the final healing. `healed_at` is when that was, and convergence is unknown.
    #[must_use]
    pub(crate) fn broke_before_healing(&self) -> bool {
        !self.broken.is_empty() && self.convergence.bound == 0.0
    }
}

impl RequestCount {
    /// Acknowledged writes; none for reads and looks.
    #[must_use]
    pub fn writes(&self) -> u64 {
        let read = [OperationKind::Look, OperationKind::Read];
        if read.iter().any(|kind| kind.name() == self.kind) { 0 } else { self.done }
    }

    /// Answered, but not with what was asked for.
    #[must_use]
    pub fn otherwise(&self) -> u64 {
        self.gone + self.unknown + self.stale + self.full + self.conflict
    }
}
