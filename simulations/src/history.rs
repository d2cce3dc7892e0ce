//! What happened in a run, for people and for other tools: one record after another, in order.
//!
//! A run keeps a history only if asked to. The world does not depend on it.

mod explain;
mod export;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use replication::{ChangeHash, Dot, Frame, ReplicaId, VersionVector};

use crate::index::{FaultIndex, NodeIndex, OperationIndex, VisitNumber};
use crate::reply::Reply;
use crate::scenario::{Fault, FaultKind};

pub use explain::explain;
pub use export::{edn, json_lines, shiviz};
pub use record::{Entry, MachineEvent, Record, Turn};

/// The history of a run.
#[derive(Debug)]
pub struct Recorder {
    /// In order.
    pub entries: Vec<Entry>,
    clocks: Vec<Vec<u64>>,
    acknowledged: BTreeMap<ReplicaId, Vec<(u64, OperationIndex, NodeIndex)>>,
    followed: BTreeMap<(NodeIndex, ReplicaId), usize>,
}

impl Recorder {
    /// An empty history of so many regions.
    fn new(regions: usize) -> Recorder {
        Recorder {
            entries: Vec::new(),
            clocks: vec![vec![0; regions]; regions],
            acknowledged: BTreeMap::new(),
            followed: BTreeMap::new(),
        }
    }

    /// Records without a vector clock: all but what a replica does with entries.
    fn plain(&mut self, at: Duration, record: Record) {
        self.entries.push(Entry { at, record, clock: None });
    }

    fn by_replica(&mut self, at: Duration, node: NodeIndex, record: Record) -> &[u64] {
        self.clocks[node.0][node.0] += 1;
        self.entries.push(Entry { at, record, clock: Some(self.clocks[node.0].clone()) });
        &self.clocks[node.0]
    }

    fn durable(&mut self, now: Duration, node: NodeIndex, durable: &VersionVector) {
        let mut of = Vec::new();
        for (origin, seq) in durable.iter() {
            let Some(entries) = self.acknowledged.get(&origin) else { continue };
            let followed = self.followed.entry((node, origin)).or_insert(0);
            while let Some((entry, operation, by)) = entries.get(*followed).filter(|(entry, ..)| *entry <= seq) {
                if *by != node {
                    of.push((*operation, Dot { origin, seq: *entry }));
                }
                *followed += 1;
            }
        }
        if !of.is_empty() {
            self.by_replica(now, node, Record::Learned { node, of });
        }
    }
}

/// The history that a world keeps, if it was asked to. Otherwise nothing is recorded.
#[derive(Debug)]
pub(crate) struct History(Option<Recorder>);

impl History {
    /// A history of so many machines, or none.
    pub(crate) fn new(is_kept: bool, machines: usize) -> History {
        History(is_kept.then(|| Recorder::new(machines)))
    }

    /// The history, at the end of the run.
    pub(crate) fn take(&mut self) -> Option<Recorder> {
        self.0.take()
    }

    /// Records anything that has no vector clock.
    pub(crate) fn record(&mut self, now: Duration, record: impl FnOnce() -> Record) {
        if let Some(recorder) = &mut self.0 {
            recorder.plain(now, record());
        }
    }

    pub(crate) fn record_fault(&mut self, now: Duration, fault: FaultIndex, written: &Fault, turn: Turn) {
        self.record(now, || {
            let ends = written.kind().has_length() && written.kind() != FaultKind::Night;
            let turn = if ends { turn } else { Turn::Happens };
            Record::Fault { fault, label: written.label(), turn }
        });
    }

    pub(crate) fn record_over(
        &mut self,
        now: Duration,
        operation: OperationIndex,
        reply: Option<Reply>,
        seen: Option<&[(VisitNumber, BTreeSet<ChangeHash>)]>,
    ) {
        let seen = seen.map(|seen| seen.iter().map(|(visit, _)| *visit).collect());
        self.record(now, || Record::Over { operation, reply, seen });
    }

    pub(crate) fn record_acknowledged(
        &mut self,
        now: Duration,
        node: NodeIndex,
        operation: OperationIndex,
        dot: Option<Dot>,
    ) {
        let Some(recorder) = &mut self.0 else { return };
        if let Some(dot) = dot {
            recorder.acknowledged.entry(dot.origin).or_default().push((dot.seq, operation, node));
        }
        recorder.by_replica(now, node, Record::Acknowledged { node, operation, dot });
    }

    /// A frame is sent. Returns the vector clock that travels with it.
    pub(crate) fn record_sent(
        &mut self,
        now: Duration,
        from: NodeIndex,
        to: NodeIndex,
        bytes: &[u8],
    ) -> Option<Arc<[u64]>> {
        let recorder = self.0.as_mut()?;
        let dots = dots(bytes)?;
        Some(recorder.by_replica(now, from, Record::Sent { from, to, dots }).into())
    }

    pub(crate) fn record_lost(&mut self, now: Duration, from: NodeIndex, to: NodeIndex, bytes: &[u8]) {
        if let Some(recorder) = &mut self.0
            && let Some(dots) = dots(bytes)
        {
            recorder.plain(now, Record::Lost { from, to, dots });
        }
    }

    /// A frame is received, with the vector clock of its sender.
    pub(crate) fn record_received(
        &mut self,
        now: Duration,
        node: NodeIndex,
        from: NodeIndex,
        bytes: &[u8],
        clock: Option<&[u64]>,
    ) {
        let Some(recorder) = &mut self.0 else { return };
        let (Some(dots), Some(clock)) = (dots(bytes), clock) else { return };
        for (mine, theirs) in recorder.clocks[node.0].iter_mut().zip(clock) {
            *mine = (*mine).max(*theirs);
        }
        recorder.by_replica(now, node, Record::Received { node, from, dots });
    }

    /// A replica durably knows this much.
    pub(crate) fn record_durable(&mut self, now: Duration, node: NodeIndex, durable: &VersionVector) {
        if let Some(recorder) = &mut self.0 {
            recorder.durable(now, node, durable);
        }
    }
}

/// The entries of a frame; `None` for greetings and heartbeats, which are too many to record.
fn dots(bytes: &[u8]) -> Option<Vec<Dot>> {
    match Frame::decode(bytes) {
        Ok(Frame::Deltas(deltas)) => Some(deltas.entries.iter().map(|delta| delta.dot).collect()),
        _ => None,
    }
}
