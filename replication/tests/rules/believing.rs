//! A certified peer that lies about other logs, about our own log, and about the time.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::common::mesh::Mesh;
use crate::common::{after, config, greet, turn};
use replication::memory::MemoryStorage;
use replication::{
    Body, Claim, Collection, Delta, Deltas, DocumentId, DocumentName, Dot, Event, Frame, Hello, Hlc, LinkError, LinkId,
    Progress, Reason, Replica, ReplicaId, Storage as _, TenantId, VersionVector, Wall,
};

const SOON: Duration = Duration::from_secs(10);

/// Three honest replicas. After they have met, the test plays the third and speaks over its links.
fn met() -> (Mesh, ReplicaId) {
    let mut mesh = Mesh::new(3);
    mesh.write(1, 0);
    mesh.until(SOON, "all agree", |mesh| mesh.agree() && mesh.shows(0).len() == 1);
    mesh.run(Duration::from_secs(4));
    let b = mesh.replica(1).id();
    (mesh, b)
}

fn says(mesh: &mut Mesh, frame: &Frame) -> Result<(), LinkError> {
    let (link, now) = (mesh.link(0, 2), mesh.now(0));
    mesh.replica(0).handle_frame(now, link, &frame.encode())
}

fn gap(origin: ReplicaId) -> Frame {
    Frame::Deltas(Deltas { origin, after: 0, through: u64::MAX, heads: None, entries: vec![] })
}

/// Review D3: a frame of 44 bytes once hid a region's log from the others.
#[test]
fn a_peer_cannot_hide_the_log_of_a_linked_replica() {
    let (mut mesh, b) = met();
    says(&mut mesh, &gap(b)).unwrap();
    mesh.turn(0);
    assert_eq!(mesh.replica(0).durable().get(b), 1, "not for a moment");
    mesh.run(Duration::from_secs(1));
    assert!(!mesh.events[0].iter().any(|event| matches!(event, Event::Contradicted { .. })), "nothing to take back");
    mesh.write(1, 1);
    mesh.until(SOON, "what b writes arrives", |mesh| mesh.shows(0).len() == 2);
}

/// While b is away only relays can speak of its log. When b is back the lie is noticed.
#[test]
fn hearsay_is_taken_back_when_the_replica_contradicts_it() {
    let (mut mesh, b) = met();
    mesh.cut(0, 1);
    mesh.cut(1, 2);
    mesh.write(1, 1);
    says(&mut mesh, &gap(b)).unwrap();
    mesh.run(Duration::from_secs(2));
    assert!(mesh.replica(0).durable().get(b) > 1, "it was believed");
    mesh.cuts.clear();
    mesh.until(Duration::from_secs(20), "what b wrote arrives", |mesh| mesh.shows(0).len() == 2);
    assert!(mesh.events[0].iter().any(|event| matches!(event, Event::Contradicted { origin, .. } if *origin == b)));
    mesh.write(1, 2);
    mesh.until(SOON, "and goes on", |mesh| mesh.shows(0).len() == 3);
}

/// In a line the middle relays. Its word is believed and kept, and no entry is sent twice when the ends meet.
#[test]
fn an_honest_relay_is_believed() {
    let (mut mesh, b) = met();
    mesh.cut(0, 1);
    for number in 1..20 {
        mesh.write(1, number);
    }
    mesh.until(SOON, "the middle relays", |mesh| mesh.shows(0).len() == 20);
    mesh.cuts.clear();
    mesh.run(Duration::from_secs(10));
    assert!(!mesh.events[0].iter().any(|event| matches!(event, Event::Contradicted { .. })));
    assert_eq!(mesh.replica(0).durable().get(b), 20);
}

#[test]
fn claims_are_believed_from_their_own_node_alone() {
    let (mut mesh, b) = met();
    mesh.cut(0, 1);
    let region = "b".parse().unwrap();
    let complete = |mesh: &Mesh| mesh.replicas[0].as_ref().unwrap().status(mesh.now(0)).complete_through[&region];
    let before = complete(&mesh);
    mesh.run(Duration::from_secs(5));
    let now = mesh.now(0).wall;
    for node in ["b", "z"] {
        let claim = Claim {
            node: node.parse().unwrap(),
            region: "b".parse().unwrap(),
            through: now,
            needs: vec![(b, 0)],
            rests_on: vec![],
        };
        let progress = Progress {
            vector: VersionVector::default(),
            received: vec![],
            claim: Some(claim),
            horizon: Wall(0),
            wall: now,
            direct: vec![mesh.replica(0).id()],
            missing: vec![],
        };
        says(&mut mesh, &Frame::Progress(progress)).unwrap();
    }
    assert!(complete(&mesh) <= before.plus(Duration::from_secs(1)), "b was not heard");
    mesh.cuts.clear();
    mesh.until(SOON, "b says it itself", |mesh| complete(mesh) >= now);
}

