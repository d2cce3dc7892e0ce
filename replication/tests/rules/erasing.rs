//! Erasures: acknowledged when the bytes are gone, and known to every replica that knows the erased entry.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use replication::memory::MemoryStorage;
use replication::{
    Body, Bucket, Change, Collection, Delta, Deltas, DocumentId, DocumentKey, DocumentName, Dot, Event, Frame, Hello,
    Hlc, LinkId, Monotonic, Now, Outcome, Reason, Replica, ReplicaConfig, ReplicaId, ScanVisitor, Storage,
    StorageError, TenantId, Value, VersionVector, Wall, Write, WriteBatch, log_key,
};

use crate::common::mesh::Mesh;

const NOW: Now = Now { mono: Monotonic(Duration::ZERO), wall: Wall(1_800_000_000_000) };

const LINK: LinkId = LinkId(1);
/// The replica that is tested, its peer, and one that it never meets.
const OWN: ReplicaId = ReplicaId(1);
const PEER: ReplicaId = ReplicaId(2);
const FAR: ReplicaId = ReplicaId(3);

fn holds(storage: &MemoryStorage, text: &[u8]) -> bool {
    storage.values().iter().any(|value| value.windows(text.len()).any(|part| part == text))
}

/// Makes the next batch durable and returns how writes ended.
fn next(replica: &mut Replica<MemoryStorage>, storage: &MemoryStorage) -> Vec<Outcome> {
    let batch = replica.poll_batch().unwrap().unwrap();
    storage.sync().unwrap();
    replica.handle_durable(NOW, batch).unwrap();
    let events = std::iter::from_fn(|| replica.poll_event());
    events.filter_map(|event| if let Event::Written { outcome, .. } = event { Some(outcome) } else { None }).collect()
}

#[test]
fn a_second_erasure_in_the_same_batch_waits_for_the_bytes_too() {
    let (mut replica, storage) = alone();
    let (name, key, change) = visit();
    replica.handle_write(NOW, Write::Change { key, change }).unwrap();
    assert!(matches!(next(&mut replica, &storage)[..], [Outcome::Created(_)]));
    assert!(holds(&storage, b"Maria"));

    let erase = || Write::Erase { name, lasting: false, reason: Reason::Subject };
    replica.handle_write(NOW, erase()).unwrap();
    replica.handle_write(NOW, erase()).unwrap();
    assert_eq!(next(&mut replica, &storage), [], "the tombstone is durable and the bytes are still there");
    assert!(matches!(next(&mut replica, &storage)[..], [Outcome::Erased(_), Outcome::AlreadyErased]));
    assert!(!holds(&storage, b"Maria"));
}

fn alone() -> (Replica<MemoryStorage>, MemoryStorage) {
    let storage = MemoryStorage::default();
    let config = ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), BTreeMap::new());
    (Replica::open(config, storage.clone(), Box::new(|| OWN), NOW).unwrap(), storage)
}

fn visit() -> (DocumentName, DocumentKey, Change) {
    let id = DocumentId::arriving(NOW.wall, [7; 10]);
    let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id };
    let key = name.expiring(NOW.wall.plus(Duration::from_hours(24)));
    let change = Change::create(&key, &[("name", Value::Text("Maria Musterfrau".into()))]);
    (name, key, change)
}

/// Opens a store with these peers; `b` greets.
fn greeted(storage: &MemoryStorage, peers: &[&str], id: ReplicaId) -> Replica<MemoryStorage> {
    let peers = peers.iter().map(|peer| (peer.parse().unwrap(), peer.parse().unwrap())).collect();
    let config = ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), peers);
    let hello = Hello {
        replica: PEER,
        node: "b".parse().unwrap(),
        region: "b".parse().unwrap(),
        boot: 1,
        vector: VersionVector::default(),
        seen: VersionVector::default(),
        yours: None,
        wall: NOW.wall,
        max_retention_ms: u64::try_from(config.max_retention.as_millis()).unwrap(),
        newest: replication::Protocol::NEWEST,
    };
    let mut replica = Replica::open(config, storage.clone(), Box::new(move || id), NOW).unwrap();
    replica.handle_link_up(NOW, LINK, "b".parse().unwrap()).unwrap();
    replica.handle_frame(NOW, LINK, &Frame::Hello(hello).encode()).unwrap();
    replica
}

