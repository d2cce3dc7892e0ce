//! What happened in a run, for people and for other tools: one record after another, in order.
//!
//! A run keeps a history only if asked to. The world does not depend on it.

mod explain;
mod export;
mod record;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use replication::{Dot, Frame, ReplicaId, VersionVector};

use crate::reply::Reply;
use crate::scenario::{FaultKind, Operation, OperationKind};
use crate::world::World;

pub use explain::explain;
pub use export::{edn, json_lines, shiviz};
pub use record::{Entry, Machine, Record, Turn};

/// The history of a run.
#[derive(Debug)]
pub struct Recorder {
    /// In order.
    pub entries: Vec<Entry>,
    clocks: Vec<Vec<u64>>,
    acknowledged: BTreeMap<ReplicaId, Vec<(u64, usize, usize)>>,
    followed: BTreeMap<(usize, ReplicaId), usize>,
}

impl Recorder {
    /// An empty history of so many regions.
    #[must_use]
    pub fn new(regions: usize) -> Recorder {
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

    fn by_replica(&mut self, at: Duration, node: usize, record: Record) -> &[u64] {
        self.clocks[node][node] += 1;
        self.entries.push(Entry { at, record, clock: Some(self.clocks[node].clone()) });
        &self.clocks[node]
    }

    pub(crate) fn asked(&mut self, at: Duration, operation: usize, asked: &Operation) {
        self.plain(at, Record::Asked { operation, asked: asked.clone() });
    }

    pub(crate) fn over(
        &mut self,
        at: Duration,
        operation: usize,
        reply: Option<Reply>,
        seen: Option<&[(u32, std::collections::BTreeSet<replication::ChangeHash>)]>,
    ) {
        let seen = seen.map(|seen| seen.iter().map(|(visit, _)| *visit).collect());
        self.plain(at, Record::Over { operation, reply, seen });
    }

    pub(crate) fn acknowledged(&mut self, at: Duration, node: usize, operation: usize, dot: Option<Dot>) {
        if let Some(dot) = dot {
            self.acknowledged.entry(dot.origin).or_default().push((dot.seq, operation, node));
        }
        self.by_replica(at, node, Record::Acknowledged { node, operation, dot });
    }

    pub(crate) fn sent(&mut self, at: Duration, from: usize, to: usize, bytes: &[u8]) -> Option<Arc<[u64]>> {
        let dots = dots(bytes)?;
        Some(self.by_replica(at, from, Record::Sent { from, to, dots }).into())
    }

    pub(crate) fn received(&mut self, now: Duration, at: usize, from: usize, bytes: &[u8], clock: Option<&[u64]>) {
        let (Some(dots), Some(clock)) = (dots(bytes), clock) else { return };
        for (mine, theirs) in self.clocks[at].iter_mut().zip(clock) {
            *mine = (*mine).max(*theirs);
        }
        self.by_replica(now, at, Record::Received { at, from, dots });
    }

    pub(crate) fn durable(&mut self, now: Duration, node: usize, durable: &VersionVector) {
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

/// The entries of a frame; `None` for greetings and heartbeats, which are too many to record.
fn dots(bytes: &[u8]) -> Option<Vec<Dot>> {
    match Frame::decode(bytes) {
        Ok(Frame::Deltas(deltas)) => Some(deltas.entries.iter().map(|delta| delta.dot).collect()),
        _ => None,
    }
}

impl World {
    /// Adds to the history, if one is kept.
    pub(crate) fn tell(&mut self, record: impl FnOnce() -> Record) {
        let now = self.now();
        if let Some(recorder) = &mut self.recorder {
            recorder.plain(now, record());
        }
    }

    pub(crate) fn tell_fault(&mut self, fault: usize, turn: Turn) {
        let scenario = Arc::clone(&self.scenario);
        self.tell(|| {
            let written = &scenario.faults[fault];
            let ends = written.kind().has_length() && written.kind() != FaultKind::Night;
            let turn = if ends { turn } else { Turn::Happens };
            Record::Fault { fault, label: written.label(), turn }
        });
    }

    pub(crate) fn tell_lost(&mut self, from: usize, to: usize, bytes: &[u8]) {
        let now = self.now();
        if let Some(recorder) = &mut self.recorder
            && let Some(dots) = dots(bytes)
        {
            recorder.plain(now, Record::Lost { from, to, dots });
        }
    }
}

/// Whether an operation changes something.
pub(crate) fn is_write(kind: OperationKind) -> bool {
    matches!(kind, OperationKind::CheckIn | OperationKind::Correct | OperationKind::Erase)
}
