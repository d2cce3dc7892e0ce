//! Takes the measurements of a run while it is on.

use std::collections::BTreeMap;
use std::time::Duration;

use replication::{Dot, ReplicaId, SessionToken, VersionVector};

use crate::figures::{Availability, Batches, FaultEnd, Recovery, RequestCount, Sample, Staleness, Traffic};
use crate::index::NodeIndex;
use crate::reply::Reply;
use crate::scenario::{OperationKind, Scenario};

/// Slices of time for availability.
const SLICES: u32 = 100;

/// Acknowledged entries of one incarnation, and how far each region has followed.
struct OwnLog {
    node: NodeIndex,
    entries: Vec<(u64, Duration)>,
    followed: Vec<usize>,
}

/// A pair that was behind when a fault ended: `to` waits for entry `seq` of `from`.
struct Waiting {
    from: NodeIndex,
    to: NodeIndex,
    at: Duration,
    origin: ReplicaId,
    seq: u64,
}

/// Counters and times.
pub(crate) struct Meter {
    regions: usize,
    slice: Duration,
    logs: BTreeMap<ReplicaId, OwnLog>,
    delays: BTreeMap<(NodeIndex, NodeIndex), Vec<f32>>,
    waiting: Vec<Waiting>,
    recoveries: Vec<Recovery>,
    /// How many pairs were behind when a fault ended.
    pub(crate) fault_ends: Vec<FaultEnd>,
    traffic: BTreeMap<(NodeIndex, NodeIndex), Traffic>,
    slices: BTreeMap<(u32, NodeIndex), Availability>,
    requests: BTreeMap<OperationKind, (RequestCount, Vec<f32>)>,
    batches: Batches,
    longest_token: u64,
    /// Regular samples.
    pub(crate) samples: Vec<Sample>,
}

impl Meter {
    pub(crate) fn new(regions: usize, scenario: &Scenario) -> Meter {
        Meter {
            regions,
            slice: (scenario.duration / SLICES).max(Duration::from_secs(1)),
            logs: BTreeMap::new(),
            delays: BTreeMap::new(),
            waiting: Vec::new(),
            recoveries: Vec::new(),
            fault_ends: Vec::new(),
            traffic: BTreeMap::new(),
            slices: BTreeMap::new(),
            requests: BTreeMap::new(),
            batches: Batches::default(),
            longest_token: 0,
            samples: Vec::new(),
        }
    }

    pub(crate) fn batch(&mut self, records: usize, bytes: u64) {
        self.batches.count += 1;
        self.batches.records += records as u64;
        self.batches.bytes += bytes;
    }

    /// A client carries this token from now on.
    pub(crate) fn token(&mut self, seen: &VersionVector) {
        let bytes = SessionToken(seen.clone()).encode().len() as u64;
        // In base64 without padding.
        self.longest_token = self.longest_token.max((bytes * 4).div_ceil(3));
    }

    fn path(&mut self, from: NodeIndex, to: NodeIndex) -> &mut Traffic {
        self.traffic.entry((from, to)).or_insert_with(|| Traffic { from, to, ..Traffic::default() })
    }

    /// A frame with entries. The size of its payload is known only if frames are decoded (`checks.deep`).
    pub(crate) fn deltas(&mut self, from: NodeIndex, to: NodeIndex, bytes: usize, payload: usize) {
        let path = self.path(from, to);
        path.frames += 1;
        // Compression can make a frame smaller than its changes: then all of it counts as payload.
        let payload = payload.min(bytes);
        path.payload += payload as u64;
        path.metadata += (bytes - payload) as u64;
    }

    pub(crate) fn control(&mut self, from: NodeIndex, to: NodeIndex, bytes: usize) {
        let path = self.path(from, to);
        path.frames += 1;
        path.control += bytes as u64;
    }

    /// A comparison or a repair of rows. A scrub at rest sends one question and one answer with each heartbeat.
    pub(crate) fn check(&mut self, from: NodeIndex, to: NodeIndex, bytes: usize) {
        self.path(from, to).control += bytes as u64;
    }

    pub(crate) fn lost(&mut self, from: NodeIndex, to: NodeIndex, bytes: usize) {
        self.path(from, to).lost += bytes as u64;
    }

    /// A write was acknowledged.
    pub(crate) fn acknowledged(&mut self, now: Duration, node: NodeIndex, dot: Dot) {
        let regions = self.regions;
        let log = self.logs.entry(dot.origin).or_insert_with(|| OwnLog {
            node,
            entries: Vec::new(),
            followed: vec![0; regions],
        });
        log.entries.push((dot.seq, now));
    }

    /// Notes what a region durably knows by now.
    pub(crate) fn durable(&mut self, now: Duration, node: NodeIndex, durable: &VersionVector) {
        for (origin, seq) in durable.iter() {
            let Some(log) = self.logs.get_mut(&origin).filter(|log| log.node != node) else { continue };
            let (from, followed) = (log.node, log.followed[node.0]);
            let mut next = followed;
            while let Some((_, acknowledged)) = log.entries.get(next).filter(|(entry, _)| *entry <= seq) {
                let delay = now.saturating_sub(*acknowledged);
                self.delays.entry((from, node)).or_default().push(delay.as_secs_f32() * 1_000.0);
                next += 1;
            }
            log.followed[node.0] = next;
        }
        let recoveries = &mut self.recoveries;
        self.waiting.retain(|waiting| {
            let done = waiting.to == node && durable.get(waiting.origin) >= waiting.seq;
            if done {
                let took = Some(now.saturating_sub(waiting.at).as_secs_f64());
                recoveries.push(Recovery { from: waiting.from, to: node, at: waiting.at.as_secs_f64(), took });
            }
            !done
        });
    }

