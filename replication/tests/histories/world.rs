//! Three replicas, their disks and clocks, and the network between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use replication::memory::{MemoryStorage, Snapshot};
use replication::{
    BatchId, Change, Collection, DocumentId, DocumentKey, DocumentName, Event, LinkId, Monotonic, NodeName, Now,
    Outcome, Reader, Reason, Replica, ReplicaConfig, ReplicaId, Storage, TenantId, Ticket, Value, Wall, Write,
};

use crate::model::{Erasure, Model, Taken};
use crate::steps::{History, REPLICAS, Step, Wrong};

/// The longest retention of this world.
pub const MAX_RETENTION: Duration = Duration::from_hours(96);
pub const SKEW: Duration = Duration::from_mins(1);
const T0: u64 = 1_800_000_000_000;
const TICK: Duration = Duration::from_millis(100);
const MONTH: i64 = 30 * 86_400_000;

type Engine = MemoryStorage;

pub struct Node {
    pub replica: Option<Replica<Engine>>,
    pub storage: Engine,
    pub backup: Option<(Snapshot, usize)>,
    pub clock_error_ms: i64,
    wrong_until: Duration,
    pub paused: bool,
    /// After a crash the vector may lag behind the data until the replica has caught up.
    pub restarted: bool,
    slow_disk: bool,
    syncing: Option<BatchId>,
    tickets: BTreeMap<Ticket, Asked>,
    /// Documents dead here since the process started.
    pub dead: BTreeSet<DocumentKey>,
}

/// What a ticket is for: an index into the model.
enum Asked {
    Change(DocumentKey, replication::ChangeHash),
    Erase(DocumentName),
}

pub struct World {
    pub nodes: Vec<Node>,
    pub model: Model,
    pub elapsed: Duration,
    rng: StdRng,
    /// Links that are up, by unordered pair.
    links: BTreeMap<(usize, usize), LinkId>,
    cuts: BTreeSet<(usize, usize)>,
    /// Frames under way: from, to, link, bytes.
    wire: VecDeque<(usize, usize, LinkId, Vec<u8>)>,
    lossy: u8,
    next_link: u64,
    created: Vec<DocumentKey>,
    minted: u64,
}

pub fn name(of: usize) -> NodeName {
    format!("region-{of}").parse().unwrap()
}

fn config(of: usize) -> ReplicaConfig {
    let peers = (0..REPLICAS).filter(|peer| *peer != of);
    let peers = peers.map(|peer| (name(peer), name(peer).as_str().parse().unwrap())).collect();
    ReplicaConfig {
        max_retention: MAX_RETENTION,
        max_clock_skew: SKEW,
        ..ReplicaConfig::new(name(of), name(of).as_str().parse().unwrap(), peers)
    }
}

/// What a document of the given content says; every document carries its own marked payload.
pub fn payload(name: &DocumentName, content: u8) -> String {
    format!("payload-{:?}-{content}", name.id.0)
}

impl World {
    /// Runs a history to its end.
    pub fn replay(history: &History) -> Result<(), String> {
        let mut world = World::new(history.seed);
        for step in &history.steps {
            world.step(step)?;
            world.check_safety().map_err(|broken| format!("{broken} (after {step:?})"))?;
        }
        world.heal_and_compare()
    }

    fn new(seed: u64) -> World {
        let nodes = (0..REPLICAS).map(|_| Node {
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
        });
        let mut world = World {
            nodes: nodes.collect(),
            model: Model::default(),
            elapsed: Duration::from_secs(10),
            rng: StdRng::seed_from_u64(seed),
            links: BTreeMap::new(),
            cuts: BTreeSet::new(),
            wire: VecDeque::new(),
            lossy: 0,
            next_link: 1,
            created: Vec::new(),
            minted: 0,
        };
        for at in 0..REPLICAS {
            world.start(at);
        }
        world
    }

    pub fn true_time(&self) -> Wall {
        Wall(T0).plus(self.elapsed)
    }

    pub fn now(&self, at: usize) -> Now {
        let wall = self.true_time().0.saturating_add_signed(self.nodes[at].clock_error_ms);
        Now { mono: Monotonic(self.elapsed), wall: Wall(wall) }
    }

