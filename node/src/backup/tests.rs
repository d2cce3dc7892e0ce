//! Backups that are made, put back, cut short, flipped, and made up.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use registry::LONGEST_RETENTION;
use replication::memory::MemoryStorage;
use replication::{
    Bucket, Change, Collection, DocumentId, DocumentKey, DocumentName, Monotonic, Now, Reader, Reason, Replica,
    ReplicaConfig, ReplicaId, STORE_FORMAT, TenantId, Value, Wall, Write, millis,
};

use super::format::{BackupReader, BackupWriter, FormatError, Head};
use super::lock::{self, Locked};
use super::make::{Backups, Piece};
use super::restore::{RestoreError, Restored, Target, UNFINISHED, restore};
use crate::backup_key::Identity;
use crate::config::{Engine, StorageConfig};
use crate::faults::Faults;
use crate::metrics::Metrics;
use crate::storage::{self, Pairs, Snapshots, Store};

const NOW: Wall = Wall(1_800_000_000_000);
const LATER: Wall = Wall(NOW.0 + 1_000);

fn open(store: Store) -> Replica<Store> {
    let now = Now { mono: Monotonic(Duration::ZERO), wall: NOW };
    let config = ReplicaConfig {
        max_retention: LONGEST_RETENTION,
        ..ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), BTreeMap::new())
    };
    let mut next = 0;
    let mint = Box::new(move || {
        next += 1;
        ReplicaId(next)
    });
    Replica::open(config, store, mint, now).unwrap()
}

fn key(number: u8, days: u64) -> DocumentKey {
    let id = DocumentId::arriving(NOW, [number; 10]);
    let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id };
    name.expiring(NOW.plus(Duration::from_hours(24 * days)))
}

/// A store with some documents, the last of which is large.
fn filled() -> Arc<Snapshots> {
    let store = Snapshots::new(Arc::new(MemoryStorage::default()));
    let mut replica = open(store.clone());
    let now = Now { mono: Monotonic(Duration::ZERO), wall: NOW };
    for number in 0..20 {
        let key = key(number, 1 + u64::from(number % 5));
        let text = if number == 19 { "x".repeat(40_000) } else { format!("Quetzalcoatlina {number}") };
        let change = Change::create(&key, &[("n", Value::Text(text))]);
        replica.handle_write(now, Write::Change { key, change }).unwrap();
        replica.settle_batches(now).unwrap();
    }
    store
}

fn shown(store: &Store) -> BTreeSet<DocumentKey> {
    Reader::new(store.clone(), LONGEST_RETENTION).all(Wall(0)).unwrap().into_keys().collect()
}

fn head() -> Head {
    Head {
        region: "a".into(),
        node: "a".into(),
        replica: "1".into(),
        begun_ms: NOW.0,
        max_retention_ms: millis(LONGEST_RETENTION),
        store_format: STORE_FORMAT,
        made_by: "test".into(),
    }
}

/// A whole backup of a store, and its key.
async fn backup_of(store: &Arc<Snapshots>) -> (Vec<u8>, Identity) {
    let (identity, metrics) = (Identity::generate(), Arc::new(Metrics::new().unwrap()));
    let backups = Backups::new(store.clone(), 1 << 20, metrics.clone());
    let mut pieces = backups.begin(backups.place().unwrap(), head(), vec![identity.recipient()]);
    let mut bytes = Vec::new();
    while let Piece::Bytes(piece) = pieces.recv().await.expect("it does not break off") {
        bytes.extend_from_slice(&piece);
    }
    assert!(pieces.recv().await.is_none());
    assert!(metrics.render().unwrap().contains("meridian_backups_total{outcome=\"whole\"} 1"));
    (bytes, identity)
}

fn storage(engine: Engine) -> StorageConfig {
    StorageConfig {
        engine,
        cache_bytes: 8 << 20,
        reserve_bytes: 0,
        ballast_bytes: 0,
        scrub_every: std::time::Duration::from_hours(6),
    }
}

fn put(bytes: &[u8], identity: &Identity, data: &Path, now: Wall) -> Result<Restored, RestoreError> {
    restore(bytes, identity, Target { data, storage: storage(Engine::Sled) }, now, &mut |_| {})
}

