//! The batches that the writer writes and the checker expects.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use node::storage::{FjallStorage, SledStorage, Store};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use replication::{Bucket, BucketBatch, Storage as _, StorageError, WriteBatch};

const BUCKETS: [Bucket; 3] = [Bucket::Day(20_000), Bucket::Day(20_014), Bucket::Lasting];
const CACHE: u64 = 8 << 20;

fn open(engine: &str, folder: &Path) -> Result<Store, StorageError> {
    Ok(match engine {
        "sled" => Arc::new(SledStorage::open(folder, CACHE)?),
        "fjall" => Arc::new(FjallStorage::open(folder, CACHE)?),
        "plain-sled" => Arc::new(plain::PlainSled::open(folder)),
        other => panic!("no engine {other}"),
    })
}

/// The records of one batch, which are determined by its number.
///
/// | records | in place of |
/// | --- | --- |
/// | up to 64 of 50 to 600 bytes under new keys | check-ins and log entries |
/// | 14 KB, rewritten under one of 24 neighbouring keys | visits of 12 persons, corrected |
/// | one key whose value grows to 150 KB and starts again | one visit that is corrected all the time |
/// | 200 to 900 bytes under one of 40 keys of the lasting bucket | venues and their corrections |
/// | removals | rows of erased documents |
fn batch(number: u64) -> WriteBatch {
    let mut rng = StdRng::seed_from_u64(number);
    let mut buckets: BTreeMap<Bucket, BTreeMap<Vec<u8>, Option<Vec<u8>>>> = BTreeMap::new();
    // Removes what an earlier batch wrote, unless it is written again below.
    if number > 20 && number.is_multiple_of(5) {
        for (bucket, writes) in batch(number - 19).buckets.into_iter().take(1) {
            let removed = writes.writes.into_iter().map(|(key, _)| (key, None));
            buckets.entry(bucket).or_default().extend(removed);
        }
    }
    let mut put = |bucket: Bucket, key: Vec<u8>, value: Vec<u8>| {
        buckets.entry(bucket).or_default().insert(key, Some(value));
    };
    for record in 0..rng.random_range(1..=64u32) {
        let bucket = BUCKETS[rng.random_range(0..BUCKETS.len())];
        let value = bytes(&mut rng, 50..600);
        put(bucket, key(number, record), value);
    }
    for _ in 0..rng.random_range(0..3) {
        let row = rng.random_range(0..24u8);
        let value = bytes(&mut rng, 13_000..15_000);
        put(BUCKETS[0], [b"d large ", &[row][..]].concat(), value);
    }
    if number.is_multiple_of(3) {
        let len = 1_000 + 500 * usize::try_from(number % 300).expect("small");
        let value = bytes(&mut rng, len..len + 1);
        put(BUCKETS[usize::from(number.is_multiple_of(2))], b"d hot".to_vec(), value);
    }
    for _ in 0..rng.random_range(0..3) {
        let venue = rng.random_range(0..40u8);
        let value = bytes(&mut rng, 200..900);
        put(Bucket::Lasting, [b"d venue ", &[venue][..]].concat(), value);
    }
    let batches = buckets.into_iter().map(|(bucket, writes)| (bucket, writes.into_iter().collect()));
    WriteBatch { buckets: batches.map(|(bucket, writes)| (bucket, BucketBatch { writes })).collect() }
}

fn bytes(rng: &mut StdRng, len: std::ops::Range<usize>) -> Vec<u8> {
    let mut value = vec![0u8; rng.random_range(len)];
    rng.fill(&mut value[..]);
    value
}

fn key(number: u64, record: u32) -> Vec<u8> {
    // Spread over the tree, like the ids of many venues.
    let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(record);
    [b"l", &spread.to_be_bytes()[..2], &number.to_be_bytes(), &record.to_be_bytes()].concat()
}

