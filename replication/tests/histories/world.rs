//! Three replicas, their disks and clocks, and the network between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use replication::memory::{MemoryStorage, Snapshot};
use replication::{
    Action, BatchId, DocumentKey, DocumentName, Event, Frame, FrameKind, LinkId, Monotonic, NodeName, Now, Outcome,
    Reader, Replica, ReplicaConfig, ReplicaId, Storage, Ticket, Transmit, Turn, VersionVector, Wall,
};

use crate::model::{Erasure, Model, What};
use crate::steps::{Ending, History};

/// The longest retention of this world.
pub(crate) const MAX_RETENTION: Duration = Duration::from_hours(96);
pub(crate) const SKEW: Duration = Duration::from_mins(1);
const T0: u64 = 1_800_000_000_000;
const TICK: Duration = Duration::from_millis(100);
pub(crate) const MONTH: i64 = 30 * 86_400_000;

type Engine = MemoryStorage;

pub(crate) struct Node {
    pub replica: Option<Replica<Engine>>,
    pub storage: Engine,
    pub backup: Option<(Snapshot, usize)>,
    pub clock_error_ms: i64,
    pub wrong_until: Duration,
    pub paused: bool,
    /// After a crash the vector may lag behind the data until the replica has caught up.
    pub restarted: bool,
    pub slow_disk: bool,
    syncing: Option<BatchId>,
    pub tickets: BTreeMap<Ticket, PendingWrite>,
    /// Documents dead here since the process started.
    pub dead: BTreeSet<DocumentKey>,
    /// The vector that it told peers as durable. A crash must not lose any of it.
    pub told: VersionVector,
    /// Ids under which it ran when its disk went back in time.
    pub rolled_back: BTreeSet<ReplicaId>,
}

/// The request of a ticket.
pub(crate) enum PendingWrite {
    Change(DocumentKey, replication::ChangeHash),
    Erase(DocumentName),
}

pub(crate) struct World {
    pub nodes: Vec<Node>,
    pub(crate) model: Model,
    pub elapsed: Duration,
    pub rng: StdRng,
    /// Links that are up, by unordered pair.
    links: BTreeMap<(usize, usize), LinkId>,
    pub cuts: BTreeSet<(usize, usize)>,
    /// Frames under way: from, to, link, bytes.
    wire: VecDeque<(usize, usize, LinkId, Vec<u8>)>,
    pub lossy: u8,
    next_link: u64,
    pub created: Vec<DocumentKey>,
    minted: u64,
}

pub(crate) fn name(of: usize) -> NodeName {
    format!("region-{of}").parse().unwrap()
}

fn config(of: usize, replicas: usize, boot: u64) -> ReplicaConfig {
    let peers = (0..replicas).filter(|peer| *peer != of);
    let peers = peers.map(|peer| (name(peer), name(peer).as_str().parse().unwrap())).collect();
    ReplicaConfig {
        max_retention: MAX_RETENTION,
        max_clock_skew: SKEW,
        boot,
        ..ReplicaConfig::new(name(of), name(of).as_str().parse().unwrap(), peers)
    }
}

/// The fields of a document of the given content. Every document carries its own marked payload.
pub(crate) fn payload(name: &DocumentName, content: u8) -> String {
    format!("payload-{:?}-{content}", name.id.0)
}

impl World {
    /// Runs a history to its end.
    pub(crate) fn replay(history: &History) -> Result<(), String> {
        let mut world = World::new(history);
        for step in &history.steps {
            world.step(step)?;
            world.check_safety().map_err(|broken| format!("{broken} (after {step:?})"))?;
        }
        world.heal_and_compare(history.ending)
    }

    fn new(history: &History) -> World {
        let nodes = (0..history.replicas).map(|_| Node {
            replica: None,
            storage: Engine::default(),
            backup: None,
            clock_error_ms: 0,
            wrong_until: Duration::ZERO,
            paused: false,
            restarted: false,
            slow_disk: false,
            syncing: None,
            tickets: BTreeMap::new(),
            dead: BTreeSet::new(),
            told: VersionVector::default(),
            rolled_back: BTreeSet::new(),
        });
        let mut world = World {
            nodes: nodes.collect(),
            model: Model::default(),
            elapsed: Duration::from_secs(10),
            rng: StdRng::seed_from_u64(history.seed),
            links: BTreeMap::new(),
            cuts: BTreeSet::new(),
            wire: VecDeque::new(),
            lossy: 0,
            next_link: 1,
            created: Vec::new(),
            minted: 0,
        };
        for at in 0..history.replicas {
            world.start(at).expect("a new store opens");
        }
        world
    }

    pub(crate) fn true_time(&self) -> Wall {
        Wall(T0).plus(self.elapsed)
    }

