//! What the synthetic clients did and were told: a sample for each check-in, and every visit that may exist.

use std::collections::BTreeMap;
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

/// An acknowledgement: when, and by which region.
pub(crate) type Acknowledged = (Duration, RegionId);

/// A visit that may exist.
#[derive(Clone, Debug)]
pub(crate) struct SentVisit {
    pub(crate) id: VisitId,
    pub(crate) secret: Secret,
    /// The check-in's acknowledgement.
    pub(crate) acknowledged: Option<Acknowledged>,
    /// The first person's phone number that the lists must show; `None` if an answer is missing, so that it is not
    /// known.
    pub(crate) phone: Option<String>,
    /// The correction's acknowledgement.
    pub(crate) corrected: Option<Acknowledged>,
    /// Whether the guest erased the visit, as far as is known.
    pub(crate) erasure: Erasure,
    /// Whether the client that made it does nothing more with it.
    pub(crate) settled: bool,
}

/// Whether a visit was erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Erasure {
    /// It was not asked for.
    #[default]
    None,
    /// A region has acknowledged it: no list may show the visit.
    Acknowledged,
    /// There was no answer: a list may show the visit or not.
    Unknown,
}

/// What else the clients do with their visits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Follow {
    /// Corrections that were acknowledged.
    pub(crate) corrected: u64,
    /// Erasures that were acknowledged.
    pub(crate) erased: u64,
    /// Reads that showed what the session had seen.
    pub(crate) read: u64,
    /// Answers that said that the region has not got everything yet (`Meridian-Stale`).
    pub(crate) stale: u64,
    /// Corrections, erasures and reads without a usable answer.
    pub(crate) failed: u64,
    /// Answers that showed less than the session had seen, and did not say so.
    pub(crate) breaches: u64,
}

/// Everything, while the clients run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// In the order of their ends.
    pub(crate) samples: Mutex<Vec<Sample>>,
    pub(crate) visits: Mutex<Vec<SentVisit>>,
    pub(crate) follow: Mutex<Follow>,
    /// Check-ins that wait for their answers, by client: the kind, and when each was due.
    waiting: Mutex<BTreeMap<usize, (ClientKind, Duration)>>,
}

impl Ledger {
    /// A client sends a check-in that was due at this moment.
    pub(crate) fn begin(&self, client: usize, kind: ClientKind, due: Duration) {
        self.waiting.lock().insert(client, (kind, due));
    }

    /// The check-in of a client has ended, well or not; `samples` are its own and those that fared like it.
    pub(crate) fn end(&self, client: usize, samples: impl IntoIterator<Item = Sample>) {
        self.waiting.lock().remove(&client);
        self.samples.lock().extend(samples);
    }

    /// Whether the check-ins of a kind that ended since `since` were good, and how long they took.
    pub(crate) fn ended(&self, kind: ClientKind, since: Duration) -> Vec<(bool, Duration)> {
        let samples = self.samples.lock();
        let newest = samples.iter().rev().take_while(|sample| sample.at + sample.took >= since);
        newest.filter(|sample| sample.kind == kind).map(|sample| (sample.good, sample.took)).collect()
    }

    /// How long the check-ins of a kind have waited for their answers.
    pub(crate) fn waits(&self, kind: ClientKind, now: Duration) -> Vec<Duration> {
        let waiting = self.waiting.lock();
        waiting.values().filter(|(of, _)| *of == kind).map(|(_, due)| now.saturating_sub(*due)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ClientKind, Ledger, Sample};

    #[test]
    fn a_check_in_that_hangs_is_seen_before_it_ends() {
        let (ledger, second) = (Ledger::default(), Duration::from_secs);
        ledger.begin(1, ClientKind::Edge, second(10));
        ledger.begin(2, ClientKind::Ttl, second(11));
        assert_eq!(ledger.waits(ClientKind::Edge, second(14)), [second(4)]);
        let sample = Sample { kind: ClientKind::Edge, at: second(10), took: second(8), good: false, region: None };
        ledger.end(1, [sample]);
        assert!(ledger.waits(ClientKind::Edge, second(18)).is_empty());
        assert_eq!(ledger.ended(ClientKind::Edge, second(13)), [(false, second(8))]);
        assert!(ledger.ended(ClientKind::Edge, second(19)).is_empty());
    }
}