/// Writes until it is killed; the number of each durable batch goes to standard output.
pub(crate) fn write(engine: &str, folder: &Path) -> ExitCode {
    let store = open(engine, folder).expect("the store opens");
    let mut out = std::io::stdout().lock();
    for number in 1.. {
        store.apply(&batch(number)).expect("the batch applies");
        store.sync().expect("the batch becomes durable");
        if writeln!(out, "{number}").and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

/// Reopens a store and checks it: at least `least` batches were acknowledged, at most `most` were begun.
pub(crate) fn check(engine: &str, folder: &Path, least: &str, most: &str) -> ExitCode {
    let (least, most): (u64, u64) = (least.parse().expect("a number"), most.parse().expect("a number"));
    let found =
        open(engine, folder).map_err(|e| format!("does not open: {e}")).and_then(|store| compare(&store, least, most));
    match found {
        Ok(()) => ExitCode::SUCCESS,
        Err(broken) => {
            eprintln!("{broken}");
            ExitCode::FAILURE
        }
    }
}

/// Each bucket must hold exactly its part of batches `1..=n` for one n from `least` to `most`.
fn compare(store: &Store, least: u64, most: u64) -> Result<(), String> {
    let batches: Vec<WriteBatch> = (1..=most).map(batch).collect();
    for bucket in BUCKETS {
        let mut stored = BTreeMap::new();
        let scan = store.scan(bucket, &[0], &[0xff; 16], &mut |key, value| {
            stored.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        });
        scan.map_err(|e| format!("{bucket} cannot be read: {e}"))?;
        let mut expected = BTreeMap::new();
        let mut fits = least == 0 && stored.is_empty();
        for (number, batch) in (1..).zip(&batches) {
            for (_, part) in batch.buckets.iter().filter(|(of, _)| *of == bucket) {
                for (key, value) in &part.writes {
                    match value {
                        Some(value) => expected.insert(key.clone(), value.clone()),
                        None => expected.remove(key),
                    };
                }
            }
            fits |= number >= least && expected == stored;
        }
        if !fits {
            return Err(format!("{bucket} holds {} records, which fits no count from {least} to {most}", stored.len()));
        }
    }
    Ok(())
}

/// sled used as its documentation says: `flush` before each acknowledgement, and nothing more.
mod plain {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    use replication::{Bucket, ScanVisitor, Storage, StorageError, Wall, WriteBatch};

    use super::{BUCKETS, CACHE};

    pub(super) struct PlainSled(BTreeMap<Bucket, sled::Db>);

    impl PlainSled {
        pub(super) fn open(folder: &Path) -> PlainSled {
            let open = |bucket: Bucket| {
                let config = sled::Config::new().path(folder.join(bucket.to_string())).cache_capacity(CACHE);
                (bucket, config.flush_every_ms(None).open().expect("sled opens"))
            };
            PlainSled(BUCKETS.into_iter().map(open).collect())
        }
    }

    impl Storage for PlainSled {
        fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
            Ok(self.0[&bucket].get(key).expect("sled reads").map(|value| value.to_vec()))
        }

        fn scan(
            &self,
            bucket: Bucket,
            start: &[u8],
            end: &[u8],
            visitor: &mut ScanVisitor<'_>,
        ) -> Result<(), StorageError> {
            for pair in self.0[&bucket].range(start..end) {
                let (key, value) = pair.expect("sled scans");
                if visitor(&key, &value).is_break() {
                    break;
                }
            }
            Ok(())
        }

        fn apply(&self, batch: &WriteBatch) -> Result<(), StorageError> {
            for (bucket, writes) in &batch.buckets {
                let mut sled_batch = sled::Batch::default();
                for (key, value) in &writes.writes {
                    match value {
                        Some(value) => sled_batch.insert(key.as_slice(), value.as_slice()),
                        None => sled_batch.remove(key.as_slice()),
                    }
                }
                self.0[bucket].apply_batch(sled_batch).expect("sled applies");
            }
            Ok(())
        }

        fn sync(&self) -> Result<(), StorageError> {
            for db in self.0.values() {
                db.flush().expect("sled flushes");
            }
            Ok(())
        }

        fn drop_bucket(&self, _: Bucket) -> Result<(), StorageError> {
            Ok(())
        }

        fn expire(&self, _: Wall) -> Result<(), StorageError> {
            Ok(())
        }

        fn buckets(&self) -> BTreeSet<Bucket> {
            self.0.keys().copied().collect()
        }
    }
}
