//! One battery of tests for every storage engine: the contract of `replication::Storage`, and the return of disk space.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use node::storage::{FjallStorage, SledStorage, Store};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use replication::memory::MemoryStorage;
use replication::{Bucket, BucketBatch, Storage as _, WriteBatch};

const CACHE: u64 = 8 << 20;

/// An engine's name and the function that opens it.
type Engine = (&'static str, fn(&Path) -> Store);

fn engines() -> [Engine; 3] {
    [
        ("memory", |_| Arc::new(MemoryStorage::default())),
        ("sled", |folder| Arc::new(SledStorage::open(folder, CACHE).unwrap())),
        ("fjall", |folder| Arc::new(FjallStorage::open(folder, CACHE).unwrap())),
    ]
}

/// The bucket, the key and the value (`None` removes).
type KeyWrite<'a> = (Bucket, &'a [u8], Option<&'a [u8]>);

fn batch(writes: &[KeyWrite<'_>]) -> WriteBatch {
    let mut buckets: BTreeMap<Bucket, BucketBatch> = BTreeMap::new();
    for (bucket, key, value) in writes {
        buckets.entry(*bucket).or_default().writes.push((key.to_vec(), value.map(<[u8]>::to_vec)));
    }
    WriteBatch { buckets: buckets.into_iter().collect() }
}

fn scan(store: &Store, bucket: Bucket, start: &[u8], end: &[u8], limit: usize) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let visited = store.scan(bucket, start, end, &mut |key, _| {
        keys.push(key.to_vec());
        if keys.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    visited.unwrap();
    keys
}

#[test]
fn reads_what_was_applied() {
    for (engine, open) in engines() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let (one, two) = (Bucket::Day(20_000), Bucket::Lasting);
        assert_eq!(store.get(one, b"a").unwrap(), None, "{engine}");
        assert!(scan(&store, one, b"", b"z", 9).is_empty(), "{engine}");
        store.apply(&batch(&[(one, b"a", Some(b"1")), (one, b"c", Some(b"3")), (two, b"a", Some(b"other"))])).unwrap();
        store.apply(&batch(&[(one, b"b", Some(b"2")), (one, b"a", None)])).unwrap();
        store.sync().unwrap();
        assert_eq!(store.get(one, b"a").unwrap(), None, "{engine}");
        assert_eq!(store.get(one, b"b").unwrap().as_deref(), Some(&b"2"[..]), "{engine}");
        assert_eq!(store.get(two, b"a").unwrap().as_deref(), Some(&b"other"[..]), "{engine}");
        assert_eq!(scan(&store, one, b"", b"z", 9), [b"b", b"c"], "{engine}");
        assert_eq!(scan(&store, one, b"b", b"c", 9), [b"b"], "{engine}: the end is not included");
        assert_eq!(scan(&store, one, b"", b"z", 1), [b"b"], "{engine}: a scan stops when told");
        assert_eq!(store.buckets().into_iter().collect::<Vec<_>>(), [one, two], "{engine}");
    }
}

#[test]
fn keeps_what_was_synced_over_a_reopening() {
    for (engine, open) in engines().into_iter().skip(1) {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..4u32 {
            let store = open(folder.path());
            for earlier in 0..round {
                let value = store.get(Bucket::Day(earlier), &earlier.to_be_bytes()).unwrap();
                assert_eq!(value.as_deref(), Some(&b"kept"[..]), "{engine}, round {round}");
            }
            store.apply(&batch(&[(Bucket::Day(round), &round.to_be_bytes(), Some(b"kept"))])).unwrap();
            store.sync().unwrap();
        }
    }
}

#[test]
fn a_dropped_bucket_is_gone_and_may_come_again() {
    for (engine, open) in engines() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let (gone, stays) = (Bucket::Day(1), Bucket::Day(2));
        store.apply(&batch(&[(gone, b"a", Some(b"1")), (stays, b"a", Some(b"2"))])).unwrap();
        store.sync().unwrap();
        store.drop_bucket(gone).unwrap();
        assert_eq!(store.get(gone, b"a").unwrap(), None, "{engine}");
        assert_eq!(store.get(stays, b"a").unwrap().as_deref(), Some(&b"2"[..]), "{engine}");
        assert!(!store.buckets().contains(&gone), "{engine}");
        store.apply(&batch(&[(gone, b"b", Some(b"3"))])).unwrap();
        store.sync().unwrap();
        assert_eq!(scan(&store, gone, b"", b"z", 9), [b"b"], "{engine}: nothing old shows through");
    }
}

/// A value of `len` bytes that differs from every other one.
fn large(seed: u64, len: usize) -> Vec<u8> {
    let mut value = vec![0; len];
    StdRng::seed_from_u64(seed).fill(&mut value[..]);
    value
}

/// sled stores large values in parts. A reader must never notice that, whichever value replaces which.
#[test]
fn values_of_every_size_replace_each_other() {
    const DAY: Bucket = Bucket::Day(20_000);
    for (engine, open) in engines() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let mut expected: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut rng = StdRng::seed_from_u64(1);
        for round in 0..400u64 {
            let mut writes = BTreeMap::new();
            for _ in 0..rng.random_range(1..6) {
                let key = vec![b"dlmt"[rng.random_range(0..4)], rng.random_range(0..5)];
                let sizes = [0, 1, 300, 4_095, 4_096, 4_097, 8_192, 8_193, 14_000, 70_000, 200_000];
                let value = match rng.random_range(0..5) {
                    0 => None,
                    // The same value as stored: its parts must stay.
                    1 => expected.get(&key).cloned(),
                    _ => Some(large(round, sizes[rng.random_range(0..sizes.len())])),
                };
                writes.insert(key, value);
            }
            for (key, value) in &writes {
                match value {
                    Some(value) => expected.insert(key.clone(), value.clone()),
                    None => expected.remove(key),
                };
            }
            let writes = writes.into_iter().collect();
            store.apply(&WriteBatch { buckets: vec![(DAY, BucketBatch { writes })] }).unwrap();
            let mut found = BTreeMap::new();
            store
                .scan(DAY, b"", &[0xff, 0xff], &mut |key, value| {
                    found.insert(key.to_vec(), value.to_vec());
                    ControlFlow::Continue(())
                })
                .unwrap();
            assert!(found == expected, "{engine}: after batch {round}");
            for (key, value) in &expected {
                assert!(store.get(DAY, key).unwrap().as_ref() == Some(value), "{engine}: {key:?} after batch {round}");
            }
        }
        store.sync().unwrap();
    }
}