    pub(crate) fn now(&self, at: usize) -> Now {
        let wall = self.true_time().0.saturating_add_signed(self.nodes[at].clock_error_ms);
        Now { mono: Monotonic(self.elapsed), wall: Wall(wall) }
    }

    pub(crate) fn reader(&self, at: usize) -> Reader<Engine> {
        Reader::new(self.nodes[at].storage.clone(), MAX_RETENTION)
    }

    pub(crate) fn start(&mut self, at: usize) -> Result<(), String> {
        let now = self.now(at);
        let mut mint = StdRng::seed_from_u64(self.rng.random::<u64>() ^ self.minted);
        self.minted += 1;
        let mint = Box::new(move || ReplicaId(mint.random()));
        let storage = self.nodes[at].storage.clone();
        let replica = Replica::open(config(at, self.nodes.len(), self.minted), storage, mint, now)
            .expect("an intact store opens");
        let known = replica.durable().clone();
        let node = &mut self.nodes[at];
        node.replica = Some(replica);
        if known.covers(&node.told) {
            Ok(())
        } else {
            Err(format!("I1: replica {at} told that it durably knows {:?}, and after a crash {known:?}", node.told))
        }
    }

    pub(crate) fn stop(&mut self, at: usize) {
        self.nodes[at].replica = None;
        self.nodes[at].syncing = None;
        self.nodes[at].tickets.clear();
        self.nodes[at].dead.clear();
        self.nodes[at].paused = false;
        self.nodes[at].restarted = true;
        for (a, b) in self.links.keys().copied().collect::<Vec<_>>() {
            if a == at || b == at {
                self.unlink(a, b);
            }
        }
    }

    fn unlink(&mut self, a: usize, b: usize) {
        if let Some(link) = self.links.remove(&(a, b)) {
            for end in [a, b] {
                let now = self.now(end);
                if let Some(replica) = &mut self.nodes[end].replica {
                    replica.handle_link_down(now, link);
                }
            }
            self.wire.retain(|(_, _, of, _)| *of != link);
        }
    }

