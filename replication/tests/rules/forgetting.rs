//! Days that were dropped stay dropped.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use replication::memory::MemoryStorage;
use replication::{
    Change, Collection, DocumentId, DocumentName, Monotonic, Now, Replica, ReplicaConfig, ReplicaId, TenantId, Value,
    Wall, Write,
};

const START: Wall = Wall(1_800_000_000_000);

fn after(time: Duration) -> Now {
    Now { mono: Monotonic(time), wall: START.plus(time) }
}

fn open(storage: &MemoryStorage, now: Now) -> Replica<MemoryStorage> {
    let config = ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), BTreeMap::new());
    Replica::open(config, storage.clone(), Box::new(|| ReplicaId(1)), now).unwrap()
}

/// If the time is written at the heartbeat at which a day is dropped, the older horizon was once written after the
/// newer one.
#[test]
fn a_horizon_is_not_overwritten_by_an_older_one() {
    let storage = MemoryStorage::default();
    let mut replica = open(&storage, after(Duration::ZERO));
    let id = DocumentId::arriving(START, [7; 10]);
    let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id };
    let key = name.expiring(START.plus(Duration::from_hours(1)));
    let change = Change::create(&key, &[("name", Value::Text("Maria Musterfrau".into()))]);
    replica.handle_write(after(Duration::ZERO), Write::Change { key, change }).unwrap();
    replica.settle_batches(after(Duration::ZERO)).unwrap();

    let later = after(Duration::from_hours(48));
    replica.handle_timeout(later).unwrap();
    let horizon = replica.horizon();
    assert!(horizon > key.expires_at, "the day was dropped");
    replica.settle_batches(later).unwrap();
    storage.crash(|_, _| 0);
    assert_eq!(open(&storage, later).horizon(), horizon);
}