/// The first entry of a log, sent by the peer.
fn entry(origin: ReplicaId, body: Body) -> Vec<u8> {
    let (name, key, _) = visit();
    let until = name.expiring(NOW.wall.plus(Duration::from_hours(28 * 24)));
    let key = if matches!(body, Body::Change(_)) { key } else { until };
    let delta = Delta { dot: Dot { origin, seq: 1 }, hlc: Hlc(NOW.wall.0 << 16), key, body };
    Frame::Deltas(Deltas { origin, after: 0, through: 1, heads: None, entries: vec![delta] }).encode()
}

/// What the replica sends of its own log.
fn own_entries(replica: &mut Replica<MemoryStorage>) -> Vec<Delta> {
    let frames = std::iter::from_fn(|| replica.poll_transmit(NOW).unwrap());
    let deltas = frames.filter_map(|transmit| match Frame::decode(&transmit.frame) {
        Ok(Frame::Deltas(deltas)) if deltas.origin == OWN => Some(deltas.entries),
        _ => None,
    });
    deltas.flatten().collect()
}

#[test]
fn the_log_says_where_an_erased_change_was() {
    let storage = MemoryStorage::default();
    let mut replica = greeted(&storage, &["b"], OWN);
    let (name, key, change) = visit();
    replica.handle_write(NOW, Write::Change { key, change }).unwrap();
    next(&mut replica, &storage);
    replica.handle_write(NOW, Write::Erase { name, lasting: false, reason: Reason::Owner }).unwrap();
    next(&mut replica, &storage);
    next(&mut replica, &storage);
    let from_memory = own_entries(&mut replica);
    assert!(matches!(
        from_memory[..],
        [Delta { body: Body::Erased(Reason::Owner), .. }, Delta { body: Body::Tombstone(Reason::Owner), .. }]
    ));

    let mut restarted = greeted(&storage, &["b"], OWN);
    assert_eq!(own_entries(&mut restarted), from_memory, "the log on the disk says the same");
}

#[test]
fn a_replica_that_learns_of_an_erasure_before_its_tombstone_passes_it_on() {
    let storage = MemoryStorage::default();
    let mut replica = greeted(&storage, &["b"], OWN);
    replica.handle_frame(NOW, LINK, &entry(FAR, Body::Erased(Reason::Subject))).unwrap();
    next(&mut replica, &storage);
    assert_eq!((replica.durable().get(FAR), replica.durable().get(OWN)), (1, 1), "both or none");
    let own = own_entries(&mut replica);
    assert!(matches!(own[..], [Delta { body: Body::Tombstone(Reason::Subject), .. }]), "{own:?}");
    let (_, key, change) = visit();
    assert!(replica.handle_write(NOW, Write::Change { key, change }).is_err());
}

#[test]
fn a_replica_that_gets_the_tombstone_in_time_issues_none_and_leaves_no_gap() {
    let tombstone = |origin| entry(origin, Body::Tombstone(Reason::Owner));
    for frames in [
        [entry(FAR, Body::Erased(Reason::Owner)), tombstone(PEER)],
        [tombstone(PEER), entry(FAR, Body::Change(visit().2))],
        [tombstone(PEER), tombstone(FAR)],
    ] {
        let storage = MemoryStorage::default();
        let mut replica = greeted(&storage, &["b"], OWN);
        for frame in frames {
            replica.handle_frame(NOW, LINK, &frame).unwrap();
        }
        next(&mut replica, &storage);
        assert_eq!([FAR, PEER, OWN].map(|origin| replica.durable().get(origin)), [1, 1, 0]);
        for origin in [FAR, PEER] {
            let key = log_key(Dot { origin, seq: 1 });
            assert!(storage.buckets().into_iter().any(|bucket| storage.get(bucket, &key).unwrap().is_some()));
        }
        assert!(!holds(&storage, b"Maria"));
    }
}

