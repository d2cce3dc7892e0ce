//! A certified peer that lies, played by hand against two honest replicas: each lie of which a review knew.
//!
//! Afterwards the honest regions hold everything that was acknowledged, know the same, and have not grown.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use replication::frame::{Deltas, Hello, Progress};
use replication::log::Body;
use replication::memory::MemoryStorage;
use replication::{
    Change, Claim, Collection, Delta, DocumentId, DocumentKey, DocumentName, Dot, Frame, Hlc, LinkError, LinkId,
    Monotonic, Now, Reader, Reason, Replica, ReplicaConfig, ReplicaId, Storage as _, TenantId, Value, VersionVector,
    View, Wall, Write,
};

const START: Wall = Wall(1_800_000_000_000);
const LIAR: ReplicaId = ReplicaId(0x6666);
const TICK: Duration = Duration::from_millis(100);
const NAMES: [&str; 3] = ["a", "b", "liar"];

struct Honest {
    replica: Replica<MemoryStorage>,
    storage: MemoryStorage,
    first: ReplicaId,
}

/// Replicas 0 and 1 are honest and linked by link 1; the liar has link 10 with 0 and link 11 with 1, or later ones.
struct World {
    honest: Vec<Honest>,
    elapsed: Duration,
    liar_links: [u64; 2],
    next_link: u64,
    taken: Vec<DocumentKey>,
    visits: u32,
    are_linked: bool,
}

fn config(of: usize) -> ReplicaConfig {
    let peers = NAMES.iter().enumerate().filter(|(at, _)| *at != of);
    let peers: BTreeMap<_, _> = peers.map(|(_, name)| (name.parse().unwrap(), name.parse().unwrap())).collect();
    let boot = of as u64;
    ReplicaConfig { boot, ..ReplicaConfig::new(NAMES[of].parse().unwrap(), NAMES[of].parse().unwrap(), peers) }
}

impl World {
    fn new() -> World {
        let mut world = World {
            honest: Vec::new(),
            elapsed: Duration::from_secs(1),
            liar_links: [10, 11],
            next_link: 12,
            taken: Vec::new(),
            visits: 0,
            are_linked: true,
        };
        for at in 0..2 {
            let storage = MemoryStorage::default();
            let mut ids = at as u64 * 1_000;
            let mint = Box::new(move || {
                ids += 1;
                ReplicaId(ids)
            });
            let replica = Replica::open(config(at), storage.clone(), mint, world.now()).unwrap();
            let first = replica.id();
            world.honest.push(Honest { replica, storage, first });
        }
        let now = world.now();
        for at in 0..2 {
            let other = NAMES[1 - at].parse().unwrap();
            world.honest[at].replica.handle_link_up(now, LinkId(1), other).unwrap();
            let link = LinkId(world.liar_links[at]);
            world.honest[at].replica.handle_link_up(now, link, "liar".parse().unwrap()).unwrap();
            world.greet(at, VersionVector::default());
        }
        world.run(20);
        for at in [0, 1, 0, 1] {
            world.check_in(at);
        }
        world.run(20);
        for honest in &mut world.honest {
            honest.first = honest.replica.id();
        }
        world
    }

    fn now(&self) -> Now {
        Now { mono: Monotonic(self.elapsed), wall: START.plus(self.elapsed) }
    }

    fn lie(&mut self, to: usize, frame: &Frame) -> Result<(), LinkError> {
        let (now, link) = (self.now(), LinkId(self.liar_links[to]));
        let taken = self.honest[to].replica.handle_frame(now, link, &frame.encode());
        if taken.is_err() {
            // A driver closes the link, and the liar dials again.
            self.honest[to].replica.handle_link_down(now, link);
            self.liar_links[to] = self.next_link;
            self.next_link += 1;
            let link = LinkId(self.liar_links[to]);
            self.honest[to].replica.handle_link_up(now, link, "liar".parse().unwrap()).unwrap();
        }
        taken
    }

    fn hello(&self, seen: VersionVector) -> Frame {
        Frame::Hello(Hello {
            replica: LIAR,
            node: "liar".parse().unwrap(),
            region: "liar".parse().unwrap(),
            boot: 7,
            vector: VersionVector::default(),
            seen,
            yours: None,
            wall: self.now().wall,
            max_retention_ms: u64::try_from(config(0).max_retention.as_millis()).unwrap(),
        })
    }