/// Review section 3: each such greeting once made the replica take a new id, durably.
#[test]
fn a_peer_cannot_make_us_take_new_ids_again_and_again() {
    let storage = MemoryStorage::default();
    let mut next = 0;
    let mint = Box::new(move || {
        next += 1;
        ReplicaId(next)
    });
    let mut replica = Replica::open(config(), storage, mint, after(0)).unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for link in 1..50 {
        let id = replica.id();
        ids.insert(id);
        let hello = |seen: u64| Hello {
            replica: ReplicaId(1_000),
            node: "b".parse().unwrap(),
            region: "b".parse().unwrap(),
            boot: 1,
            vector: VersionVector::default(),
            seen: [(id, seen)].into_iter().collect(),
            yours: None,
            wall: after(link).wall,
            max_retention_ms: u64::try_from(config().max_retention.as_millis()).unwrap(),
            newest: replication::Protocol::NEWEST,
        };
        replica.handle_link_up(after(link), LinkId(link), "b".parse().unwrap()).unwrap();
        let seen = if link % 2 == 0 { u64::MAX } else { 5 };
        let _ = replica.handle_frame(after(link), LinkId(link), &Frame::Hello(hello(seen)).encode());
    }
    assert!(ids.len() <= 2, "{ids:?}");
    let status = replica.status(after(300));
    assert!(status.durable.is_empty(), "and none of them is in a vector");
}

/// 15.8 KB of tombstones "from the year 9,900" once made a region use 3,351 MB.
#[test]
fn entries_that_arrive_in_the_future_are_held_back() {
    let storage = MemoryStorage::default();
    let mut replica = Replica::open(config(), storage.clone(), Box::new(|| ReplicaId(1)), after(0)).unwrap();
    greet(&mut replica, after(0), 1, "b", 0);
    let origin = ReplicaId(101);
    let entry = |seq: u64, arrival: u64| {
        let id = DocumentId::arriving(Wall(arrival), [7; 10]);
        let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id };
        let key = name.expiring(Wall(arrival).plus(config().max_retention));
        Delta { dot: Dot { origin, seq }, hlc: Hlc(seq), key, body: Body::Tombstone(Reason::Subject) }
    };
    let now = after(0).wall.0;
    let days = 86_400_000;
    let mut entries = vec![entry(1, now), entry(2, now + 300_000)];
    entries.extend((3..200).map(|seq| entry(seq, now + seq * 40 * days)));
    let frame = Frame::Deltas(Deltas { origin, after: 0, through: 199, heads: None, entries });
    replica.handle_frame(after(1), LinkId(1), &frame.encode()).unwrap();
    let events = turn(&mut replica, after(1)).events;
    assert_eq!(replica.durable().get(origin), 2, "what may be is taken");
    assert!(storage.buckets().len() <= 3, "{:?}", storage.buckets());
    assert!(events.iter().any(|event| matches!(event, Event::HeldBack { dot, .. } if dot.seq == 3)));
}

#[test]
fn a_peer_cannot_make_up_origins_without_end() {
    let storage = MemoryStorage::default();
    let mut replica = Replica::open(config(), storage.clone(), Box::new(|| ReplicaId(1)), after(0)).unwrap();
    greet(&mut replica, after(0), 1, "b", 0);
    let id = DocumentId::arriving(after(0).wall, [7; 10]);
    let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id };
    let key = name.expiring(after(0).wall.plus(config().max_retention));
    for origin in (1_000..7_000).map(ReplicaId) {
        // An origin with an entry stays; one without is forgotten at the next look.
        let entry = Delta { dot: Dot { origin, seq: 1 }, hlc: Hlc(1), key, body: Body::Tombstone(Reason::Subject) };
        let frame = Deltas { origin, after: 0, through: 1, heads: None, entries: vec![entry] };
        replica.handle_frame(after(1), LinkId(1), &Frame::Deltas(frame).encode()).unwrap();
    }
    replica.settle_batches(after(1)).unwrap();
    assert!((4_000..=4_097).contains(&replica.durable().len()), "{}", replica.durable().len());
}