#[tokio::test]
async fn a_backup_is_put_back_with_either_engine_and_new_keys() {
    let store = filled();
    let plain: Store = store.clone();
    let (bytes, identity) = backup_of(&store).await;
    let holds = |bytes: &[u8]| memchr::memmem::find(bytes, b"Quetzalcoatlina").is_some();
    assert!(!holds(&bytes));
    for engine in [Engine::Sled, Engine::Fjall] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("new/store");
        let mut told = 0;
        let target = Target { data: &data, storage: storage(engine) };
        let restored = restore(&*bytes, &identity, target, LATER, &mut |documents| told = documents).unwrap();
        assert_eq!((restored.documents, restored.expired, told), (20, 0, 20));
        assert!(!data.join(UNFINISHED).exists() && data.join("keys").is_dir());
        let metrics = Arc::new(Metrics::new().unwrap());
        let clock = Arc::new(crate::clock::SystemClock::start());
        let faults = Faults::new(false, clock, metrics.clone());
        let back: Store = storage::open(&data, &storage(engine), false, faults, metrics).unwrap();
        assert_eq!(shown(&back), shown(&plain), "{engine}");
        let replica = open(back.clone());
        assert!(replica.id() != ReplicaId(1) || replica.durable().get(ReplicaId(1)) == 20);
        assert_eq!(replica.durable().iter().map(|(_, seq)| seq).sum::<u64>(), 20);
        // A store is there now.
        drop((replica, back));
        assert!(matches!(put(&bytes, &identity, &data, LATER), Err(RestoreError::NotEmpty { .. })));
    }
}

#[tokio::test]
async fn what_has_expired_is_left_out_and_a_clock_that_is_behind_is_noticed() {
    let (bytes, identity) = backup_of(&filled()).await;
    let folder = tempfile::tempdir().unwrap();
    let late = NOW.plus(Duration::from_hours(24 * 3));
    let restored = put(&bytes, &identity, &folder.path().join("late"), late).unwrap();
    assert_eq!((restored.documents, restored.expired), (8, 12));
    let early = put(&bytes, &identity, &folder.path().join("early"), Wall(NOW.0 - 3_600_000)).unwrap_err();
    assert!(matches!(early, RestoreError::Clock { .. }), "{early}");
    assert!(!folder.path().join("early").exists());
}

#[tokio::test]
async fn what_is_not_whole_is_refused_and_leaves_nothing() {
    let (bytes, identity) = backup_of(&filled()).await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("store");
    let refused = |bytes: &[u8], identity: &Identity| {
        let error = put(bytes, identity, &data, LATER).expect_err("is refused");
        assert!(!data.exists() || std::fs::read_dir(&data).unwrap().next().is_none(), "{error}");
        error
    };
    let wrong = refused(&bytes, &Identity::generate());
    assert!(matches!(wrong, RestoreError::Backup(FormatError::WrongIdentity)), "{wrong}");
    assert!(matches!(refused(b"PK\x03\x04 something else", &identity), RestoreError::Backup(_)));
    for part in 0..24 {
        refused(&bytes[..bytes.len() * part / 24], &identity);
    }
    refused(&bytes[..bytes.len() - 1], &identity);
    refused(&[&bytes[..], b"x"].concat(), &identity);
    for part in 0..24 {
        let mut flipped = bytes.clone();
        flipped[bytes.len() * part / 24] ^= 1;
        refused(&flipped, &identity);
    }
    // One that was killed half-way.
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join(UNFINISHED), "").unwrap();
    let again = put(&bytes, &identity, &data, LATER).unwrap_err();
    assert!(matches!(again, RestoreError::Unfinished { .. }) && data.join(UNFINISHED).exists(), "{again}");
}

