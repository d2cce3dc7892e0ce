//! Durable writes through the whole engine against the bare bytes.
//!
//! Both sides write the same keys and values with the same fsync. The bare side uses the grouping that the engine
//! reached, and does nothing else. Compare within one run: ratios are printed at the end, that of the processor's time
//! with and without sealing among them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use nix::sys::resource::{UsageWho, getrusage};
use node::clock::{Clock, SystemClock};
use node::driver::{self, Handle};
use node::metrics::Metrics;
use node::storage::{FjallStorage, SledStorage, Store, sealed};
use replication::memory::MemoryStorage;
use replication::{
    Bucket, BucketBatch, Change, Collection, DocumentId, DocumentKey, DocumentName, Outcome, Reader, Replica,
    ReplicaConfig, ReplicaId, Storage as _, TenantId, Value, Wall, Write, WriteBatch,
};
use tokio::runtime::Runtime;

const WRITERS: u64 = 64;
const DAY: Duration = Duration::from_hours(24);

fn open(engine: &str, folder: &std::path::Path) -> Store {
    match engine {
        "sled" => Arc::new(SledStorage::open(folder, 8 << 20).expect("opens")),
        _ => Arc::new(FjallStorage::open(folder, 8 << 20).expect("opens")),
    }
}

fn open_sealed(engine: &str, folder: &std::path::Path) -> Store {
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    match engine {
        "sled" => {
            let engine = SledStorage::open(folder, 8 << 20).expect("opens");
            Arc::new(sealed(engine, folder, metrics).expect("opens"))
        }
        _ => {
            let engine = FjallStorage::open(folder, 8 << 20).expect("opens");
            Arc::new(sealed(engine, folder, metrics).expect("opens"))
        }
    }
}

/// Time that the processors spent in this process.
fn processor_time() -> Duration {
    let used = getrusage(UsageWho::RUSAGE_SELF).expect("this process");
    let micros = |time: nix::sys::time::TimeVal| {
        Duration::from_secs(time.tv_sec().unsigned_abs()) + Duration::from_micros(time.tv_usec().unsigned_abs())
    };
    micros(used.user_time()) + micros(used.system_time())
}

fn key(now: Wall, number: u64) -> DocumentKey {
    let mut rest = [0; 10];
    rest[2..].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    let id = DocumentId::arriving(now, rest);
    let tenant = TenantId([u8::try_from(number % 8).unwrap_or(0); 16]);
    DocumentName { collection: Collection(2), tenant, id }.expiring(now.plus(14 * DAY))
}

fn visit(number: u64) -> Vec<(&'static str, Value)> {
    let text = |text: String| Value::Text(text);
    vec![
        ("a", text(format!("Tisch {}", number % 40))),
        ("0n", text(format!("Zoë Müller-Nguyễn {number}"))),
        ("0p", text(format!("+49 711 {:07}", number % 10_000_000))),
        ("0s", text(format!("Königstraße {}", number % 200))),
        ("0z", text("70173".to_owned())),
        ("0c", text("Stuttgart".to_owned())),
    ]
}

struct Engine {
    runtime: Runtime,
    handle: Handle,
    store: Store,
    metrics: Arc<Metrics>,
    next: AtomicU64,
    _folder: tempfile::TempDir,
}

impl Engine {
    fn start(engine: &str, open: fn(&str, &std::path::Path) -> Store) -> Engine {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = open(engine, folder.path());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let region = || "eu-central".parse().expect("a name");
        let config = ReplicaConfig::new("eu-central".parse().expect("a name"), region(), BTreeMap::new());
        let reader = Reader::new(store.clone(), config.max_retention);
        let mint = Box::new(|| ReplicaId(1));
        let replica = Replica::open(config, store.clone(), mint, clock.now()).expect("opens");
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let (handle, _running) =
            driver::start(replica, store.clone(), reader, clock, Duration::from_millis(500), metrics.clone())
                .expect("starts");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
        Engine { runtime, handle, store, metrics, next: AtomicU64::new(0), _folder: folder }
    }

    /// Records per batch, on average.
    fn grouping(&self) -> u64 {
        let records = &self.metrics.batch_records;
        (records.get_sample_sum() / records.get_sample_count().max(1) as f64).round().max(1.0) as u64
    }

    /// Makes so many durable writes with 64 writers, each of which waits for its own write.
    fn write(self: &Arc<Self>, writes: u64) -> Duration {
        let started = Instant::now();
        let last = self.next.load(Ordering::Relaxed) + writes;
        self.runtime.block_on(async {
            let writers = (0..WRITERS).map(|_| {
                let engine = self.clone();
                tokio::spawn(async move {
                    loop {
                        let number = engine.next.fetch_add(1, Ordering::Relaxed);
                        if number >= last {
                            return;
                        }
                        let key = key(engine.handle.now().wall, number);
                        let change = Change::create(&key, &visit(number));
                        let outcome = engine.handle.write(Write::Change { key, change }).await.expect("taken");
                        assert!(matches!(outcome, Outcome::Created(_)));
                    }
                })
            });
            for writer in writers.collect::<Vec<_>>() {
                writer.await.expect("no panic");
            }
        });
        self.next.store(last, Ordering::Relaxed);
        started.elapsed()
    }
}