    /// A fault ended: from now on measures how long `to` needs to get what `from` has now.
    pub(crate) fn await_recovery(
        &mut self,
        now: Duration,
        from: NodeIndex,
        to: NodeIndex,
        origin: ReplicaId,
        seq: u64,
    ) {
        self.waiting.push(Waiting { from, to, at: now, origin, seq });
    }

    /// Age of the oldest acknowledged entry of `from` that `node` does not know.
    pub(crate) fn lag(&self, now: Duration, from: NodeIndex, node: NodeIndex) -> Duration {
        let oldest =
            self.logs.values().filter(|log| log.node == from).filter_map(|log| log.entries.get(log.followed[node.0]));
        oldest.map(|(_, acknowledged)| now.saturating_sub(*acknowledged)).max().unwrap_or_default()
    }

    /// A request is over. `answered` is the region that answered and its answer, `None` if no region did.
    pub(crate) fn request(
        &mut self,
        now: Duration,
        asked_at: Duration,
        kind: OperationKind,
        home: NodeIndex,
        answered: Option<(NodeIndex, Reply)>,
    ) {
        let number = u32::try_from(asked_at.as_nanos() / self.slice.as_nanos().max(1)).unwrap_or(u32::MAX);
        let slice = self.slice;
        let availability = self.slices.entry((number, home)).or_insert_with(|| Availability {
            at: (slice * number).as_secs_f64(),
            seconds: slice.as_secs_f64(),
            region: home,
            at_home: 0,
            elsewhere: 0,
            otherwise: 0,
            failed: 0,
        });
        let (count, latencies) = self.requests.entry(kind).or_default();
        kind.name().clone_into(&mut count.kind);
        let ended = match answered.map(|(_, reply)| reply) {
            Some(Reply::Done | Reply::Shown) => &mut count.done,
            Some(Reply::Gone) => &mut count.gone,
            Some(Reply::Unknown) => &mut count.unknown,
            Some(Reply::Stale) => &mut count.stale,
            Some(Reply::Full) => &mut count.full,
            Some(Reply::Conflict) => &mut count.conflict,
            Some(Reply::Unfit | Reply::Refused) | None => &mut count.failed,
        };
        *ended += 1;
        match answered {
            Some((_, Reply::Unfit | Reply::Refused)) | None => availability.failed += 1,
            Some((region, reply)) => {
                latencies.push(now.saturating_sub(asked_at).as_secs_f32() * 1_000.0);
                availability.otherwise += u64::from(!matches!(reply, Reply::Done | Reply::Shown));
                if region == home {
                    availability.at_home += 1;
                } else {
                    availability.elsewhere += 1;
                    count.elsewhere += 1;
                }
            }
        }
    }

    pub(crate) fn batches(&self) -> Batches {
        self.batches.clone()
    }

    /// Characters of the longest session token.
    pub(crate) fn longest_token(&self) -> u64 {
        self.longest_token
    }

    pub(crate) fn staleness(&mut self) -> Vec<Staleness> {
        let mut all = Vec::new();
        for from in (0..self.regions).map(NodeIndex) {
            for to in (0..self.regions).map(NodeIndex).filter(|to| *to != from) {
                let mut delays_ms = self.delays.remove(&(from, to)).unwrap_or_default();
                delays_ms.sort_by(f32::total_cmp);
                let logs = self.logs.values().filter(|log| log.node == from);
                let never = logs.map(|log| (log.entries.len() - log.followed[to.0]) as u64).sum();
                all.push(Staleness { from, to, delays_ms, never });
            }
        }
        all
    }

    pub(crate) fn recoveries(&mut self) -> Vec<Recovery> {
        let mut all = std::mem::take(&mut self.recoveries);
        all.extend(self.waiting.drain(..).map(|waiting| Recovery {
            from: waiting.from,
            to: waiting.to,
            at: waiting.at.as_secs_f64(),
            took: None,
        }));
        all
    }

    pub(crate) fn traffic(&self) -> Vec<Traffic> {
        self.traffic.values().cloned().collect()
    }

    pub(crate) fn availability(&self) -> Vec<Availability> {
        self.slices.values().cloned().collect()
    }

    pub(crate) fn requests(&mut self) -> Vec<RequestCount> {
        let finish = |(mut count, mut latencies): (RequestCount, Vec<f32>)| {
            latencies.sort_by(f32::total_cmp);
            let node = |share: f64| {
                let index = ((latencies.len() as f64 * share) as usize).min(latencies.len().saturating_sub(1));
                latencies.get(index).map_or(0.0, |ms| f64::from(*ms))
            };
            count.latency_ms = [node(0.5), node(0.99), node(1.0)];
            count
        };
        std::mem::take(&mut self.requests).into_values().map(finish).collect()
    }
}
