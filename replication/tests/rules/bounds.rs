//! The bounds of a document, and the compaction of its row away from the path of writes.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::common::{OWN, after, config, greet};
use replication::memory::MemoryStorage;
use replication::{
    Body, Bounds, Bucket, Change, Collection, Delta, Deltas, Document, DocumentId, DocumentKey, DocumentName, Dot,
    Event, Frame, Hlc, LinkId, Outcome, Replica, ReplicaConfig, ReplicaId, Row, Storage as _, TenantId, Value, Wall,
    Write, WriteError,
};

fn visit(now: Wall) -> DocumentKey {
    let id = DocumentId::arriving(now, [9; 10]);
    let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id };
    name.expiring(now.plus(Duration::from_hours(336)))
}

fn venue() -> DocumentKey {
    let name = DocumentName { collection: Collection(1), tenant: TenantId([1; 16]), id: DocumentId([3; 16]) };
    name.expiring(Wall::NEVER)
}

/// A replica without peers.
fn alone(storage: &MemoryStorage) -> Replica<MemoryStorage> {
    let config = ReplicaConfig { peers: std::collections::BTreeMap::new(), ..config() };
    Replica::open(config, storage.clone(), Box::new(|| OWN), after(0)).unwrap()
}

fn settle(replica: &mut Replica<MemoryStorage>) -> Vec<Event> {
    replica.settle_batches(after(0)).unwrap();
    std::iter::from_fn(|| replica.poll_event()).collect()
}

fn row(storage: &MemoryStorage, key: &DocumentKey) -> Row {
    let stored = storage.get(key.bucket(), &[&b"d"[..], &key.encode()].concat()).unwrap().unwrap();
    Row::decode(&stored).unwrap()
}

fn write(key: DocumentKey, number: i64) -> Write {
    Write::Change { key, change: Change::create(&key, &[("n", Value::Int(number))]) }
}

#[test]
fn a_local_write_beyond_the_bounds_is_refused_and_an_erasure_is_not() {
    let storage = MemoryStorage::default();
    let mut replica = alone(&storage);
    let key = visit(after(0).wall);
    for number in 0..i64::try_from(Bounds::EXPIRING.changes).unwrap() {
        replica.handle_write(after(0), write(key, number)).unwrap();
    }
    settle(&mut replica);
    assert!(matches!(replica.handle_write(after(0), write(key, -1)), Err(WriteError::Full)));
    // A change that is there already is acknowledged again, and other documents still take changes.
    replica.handle_write(after(0), write(key, 5)).unwrap();
    replica.handle_write(after(0), write(venue(), 5)).unwrap();
    let outcomes: Vec<_> = settle(&mut replica)
        .into_iter()
        .filter_map(|event| if let Event::Written { outcome, .. } = event { Some(outcome) } else { None })
        .collect();
    assert!(matches!(outcomes[..], [Outcome::Repeat, Outcome::Created(_)]), "{outcomes:?}");
    let large = Change::create(&venue(), &[("n", Value::Bytes(vec![1; Bounds::LASTING.bytes]))]);
    let refused = replica.handle_write(after(0), Write::Change { key: venue(), change: large });
    assert!(matches!(refused, Err(WriteError::Full)));
    let erase = Write::Erase { name: key.name, lasting: false, reason: replication::Reason::Subject };
    replica.handle_write(after(0), erase).unwrap();
    let erased = settle(&mut replica);
    assert!(erased.iter().any(|event| matches!(event, Event::Written { outcome: Outcome::Erased(_), .. })));
}

/// Regions that each keep within the bounds may together exceed them, so entries of peers are taken far beyond the
/// bounds.
#[test]
fn entries_of_peers_are_refused_only_far_beyond_the_bounds() {
    let storage = MemoryStorage::default();
    let mut replica = Replica::open(config(), storage.clone(), Box::new(|| OWN), after(0)).unwrap();
    greet(&mut replica, after(0), 1, "b", 0);
    let (key, origin) = (visit(after(0).wall), ReplicaId(101));
    let most = u64::try_from(Bounds::foreign(&key).changes).unwrap();
    assert_eq!(most, u64::try_from(Bounds::FOREIGN_FACTOR * Bounds::EXPIRING.changes).unwrap());
    let entry = |seq: u64| {
        let change = Change::create(&key, &[("n", Value::Int(i64::try_from(seq).unwrap()))]);
        Delta { dot: Dot { origin, seq }, hlc: Hlc::default(), key, body: Body::Change(change) }
    };
    let send = |replica: &mut Replica<MemoryStorage>, from: u64, through: u64| {
        let entries: Vec<Delta> = (from + 1..=through).map(entry).collect();
        let frame = Frame::Deltas(Deltas { origin, after: from, through, heads: None, entries }).encode();
        replica.handle_frame(after(0), LinkId(1), &frame).unwrap();
    };
    for from in (0..most).step_by(256) {
        send(&mut replica, from, (from + 256).min(most));
    }
    let refused = |events: Vec<Event>| events.into_iter().filter(|e| matches!(e, Event::Refused { .. })).count();
    assert_eq!(refused(settle(&mut replica)), 0);
    send(&mut replica, most, most + 1);
    assert_eq!(refused(settle(&mut replica)), 1);
    assert_eq!(row(&storage, &key).hashes().len(), usize::try_from(most).unwrap());
    assert_eq!(replica.status(after(0)).durable.get(origin), most + 1, "the log goes on");
}

