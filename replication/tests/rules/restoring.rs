//! A backup that is put back: a new id, no dot twice, erased and expired documents stay away, unsent entries arrive.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

use crate::common::mesh::Mesh;
use replication::memory::MemoryStorage;
use replication::{
    Bucket, BucketBatch, Change, DocumentKey, Dot, LogEntry, Reason, ReplicaId, Restored, Restoring, STORE_FORMAT,
    Storage, StorageError, Value, Wall, Write, WriteBatch, scan_logs,
};

const SOON: Duration = Duration::from_secs(30);
/// An id that no replica of a mesh draws.
const DRAWN: ReplicaId = ReplicaId(u64::MAX);

type Pairs = Vec<(Bucket, Vec<u8>, Vec<u8>)>;

/// Every pair of a store.
fn backup(storage: &MemoryStorage) -> Pairs {
    let mut pairs = Vec::new();
    for bucket in storage.buckets() {
        let mut take = |key: &[u8], value: &[u8]| {
            pairs.push((bucket, key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        };
        storage.scan(bucket, &[], &[u8::MAX], &mut take).unwrap();
    }
    pairs
}

fn restore(pairs: &Pairs, now: Wall) -> Result<(MemoryStorage, Restored), StorageError> {
    let storage = MemoryStorage::default();
    let mut restoring = Restoring::new(now, DRAWN);
    for (bucket, key, value) in pairs {
        if let Some(value) = restoring.take(*bucket, key, value.clone())? {
            let writes = vec![(key.clone(), Some(value))];
            storage.apply(&WriteBatch { buckets: vec![(*bucket, BucketBatch { writes })] })?;
        }
    }
    let (last, restored) = restoring.finish()?;
    storage.apply(&last)?;
    storage.sync()?;
    Ok((storage, restored))
}

/// The store of a node is lost, and a backup put in its place.
fn put_back(mesh: &mut Mesh, at: usize, pairs: &Pairs) -> Restored {
    mesh.kill(at);
    let (storage, restored) = restore(pairs, mesh.now(at).wall).unwrap();
    mesh.storages[at] = storage;
    mesh.start(at);
    restored
}

fn erase(mesh: &mut Mesh, at: usize, key: &DocumentKey) {
    let now = mesh.now(at);
    let write = Write::Erase { name: key.name, lasting: false, reason: Reason::Subject };
    mesh.replica(at).handle_write(now, write).unwrap();
    mesh.turn(at);
}

fn log(storage: &MemoryStorage) -> BTreeMap<Dot, LogEntry> {
    let mut log = BTreeMap::new();
    for bucket in storage.buckets() {
        scan_logs(storage, bucket, &mut |dot, entry| log.extend([(dot, entry)])).unwrap();
    }
    log
}

/// No two stores have different entries at one dot.
fn nothing_forks(mesh: &Mesh) {
    let logs: Vec<_> = mesh.storages.iter().map(log).collect();
    for (one, other) in logs.iter().flat_map(|one| logs.iter().map(move |other| (one, other))) {
        for (dot, entry) in one {
            assert!(other.get(dot).is_none_or(|theirs| theirs.is_same(entry)), "{dot:?}");
        }
    }
}

fn all_show(mesh: &mut Mesh, keys: &BTreeSet<DocumentKey>) {
    mesh.until(SOON, "all regions show the same", |mesh| {
        mesh.agree() && (0..mesh.storages.len()).all(|at| mesh.shows(at) == *keys)
    });
    nothing_forks(mesh);
}

fn wrote(mesh: &mut Mesh, at: usize, number: u64) -> DocumentKey {
    let (key, _) = mesh.write(at, number);
    mesh.turn(at);
    key
}

/// A mesh whose replicas have started.
fn running(count: usize) -> Mesh {
    let mut mesh = Mesh::new(count);
    mesh.run(SOON);
    mesh
}

#[test]
fn an_old_backup_catches_up_under_a_new_id_and_what_was_erased_since_stays_erased() {
    let mut mesh = running(3);
    let mut keys: BTreeSet<_> = (0..10).map(|number| wrote(&mut mesh, usize::from(number == 9), number)).collect();
    all_show(&mut mesh, &keys);
    let (pairs, old) = (backup(&mesh.storages[0]), mesh.replica(0).id());
    // Written, and erased, in every region after the backup.
    keys.extend((10..20).map(|number| wrote(&mut mesh, usize::try_from(number % 3).unwrap(), number)));
    all_show(&mut mesh, &keys);
    for at in 0..3 {
        let key = *keys.first().unwrap();
        erase(&mut mesh, at, &key);
        keys.remove(&key);
    }
    all_show(&mut mesh, &keys);

    let restored = put_back(&mut mesh, 0, &pairs);
    assert_eq!(restored, Restored { documents: 10, expired: 0 });
    let now = mesh.now(0);
    let status = mesh.replica(0).status(now);
    assert!(status.filling && !status.starting, "it is not fit to serve, and need not ask under which id to write");
    assert!(mesh.replica(0).id() != old);
    // A write before any peer is heard.
    keys.insert(wrote(&mut mesh, 0, 20));
    all_show(&mut mesh, &keys);
    let now = mesh.now(0);
    assert!(!mesh.replica(0).status(now).filling);
    let new = mesh.replica(0).id();
    assert_eq!(mesh.replica(1).durable().get(new), 1);
    // The same backup once more: a third id.
    put_back(&mut mesh, 0, &pairs);
    keys.insert(wrote(&mut mesh, 0, 21));
    all_show(&mut mesh, &keys);
}

/// No peer knows more than the backup, and yet the dots after it may be used: they were, and could come back.
#[test]
fn dots_after_the_backup_are_not_used_again_although_no_peer_knows_them() {
    let mut mesh = running(2);
    let before = wrote(&mut mesh, 0, 0);
    all_show(&mut mesh, &[before].into());
    mesh.cut(0, 1);
    let unsent = wrote(&mut mesh, 0, 1);
    let pairs = backup(&mesh.storages[0]);
    wrote(&mut mesh, 0, 2);
    let lost = log(&mesh.storages[0]);
    put_back(&mut mesh, 0, &pairs);
    let later = wrote(&mut mesh, 0, 3);
    let now_there = log(&mesh.storages[0]);
    assert_eq!((lost.len(), now_there.len()), (3, 3));
    assert!(now_there.iter().all(|(dot, entry)| lost.get(dot).is_none_or(|was| was.is_same(entry))));
    // What only the backup had arrives.
    mesh.cuts.clear();
    all_show(&mut mesh, &[before, unsent, later].into());
}

/// Its entries before the restore are as much its own as those after it.
#[test]
fn no_peer_takes_a_region_for_complete_without_the_entries_that_only_the_backup_had() {
    let mut mesh = running(2);
    let before = wrote(&mut mesh, 0, 0);
    all_show(&mut mesh, &[before].into());
    mesh.cut(0, 1);
    let unsent = wrote(&mut mesh, 0, 1);
    mesh.run(Duration::from_secs(1));
    let (pairs, written) = (backup(&mesh.storages[0]), mesh.now(0).wall);
    put_back(&mut mesh, 0, &pairs);
    mesh.cuts.clear();
    mesh.until(SOON, "the peer takes the region for complete", |mesh| {
        let now = mesh.now(1);
        let status = mesh.replica(1).status(now);
        let is_complete = status.complete_through[&"a".parse().unwrap()] > written;
        assert!(!is_complete || mesh.shows(1).contains(&unsent), "it lacks what the region had acknowledged");
        is_complete
    });
}

#[test]
fn every_region_is_lost_and_put_back_from_its_own_backup() {
    let mut mesh = running(3);
    let mut keys = BTreeSet::new();
    let mut backups = Vec::new();
    for at in 0..3 {
        keys.insert(wrote(&mut mesh, at, u64::try_from(at).unwrap()));
        // The later ones know more.
        all_show(&mut mesh, &keys);
        backups.push(backup(&mesh.storages[at]));
    }
    let erased = *keys.first().unwrap();
    erase(&mut mesh, 1, &erased);
    mesh.until(SOON, "it is erased", |mesh| !mesh.shows(2).contains(&erased) && mesh.agree());
    backups[2] = backup(&mesh.storages[2]);
    keys.remove(&erased);
    (0..3).for_each(|at| mesh.kill(at));
    for (at, pairs) in backups.iter().enumerate() {
        put_back(&mut mesh, at, pairs);
    }
    all_show(&mut mesh, &keys);
    keys.insert(wrote(&mut mesh, 0, 10));
    all_show(&mut mesh, &keys);
}

#[test]
fn alone_a_region_serves_what_the_backup_had() {
    let mut mesh = running(1);
    let key = wrote(&mut mesh, 0, 0);
    mesh.run(Duration::from_secs(1));
    let pairs = backup(&mesh.storages[0]);
    wrote(&mut mesh, 0, 1);
    put_back(&mut mesh, 0, &pairs);
    let now = mesh.now(0);
    assert!(!mesh.replica(0).status(now).filling, "there is nobody to wait for");
    assert_eq!(mesh.replica(0).durable().len(), 1, "readers go by it");
    let third = wrote(&mut mesh, 0, 2);
    mesh.run(Duration::from_secs(1));
    assert_eq!((mesh.shows(0), mesh.replica(0).durable().len()), ([key, third].into(), 2));
}

#[test]
fn what_has_expired_is_not_written_and_leaves_no_lack() {
    let mut mesh = running(2);
    let days = |mesh: &mut Mesh, number: u64, days: u64| {
        let key = mesh.key(number);
        let key = key.name.expiring(key.name.id.arrival().plus(Duration::from_hours(days * 24)));
        let change = Change::create(&key, &[("n", Value::Text(format!("guest {number}")))]);
        let now = mesh.now(0);
        mesh.replica(0).handle_write(now, Write::Change { key, change }).unwrap();
        mesh.turn(0);
        key
    };
    let (short, long) = (days(&mut mesh, 0, 2), days(&mut mesh, 1, 9));
    all_show(&mut mesh, &[short, long].into());
    let pairs = backup(&mesh.storages[0]);
    mesh.elapsed += Duration::from_hours(2 * 24);
    let restored = put_back(&mut mesh, 0, &pairs);
    assert_eq!(restored, Restored { documents: 1, expired: 1 });
    let text = |values: Vec<Vec<u8>>, text: &[u8]| values.iter().any(|value| value.windows(7).any(|part| part == text));
    assert!(text(mesh.storages[0].values(), b"guest 1") && !text(mesh.storages[0].values(), b"guest 0"));
    mesh.until(SOON, "both agree, and it is fit to serve", |mesh| {
        let now = mesh.now(0);
        mesh.agree() && mesh.shows(0) == [long].into() && !mesh.replica(0).status(now).filling
    });
    let now = mesh.now(0);
    assert_eq!(mesh.replica(0).status(now).documents, 1);
    // A region that joins gets what is left from the one that was put back alone.
    mesh.kill(1);
    mesh.storages[1] = MemoryStorage::default();
    mesh.start(1);
    mesh.until(SOON, "it has it too", |mesh| mesh.agree() && mesh.shows(1) == [long].into());
}

#[test]
fn a_backup_is_checked() {
    let mut mesh = running(1);
    wrote(&mut mesh, 0, 0);
    let pairs = backup(&mesh.storages[0]);
    let now = mesh.now(0).wall;
    assert!(restore(&pairs, now).is_ok());
    let with = |change: &dyn Fn(&mut Pairs)| {
        let mut pairs = pairs.clone();
        change(&mut pairs);
        restore(&pairs, now).map(drop).map_err(|error| error.to_string())
    };
    let is_meta = |pair: &(Bucket, Vec<u8>, Vec<u8>)| pair.1 == b"m0";
    assert!(with(&|pairs| pairs.retain(|pair| !is_meta(pair))).unwrap_err().contains("meta"));
    let at = pairs.iter().position(is_meta).unwrap();
    let later = with(&|pairs| pairs[at].2[0] = u8::try_from(STORE_FORMAT).unwrap() + 1).unwrap_err();
    assert!(later.contains("format 7"), "{later}");
    // A key of no table, a row in another bucket, and values that do not decode.
    for key in [&b""[..], b"x", b"d1", b"l1", b"\xff"] {
        assert!(with(&|pairs| pairs.insert(0, (Bucket::Day(1), key.to_vec(), vec![]))).is_err(), "{key:?}");
    }
    assert!(with(&|pairs| pairs[0].0 = Bucket::Day(1)).is_err());
    for (at, pair) in pairs.iter().enumerate().filter(|(_, pair)| matches!(pair.1[0], b'l' | b'm')) {
        assert!(with(&|pairs| pairs[at].2 = vec![0xff; 3]).is_err(), "{pair:?}");
    }
}
