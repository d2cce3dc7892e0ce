//! What happened in a run, kept for people and for other tools: one record after another, in order.
//!
//! A run keeps a history only if it is asked to; nothing in the world depends on it.

mod explain;
mod export;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use replication::{Dot, Frame, ReplicaId, VersionVector};

use crate::scenario::{Operation, OperationKind};

pub use explain::explain;
pub use export::{edn, json_lines, shiviz};

/// A client's view of one request.
#[derive(Clone, Debug)]
pub enum Record {
    /// A client asked.
    Asked {
        /// Number of the operation.
        operation: usize,
        /// What.
        asked: Operation,
    },
    /// The request is over.
    Over {
        /// Number of the operation.
        operation: usize,
        /// It had its effect.
        done: bool,
        /// Somebody answered.
        answered: bool,
        /// What a reader was shown: visits.
        seen: Option<Vec<u32>>,
    },
    /// A replica acknowledged a write.
    Acknowledged {
        /// Where.
        node: usize,
        /// Number of the operation.
        operation: usize,
        /// Its place in that replica's log; none for a repeat.
        dot: Option<Dot>,
    },
    /// A replica sent a frame.
    Sent {
        /// From.
        from: usize,
        /// To.
        to: usize,
        /// Entries in it.
        dots: Vec<Dot>,
    },
    /// A replica received a frame.
    Received {
        /// By.
        at: usize,
        /// From.
        from: usize,
        /// Entries in it.
        dots: Vec<Dot>,
    },
    /// A replica durably knows of acknowledged writes of others.
    Learned {
        /// Which.
        node: usize,
        /// Operations and dots.
        of: Vec<(usize, Dot)>,
    },
}

/// A record with its time and, for what replicas do, a vector clock (Fidge and Mattern, 1988).
#[derive(Clone, Debug)]
pub struct Entry {
    /// Awake time since the start.
    pub at: Duration,
    /// What.
    pub record: Record,
    /// The clock of the replica that did it.
    pub clock: Option<Vec<u64>>,
}

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

    fn by_client(&mut self, at: Duration, record: Record) {
        self.entries.push(Entry { at, record, clock: None });
    }

    fn by_replica(&mut self, at: Duration, node: usize, record: Record) -> &[u64] {
        self.clocks[node][node] += 1;
        self.entries.push(Entry { at, record, clock: Some(self.clocks[node].clone()) });
        &self.clocks[node]
    }

    pub(crate) fn asked(&mut self, at: Duration, operation: usize, asked: &Operation) {
        self.by_client(at, Record::Asked { operation, asked: asked.clone() });
    }

    pub(crate) fn over(
        &mut self,
        at: Duration,
        operation: usize,
        done: bool,
        answered: bool,
        seen: Option<&[(u32, std::collections::BTreeSet<replication::ChangeHash>)]>,
    ) {
        let seen = seen.map(|seen| seen.iter().map(|(visit, _)| *visit).collect());
        self.by_client(at, Record::Over { operation, done, answered, seen });
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

/// The entries of a frame; `None` for greetings and heartbeats, which are many and say little.
fn dots(bytes: &[u8]) -> Option<Vec<Dot>> {
    match Frame::decode(bytes) {
        Ok(Frame::Deltas(deltas)) => Some(deltas.entries.iter().map(|delta| delta.dot).collect()),
        _ => None,
    }
}

impl Record {
    /// The region in which it happened, if it did in one.
    #[must_use]
    pub fn region(&self) -> Option<usize> {
        match self {
            Record::Asked { .. } | Record::Over { .. } => None,
            Record::Acknowledged { node, .. } | Record::Learned { node, .. } => Some(*node),
            Record::Sent { from, .. } => Some(*from),
            Record::Received { at, .. } => Some(*at),
        }
    }
}

/// Whether an operation changes something.
pub(crate) fn is_write(kind: OperationKind) -> bool {
    matches!(kind, OperationKind::CheckIn | OperationKind::Correct | OperationKind::Erase)
}