/// sled never forces files under `blobs/` (`storage/parts.rs`), so there must be none.
#[test]
fn sled_writes_no_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStorage::open(folder.path(), CACHE).unwrap();
    let mut rng = StdRng::seed_from_u64(2);
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for round in 0..1_500u64 {
        let mut writes = BTreeMap::new();
        for _ in 0..rng.random_range(1..4) {
            // Neighbours in the tree have similar sizes: 17 of them make the largest possible leaf.
            let len = match rng.random_range(0..4) {
                0 => rng.random_range(4_000..=4_096),
                1 => rng.random_range(4_097..60_000),
                2 if round % 50 == 0 => 600_000,
                _ => 14_000,
            };
            let key = [&b"d"[..], &rng.random_range(0..400u32).to_be_bytes(), &[7; 37]].concat();
            keys.push(key.clone());
            writes.insert(key, Some(large(round, len)));
        }
        if round % 3 == 0 {
            // Runs of neighbours are removed, so that leaves merge.
            let first = rng.random_range(0..400u32);
            for key in (first..first + 12).map(|at| [&b"d"[..], &at.to_be_bytes(), &[7; 37]].concat()) {
                writes.insert(key, None);
            }
        }
        let writes = writes.into_iter().collect();
        store.apply(&WriteBatch { buckets: vec![(Bucket::Lasting, BucketBatch { writes })] }).unwrap();
        if round % 10 == 0 {
            store.sync().unwrap();
        }
    }
    let blobs = std::fs::read_dir(folder.path().join("buckets/lasting/blobs")).unwrap().count();
    assert_eq!(blobs, 0);
    // A value that is removed leaves no parts behind.
    for key in &keys {
        let writes = vec![(key.clone(), None)];
        store.apply(&WriteBatch { buckets: vec![(Bucket::Lasting, BucketBatch { writes })] }).unwrap();
    }
    store.sync().unwrap();
    drop(store);
    let db = sled::open(folder.path().join("buckets/lasting")).unwrap();
    assert_eq!(db.len(), 0, "parts without a value");
}

