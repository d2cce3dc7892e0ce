//! Replicas on a network that loses nothing and takes one tick, for tests of several replicas.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use replication::memory::MemoryStorage;
use replication::{
    Change, Collection, DocumentId, DocumentKey, DocumentName, Event, Frame, FrameKind, LinkId, Monotonic, NodeName,
    Now, Protocol, Reader, RegionId, Replica, ReplicaConfig, ReplicaId, TenantId, Ticket, Value, Wall, Write,
};

use super::START;

pub(crate) const TICK: Duration = Duration::from_millis(100);

pub(crate) struct Mesh {
    pub replicas: Vec<Option<Replica<MemoryStorage>>>,
    pub storages: Vec<MemoryStorage>,
    pub events: Vec<Vec<Event>>,
    /// Nodes that do not belong to the deployment.
    pub strangers: BTreeSet<usize>,
    /// Nodes of the release before: they write version 3 and close a link on which they hear of another one.
    pub previous: BTreeSet<usize>,
    /// How often they did.
    pub refused_by_previous: usize,
    /// The versions of the frames that were sent.
    pub versions: BTreeSet<u8>,
    /// Pairs that no frame passes.
    pub cuts: BTreeSet<(usize, usize)>,
    /// Nodes whose frames with entries are lost.
    pub mute: BTreeSet<usize>,
    links: BTreeMap<(usize, usize), LinkId>,
    wire: Vec<(usize, LinkId, std::sync::Arc<[u8]>)>,
    pub elapsed: Duration,
    started: Vec<Duration>,
    next: u64,
    /// Frames sent, by sender and receiver.
    pub sent: BTreeMap<(usize, usize), usize>,
    /// Frames of every kind but the usual ones: comparisons and repairs.
    pub checks: Vec<std::sync::Arc<[u8]>>,
    scrub_every: Duration,
}

pub(crate) fn name(at: usize) -> NodeName {
    ["a", "b", "c", "d"][at].parse().unwrap()
}

impl Mesh {
    pub(crate) fn new(count: usize) -> Mesh {
        Mesh::scrubbing(count, Duration::from_hours(6))
    }

    /// Replicas with this time between two scrubs.
    pub(crate) fn scrubbing(count: usize, scrub_every: Duration) -> Mesh {
        let mut mesh = Mesh {
            replicas: (0..count).map(|_| None).collect(),
            storages: (0..count).map(|_| MemoryStorage::default()).collect(),
            events: vec![Vec::new(); count],
            strangers: BTreeSet::new(),
            previous: BTreeSet::new(),
            refused_by_previous: 0,
            versions: BTreeSet::new(),
            cuts: BTreeSet::new(),
            mute: BTreeSet::new(),
            links: BTreeMap::new(),
            wire: Vec::new(),
            elapsed: Duration::ZERO,
            started: vec![Duration::ZERO; count],
            next: 1,
            sent: BTreeMap::new(),
            checks: Vec::new(),
            scrub_every,
        };
        for at in 0..count {
            mesh.start(at);
        }
        mesh
    }

    pub(crate) fn config(&self, at: usize, boot: u64) -> ReplicaConfig {
        let config = ReplicaConfig::new(name(at), name(at).as_str().parse().unwrap(), self.peers(at));
        ReplicaConfig { boot, scrub_every: self.scrub_every, ..config }
    }

    /// The other nodes of the deployment.
    pub(crate) fn peers(&self, at: usize) -> BTreeMap<NodeName, RegionId> {
        let peers = (0..self.storages.len()).filter(|peer| *peer != at && !self.strangers.contains(peer));
        peers.map(|peer| (name(peer), name(peer).as_str().parse().unwrap())).collect()
    }

