//! Writes with a condition: taken only while the rows are as the writer saw them.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::common::{OWN, after, config};
use replication::memory::MemoryStorage;
use replication::{
    Change, Collection, DocumentId, DocumentKey, DocumentName, Reason, Replica, ReplicaConfig, TenantId, Value, Write,
    WriteError,
};

fn key(number: u8) -> DocumentKey {
    let now = after(0).wall;
    let id = DocumentId::arriving(now, [number; 10]);
    let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id };
    name.expiring(now.plus(Duration::from_hours(24)))
}

fn change(key: DocumentKey, number: i64) -> Change {
    Change::create(&key, &[("n", Value::Int(number))])
}

fn alone() -> Replica<MemoryStorage> {
    let config = ReplicaConfig { peers: BTreeMap::new(), ..config() };
    Replica::open(config, MemoryStorage::default(), Box::new(|| OWN), after(0)).unwrap()
}

/// Whether a write is taken that saw this row with these changes. What is refused leaves no trace.
fn takes(replica: &mut Replica<MemoryStorage>, write: Write, seen: (DocumentKey, &[&Change])) -> bool {
    let hashes: BTreeSet<_> = seen.1.iter().map(|change| change.hash()).collect();
    let before = replica.gathered();
    match replica.handle_write_if(after(0), write, &[(seen.0, hashes)]) {
        Ok(_) => true,
        Err(WriteError::Changed) => {
            assert_eq!(replica.gathered(), before);
            false
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_condition_sees_what_is_gathered_applied_and_durable() {
    for settles in [false, true] {
        let mut replica = alone();
        let (key, other) = (key(1), key(2));
        let (one, two, three) = (change(key, 1), change(key, 2), change(key, 3));
        let put = |change: &Change| Write::Change { key, change: change.clone() };
        let settle = |replica: &mut Replica<MemoryStorage>| {
            if settles {
                replica.settle_batches(after(0)).unwrap();
            }
        };
        assert!(!takes(&mut replica, put(&one), (key, &[&one])), "there is no row");
        assert!(takes(&mut replica, put(&one), (key, &[])));
        settle(&mut replica);
        assert!(!takes(&mut replica, put(&two), (key, &[])));
        assert!(takes(&mut replica, put(&two), (key, &[&one])));
        settle(&mut replica);
        for stale in [&[&one][..], &[&two], &[&one, &three]] {
            assert!(!takes(&mut replica, put(&three), (key, stale)));
        }
        assert!(takes(&mut replica, put(&three), (other, &[])), "the condition may be about another row");

        let erase = || Write::Erase { name: key.name, lasting: false, reason: Reason::Subject };
        assert!(!takes(&mut replica, erase(), (key, &[&one, &two])));
        assert!(takes(&mut replica, erase(), (key, &[&one, &two, &three])));
        settle(&mut replica);
        // The rows may still be there until the tombstone is durable.
        assert!(!takes(&mut replica, erase(), (key, &[&one, &two, &three])));
        assert!(!takes(&mut replica, put(&one), (key, &[])), "an erased document is no missing one");
        replica.handle_write(after(0), erase()).unwrap();
    }
}