/// Stores of versions without parts have large values whole.
#[test]
fn sled_reads_large_values_of_older_stores() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("buckets/day-20000");
    let (old, new) = (large(1, 300_000), large(2, 200_000));
    {
        let db = sled::Config::new().path(&path).flush_every_ms(None).open().unwrap();
        db.insert(b"d1", old.as_slice()).unwrap();
        db.insert(b"d2", b"small").unwrap();
        db.flush().unwrap();
    }
    assert_ne!(std::fs::read_dir(path.join("blobs")).unwrap().count(), 0, "this is what the test is about");
    let store: Store = Arc::new(SledStorage::open(folder.path(), CACHE).unwrap());
    let day = Bucket::Day(20_000);
    store.sync().unwrap();
    assert!(store.get(day, b"d1").unwrap().as_ref() == Some(&old));
    assert_eq!(scan(&store, day, b"d", b"e", 9), [b"d1", b"d2"]);
    store.apply(&batch(&[(day, b"d1", Some(&new))])).unwrap();
    assert!(store.get(day, b"d1").unwrap().as_ref() == Some(&new));
    store.sync().unwrap();
}

/// A key in the range of sled's parts would be taken for a part.
#[test]
fn sled_refuses_keys_that_are_kept_for_parts() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStorage::open(folder.path(), CACHE).unwrap();
    assert!(store.apply(&batch(&[(Bucket::Lasting, &[0xff, 1], Some(b"v"))])).is_err());
}

/// While large values are replaced, readers in other threads see one value or the other, never a mixture.
#[test]
fn readers_never_see_half_of_a_large_value() {
    for (engine, open) in engines() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let (day, until) = (Bucket::Day(1), std::time::Instant::now() + Duration::from_millis(700));
        store.apply(&batch(&[(day, b"k", Some(&[0; 50_000]))])).unwrap();
        std::thread::scope(|scope| {
            for reader in 0..2 {
                let store = &store;
                scope.spawn(move || {
                    while std::time::Instant::now() < until {
                        let whole = |value: &[u8]| value.len() >= 9_000 && value.iter().all(|byte| *byte == value[0]);
                        if reader == 0 {
                            assert!(whole(&store.get(day, b"k").unwrap().unwrap()), "{engine}");
                        } else {
                            let visit = &mut |_: &[u8], value: &[u8]| {
                                assert!(whole(value), "{engine}");
                                ControlFlow::Continue(())
                            };
                            store.scan(day, b"", b"z", visit).unwrap();
                        }
                    }
                });
            }
            let mut number = 0u8;
            while std::time::Instant::now() < until {
                number = number.wrapping_add(1);
                let value = vec![number; 9_000 + usize::from(number) * 300];
                store.apply(&batch(&[(day, b"k", Some(&value))])).unwrap();
            }
        });
    }
}

/// Bytes that a folder takes on the disk.
fn disk(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    // Files of a day that is being removed may vanish during the walk.
    let sizes = entries.filter_map(Result::ok).map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => disk(&entry.path()),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

#[test]
fn a_dropped_bucket_gives_its_disk_space_back() {
    for (engine, open) in engines().into_iter().skip(1) {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let (gone, stays) = (Bucket::Day(1), Bucket::Day(2));
        let value = vec![0x5a; 30_000];
        for number in 0..6_000u32 {
            // Not compressible, because no two values stay alike for long.
            let value: Vec<u8> = value
                .iter()
                .zip(0u32..)
                .map(|(_, i)| (number.wrapping_mul(2_654_435_761).wrapping_add(i * i) >> 11) as u8)
                .collect();
            store.apply(&batch(&[(gone, &number.to_be_bytes(), Some(&value))])).unwrap();
            if number % 100 == 0 {
                store.sync().unwrap();
            }
        }
        store.sync().unwrap();
        let before = disk(folder.path());
        store.drop_bucket(gone).unwrap();
        // The files are removed in the background while writes continue.
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        let mut number = 0u32;
        while disk(folder.path()) > before * 2 / 5 {
            assert!(std::time::Instant::now() < deadline, "{engine}: {} of {before} bytes remain", disk(folder.path()));
            store.apply(&batch(&[(stays, &number.to_be_bytes(), Some(b"small"))])).unwrap();
            store.sync().unwrap();
            number += 1;
        }
        println!("{engine}: {} -> {} MiB", before >> 20, disk(folder.path()) >> 20);
    }
}