/// A crash kept one half of a tombstone's batch, so the tombstone is undone. The document must still be there.
#[test]
fn a_tombstone_that_is_undone_removes_no_rows() {
    let storage = MemoryStorage::default();
    let mut replica = greeted(&storage, &["b"], OWN);
    replica.handle_frame(NOW, LINK, &entry(FAR, Body::Change(visit().2))).unwrap();
    next(&mut replica, &storage);
    replica.handle_frame(NOW, LINK, &entry(PEER, Body::Tombstone(Reason::Subject))).unwrap();
    replica.poll_batch().unwrap().unwrap();
    storage.crash(|bucket, count| if bucket == Bucket::Lasting { 0 } else { count });

    let restarted = greeted(&storage, &["b"], OWN);
    assert_eq!((restarted.durable().get(FAR), restarted.durable().get(PEER)), (1, 0));
    assert!(holds(&storage, b"Maria"));
}

/// A disk whose sync fails: batches written before may be there or not.
#[derive(Clone)]
struct Failing(MemoryStorage, Arc<AtomicBool>);

impl Storage for Failing {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.0.get(bucket, key)
    }

    fn scan(
        &self,
        bucket: Bucket,
        start: &[u8],
        end: &[u8],
        visitor: &mut ScanVisitor<'_>,
    ) -> Result<(), StorageError> {
        self.0.scan(bucket, start, end, visitor)
    }

    fn apply(&self, batch: &WriteBatch) -> Result<(), StorageError> {
        self.0.apply(batch)
    }

    fn sync(&self) -> Result<(), StorageError> {
        if self.1.load(Ordering::Relaxed) {
            return Err(StorageError::Engine { action: "synced", source: "input/output error".into() });
        }
        self.0.sync()
    }

    fn drop_bucket(&self, bucket: Bucket) -> Result<(), StorageError> {
        self.0.drop_bucket(bucket)
    }

    fn expire(&self, over: Wall) -> Result<(), StorageError> {
        self.0.expire(over)
    }

    fn buckets(&self) -> BTreeSet<Bucket> {
        self.0.buckets()
    }
}

/// The restart after half a batch was itself cut short: the next start still takes out the half batch.
#[test]
fn an_interrupted_undo_is_repeated_at_the_next_start() {
    let storage = MemoryStorage::default();
    let mut replica = greeted(&storage, &["b"], OWN);
    let (name, key, change) = visit();
    replica.handle_frame(NOW, LINK, &entry(FAR, Body::Change(change))).unwrap();
    next(&mut replica, &storage);
    let mut id = name.id;
    id.0[15] += 1;
    let other = DocumentName { id, ..name }.expiring(key.expires_at);
    let body = Body::Change(Change::create(&other, &[("name", Value::Text("Somebody".into()))]));
    let origin = ReplicaId(4);
    let entries = vec![Delta { dot: Dot { origin, seq: 1 }, hlc: Hlc(NOW.wall.0 << 16), key: other, body }];
    let deltas = Frame::Deltas(Deltas { origin, after: 0, through: 1, heads: None, entries });
    replica.handle_frame(NOW, LINK, &deltas.encode()).unwrap();
    replica.handle_frame(NOW, LINK, &entry(PEER, Body::Tombstone(Reason::Subject))).unwrap();
    replica.poll_batch().unwrap().unwrap();
    storage.crash(|bucket, count| if bucket == Bucket::Lasting { 0 } else { count });

    let failing = Failing(storage.clone(), Arc::new(AtomicBool::new(true)));
    let config = ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), BTreeMap::new());
    assert!(Replica::open(config, failing, Box::new(|| OWN), NOW).is_err());
    storage.crash(|bucket, count| if bucket == key.bucket() { count } else { 0 });

    let restarted = greeted(&storage, &["b"], OWN);
    assert!(!holds(&storage, b"Somebody"));
    assert_eq!((restarted.durable().get(FAR), restarted.durable().get(PEER)), (1, 0));
    assert!(holds(&storage, b"Maria"));
}