    pub fn reader(&self, at: usize) -> Reader<Engine> {
        Reader::new(self.nodes[at].storage.clone(), MAX_RETENTION)
    }

    fn start(&mut self, at: usize) {
        let now = self.now(at);
        let mut mint = StdRng::seed_from_u64(self.rng.random::<u64>() ^ self.minted);
        self.minted += 1;
        let mint = Box::new(move || ReplicaId(mint.random()));
        let storage = self.nodes[at].storage.clone();
        let replica = Replica::open(config(at), storage, mint, now).expect("an intact store opens");
        self.nodes[at].replica = Some(replica);
    }

    fn stop(&mut self, at: usize) {
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
        for a in 0..REPLICAS {
            for b in a + 1..REPLICAS {
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

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match *step {
            Step::Create { at, slot, content, lifetime } => {
                let key = self.key(slot, lifetime);
                let text = Value::Text(payload(&key.name, content));
                let change = Change::create(&key, &[("a", text), ("b", Value::Int(i64::from(content)))]);
                self.write(at, key, change);
            }
            Step::Repeat { at, pick } => {
                if let Some(key) = self.pick(pick) {
                    let text = Value::Text(payload(&key.name, 0));
                    self.write(at, key, Change::create(&key, &[("a", text), ("b", Value::Int(0))]));
                }
            }
            Step::Amend { at, pick, content } => {
                if let Some(key) = self.pick(pick)
                    && let Some(change) = self.amendment(at, &key, content)
                {
                    self.write(at, key, change);
                }
            }
            Step::Erase { at, pick } => {
                if let Some(key) = self.pick(pick) {
                    self.erase(at, key);
                }
            }
            Step::Run { ticks } => {
                for _ in 0..ticks {
                    self.tick()?;
                }
            }
            Step::Sleep { hours } => {
                self.elapsed += Duration::from_hours(u64::from(hours));
                self.tick()?;
            }
            Step::Cut { a, b } if a != b => {
                let pair = (a.min(b), a.max(b));
                self.cuts.insert(pair);
                self.unlink(pair.0, pair.1);
            }
            Step::Cut { .. } => {}
            Step::Heal => self.cuts.clear(),
            Step::Lossy { percent } => self.lossy = percent,
            Step::Crash { at, wrong } => {
                self.crash(at);
                self.set_clock(at, wrong);
                self.start(at);
            }
            Step::Backup { at } => {
                let snapshot = self.nodes[at].storage.snapshot();
                self.nodes[at].backup = Some((snapshot, self.model.changes.len()));
            }
            Step::RollBack { at } => self.roll_back(at),
            Step::Clock { at, wrong } => self.set_clock(at, wrong),
            Step::Pause { at } => self.nodes[at].paused = true,
            Step::Resume { at } => self.nodes[at].paused = false,
            Step::SlowDisk { at, slow } => self.nodes[at].slow_disk = slow,
        }
        Ok(())
    }

    /// Safety assumes that no two clocks are wrong beyond the skew at once, nor within the time for which a
    /// peer's clock counts as heard: so it is here.
    fn set_clock(&mut self, at: usize, wrong: Option<Wrong>) {
        let is_month = |error: i64| error.unsigned_abs() == MONTH.unsigned_abs();
        for node in 0..REPLICAS {
            if is_month(self.nodes[node].clock_error_ms) {
                self.nodes[node].wrong_until = self.elapsed + Duration::from_secs(6);
            }
        }
        let other = (0..REPLICAS).any(|o| o != at && self.nodes[o].wrong_until > self.elapsed);
        let error = error(wrong);
        self.nodes[at].clock_error_ms = if other && is_month(error) { 0 } else { error };
    }

    fn key(&self, slot: u8, lifetime: u8) -> DocumentKey {
        if lifetime == 4 {
            let id = [slot; 16];
            let name = DocumentName { collection: Collection(1), tenant: TenantId(id), id: DocumentId(id) };
            return name.expiring(Wall::NEVER);
        }
        // One id per slot and hour, so that the same document is created in several places.
        let arrival = Wall(self.true_time().0 / 3_600_000 * 3_600_000);
        let mut id = [slot; 16];
        id[..6].copy_from_slice(&arrival.0.to_be_bytes()[2..]);
        let name = DocumentName { collection: Collection(2), tenant: TenantId([9; 16]), id: DocumentId(id) };
        name.expiring(
            arrival.plus([Duration::from_hours(2), Duration::from_hours(24), MAX_RETENTION][usize::from(lifetime) % 3]),
        )
    }

    fn pick(&self, pick: u8) -> Option<DocumentKey> {
        let recent = self.created.len().min(8);
        (recent > 0).then(|| self.created[self.created.len() - 1 - usize::from(pick) % recent])
    }

    fn amendment(&self, at: usize, key: &DocumentKey, content: u8) -> Option<Change> {
        let replica = self.nodes[at].replica.as_ref()?;
        let lasting = key.expires_at == Wall::NEVER;
        let rows = self.reader(at).rows(&key.name, lasting, replica.dead_through()).expect("readable");
        let (_, row) = rows.into_iter().find(|(found, _)| found == key)?;
        let document = row.document().expect("stored changes merge");
        document.amend(key, &[("a", Some(Value::Text(payload(&key.name, content))))])
    }

    fn write(&mut self, at: usize, key: DocumentKey, change: Change) {
        let now = self.now(at);
        let node = &mut self.nodes[at];
        if node.paused {
            return;
        }
        let Some(replica) = &mut node.replica else { return };
        let hash = change.hash();
        if let Ok(ticket) = replica.handle_write(now, Write::Change { key, change }) {
            node.tickets.insert(ticket, Asked::Change(key, hash));
            if !self.created.contains(&key) {
                self.created.push(key);
            }
            let dot = replication::Dot { origin: replica.id(), seq: 0 };
            self.model.changes.push(Taken { key, hash, dot, at, acknowledged: false, lost: false });
        }
    }

    fn erase(&mut self, at: usize, key: DocumentKey) {
        let now = self.now(at);
        let node = &mut self.nodes[at];
        if node.paused {
            return;
        }
        let Some(replica) = &mut node.replica else { return };
        let lasting = key.expires_at == Wall::NEVER;
        let erase = Write::Erase { name: key.name, lasting, reason: Reason::Subject };
        if let Ok(ticket) = replica.handle_write(now, erase) {
            node.tickets.insert(ticket, Asked::Erase(key.name));
            self.model.erased.entry(key.name).or_default();
        }
    }

    fn crash(&mut self, at: usize) {
        self.stop(at);
        let rng = &mut self.rng;
        self.nodes[at].storage.crash(|_, count| rng.random_range(0..=count));
    }

    fn roll_back(&mut self, at: usize) {
        let Some((snapshot, _)) = self.nodes[at].backup.clone() else { return };
        self.stop(at);
        self.nodes[at].storage.restore(&snapshot);
        // What no other replica has durably is lost by contract.
        let others: Vec<_> = (0..REPLICAS).filter(|o| *o != at).filter_map(|o| self.durable_vector(o)).collect();
        let kept = self.held(at);
        let known = |dot: replication::Dot| others.iter().any(|v| v.contains(dot));
        for taken in self.model.changes.iter_mut().filter(|t| t.at == at && t.acknowledged) {
            taken.lost |= !known(taken.dot) && !kept.contains(&(taken.key, taken.hash));
        }
        let changes = &self.model.changes;
        self.model
            .sessions
            .retain(|(_, key, hash)| !changes.iter().any(|t| t.lost && t.key == *key && t.hash == *hash));
        for erasure in self.model.erased.values_mut().flatten().filter(|e| e.at == at) {
            erasure.lost |= !known(erasure.dot);
        }
        self.start(at);
    }

    fn durable_vector(&self, at: usize) -> Option<replication::VersionVector> {
        self.nodes[at].replica.as_ref().map(|replica| replica.durable().clone())
    }

    /// Every change in a store, dead or alive.
    fn held(&self, at: usize) -> BTreeSet<(DocumentKey, replication::ChangeHash)> {
        let rows = self.reader(at).all(Wall(0)).expect("readable");
        rows.into_iter().flat_map(|(key, row)| row.hashes().into_iter().map(move |hash| (key, hash))).collect()
    }

    /// 100 ms: links come up, frames arrive, timers fire, disks sync.
    pub fn tick(&mut self) -> Result<(), String> {
        self.elapsed += TICK;
        self.connect();
        for at in 0..REPLICAS {
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
        for at in 0..REPLICAS {
            self.run_node(at)?;
        }
        Ok(())
    }

    fn run_node(&mut self, at: usize) -> Result<(), String> {
        let now = self.now(at);
        let node = &mut self.nodes[at];
        if node.paused {
            return Ok(());
        }
        let Some(replica) = &mut node.replica else { return Ok(()) };
        let failed = |e: replication::StorageError| format!("storage failed: {e}");
        if now.mono >= replica.poll_timeout() {
            replica.handle_timeout(now).map_err(failed)?;
        }
        if !node.slow_disk
            && let Some(batch) = node.syncing.take()
        {
            node.storage.sync().expect("memory");
            replica.handle_durable(now, batch).map_err(failed)?;
        }
        if let Some(batch) = replica.poll_batch().map_err(failed)? {
            node.syncing = Some(batch);
        }
        while let Some(transmit) = replica.poll_transmit(now).map_err(failed)? {
            let pair = self.links.iter().find(|(_, link)| **link == transmit.link).map(|(pair, _)| *pair);
            if let Some((a, b)) = pair {
                let to = if a == at { b } else { a };
                self.wire.push_back((at, to, transmit.link, transmit.frame.to_vec()));
            }
        }
        self.events(at)
    }

    fn events(&mut self, at: usize) -> Result<(), String> {
        loop {
            let node = &mut self.nodes[at];
            let Some(event) = node.replica.as_mut().and_then(Replica::poll_event) else { return Ok(()) };
            match event {
                Event::Written { ticket, outcome } => {
                    let asked = node.tickets.remove(&ticket).ok_or("a ticket was reported twice")?;
                    self.acknowledge(at, &asked, outcome)?;
                }
                Event::CloseLink { link, .. } => {
                    if let Some(((a, b), _)) = self.links.iter().find(|(_, l)| **l == link).map(|(p, l)| (*p, *l)) {
                        self.unlink(a, b);
                    }
                }
                _ => {}
            }
        }
    }

    fn acknowledge(&mut self, at: usize, asked: &Asked, outcome: Outcome) -> Result<(), String> {
        match (asked, outcome) {
            (Asked::Change(key, hash), outcome) => {
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
                        // A repeat of what came from elsewhere: whoever has that has this.
                        taken.acknowledged = false;
                    }
                }
                if let Some(dot) = dot {
                    self.model.sessions.push(([(dot.origin, dot.seq)].into_iter().collect(), *key, *hash));
                }
            }
            (Asked::Erase(name), Outcome::Erased(dot)) => {
                self.model.erased.entry(*name).or_default().push(Erasure { dot, at, acknowledged: true, lost: false });
                crate::check::erased_from_disk(self, at, name)?;
            }
            (Asked::Erase(_), Outcome::AlreadyErased) => {}
            (Asked::Erase(_), other) => return Err(format!("an erasure ended as {other:?}")),
        }
        Ok(())
    }

    /// Whether nothing is on its way to the disk.
    pub fn idle(&self, at: usize) -> bool {
        self.nodes[at].syncing.is_none()
    }

    /// Everything works again.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.lossy = 0;
        for node in &mut self.nodes {
            node.clock_error_ms = 0;
            node.paused = false;
            node.slow_disk = false;
        }
    }
}

fn error(wrong: Option<Wrong>) -> i64 {
    match wrong {
        None => 0,
        Some(Wrong::Seconds(seconds)) => i64::from(seconds) * 1_000,
        Some(Wrong::MonthAhead) => MONTH,
        Some(Wrong::MonthBehind) => -MONTH,
    }
}
