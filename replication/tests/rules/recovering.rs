//! A disk went back in time: entries that peers have are fetched back, and those that no peer has are lost.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::common::mesh::Mesh;
use crate::common::{OWN, after, config, greet, turn};
use replication::memory::MemoryStorage;
use replication::{Event, Frame, LinkId, Progress, Reason, Replica, ReplicaId, Wall, Write};

/// Lets ten seconds pass in which these links are heard, and returns what was lost.
fn pass(replica: &mut Replica<MemoryStorage>, from: u64, links: &[(u64, u64)]) -> Vec<(ReplicaId, u64)> {
    let mut lost = Vec::new();
    for now in (from..from + 10).map(after) {
        for (link, entries) in links {
            let progress = Progress {
                vector: [(OWN, *entries)].into_iter().collect(),
                received: vec![],
                claim: None,
                horizon: Wall(0),
                wall: now.wall,
                direct: vec![replica.id()],
                missing: vec![],
            };
            replica.handle_frame(now, LinkId(*link), &Frame::Progress(progress).encode()).unwrap();
        }
        lost.extend(turn(replica, now).events.into_iter().filter_map(|event| match event {
            Event::Lost { origin, count } => Some((origin, count)),
            _ => None,
        }));
    }
    lost
}

#[test]
fn entries_that_no_peer_has_are_lost_and_not_waited_for() {
    let storage = MemoryStorage::default();
    let mut next = 0;
    let mint = Box::new(move || {
        next += 1;
        ReplicaId(next)
    });
    let mut replica = Replica::open(config(), storage.clone(), mint, after(0)).unwrap();
    greet(&mut replica, after(0), 1, "b", 5);
    assert_ne!(replica.id(), OWN, "its disk went back, for a peer knows more of its log");
    assert_eq!(pass(&mut replica, 1, &[(1, 5)]), []);
    assert!(replica.status(after(11)).recovering, "the peer has it");

    // The peer's disk goes back as well.
    replica.handle_link_down(after(11), LinkId(1));
    greet(&mut replica, after(11), 2, "b", 0);
    assert_eq!(pass(&mut replica, 12, &[(2, 0)]), []);
    let status = replica.status(after(22));
    assert!(!status.recovering, "no region that is away is waited for");
    assert_eq!(status.complete_through[&"a".parse().unwrap()], Wall(0), "but the third may have it");
    greet(&mut replica, after(22), 3, "c", 0);
    assert_eq!(pass(&mut replica, 23, &[(2, 0), (3, 0)]), [(OWN, 5)]);
    assert!(replica.status(after(33)).complete_through[&"a".parse().unwrap()] > Wall(0));
}

/// The bucket of a tombstone is lost, and that of the erased document is not. The entry comes back as erased into the
/// tombstone's bucket, so both buckets have it. A frame with the entry twice would be refused each time it is sent.
#[test]
fn an_entry_that_stands_in_two_buckets_is_sent_once() {
    const SOON: Duration = Duration::from_secs(10);
    let mut mesh = Mesh::new(2);
    mesh.until(SOON, "they are linked", |mesh| mesh.sent.len() == 2);
    mesh.run(SOON);
    let (key, _) = mesh.write(0, 0);
    mesh.write(0, 1);
    mesh.tick();
    let now = mesh.now(0);
    let erase = Write::Erase { name: key.name, lasting: false, reason: Reason::Subject };
    mesh.replica(0).handle_write(now, erase).unwrap();
    mesh.run(SOON);
    assert!(mesh.agree() && (0..2).all(|at| mesh.shows(at).len() == 1));
    let log = mesh.replica(0).id();

    mesh.kill(0);
    let tombstones = key.name.buckets(mesh.config(0, 0).max_retention).1;
    assert_ne!(tombstones, key.bucket());
    mesh.storages[0].lose_bucket(tombstones);
    mesh.start(0);
    mesh.until(SOON, "all of it comes back", |mesh| mesh.agree() && mesh.replica(0).durable().get(log) == 3);
    // Three entries, one of them in two buckets.
    assert_eq!(mesh.storages[0].log_entries(), 4);

    mesh.kill(1);
    mesh.storages[1] = MemoryStorage::default();
    mesh.start(1);
    mesh.until(SOON, "an empty store takes all of it", |mesh| mesh.agree() && mesh.replica(1).durable().get(log) == 3);
    assert_eq!(mesh.shows(1), mesh.shows(0));
}