    /// All running nodes of the deployment learn which nodes belong to it.
    pub(crate) fn tell_peers(&mut self) {
        for at in (0..self.storages.len()).filter(|at| !self.strangers.contains(at)).collect::<Vec<_>>() {
            let (now, peers) = (self.now(at), self.peers(at));
            if let Some(replica) = &mut self.replicas[at] {
                replica.set_peers(now, peers).unwrap();
            }
        }
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn now(&self, at: usize) -> Now {
        Now { mono: Monotonic(self.elapsed - self.started[at]), wall: START.plus(self.elapsed) }
    }

    pub(crate) fn start(&mut self, at: usize) {
        self.started[at] = self.elapsed;
        let (boot, mut id) = (self.fresh(), self.fresh() << 32);
        let mint = Box::new(move || {
            id += 1;
            ReplicaId(id)
        });
        let replica = Replica::open(self.config(at, boot), self.storages[at].clone(), mint, self.now(at)).unwrap();
        self.replicas[at] = Some(replica);
    }

    /// The process is killed; its disk keeps everything.
    pub(crate) fn kill(&mut self, at: usize) {
        self.replicas[at] = None;
        for (a, b) in self.links.keys().copied().collect::<Vec<_>>() {
            if a == at || b == at {
                self.unlink(a, b);
            }
        }
    }

    fn unlink(&mut self, a: usize, b: usize) {
        let Some(link) = self.links.remove(&(a, b)) else { return };
        self.wire.retain(|(_, of, _)| *of != link);
        for end in [a, b] {
            let now = self.now(end);
            if let Some(replica) = &mut self.replicas[end] {
                replica.handle_link_down(now, link);
            }
        }
    }

    pub(crate) fn cut(&mut self, a: usize, b: usize) {
        let pair = (a.min(b), a.max(b));
        self.cuts.insert(pair);
        self.unlink(pair.0, pair.1);
    }

    pub(crate) fn link(&self, a: usize, b: usize) -> LinkId {
        self.links[&(a.min(b), a.max(b))]
    }

    pub(crate) fn replica(&mut self, at: usize) -> &mut Replica<MemoryStorage> {
        self.replicas[at].as_mut().unwrap()
    }

    pub(crate) fn tick(&mut self) {
        self.elapsed += TICK;
        let count = self.replicas.len();
        for pair in (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))) {
            let is_up = |at: usize| self.replicas[at].is_some() && !self.strangers.contains(&at);
            let up = is_up(pair.0) && is_up(pair.1);
            if up && !self.cuts.contains(&pair) && !self.links.contains_key(&pair) {
                let link = LinkId(self.fresh());
                self.links.insert(pair, link);
                for (end, peer) in [pair, (pair.1, pair.0)] {
                    let now = self.now(end);
                    self.replica(end).handle_link_up(now, link, name(peer)).unwrap();
                }
            }
        }
        for (to, link, bytes) in std::mem::take(&mut self.wire) {
            let now = self.now(to);
            let is_understood = !self.previous.contains(&to) || bytes[0] == 3;
            self.refused_by_previous += usize::from(!is_understood);
            if let Some(replica) = &mut self.replicas[to]
                && (!is_understood || replica.handle_frame(now, link, &bytes).is_err())
                && let Some((pair, _)) = self.links.iter().find(|(_, of)| **of == link)
            {
                let pair = *pair;
                self.unlink(pair.0, pair.1);
            }
        }
        for at in 0..count {
            self.turn(at);
        }
    }

    pub(crate) fn turn(&mut self, at: usize) {
        let now = self.now(at);
        let Some(replica) = &mut self.replicas[at] else { return };
        let turned = super::turn(replica, now);
        self.events[at].extend(turned.events);
        for transmit in turned.transmits {
            let Some((pair, _)) = self.links.iter().find(|(_, link)| **link == transmit.link) else { continue };
            let to = if pair.0 == at { pair.1 } else { pair.0 };
            *self.sent.entry((at, to)).or_default() += 1;
            let frame = if self.previous.contains(&at) {
                Frame::decode(&transmit.frame).unwrap().encode_in(Protocol::OLDEST).into()
            } else {
                transmit.frame
            };
            self.versions.insert(frame[0]);
            if Frame::kind(&frame) == Some(FrameKind::Check) {
                self.checks.push(frame.clone());
            }
            if Frame::kind(&frame) == Some(FrameKind::Deltas) && self.mute.contains(&at) {
                continue;
            }
            self.wire.push((to, transmit.link, frame));
        }
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.elapsed + time;
        while self.elapsed < until {
            self.tick();
        }
    }

    /// Runs until a condition holds. Returns how long that took.
    pub(crate) fn until(&mut self, limit: Duration, what: &str, mut holds: impl FnMut(&mut Mesh) -> bool) -> Duration {
        let begun = self.elapsed;
        loop {
            self.tick();
            if holds(self) {
                return self.elapsed - begun;
            }
            if self.elapsed - begun >= limit {
                let vectors: Vec<_> = self.replicas.iter().flatten().map(|r| (r.id(), r.durable())).collect();
                panic!("{what}: not within {limit:?}: {vectors:?}, {:#?}", self.events);
            }
        }
    }

    pub(crate) fn key(&self, number: u64) -> DocumentKey {
        let mut rest = [0; 10];
        rest[2..].copy_from_slice(&number.to_be_bytes());
        let id = DocumentId::arriving(START.plus(self.elapsed), rest);
        let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id };
        name.expiring(START.plus(self.elapsed).plus(Duration::from_hours(14 * 24)))
    }

    /// Takes a check-in.
    pub(crate) fn write(&mut self, at: usize, number: u64) -> (DocumentKey, Ticket) {
        let (key, now) = (self.key(number), self.now(at));
        let change = Change::create(&key, &[("n", Value::Text(format!("guest {number}")))]);
        (key, self.replica(at).handle_write(now, Write::Change { key, change }).unwrap())
    }

    pub(crate) fn shows(&self, at: usize) -> BTreeSet<DocumentKey> {
        let reader = Reader::new(self.storages[at].clone(), self.config(at, 0).max_retention);
        reader.all(Wall(0)).unwrap().into_keys().collect()
    }

    /// Whether all running replicas know the same.
    pub(crate) fn agree(&self) -> bool {
        let mut vectors = self.replicas.iter().flatten().map(|replica| replica.durable());
        vectors.next().is_none_or(|first| vectors.all(|other| other == first))
    }
}
