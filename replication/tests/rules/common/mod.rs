//! A replica `a` with two peers, `b` and `c`, as its tests play them.

#![allow(clippy::unwrap_used, dead_code)]

pub(crate) mod mesh;

use std::time::Duration;

use replication::memory::MemoryStorage;
use replication::{
    Action, Event, Frame, Hello, LinkId, Monotonic, Now, Replica, ReplicaConfig, ReplicaId, Storage, Transmit, Turn,
    VersionVector, Wall,
};

pub(crate) const START: Wall = Wall(1_800_000_000_000);
/// The first id of the replica that is tested.
pub(crate) const OWN: ReplicaId = ReplicaId(1);

pub(crate) fn after(seconds: u64) -> Now {
    let time = Duration::from_secs(seconds);
    Now { mono: Monotonic(time), wall: START.plus(time) }
}

pub(crate) fn config() -> ReplicaConfig {
    let peers = ["b", "c"].map(|peer| (peer.parse().unwrap(), peer.parse().unwrap()));
    ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), peers.into())
}

/// What a replica wants to have done.
#[derive(Debug, Default)]
pub(crate) struct Turned {
    pub transmits: Vec<Transmit>,
    pub events: Vec<Event>,
}

impl Turned {
    /// The frames, decoded.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        self.transmits.iter().map(|transmit| Frame::decode(&transmit.frame).unwrap()).collect()
    }
}

/// One turn of a driver whose disk makes a batch durable at once.
pub(crate) fn turn<S: Storage>(replica: &mut Replica<S>, now: Now) -> Turned {
    let (mut turn, mut turned) = (Turn::new(now), Turned::default());
    while let Some(action) = replica.drive(&mut turn).unwrap() {
        match action {
            Action::Timers { .. } => {}
            Action::Batch(_) => replica.settle_batches(now).unwrap(),
            Action::Send(transmit) => turned.transmits.push(transmit),
            Action::Report(event) => turned.events.push(event),
        }
    }
    turned
}

/// A peer opens a link and greets; it has this many entries of the log of [`OWN`].
pub(crate) fn greet(replica: &mut Replica<MemoryStorage>, now: Now, link: u64, node: &str, entries: u64) {
    let vector: VersionVector = [(OWN, entries)].into_iter().collect();
    let hello = Hello {
        replica: ReplicaId(100 + link),
        node: node.parse().unwrap(),
        region: node.parse().unwrap(),
        boot: link,
        vector: vector.clone(),
        seen: vector,
        yours: None,
        wall: now.wall,
        max_retention_ms: u64::try_from(config().max_retention.as_millis()).unwrap(),
        newest: replication::Protocol::NEWEST,
    };
    replica.handle_link_up(now, LinkId(link), node.parse().unwrap()).unwrap();
    replica.handle_frame(now, LinkId(link), &Frame::Hello(hello).encode()).unwrap();
}