/// A day is dropped while the batch that removes an erased document's rows is in flight, and the machine dies.
#[test]
fn rows_that_were_not_removed_in_time_are_removed_at_the_next_start() {
    let storage = MemoryStorage::default();
    let failing = Failing(storage.clone(), Arc::new(AtomicBool::new(false)));
    let config = || ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), BTreeMap::new());
    let mut replica = Replica::open(config(), failing.clone(), Box::new(|| OWN), NOW).unwrap();
    let sync = |replica: &mut Replica<Failing>| {
        let batch = replica.poll_batch().unwrap().unwrap();
        storage.sync().unwrap();
        replica.handle_durable(NOW, batch).unwrap();
    };
    let (name, key, change) = visit();
    let passing = Change::create(&key, &[("name", Value::Text("Somebody".into()))]);
    let mut id = name.id;
    id.0[15] += 1;
    let soon = DocumentName { id, ..name }.expiring(NOW.wall.plus(Duration::from_secs(1)));
    let lasting = name.expiring(NOW.wall.plus(Duration::from_hours(20 * 24)));
    replica.handle_write(NOW, Write::Change { key: soon, change: passing }).unwrap();
    replica.handle_write(NOW, Write::Change { key: lasting, change }).unwrap();
    sync(&mut replica);
    replica.handle_write(NOW, Write::Erase { name, lasting: false, reason: Reason::Subject }).unwrap();
    sync(&mut replica);
    replica.poll_batch().unwrap().unwrap();

    failing.1.store(true, Ordering::Relaxed);
    let days = Duration::from_hours(5 * 24);
    let later = Now { mono: Monotonic(days), wall: NOW.wall.plus(days) };
    assert!(replica.handle_timeout(later).is_err(), "a day is to be dropped, and the disk fails");
    storage.crash(|bucket, count| if bucket == Bucket::Lasting { count } else { 0 });
    assert!(holds(&storage, b"Maria"));
    drop(Replica::open(config(), storage.clone(), Box::new(|| OWN), later).unwrap());
    assert!(!holds(&storage, b"Maria"));
}

/// A replica writes nothing before its peers have confirmed its log. So until then it must not take an erasure that it
/// would have to pass on.
#[test]
fn an_erasure_before_its_tombstone_waits_until_the_replica_may_write() {
    let storage = MemoryStorage::default();
    let mut before = greeted(&storage, &["b", "c"], OWN);
    let (_, key, change) = visit();
    before.handle_write(NOW, Write::Change { key, change }).unwrap();
    next(&mut before, &storage);
    drop(before);
    let mut replica = greeted(&storage, &["b", "c"], ReplicaId(9));
    let erased = entry(FAR, Body::Erased(Reason::Subject));
    replica.handle_frame(NOW, LINK, &erased).unwrap();
    next(&mut replica, &storage);
    assert_eq!(replica.durable().get(FAR), 0);

    let grace = ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), BTreeMap::new()).start_grace();
    let later = Now { mono: Monotonic(grace), wall: NOW.wall.plus(grace) };
    replica.handle_timeout(later).unwrap();
    replica.handle_frame(later, LINK, &erased).unwrap();
    next(&mut replica, &storage);
    // One peer of two has answered, and none that was linked before is missing: the old id is kept.
    assert_eq!((replica.durable().get(FAR), replica.durable().get(OWN)), (1, 2));
}

/// Bytes of a row that is erased in the batch that says that its hour is over must go with that erasure, not with the day.
#[test]
fn an_erasure_removes_a_row_whose_hour_ends_in_the_same_batch() {
    let mut mesh = Mesh::new(1);
    let key = mesh.key(1);
    let key = key.name.expiring(key.name.id.arrival().plus(Duration::from_hours(2)));
    let change = Change::create(&key, &[("n", Value::Text("Maria Musterfrau".into()))]);
    let now = mesh.now(0);
    mesh.replica(0).handle_write(now, Write::Change { key, change }).unwrap();
    mesh.run(Duration::from_secs(1));
    let holds = |mesh: &Mesh| mesh.storages[0].values().iter().any(|value| value.windows(5).any(|at| at == b"Maria"));
    assert!(holds(&mesh));
    mesh.elapsed += Duration::from_hours(4);
    let now = mesh.now(0);
    let erase = Write::Erase { name: key.name, lasting: false, reason: Reason::Subject };
    mesh.replica(0).handle_write(now, erase).unwrap();
    mesh.run(Duration::from_secs(1));
    assert!(!holds(&mesh), "the row is left");
}
