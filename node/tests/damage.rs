//! A store that lost one bucket, or in which a bit flipped: the engine refuses it, or the replica notices that it went
//! back. It must never count as complete while it lacks something.
//!
//! `MERIDIAN_CUTS` in the environment says how many bits are flipped per engine.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use node::storage::{FjallStorage, SledStorage, Store};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use replication::{
    Change, Collection, DocumentId, DocumentName, Monotonic, Now, Reader, Reason, Replica, ReplicaConfig, ReplicaId,
    Storage as _, StorageError, TenantId, Value, View, Wall, Write,
};

const CACHE: u64 = 8 << 20;
const NOW: Now = Now { mono: Monotonic(Duration::ZERO), wall: Wall(1_800_000_000_000) };
const OWN: ReplicaId = ReplicaId(1);
const VISITS: u64 = 300;
const VENUES: u8 = 20;
const ERASED: u64 = 10;

/// An engine's name and the function that opens it.
type Engine = (&'static str, fn(&Path) -> Result<Store, StorageError>);

const ENGINES: [Engine; 2] = [
    ("sled", |folder| Ok(Arc::new(SledStorage::open(folder, CACHE)?))),
    ("fjall", |folder| Ok(Arc::new(FjallStorage::open(folder, CACHE)?))),
];

fn config() -> ReplicaConfig {
    ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), BTreeMap::new())
}

fn name(collection: u8, arrival: Wall, number: u64) -> DocumentName {
    let mut rest = [0; 10];
    rest[2..].copy_from_slice(&number.to_be_bytes());
    let id = DocumentId::arriving(arrival, rest);
    DocumentName { collection: Collection(collection), tenant: TenantId([1; 16]), id }
}

/// Visits that expire on three days, venues, and erasures, whose tombstones lie in later buckets.
fn fill(folder: &Path, open: &Engine) {
    let store = open.1(folder).unwrap();
    let mut replica = Replica::open(config(), store.clone(), Box::new(|| OWN), NOW).unwrap();
    let mut write = |write: Write| {
        replica.handle_write(NOW, write).unwrap();
        while let Some(batch) = replica.poll_batch().unwrap() {
            store.sync().unwrap();
            replica.handle_durable(NOW, batch).unwrap();
        }
    };
    let value = |number: u64| [("n", Value::Text(format!("guest {number} {}", "x".repeat(200))))];
    for number in 0..VENUES {
        let key = name(1, Wall(0), u64::from(number)).expiring(Wall::NEVER);
        write(Write::Change { key, change: Change::create(&key, &value(u64::from(number))) });
    }
    for number in 0..VISITS {
        let key = name(2, NOW.wall, number).expiring(NOW.wall.plus(Duration::from_hours(24 * (12 + number % 3))));
        write(Write::Change { key, change: Change::create(&key, &value(number)) });
    }
    for number in 0..ERASED {
        write(Write::Erase { name: name(2, NOW.wall, number), lasting: false, reason: Reason::Subject });
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// An undamaged copy is complete, so the damage is what the tests below notice.
fn is_whole_without_damage(whole: &Path, engine: &Engine) {
    let folder = tempfile::tempdir().unwrap();
    copy(whole, folder.path());
    assert_eq!(reopened(folder.path(), engine), Ok("nothing was hit"), "{}", engine.0);
}

/// `Ok` says how the damage was noticed; `Err` means that it was not.
fn reopened(folder: &Path, engine: &Engine) -> Result<&'static str, String> {
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let store = engine.1(folder).map_err(|_| "refused")?;
        let mut next = 1;
        let mint = Box::new(move || {
            next += 1;
            ReplicaId(next)
        });
        let replica = Replica::open(config(), store.clone(), mint, NOW).map_err(|_| "refused")?;
        if replica.status(NOW).replica != OWN {
            return Ok(Err("recognised"));
        }
        // All buckets share one journal, so its last entries are gone, and the vector shows that. Peers send them
        // again.
        if replica.status(NOW).durable.get(OWN) < VISITS + u64::from(VENUES) + ERASED {
            return Ok(Err("went back with its vector"));
        }
        let rows = Reader::new(store.clone(), config().max_retention).all(NOW.wall).map_err(|_| "refused when read")?;
        let reader = Reader::new(store.clone(), config().max_retention);
        let erased = (0..ERASED)
            .filter(|n| reader.is_erased(&name(2, NOW.wall, *n), false, View::applied(NOW.wall)).unwrap_or(false));
        Ok::<_, &str>(Ok((rows.len() as u64, erased.count() as u64)))
    }));
    match opened {
        Err(_) => Ok("panicked while it was opened"),
        Ok(Err(refused)) => Ok(refused),
        Ok(Ok(Err(recognised))) => Ok(recognised),
        Ok(Ok(Ok(found))) if found == (VISITS - ERASED + u64::from(VENUES), ERASED) => Ok("nothing was hit"),
        Ok(Ok(Ok((rows, erased)))) => Err(format!("taken for whole with {rows} rows and {erased} erasures")),
    }
}

#[test]
fn a_store_that_lost_a_bucket_is_not_taken_for_whole() {
    let engine = &ENGINES[0];
    let whole = tempfile::tempdir().unwrap();
    fill(whole.path(), engine);
    is_whole_without_damage(whole.path(), engine);
    let mut unnoticed = Vec::new();
    for bucket in std::fs::read_dir(whole.path().join("buckets")).unwrap() {
        let bucket = bucket.unwrap().file_name();
        let folder = tempfile::tempdir().unwrap();
        copy(whole.path(), folder.path());
        std::fs::remove_dir_all(folder.path().join("buckets").join(&bucket)).unwrap();
        match reopened(folder.path(), engine) {
            Ok(met) => println!("without {bucket:?}: {met}"),
            Err(why) => unnoticed.push(format!("without {bucket:?}: {why}")),
        }
    }
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn a_store_with_a_flipped_bit_is_not_taken_for_whole() {
    let rounds = std::env::var("MERIDIAN_CUTS").map_or(8, |rounds| rounds.parse().unwrap());
    let mut unnoticed = Vec::new();
    for engine in &ENGINES {
        let whole = tempfile::tempdir().unwrap();
        fill(whole.path(), engine);
        is_whole_without_damage(whole.path(), engine);
        let mut met: BTreeMap<&str, usize> = BTreeMap::new();
        for round in 0..rounds {
            let mut rng = StdRng::seed_from_u64(round);
            let folder = tempfile::tempdir().unwrap();
            copy(whole.path(), folder.path());
            let mut data = Vec::new();
            files(folder.path(), &mut data);
            data.retain(|path| {
                path.file_name().is_some_and(|n| n == "db") || path.extension().is_some_and(|e| e == "jnl")
            });
            data.sort();
            let path = &data[rng.random_range(0..data.len())];
            let mut bytes = std::fs::read(path).unwrap();
            // Choose from what was written, and not from space that was allocated ahead.
            let end = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
            bytes[rng.random_range(0..end)] ^= 1 << rng.random_range(0..8);
            std::fs::write(path, bytes).unwrap();
            match reopened(folder.path(), engine) {
                Ok(how) => *met.entry(how).or_default() += 1,
                Err(why) => unnoticed.push(format!("{} round {round}: {why}", engine.0)),
            }
        }
        println!("{}: {met:?}", engine.0);
    }
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}