#[test]
fn rows_are_compacted_by_ticks_a_few_at_a_time() {
    let storage = MemoryStorage::default();
    let mut replica = alone(&storage);
    let keys: Vec<DocumentKey> =
        (0..10u8).map(|id| DocumentName { id: DocumentId([id; 16]), ..venue().name }.expiring(Wall::NEVER)).collect();
    let mut documents = Vec::new();
    for key in &keys {
        for number in 0..40 {
            replica.handle_write(after(0), write(*key, number)).unwrap();
        }
    }
    replica.handle_timeout(after(0)).unwrap();
    settle(&mut replica);
    let loose = |storage: &MemoryStorage| keys.iter().filter(|key| row(storage, key).wants_compaction()).count();
    assert_eq!(loose(&storage), 10, "neither a write nor a tick before the batch compacts");
    for key in &keys {
        documents.push(row(&storage, key).document().unwrap());
    }
    for (tick, left) in [(1, 6), (2, 2), (3, 0), (4, 0)] {
        replica.handle_timeout(after(tick)).unwrap();
        settle(&mut replica);
        assert_eq!(loose(&storage), left);
    }
    for (key, document) in keys.iter().zip(&documents) {
        assert_eq!(&row(&storage, key).document().unwrap(), document);
    }
    // Compaction does not bring back a row that was removed while it was due.
    let (gone, name) = (keys[0], keys[0].name);
    for number in 100..140 {
        replica.handle_write(after(4), write(gone, number)).unwrap();
    }
    settle(&mut replica);
    replica.handle_write(after(4), Write::Erase { name, lasting: true, reason: replication::Reason::Owner }).unwrap();
    settle(&mut replica);
    replica.handle_timeout(after(5)).unwrap();
    settle(&mut replica);
    assert_eq!(storage.get(Bucket::Lasting, &[&b"d"[..], &gone.encode()].concat()).unwrap(), None);
}

/// A change of a peer that is not well-formed is kept and passed on but never shown, and the replica goes on.
#[test]
fn a_hostile_change_of_a_peer_does_not_stop_the_replica() {
    let storage = MemoryStorage::default();
    let mut replica = Replica::open(config(), storage.clone(), Box::new(|| OWN), after(0)).unwrap();
    greet(&mut replica, after(0), 1, "b", 0);
    let (key, origin) = (visit(after(0).wall), ReplicaId(101));
    let root = Change::create(&key, &[("n", Value::Int(0))]);
    let document = Document::of_changes(std::slice::from_ref(&root)).unwrap();
    // Corrections of another creation, which never comes: they replace operations that are not there.
    let other = Document::of_changes(&[Change::create(&key, &[("n", Value::Int(1))])]).unwrap();
    let orphans = (0..40).map(|n| other.amend(&key, &[("n", Some(Value::Int(100 + n)))]).unwrap());
    let entries: Vec<Delta> = (1..)
        .zip(std::iter::once(root).chain(orphans))
        .map(|(seq, change)| Delta { dot: Dot { origin, seq }, hlc: Hlc::default(), key, body: Body::Change(change) })
        .collect();
    let through = u64::try_from(entries.len()).unwrap();
    let frame = Frame::Deltas(Deltas { origin, after: 0, through, heads: None, entries }).encode();
    replica.handle_frame(after(0), LinkId(1), &frame).unwrap();
    settle(&mut replica);
    for tick in 1..4 {
        replica.handle_timeout(after(tick)).unwrap();
        settle(&mut replica);
    }
    let row = row(&storage, &key);
    assert_eq!((row.hashes().len(), row.document().unwrap()), (41, document));
    assert!(!row.wants_compaction(), "it is not tried again before something new comes");
}