    fn greet(&mut self, to: usize, seen: VersionVector) {
        let hello = self.hello(seen);
        let _ = self.lie(to, &hello);
    }

    fn progress(&self, claim: Option<Claim>) -> Frame {
        Frame::Progress(Progress {
            vector: VersionVector::default(),
            received: Vec::new(),
            claim,
            horizon: Wall::default(),
            wall: self.now().wall,
            direct: self.honest.iter().map(|honest| honest.replica.id()).collect(),
            missing: Vec::new(),
        })
    }

    fn deltas(origin: ReplicaId, through: u64, entries: Vec<Delta>) -> Frame {
        Frame::Deltas(Deltas { origin, after: 0, through, heads: None, entries })
    }

    /// Ticks; the liar answers heartbeats, so that its links stay.
    fn run(&mut self, ticks: u32) {
        for tick in 0..ticks {
            self.elapsed += TICK;
            if tick % 5 == 0 {
                let progress = self.progress(None);
                for at in 0..2 {
                    let _ = self.lie(at, &progress);
                }
            }
            for at in 0..2 {
                self.turn(at);
            }
        }
    }

    fn turn(&mut self, at: usize) {
        let now = self.now();
        let honest = &mut self.honest[at];
        if now.mono >= honest.replica.poll_timeout() {
            honest.replica.handle_timeout(now).unwrap();
        }
        while let Some(batch) = honest.replica.poll_batch().unwrap() {
            honest.storage.sync().unwrap();
            honest.replica.handle_durable(now, batch).unwrap();
        }
        let mut sent = Vec::new();
        while let Some(transmit) = honest.replica.poll_transmit(now).unwrap() {
            sent.push(transmit);
        }
        while honest.replica.poll_event().is_some() {}
        for transmit in sent.into_iter().filter(|transmit| transmit.link == LinkId(1) && self.are_linked) {
            self.honest[1 - at].replica.handle_frame(now, LinkId(1), &transmit.frame).unwrap();
        }
    }

    fn visit(&mut self) -> DocumentKey {
        self.visits += 1;
        let arrived = self.now().wall;
        let mut id = [0; 16];
        id[..6].copy_from_slice(&arrived.0.to_be_bytes()[2..]);
        id[12..].copy_from_slice(&self.visits.to_be_bytes());
        let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id: DocumentId(id) };
        name.expiring(arrived.plus(Duration::from_hours(24)))
    }

    fn check_in(&mut self, at: usize) {
        let key = self.visit();
        let change = Change::create(&key, &[("name", Value::Text("Anna".to_owned()))]);
        let now = self.now();
        self.honest[at].replica.handle_write(now, Write::Change { key, change }).unwrap();
        self.taken.push(key);
    }

    /// Honest regions go on writing, and afterwards hold all of it and know the same of each other.
    fn holds(&mut self, most_origins: usize) {
        for at in [0, 1, 1, 0] {
            self.check_in(at);
        }
        self.run(300);
        let ids: Vec<ReplicaId> = self.honest.iter().map(|honest| honest.replica.id()).collect();
        let own = |at: usize| -> Vec<u64> { ids.iter().map(|id| self.honest[at].replica.durable().get(*id)).collect() };
        assert_eq!(own(0), own(1), "they converge");
        for (at, honest) in self.honest.iter().enumerate() {
            let reader = Reader::new(honest.storage.clone(), config(at).max_retention);
            let view = View::durable(honest.replica.dead_through(), honest.replica.durable());
            for key in &self.taken {
                assert!(reader.row(key, view).unwrap().is_some(), "{} lacks {key:?}", NAMES[at]);
            }
            assert!(honest.storage.buckets().len() <= 3, "{:?}", honest.storage.buckets());
            assert!(honest.replica.durable().len() <= most_origins, "{} origins", honest.replica.durable().len());
            let status = honest.replica.status(self.now());
            assert!(status.doubt.is_none() && !status.starting && !status.recovering && !status.filling, "{status:?}");
        }
    }
}

