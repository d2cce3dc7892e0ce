//! A replica that deletes expired days for a month, on every storage engine. This is a separate test binary, because it
//! measures the memory of its process.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use node::storage::{FjallStorage, SledStorage, Store};
use replication::memory::MemoryStorage;
use replication::{
    Change, Collection, DocumentId, DocumentKey, DocumentName, Monotonic, Now, Reader, Reason, Replica, ReplicaConfig,
    ReplicaId, Storage as _, TenantId, Value, Wall, Write,
};

const CACHE: u64 = 8 << 20;
const DAY: Duration = Duration::from_hours(24);
const T0: u64 = 1_800_000_000_000 / 86_400_000 * 86_400_000;

/// An engine's name and the function that opens it.
type Engine = (&'static str, fn(&Path) -> Store);

fn engines() -> [Engine; 3] {
    [
        ("memory", |_| Arc::new(MemoryStorage::default())),
        ("sled", |folder| Arc::new(SledStorage::open(folder, CACHE).unwrap())),
        ("fjall", |folder| Arc::new(FjallStorage::open(folder, CACHE).unwrap())),
    ]
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

fn rss_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4_096
}

fn at(elapsed: Duration) -> Now {
    Now { mono: Monotonic(elapsed), wall: Wall(T0).plus(elapsed) }
}

fn settle(replica: &mut Replica<Store>, store: &Store, now: Now) {
    while let Some(batch) = replica.poll_batch().unwrap() {
        store.sync().unwrap();
        replica.handle_durable(now, batch).unwrap();
    }
    while replica.poll_event().is_some() {}
}

/// Each day guests arrive, some are erased, and an old day expires: after a month the store is no larger than after ten
/// days (I5).
#[test]
fn a_month_of_rolling_retention_keeps_disk_and_memory_flat() {
    const VISITS: u64 = 1_200;
    const RETENTION: Duration = Duration::from_hours(5 * 24);
    for (engine, open) in engines() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let config = ReplicaConfig {
            max_retention: Duration::from_hours(7 * 24),
            ..ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), BTreeMap::new())
        };
        let reader = Reader::new(store.clone(), config.max_retention);
        let mut replica = Replica::open(config, store.clone(), Box::new(|| ReplicaId(1)), at(Duration::ZERO)).unwrap();
        let mut early = (0, 0);
        for day in 0..30u32 {
            for visit in 0..VISITS {
                let elapsed = DAY * day + Duration::from_mins(visit);
                let now = at(elapsed);
                let mut rest = [0; 10];
                rest[2..].copy_from_slice(&visit.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
                let id = DocumentId::arriving(now.wall, rest);
                let name = DocumentName { collection: Collection(2), tenant: TenantId([3; 16]), id };
                let key: DocumentKey = name.expiring(now.wall.plus(RETENTION));
                let text = Value::Text(format!("guest {visit} of day {day}, {}", "x".repeat(150)));
                let change = Change::create(&key, &[("n", text)]);
                replica.handle_write(now, Write::Change { key, change }).unwrap();
                if visit % 50 == 7 {
                    replica.handle_write(now, Write::Erase { name, lasting: false, reason: Reason::Subject }).unwrap();
                }
                if visit % 64 == 63 {
                    settle(&mut replica, &store, now);
                }
            }
            let evening = at(DAY * day + Duration::from_hours(23));
            replica.handle_timeout(evening).unwrap();
            settle(&mut replica, &store, evening);
            if day == 11 {
                early = (disk(folder.path()), rss_bytes());
            }
        }
        let now = at(DAY * 30);
        replica.handle_timeout(now).unwrap();
        settle(&mut replica, &store, now);
        let live = reader.all(replica.dead_through()).unwrap().len() as u64;
        let alive_days = RETENTION.as_secs() / DAY.as_secs();
        assert!(live <= VISITS * alive_days && live > VISITS * (alive_days - 1) * 9 / 10, "{engine}: {live} live");
        assert!(store.buckets().len() <= 11, "{engine}: {:?}", store.buckets());
        let late = (disk(folder.path()), rss_bytes());
        println!(
            "{engine}: disk {} -> {} KiB, memory {} -> {} MiB",
            early.0 >> 10,
            late.0 >> 10,
            early.1 >> 20,
            late.1 >> 20
        );
        // fjall's journal grows and shrinks in steps of 64 MiB.
        let journal = if engine == "fjall" { 64 << 20 } else { 0 };
        assert!(
            late.0 <= early.0 + early.0 / 2 + (1 << 20) + journal,
            "{engine}: disk grew from {} to {}",
            early.0,
            late.0
        );
        assert!(late.1 <= early.1 + (64 << 20), "{engine}: memory grew from {} to {}", early.1, late.1);
    }
}
