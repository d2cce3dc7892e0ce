//! What the synthetic clients did and were told: a sample for each check-in, and every visit that may exist.

use std::time::Duration;

use api::{RegionId, named};
use parking_lot::Mutex;
use registry::{Secret, VisitId};

named! {
    /// A kind of synthetic client.
    ClientKind {
        /// Through the edge, with a connection that it keeps.
        Edge = "edge",
        /// Asks DNS again when the TTL has passed.
        Ttl = "ttl",
        /// Asked DNS once.
        Pinned = "pinned",
    }
}

impl ClientKind {
    /// All of them, in the order of reports.
    pub(crate) const ALL: [ClientKind; 3] = [ClientKind::Edge, ClientKind::Ttl, ClientKind::Pinned];
}

/// One check-in. Times count from the start of the drill.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) kind: ClientKind,
    /// When it was due.
    pub(crate) at: Duration,
    /// From that moment to the answer, or to the last failure.
    pub(crate) took: Duration,
    pub(crate) good: bool,
    /// The region that answered.
    pub(crate) region: Option<RegionId>,
}

/// A visit that may exist.
#[derive(Clone, Debug)]
pub(crate) struct SentVisit {
    pub(crate) id: VisitId,
    pub(crate) secret: Secret,
    /// When the check-in was acknowledged, and where.
    pub(crate) acknowledged: Option<(Duration, RegionId)>,
}

/// What else the clients do with their visits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Follow {
    /// Corrections that were acknowledged.
    pub(crate) corrected: u64,
    /// Reads that showed what the session had seen.
    pub(crate) read: u64,
    /// Answers that said that the region has not got everything yet (`Meridian-Stale`).
    pub(crate) stale: u64,
    /// Corrections and reads without a usable answer.
    pub(crate) failed: u64,
    /// Answers that showed less than the session had seen, and did not say so.
    pub(crate) breaches: u64,
}

/// Everything, while the clients run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) samples: Mutex<Vec<Sample>>,
    pub(crate) visits: Mutex<Vec<SentVisit>>,
    pub(crate) follow: Mutex<Follow>,
}

impl Ledger {
    /// The newest samples of a kind that ended after `since`, for guard rails.
    pub(crate) fn recent(&self, kind: ClientKind, since: Duration) -> Vec<(bool, Duration)> {
        let samples = self.samples.lock();
        // Samples lie in the order of their ends.
        let newest = samples.iter().rev().take_while(|sample| sample.at + sample.took >= since);
        newest.filter(|sample| sample.kind == kind).map(|sample| (sample.good, sample.took)).collect()
    }
}
