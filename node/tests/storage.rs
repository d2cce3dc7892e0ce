//! One battery of tests over every storage engine: the contract of `replication::storage`, and space given back.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use node::storage::{FjallStorage, SledStorage, Store};
use replication::memory::MemoryStorage;
use replication::storage::{BucketBatch, WriteBatch};
use replication::{Bucket, Storage as _};

const CACHE: u64 = 8 << 20;

/// An engine's name and how to open it.
type Engine = (&'static str, fn(&Path) -> Store);

fn engines() -> [Engine; 3] {
    [
        ("memory", |_| Arc::new(MemoryStorage::default())),
        ("sled", |folder| Arc::new(SledStorage::open(folder, CACHE).unwrap())),
        ("fjall", |folder| Arc::new(FjallStorage::open(folder, CACHE).unwrap())),
    ]
}

/// Where, which key, which value (`None` removes).
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

/// Bytes that a folder takes on the disk.
fn disk(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    // Files of a day that is on its way out may vanish while we look.
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
            // Incompressible enough: no two values are alike for long.
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
        // The files go in the background; life goes on meanwhile.
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
