//! An erasure is acknowledged when the bytes are gone, whoever else erased the same.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use replication::log::Reason;
use replication::memory::MemoryStorage;
use replication::{
    Change, Collection, DocumentId, DocumentName, Event, Monotonic, Now, Outcome, Replica, ReplicaConfig, ReplicaId,
    Storage as _, TenantId, Value, Wall, Write,
};

const NOW: Now = Now { mono: Monotonic(Duration::ZERO), wall: Wall(1_800_000_000_000) };

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
    let storage = MemoryStorage::default();
    let config = ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), BTreeMap::new());
    let mut replica = Replica::open(config, storage.clone(), Box::new(|| ReplicaId(1)), NOW).unwrap();
    let mut id = [7; 16];
    id[..6].copy_from_slice(&NOW.wall.0.to_be_bytes()[2..]);
    let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id: DocumentId(id) };
    let key = name.expiring(NOW.wall.plus(Duration::from_hours(24)));
    let change = Change::create(&key, &[("name", Value::Text("Maria Musterfrau".into()))]);
    replica.handle_write(NOW, Write::Change { key, change }).unwrap();
    assert!(matches!(next(&mut replica, &storage)[..], [Outcome::Created(_)]));
    assert!(holds(&storage, b"Maria"));

    let erase = || Write::Erase { name, lasting: false, reason: Reason::Subject };
    replica.handle_write(NOW, erase()).unwrap();
    replica.handle_write(NOW, erase()).unwrap();
    assert_eq!(next(&mut replica, &storage), [], "the tombstone is durable, the bytes are still there");
    assert!(matches!(next(&mut replica, &storage)[..], [Outcome::Erased(_), Outcome::AlreadyErased]));
    assert!(!holds(&storage, b"Maria"));
}