/// The bytes that the engine writes for one check-in: a row and a log entry.
fn bare(engine: &str, grouping: u64) -> impl FnMut(u64) -> Duration + use<> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = open(engine, folder.path());
    let mut number = 0u64;
    move |writes| {
        let _folder = &folder;
        let started = Instant::now();
        let mut left = writes;
        while left > 0 {
            let count = left.min(grouping);
            let mut records = Vec::new();
            for _ in 0..count {
                number += 1;
                let key = key(Wall(1_800_000_000_000), number).encode();
                let mut row =
                    Change::create(&self::key(Wall(1_800_000_000_000), number), &visit(number)).bytes().to_vec();
                row.extend_from_slice(&[0; 14]);
                records.push(([&b"d"[..], &key].concat(), Some(row)));
                records
                    .push(([&b"l"[..], &[7; 8], &number.to_be_bytes()].concat(), Some([&key[..], &[1; 10]].concat())));
            }
            records.sort();
            let batch = WriteBatch { buckets: vec![(Bucket::Day(20_000), BucketBatch { writes: records })] };
            store.apply(&batch).expect("applies");
            store.sync().expect("syncs");
            left -= count;
        }
        started.elapsed()
    }
}

/// Derives the key of a row and seals it, and the way back, on an engine in memory; and the same without sealing.
fn sealing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one row of 300 bytes, in memory");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let in_memory = sealed(MemoryStorage::default(), folder.path(), metrics).expect("opens");
    let stores: [(&str, Store); 2] = [("sealed", Arc::new(in_memory)), ("clear", Arc::new(MemoryStorage::default()))];
    for (name, store) in stores {
        let key = key(Wall(1_800_000_000_000), 1);
        let row = [&b"d"[..], &key.encode()].concat();
        let write = (row.clone(), Some(vec![0; 300]));
        let batch = WriteBatch { buckets: vec![(key.bucket(), BucketBatch { writes: vec![write] })] };
        group.bench_function(format!("write, {name}"), |b| {
            b.iter(|| {
                store.apply(&batch).expect("applies");
                store.sync().expect("syncs");
            });
        });
        group.bench_function(format!("read, {name}"), |b| b.iter(|| store.get(key.bucket(), &row).expect("reads")));
    }
    group.finish();
}

fn main() {
    let mut criterion =
        Criterion::default().sample_size(10).measurement_time(Duration::from_secs(8)).configure_from_args();
    sealing(&mut criterion);
    for name in ["sled", "fjall"] {
        let engine = Arc::new(Engine::start(name, open_sealed));
        let clear = Arc::new(Engine::start(name, open));
        // Writes and the processor's time, with and without sealing.
        let mut costs = [(0u64, Duration::ZERO); 2];
        let mut through = (0u64, Duration::ZERO);
        let mut alone = (0u64, Duration::ZERO);
        let mut group = criterion.benchmark_group(format!("durable writes, {name}"));
        group.throughput(Throughput::Elements(1));
        group.bench_function("replica, 64 writers", |b| {
            b.iter_custom(|writes| {
                let took = engine.write(writes);
                through = (through.0 + writes, through.1 + took);
                took
            });
        });
        group.bench_function("replica, 64 writers, with and without sealing in turns", |b| {
            b.iter_custom(|writes| {
                let mut took = Duration::ZERO;
                for (engine, cost) in [&engine, &clear].into_iter().zip(&mut costs) {
                    let before = processor_time();
                    took += engine.write(writes);
                    *cost = (cost.0 + writes, cost.1 + (processor_time() - before));
                }
                took
            });
        });
        let grouping = engine.grouping();
        let mut bare = bare(name, grouping);
        group.bench_function("bare batches of the same size", |b| {
            b.iter_custom(|writes| {
                let took = bare(writes);
                alone = (alone.0 + writes, alone.1 + took);
                took
            });
        });
        group.finish();
        let each = costs.map(|(writes, time)| time.as_secs_f64() * 1e6 / writes.max(1) as f64);
        if each[1] > 0.0 {
            println!(
                "{name}: {:.1} us of the processors for a sealed write, {:.1} for one in the clear, ratio {:.3}",
                each[0],
                each[1],
                each[0] / each[1]
            );
        }
        if through.0 > 0 && alone.0 > 0 {
            let rate = |(writes, took): (u64, Duration)| writes as f64 / took.as_secs_f64();
            println!(
                "{name}: {:.0} writes/s through the replica, {:.0} bare in batches of {grouping}, ratio {:.2}\n",
                rate(through),
                rate(alone),
                rate(through) / rate(alone)
            );
        }
        drop(engine.store.clone());
    }
    criterion.final_summary();
}