    fn connect(&mut self) {
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                let up = !self.nodes[a].paused && !self.nodes[b].paused;
                if self.cuts.contains(&(a, b)) || self.links.contains_key(&(a, b)) || !up {
                    continue;
                }
                let link = LinkId(self.next_link);
                self.next_link += 1;
                self.links.insert((a, b), link);
                for (end, peer) in [(a, b), (b, a)] {
                    let now = self.now(end);
                    if let Some(replica) = &mut self.nodes[end].replica {
                        replica.handle_link_up(now, link, name(peer)).expect("a configured peer");
                    }
                }
            }
        }
    }

    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        let pair = (a.min(b), a.max(b));
        self.cuts.insert(pair);
        self.unlink(pair.0, pair.1);
    }

    /// 100 ms: links come up, frames arrive, timers fire, disks sync.
    pub(crate) fn tick(&mut self) -> Result<(), String> {
        self.elapsed += TICK;
        self.connect();
        for at in 0..self.nodes.len() {
            self.run_node(at)?;
        }
        let mut arriving = std::mem::take(&mut self.wire);
        while let Some((from, to, link, bytes)) = arriving.pop_front() {
            let pair = (from.min(to), from.max(to));
            if self.links.get(&pair) != Some(&link) {
                continue;
            }
            if self.nodes[to].paused {
                self.wire.push_back((from, to, link, bytes));
                continue;
            }
            match self.rng.random_range(0..100u8) {
                draw if draw < self.lossy / 3 => continue,
                draw if draw < self.lossy / 3 * 2 => {
                    self.wire.push_back((from, to, link, bytes));
                    continue;
                }
                draw if draw < self.lossy => self.wire.push_back((from, to, link, bytes.clone())),
                _ => {}
            }
            let now = self.now(to);
            if let Some(replica) = &mut self.nodes[to].replica
                && replica.handle_frame(now, link, &bytes).is_err()
            {
                self.unlink(pair.0, pair.1);
            }
        }
        for at in 0..self.nodes.len() {
            self.run_node(at)?;
        }
        Ok(())
    }

    pub(crate) fn run_node(&mut self, at: usize) -> Result<(), String> {
        let now = self.now(at);
        let node = &mut self.nodes[at];
        if node.paused {
            return Ok(());
        }
        let failed = |e: replication::StorageError| format!("storage failed: {e}");
        let mut turn = Turn::new(now);
        while let Some(replica) = &mut self.nodes[at].replica {
            let Some(action) = replica.drive(&mut turn).map_err(failed)? else { break };
            let node = &mut self.nodes[at];
            match action {
                Action::Timers { .. } if !node.slow_disk => {
                    if let (Some(batch), Some(replica)) = (node.syncing.take(), &mut node.replica) {
                        node.storage.sync().expect("memory");
                        replica.handle_durable(now, batch).map_err(failed)?;
                    }
                }
                Action::Timers { .. } => {}
                Action::Batch(_) => {
                    let replica = node.replica.as_mut().expect("it runs");
                    node.syncing = replica.poll_batch().map_err(failed)?.or(node.syncing);
                }
                Action::Send(transmit) => self.transmit(at, &transmit)?,
                Action::Report(event) => self.event(at, event)?,
            }
        }
        Ok(())
    }

    fn transmit(&mut self, at: usize, transmit: &Transmit) -> Result<(), String> {
        if Frame::kind(&transmit.frame) != Some(FrameKind::Deltas) {
            let told = &mut self.nodes[at].told;
            match Frame::decode(&transmit.frame) {
                Ok(Frame::Hello(hello)) => told.merge(&hello.vector),
                Ok(Frame::Progress(progress)) => told.merge(&progress.vector),
                Ok(Frame::Check(_)) => {}
                other => return Err(format!("replica {at} sends {other:?}")),
            }
        }
        let pair = self.links.iter().find(|(_, link)| **link == transmit.link).map(|(pair, _)| *pair);
        if let Some((a, b)) = pair {
            let to = if a == at { b } else { a };
            self.wire.push_back((at, to, transmit.link, transmit.frame.to_vec()));
        }
        Ok(())
    }

    fn event(&mut self, at: usize, event: Event) -> Result<(), String> {
        let node = &mut self.nodes[at];
        match event {
            Event::Written { ticket, outcome } => {
                let asked = node.tickets.remove(&ticket).ok_or("a ticket was reported twice")?;
                self.acknowledge(at, &asked, outcome)?;
            }
            Event::RolledBack { origin, .. } if !node.rolled_back.contains(&origin) => {
                return Err(format!("I1: replica {at} lost in a crash what it had sent"));
            }
            Event::Retired(origin) => {
                node.told = node.told.iter().filter(|(told, _)| *told != origin).collect();
            }
            Event::CloseLink { link, .. } => {
                if let Some(((a, b), _)) = self.links.iter().find(|(_, l)| **l == link).map(|(p, l)| (*p, *l)) {
                    self.unlink(a, b);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn acknowledge(&mut self, at: usize, asked: &PendingWrite, outcome: Outcome) -> Result<(), String> {
        match (asked, outcome) {
            (PendingWrite::Change(key, hash), outcome) => {
                let dot = match outcome {
                    Outcome::Created(dot) | Outcome::Amended(dot) => Some(dot),
                    Outcome::Repeat => None,
                    other => return Err(format!("a change ended as {other:?}")),
                };
                let earlier =
                    self.model.changes.iter().find(|t| t.hash == *hash && t.at == at && t.dot.seq > 0).map(|t| t.dot);
                let mine = self.model.changes.iter_mut().filter(|t| t.hash == *hash && t.at == at && !t.acknowledged);
                for taken in mine {
                    taken.acknowledged = true;
                    if let Some(dot) = dot.or(earlier) {
                        taken.dot = dot;
                    } else {
                        // A repeat of an entry of another replica: a replica that has that entry has this change.
                        taken.acknowledged = false;
                    }
                }
                if let Some(dot) = dot {
                    self.model.acknowledge(dot, What::Change(*key, *hash))?;
                    self.model.sessions.push(([(dot.origin, dot.seq)].into_iter().collect(), *key, *hash));
                }
            }
            (PendingWrite::Erase(name), Outcome::Erased(dot)) => {
                self.model.acknowledge(dot, What::Erasure(*name))?;
                self.model.erased.entry(*name).or_default().push(Erasure { dot, at, acknowledged: true, lost: false });
                crate::check::erased_from_disk(self, at, name)?;
            }
            (PendingWrite::Erase(_), Outcome::AlreadyErased) => {}
            (PendingWrite::Erase(_), other) => return Err(format!("an erasure ended as {other:?}")),
        }
        Ok(())
    }

    /// Whether no batch is in flight.
    pub(crate) fn idle(&self, at: usize) -> bool {
        self.nodes[at].syncing.is_none()
    }

    /// Everything works again, except for the link that is missing in a line.
    pub(crate) fn heal(&mut self, ending: Ending) {
        self.cuts.clear();
        if let (Ending::Line { middle }, 3) = (ending, self.nodes.len()) {
            self.cut((middle + 1) % 3, (middle + 2) % 3);
        }
        self.lossy = 0;
        for node in &mut self.nodes {
            node.clock_error_ms = 0;
            node.paused = false;
            node.slow_disk = false;
        }
    }
}