#[test]
fn a_log_does_not_go_as_far_as_another_node_says() {
    let mut world = World::new();
    for (to, of) in [(0, 1), (1, 0)] {
        let origin = world.honest[of].replica.id();
        world.lie(to, &World::deltas(origin, u64::MAX, Vec::new())).unwrap();
    }
    world.holds(3);
    assert!(world.honest.iter().all(|honest| honest.replica.id() == honest.first), "no new id");
}

#[test]
fn what_arrives_in_the_year_9900_is_not_stored() {
    let mut world = World::new();
    for to in 0..2 {
        let entries = (1..=200).map(|seq| {
            let arrival = 250_000_000_000_000_u64 + seq * 86_400_000;
            let mut id = [0; 16];
            id[..6].copy_from_slice(&arrival.to_be_bytes()[2..]);
            let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id: DocumentId(id) };
            let key = name.expiring(id_arrival(&name).plus(config(0).max_retention));
            Delta { dot: Dot { origin: LIAR, seq }, hlc: Hlc::default(), key, body: Body::Tombstone(Reason::Subject) }
        });
        world.lie(to, &World::deltas(LIAR, 200, entries.collect())).unwrap();
    }
    world.holds(3);
}

fn id_arrival(name: &DocumentName) -> Wall {
    name.id.arrival()
}

#[test]
fn no_word_of_one_peer_makes_ids_without_end() {
    let mut world = World::new();
    for round in 0..200_u64 {
        for to in 0..2 {
            let own = world.honest[to].replica.id();
            let seq = if round % 2 == 0 { u64::MAX } else { 1_000 };
            world.greet(to, [(own, seq)].into_iter().collect());
        }
        world.run(1);
    }
    // 20 seconds: one new id at most, and the old log is not waited for without end.
    world.run(1_300);
    world.holds(6);
}

#[test]
fn invented_origins_are_bounded_and_go() {
    let mut world = World::new();
    for number in 0..4_500 {
        let _ = world.lie(0, &World::deltas(ReplicaId(1 << 40 | number), 1, Vec::new()));
        if number % 500 == 0 {
            world.run(1);
        }
    }
    world.run(10);
    let known = world.honest.iter().map(|honest| honest.replica.durable().len()).max().unwrap();
    assert!((1_000..=4_100).contains(&known), "{known} origins");
    // Nothing of them is stored, so within the hour their names go. The machines are suspended meanwhile.
    world.elapsed += Duration::from_secs(3_601);
    world.run(50);
    world.holds(3);
}

#[test]
fn a_claim_counts_from_its_own_node_alone() {
    let mut world = World::new();
    let (now, b) = (world.now().wall, world.honest[1].replica.id());
    // The regions cannot hear each other, and b writes what a does not have.
    world.are_linked = false;
    world.check_in(1);
    world.run(10);
    for needs in [Vec::new(), vec![(b, 1)]] {
        let through = world.now().wall;
        let (node, region) = ("b".parse().unwrap(), "b".parse().unwrap());
        let claim = Claim { node, region, through, needs, rests_on: Vec::new() };
        let frame = world.progress(Some(claim));
        world.lie(0, &frame).unwrap();
    }
    let complete = world.honest[0].replica.status(world.now()).complete_through;
    assert!(complete[&"b".parse().unwrap()] <= now, "{complete:?}");
    world.are_linked = true;
    world.holds(3);
}

/// A certified peer can erase: that is in the contract. The others agree on it and go on.
#[test]
fn an_erasure_of_a_peer_is_the_same_everywhere() {
    let mut world = World::new();
    let erased = world.taken.remove(0);
    let key = erased.name.expiring(erased.name.id.arrival().plus(config(0).max_retention));
    let body = Body::Erased(Reason::Subject);
    let entry = Delta { dot: Dot { origin: LIAR, seq: 1 }, hlc: Hlc::default(), key, body };
    world.lie(0, &World::deltas(LIAR, 1, vec![entry])).unwrap();
    world.holds(3);
    for honest in &world.honest {
        let reader = Reader::new(honest.storage.clone(), config(0).max_retention);
        let view = View::durable(honest.replica.dead_through(), honest.replica.durable());
        assert!(reader.row(&erased, view).unwrap().is_none());
    }
}
