//! Two honest replicas, the link between them, and the liar's links with each.

use std::collections::BTreeMap;
use std::time::Duration;

use replication::memory::MemoryStorage;
use replication::{
    Change, Claim, Collection, Delta, Deltas, DocumentId, DocumentKey, DocumentName, Frame, Hello, LinkError, LinkId,
    Monotonic, Now, Progress, Reader, Replica, ReplicaConfig, ReplicaId, Row, Storage as _, TenantId, Value,
    VersionVector, View, Wall, Write,
};

pub(crate) const START: Wall = Wall(1_800_000_000_000);
pub(crate) const LIAR: ReplicaId = ReplicaId(0x6666);
pub(crate) const TICK: Duration = Duration::from_millis(100);
pub(crate) const NAMES: [&str; 3] = ["a", "b", "liar"];

pub(crate) struct Honest {
    pub(crate) replica: Replica<MemoryStorage>,
    pub(crate) storage: MemoryStorage,
    pub(crate) first: ReplicaId,
}

/// Replicas 0 and 1 are honest and linked by link 1; the liar has link 10 with 0 and link 11 with 1, or later ones.
pub(crate) struct World {
    pub(crate) honest: Vec<Honest>,
    pub(crate) elapsed: Duration,
    liar_links: [u64; 2],
    next_link: u64,
    pub(crate) taken: Vec<DocumentKey>,
    visits: u32,
    pub(crate) are_linked: bool,
}

pub(crate) fn config(of: usize) -> ReplicaConfig {
    let peers = NAMES.iter().enumerate().filter(|(at, _)| *at != of);
    let peers: BTreeMap<_, _> = peers.map(|(_, name)| (name.parse().unwrap(), name.parse().unwrap())).collect();
    let boot = of as u64;
    ReplicaConfig { boot, ..ReplicaConfig::new(NAMES[of].parse().unwrap(), NAMES[of].parse().unwrap(), peers) }
}

impl World {
    pub(crate) fn new() -> World {
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

    pub(crate) fn now(&self) -> Now {
        Now { mono: Monotonic(self.elapsed), wall: START.plus(self.elapsed) }
    }

    pub(crate) fn lie(&mut self, to: usize, frame: &Frame) -> Result<(), LinkError> {
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

    pub(crate) fn hello(&self, seen: VersionVector) -> Frame {
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
            newest: replication::Protocol::NEWEST,
        })
    }

    pub(crate) fn greet(&mut self, to: usize, seen: VersionVector) {
        let hello = self.hello(seen);
        let _ = self.lie(to, &hello);
    }

    pub(crate) fn progress(&self, claim: Option<Claim>) -> Frame {
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

    pub(crate) fn deltas(origin: ReplicaId, through: u64, entries: Vec<Delta>) -> Frame {
        Frame::Deltas(Deltas { origin, after: 0, through, heads: None, entries })
    }

    /// Ticks; the liar answers heartbeats, so that its links stay.
    pub(crate) fn run(&mut self, ticks: u32) {
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

    pub(crate) fn turn(&mut self, at: usize) {
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

    pub(crate) fn visit(&mut self) -> DocumentKey {
        self.visits += 1;
        let arrived = self.now().wall;
        let mut rest = [0; 10];
        rest[6..].copy_from_slice(&self.visits.to_be_bytes());
        let id = DocumentId::arriving(arrived, rest);
        let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id };
        name.expiring(arrived.plus(Duration::from_hours(24)))
    }

    pub(crate) fn check_in(&mut self, at: usize) {
        let key = self.visit();
        let change = Change::create(&key, &[("name", Value::Text("Anna".to_owned()))]);
        let now = self.now();
        self.honest[at].replica.handle_write(now, Write::Change { key, change }).unwrap();
        self.taken.push(key);
    }

    /// The honest regions go on writing. Afterwards both hold all writes and know the same entries.
    pub(crate) fn holds(&mut self, most_origins: usize) {
        for at in [0, 1, 1, 0] {
            self.check_in(at);
        }
        self.run(300);
        let ids: Vec<ReplicaId> = self.honest.iter().map(|honest| honest.replica.id()).collect();
        let own = |at: usize| -> Vec<u64> { ids.iter().map(|id| self.honest[at].replica.durable().get(*id)).collect() };
        assert_eq!(own(0), own(1), "they converge");
        for (at, honest) in self.honest.iter().enumerate() {
            for key in &self.taken {
                assert!(self.rows(key)[at].is_some(), "{} lacks {key:?}", NAMES[at]);
            }
            assert!(honest.storage.buckets().len() <= 3, "{:?}", honest.storage.buckets());
            assert!(honest.replica.durable().len() <= most_origins, "{} origins", honest.replica.durable().len());
            let status = honest.replica.status(self.now());
            assert!(status.doubt.is_none() && !status.starting && !status.recovering && !status.filling, "{status:?}");
        }
    }

    /// The document as readers of each honest region see it.
    pub(crate) fn rows(&self, key: &DocumentKey) -> Vec<Option<Row>> {
        let read = |honest: &Honest| {
            let reader = Reader::new(honest.storage.clone(), config(0).max_retention);
            let view = View::durable(honest.replica.dead_through(), honest.replica.durable());
            reader.row(key, view).unwrap()
        };
        self.honest.iter().map(read).collect()
    }
}