/// What only a program with the public key makes: layers that are right around contents that are not.
#[test]
fn contents_that_no_release_writes_are_refused() {
    let identity = Identity::generate();
    let locked = |contents: &dyn Fn(&mut Vec<u8>)| {
        let mut plain = Vec::new();
        contents(&mut plain);
        let mut locked = Locked::new(Vec::new(), &[identity.recipient()]).unwrap();
        locked.write_all(&plain).unwrap();
        locked.finish().unwrap()
    };
    let written = |dropped: &[Bucket], pairs: &[Pairs]| {
        let mut writer = BackupWriter::begin(Vec::new(), head()).unwrap();
        pairs.iter().for_each(|pairs| writer.pairs(pairs.clone()).unwrap());
        writer.finish(dropped.iter().copied().collect()).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("store");
    let refused = |contents: &dyn Fn(&mut Vec<u8>)| {
        let error = put(&locked(contents), &identity, &data, LATER).expect_err("is refused");
        assert!(std::fs::read_dir(&data).map_or(true, |mut left| left.next().is_none()), "{error}");
        error.to_string()
    };
    assert!(refused(&|plain| plain.extend(b"meridian\x02\x00")).contains("format 2"));
    assert!(refused(&|plain| plain.extend(b"something else")).contains("not a backup"));
    // A record that says that it is as large as can be.
    refused(&|plain| plain.extend(b"meridian\x01\x00\xff\xff\xff\xff"));
    refused(&|plain| plain.extend(b"meridian\x01\x00\x00\x00\x00\x02\x01\x01\x01"));
    // Whole backups with other contents.
    assert!(refused(&|plain| plain.extend(written(&[], &[]))).contains("meta"));
    let pair = |key: &[u8]| Pairs { bucket: Bucket::Lasting, pairs: vec![(key.to_vec(), vec![1])] };
    refused(&|plain| plain.extend(written(&[], &[pair(b"x")])));
    refused(&|plain| plain.extend(written(&[], &[pair(b"\xff")])));
    let tomb = pair(&[&b"t"[..], &[1; 33]].concat());
    assert!(refused(&|plain| plain.extend(written(&[], &[tomb.clone(), tomb.clone()]))).contains("damaged"));
    assert!(refused(&|plain| plain.extend(written(&[Bucket::Lasting], &[]))).contains("not over"));
    refused(&|plain| {
        plain.extend(written(&[], std::slice::from_ref(&tomb)));
        plain.push(0);
    });
    // Another end: that of a backup without the pairs.
    let (with, without) = (written(&[], std::slice::from_ref(&tomb)), written(&[], &[]));
    let end = without.len() - 37;
    assert!(refused(&|plain| plain.extend([&with[..with.len() - 37], &without[end..]].concat())).contains("checksum"));
}

proptest! {
    #[test]
    fn no_input_panics(plain in proptest::collection::vec(any::<u8>(), 0..400), lie in any::<u32>()) {
        let record = [&b"meridian\x01\x00"[..], &(lie % 600).to_le_bytes(), &plain].concat();
        for bytes in [&plain, &record] {
            if let Ok((mut reader, _)) = BackupReader::begin(&bytes[..]) {
                while reader.next().is_ok_and(|next| matches!(next, super::format::Next::Pairs(_))) {}
            }
        }
        let _ = lock::open(&plain[..], &Identity::generate()).map(drop);
    }
}

fn write(replica: &mut Replica<Store>, write: Write) {
    let now = Now { mono: Monotonic(Duration::ZERO), wall: NOW };
    replica.handle_write(now, write).unwrap();
    replica.settle_batches(now).unwrap();
}

/// Adds more to a store than the pieces that may wait, and nothing that compresses.
fn add_noise(replica: &mut Replica<Store>) {
    for number in 0..40 {
        let key = key(100 + number, 9);
        let noise: String = (0..40_000).map(|_| char::from(rand::random_range(b' '..b'~'))).collect();
        let change = Change::create(&key, &[("n", Value::Text(noise))]);
        write(replica, Write::Change { key, change });
    }
}

#[tokio::test]
async fn what_guests_do_while_a_backup_is_made_is_not_in_it() {
    let store = filled();
    let plain: Store = store.clone();
    let mut replica = open(plain.clone());
    add_noise(&mut replica);
    let (before, vector) = (shown(&plain), replica.durable().clone());
    let (identity, metrics) = (Identity::generate(), Arc::new(Metrics::new().unwrap()));
    let backups = Backups::new(store.clone(), 8 << 20, metrics);
    let mut pieces = backups.begin(backups.place().unwrap(), head(), vec![identity.recipient()]);
    let mut bytes = Vec::new();
    // The first piece shows that it has begun. It cannot end, because the next ones wait.
    let Some(Piece::Bytes(piece)) = pieces.recv().await else { panic!("a piece") };
    bytes.extend_from_slice(&piece);
    for number in (0..20).chain(100..150) {
        let key = key(number, if number < 20 { 1 + u64::from(number % 5) } else { 9 });
        match number % 3 {
            0 if number < 140 => {
                write(&mut replica, Write::Erase { name: key.name, lasting: false, reason: Reason::Subject })
            }
            _ => {
                let change = Change::create(&key, &[("m", Value::Text("later".into()))]);
                write(&mut replica, Write::Change { key, change });
            }
        }
    }
    assert!(shown(&plain) != before && store.kept_bytes() > 0);
    while let Some(Piece::Bytes(piece)) = pieces.recv().await {
        bytes.extend_from_slice(&piece);
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("store");
    assert_eq!(put(&bytes, &identity, &data, LATER).unwrap().documents, 60);
    let metrics = Arc::new(Metrics::new().unwrap());
    let faults = Faults::new(false, Arc::new(crate::clock::SystemClock::start()), metrics.clone());
    let back: Store = storage::open(&data, &storage(Engine::Sled), false, faults, metrics).unwrap();
    assert_eq!((shown(&back), open(back).durable()), (before, &vector));
}

#[tokio::test]
async fn one_at_a_time_and_none_for_nobody() {
    let (store, metrics) = (filled(), Arc::new(Metrics::new().unwrap()));
    add_noise(&mut open(store.clone()));
    let backups = Backups::new(store, 1 << 20, metrics.clone());
    let pieces = backups.begin(backups.place().unwrap(), head(), vec![Identity::generate().recipient()]);
    assert!(backups.place().is_none());
    drop(pieces);
    let freed = async {
        while backups.place().is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), freed).await.expect("it ends");
    assert!(metrics.render().unwrap().contains("meridian_backups_total{outcome=\"client_gone\"} 1"));
}
