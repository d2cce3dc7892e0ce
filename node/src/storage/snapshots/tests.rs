//! Whatever is written, removed and dropped while a snapshot is read, it is the store at its begin.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use replication::memory::MemoryStorage;
use replication::{Bucket, BucketBatch, Storage, WriteBatch};

use super::{Pairs, Snapshot, SnapshotError, Snapshots};

const BUCKETS: [Bucket; 4] = [Bucket::Day(7), Bucket::Day(8), Bucket::Day(9), Bucket::Lasting];

type Model = BTreeMap<(Bucket, Vec<u8>), Vec<u8>>;

/// What happens between two reads of a snapshot.
#[derive(Clone, Debug)]
enum Step {
    /// New values of keys; `None` removes.
    Apply(Vec<(usize, u8, Option<u8>)>),
    Drop(usize),
    Read(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = (0..BUCKETS.len(), 0u8..24, proptest::option::weighted(0.7, any::<u8>()));
    let step = prop_oneof![
        5 => vec(write, 1..8).prop_map(Step::Apply),
        1 => (0..3usize).prop_map(Step::Drop),
        4 => (1..40usize).prop_map(Step::Read),
    ];
    vec(step, 0..40)
}

fn batch(writes: &[(usize, u8, Option<u8>)]) -> WriteBatch {
    let mut buckets: BTreeMap<Bucket, BTreeMap<Vec<u8>, Option<Vec<u8>>>> = BTreeMap::new();
    for (bucket, key, value) in writes {
        let value = value.map(|value| vec![value; usize::from(value % 5)]);
        // Some keys are the beginning of others.
        let key = vec![b'k'; usize::from(*key % 3)].into_iter().chain([*key]).collect();
        buckets.entry(BUCKETS[*bucket]).or_default().insert(key, value);
    }
    let buckets =
        buckets.into_iter().map(|(bucket, writes)| (bucket, BucketBatch { writes: writes.into_iter().collect() }));
    WriteBatch { buckets: buckets.collect() }
}

fn everything(storage: &impl Storage) -> Model {
    let mut found = Model::new();
    for bucket in storage.buckets() {
        let mut take = |key: &[u8], value: &[u8]| {
            found.insert((bucket, key.to_vec()), value.to_vec());
            ControlFlow::Continue(())
        };
        storage.scan(bucket, &[], &[u8::MAX], &mut take).unwrap();
    }
    found
}

fn add(to: &mut Vec<(Bucket, Vec<u8>, Vec<u8>)>, Pairs { bucket, pairs }: Pairs) {
    to.extend(pairs.into_iter().map(|(key, value)| (bucket, key, value)));
}

fn play(store: &Arc<Snapshots>, snapshot: &mut Snapshot, steps: &[Step], read: &mut Vec<(Bucket, Vec<u8>, Vec<u8>)>) {
    for step in steps {
        match step {
            Step::Apply(writes) => store.apply(&batch(writes)).unwrap(),
            Step::Drop(bucket) => store.drop_bucket(BUCKETS[*bucket]).unwrap(),
            Step::Read(bytes) => {
                if let Some(pairs) = snapshot.next(*bytes).unwrap() {
                    add(read, pairs);
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn a_snapshot_is_the_store_at_its_begin(before in steps(), during in steps(), after in steps()) {
        let memory = MemoryStorage::default();
        let store = Snapshots::new(Arc::new(memory.clone()));
        for step in &before {
            if let Step::Apply(writes) = step {
                store.apply(&batch(writes)).unwrap();
            }
        }
        let begin = everything(&memory);
        let mut snapshot = store.begin(1 << 20).unwrap();
        let mut read = Vec::new();
        play(&store, &mut snapshot, &during, &mut read);
        let dropped = snapshot.dropped();
        play(&store, &mut snapshot, &[Step::Read(1), Step::Read(9)], &mut read);
        while let Some(pairs) = snapshot.next(25).unwrap() {
            add(&mut read, pairs);
        }
        prop_assert!(read.is_sorted_by(|one, two| (one.0, &one.1) < (two.0, &two.1)), "each key once, in order");
        let read: Model = read.into_iter().map(|(bucket, key, value)| ((bucket, key), value)).collect();
        let of = |model: &Model, is_dropped: bool| -> Model {
            let wanted = model.iter().filter(|((bucket, _), _)| dropped.contains(bucket) == is_dropped);
            wanted.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        prop_assert_eq!(of(&read, false), of(&begin, false));
        // Of a day that was dropped only pairs of the begin are there.
        prop_assert!(of(&read, true).iter().all(|(key, value)| begin.get(key) == Some(value)));
        prop_assert_eq!(store.kept_bytes(), 0, "what was kept is used up");
        drop(snapshot);
        // The writes went through, and nothing is kept any more.
        play(&store, &mut store.begin(1 << 20).unwrap(), &after, &mut Vec::new());
        prop_assert_eq!(everything(&*store), everything(&memory));
        prop_assert_eq!(store.kept_bytes(), 0);
    }
}

#[test]
fn one_at_a_time_and_bounded() {
    let store = Snapshots::new(Arc::new(MemoryStorage::default()));
    let all: Vec<_> = (0..24).map(|key| (0, key, Some(4))).collect();
    store.apply(&batch(&all)).unwrap();
    let mut snapshot = store.begin(1_000).unwrap();
    assert!(matches!(store.begin(1_000), Err(SnapshotError::Running)));
    store.apply(&batch(&all[..2])).unwrap();
    assert!(store.kept_bytes() > 0 && store.kept_bytes() < 1_000);
    // A second change of the same keys adds nothing.
    let kept = store.kept_bytes();
    store.apply(&batch(&all[..2])).unwrap();
    assert_eq!(store.kept_bytes(), kept);
    store.apply(&batch(&all)).unwrap();
    assert_eq!(store.kept_bytes(), 0, "it was given up");
    let error = snapshot.next(1).unwrap_err();
    assert!(matches!(error, SnapshotError::TooMuchChanged { most_kept: 1_000 }), "{error}");
    drop(snapshot);
    assert!(store.begin(1_000).unwrap().next(1).unwrap().is_some(), "the next one begins");
}

/// A snapshot begins between two batches, also while another thread applies them without a pause.
#[test]
fn no_batch_is_cut_in_half() {
    let store = Snapshots::new(Arc::new(MemoryStorage::default()));
    let whole = |value: u8| {
        let writes = BUCKETS.iter().enumerate().map(|(at, _)| (at, 0, Some(value))).collect::<Vec<_>>();
        batch(&writes)
    };
    store.apply(&whole(1)).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut value = 1u8;
            while !stop.load(Ordering::SeqCst) {
                value = value.wrapping_add(1);
                store.apply(&whole(value)).unwrap();
            }
        });
        for _ in 0..300 {
            let mut snapshot = store.begin(1 << 20).unwrap();
            let mut values = Vec::new();
            while let Some(Pairs { pairs, .. }) = snapshot.next(1).unwrap() {
                values.extend(pairs.into_iter().map(|(_, value)| value));
            }
            assert_eq!(values.len(), BUCKETS.len());
            assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
        }
        stop.store(true, Ordering::SeqCst);
        writer.join().unwrap();
    });
}
