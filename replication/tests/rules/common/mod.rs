//! A replica `a` with two peers, `b` and `c`, as its tests play them.

#![allow(clippy::unwrap_used, dead_code)]

pub mod mesh;

use std::time::Duration;

use replication::frame::Hello;
use replication::memory::MemoryStorage;
use replication::{Frame, LinkId, Monotonic, Now, Replica, ReplicaConfig, ReplicaId, VersionVector, Wall};

pub const START: Wall = Wall(1_800_000_000_000);
/// The first id of the replica that is tested.
pub const OWN: ReplicaId = ReplicaId(1);

pub fn after(seconds: u64) -> Now {
    let time = Duration::from_secs(seconds);
    Now { mono: Monotonic(time), wall: START.plus(time) }
}

pub fn config() -> ReplicaConfig {
    let peers = ["b", "c"].map(|peer| (peer.parse().unwrap(), peer.parse().unwrap()));
    ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), peers.into())
}

/// A peer opens a link and greets; it has this many entries of the log of [`OWN`].
pub fn greet(replica: &mut Replica<MemoryStorage>, now: Now, link: u64, node: &str, entries: u64) {
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
    };
    replica.handle_link_up(now, LinkId(link), node.parse().unwrap()).unwrap();
    replica.handle_frame(now, LinkId(link), &Frame::Hello(hello).encode()).unwrap();
}
