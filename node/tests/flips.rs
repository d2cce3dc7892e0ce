//! A flipped bit in any file of a store never yields a wrong answer, on each engine.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use node::metrics::Metrics;
use node::storage::{FjallStorage, SledStorage, Store, sealed};
use replication::{
    Change, ChangeHash, Collection, DocumentId, DocumentKey, DocumentName, Event, Monotonic, Now, Reader, Reason,
    Replica, ReplicaConfig, ReplicaId, StorageError, TenantId, Value, Wall, Write,
};

const CACHE: u64 = 8 << 20;
/// Flips in each file, spread over its length.
const FLIPS: u64 = 2;
/// Names of the variables that tell a process which store to read.
const STORE: &str = "FLIPS_STORE";
const ENGINE: &str = "FLIPS_ENGINE";
/// What begins a line of its answer.
const ROW: &str = "row: ";
const END: &str = "end: ";
const START: Wall = Wall(1_800_000_000_000 / 86_400_000 * 86_400_000);

type Engine = (&'static str, fn(&Path) -> Result<Store, StorageError>);

const ENGINES: [Engine; 2] = [
    ("sled", |data| Ok(Arc::new(sealed(SledStorage::open(data, CACHE)?, data, Arc::new(Metrics::new().unwrap()))?))),
    ("fjall", |data| Ok(Arc::new(sealed(FjallStorage::open(data, CACHE)?, data, Arc::new(Metrics::new().unwrap()))?))),
];

fn now() -> Now {
    Now { mono: Monotonic(Duration::from_secs(1)), wall: START.plus(Duration::from_secs(1)) }
}

fn key(number: u8) -> DocumentKey {
    let life = Duration::from_hours(24 * (1 + u64::from(number) % 3));
    let id = DocumentId::arriving(START, [number; 10]);
    let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id };
    if number.is_multiple_of(7) { name.expiring(Wall::NEVER) } else { name.expiring(START.plus(life)) }
}

fn open(store: &Store) -> Result<Replica<Store>, StorageError> {
    let config = ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), BTreeMap::new());
    Replica::open(config, store.clone(), Box::new(|| ReplicaId(rand::random())), now())
}

type Shown = BTreeMap<DocumentKey, BTreeSet<ChangeHash>>;

fn shown(store: &Store) -> Result<Shown, StorageError> {
    let reader = Reader::new(store.clone(), Duration::from_hours(28 * 24));
    Ok(reader.all(Wall(0))?.into_iter().map(|(key, row)| (key, row.hashes())).collect())
}

fn fill(store: &Store) {
    let mut replica = open(store).unwrap();
    for number in 0..100 {
        let text = "a guest with a name ".repeat(1 + usize::from(number) % 20);
        let change = Change::create(&key(number), &[("n", Value::Text(text))]);
        replica.handle_write(now(), Write::Change { key: key(number), change }).unwrap();
        if number % 5 == 0 {
            replica.settle_batches(now()).unwrap();
        }
    }
    replica.settle_batches(now()).unwrap();
    for number in (0..100).step_by(9) {
        let erase = Write::Erase { name: key(number).name, lasting: number.is_multiple_of(7), reason: Reason::Subject };
        replica.handle_write(now(), erase).unwrap();
    }
    replica.settle_batches(now()).unwrap();
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, &target).unwrap();
    }
}

/// Flips a bit of a file. Returns false where there is nothing but zeros, which engines reserve for later.
fn flip(file: &Path, at: u64) -> bool {
    let mut bytes = fs::read(file).unwrap();
    let at = usize::try_from(at).unwrap();
    let holds_something = bytes[at.saturating_sub(64)..(at + 64).min(bytes.len())].iter().any(|byte| *byte != 0);
    bytes[at] ^= 1 << rand::random_range(0..8);
    fs::write(file, bytes).unwrap();
    holds_something
}

/// The rows that a node would show from this store, a line each, and whether it says that something is missing. `None` if
/// it says that the store is damaged, or dies of it.
///
/// Another process reads, because fjall believes some lengths that it finds, and a process ends that asks for so much memory.
fn answers(engine: &str, data: &Path) -> Option<(BTreeSet<String>, bool)> {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "a_store_is_read_in_a_process_of_its_own", "--nocapture"]);
    let output = child.env(STORE, data).env(ENGINE, engine).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix(ROW)).map(str::to_owned).collect();
    let end = text.lines().find_map(|line| line.strip_prefix(END))?;
    Some((rows, end.parse().unwrap()))
}

/// What [`answers`] runs. Without its variables it reads a store that it makes.
#[test]
fn a_store_is_read_in_a_process_of_its_own() {
    let named = std::env::var(ENGINE).ok().zip(std::env::var(STORE).ok());
    let folder = tempfile::tempdir().unwrap();
    let (engine, data) = match &named {
        Some((engine, data)) => (engine.as_str(), Path::new(data)),
        None => ("sled", folder.path()),
    };
    let (_, open_store) = ENGINES.into_iter().find(|(name, _)| *name == engine).unwrap();
    if named.is_none() {
        fill(&open_store(data).unwrap());
    }
    let store = open_store(data).unwrap();
    let mut replica = open(&store).unwrap();
    let says_so = std::iter::from_fn(|| replica.poll_event()).any(|event| matches!(event, Event::BucketsLost(_)));
    let shown = shown(&store).unwrap();
    for (key, hashes) in &shown {
        println!("{ROW}{key:?} {hashes:?}");
    }
    println!("{END}{says_so}");
    assert!(named.is_some() || (shown.len() == 88 && !says_so), "{} rows", shown.len());
}

#[test]
fn a_flipped_bit_is_found_or_changes_nothing() {
    for (engine, open_store) in ENGINES {
        let folder = tempfile::tempdir().unwrap();
        let (data, copied) = (folder.path().join("data"), folder.path().join("copy"));
        fs::create_dir(&data).unwrap();
        fill(&open_store(&data).unwrap());
        copy(&data, &copied);
        let (whole, _) = answers(engine, &copied).expect("nothing is damaged");
        assert_eq!(whole.len(), 88, "otherwise nothing is compared");
        fs::remove_dir_all(&copied).unwrap();
        let (mut flips, mut found) = (0, 0);
        for file in files(&data) {
            let length = fs::metadata(&file).unwrap().len();
            for part in 0..FLIPS.min(length) {
                copy(&data, &copied);
                let at = (length * part + rand::random_range(0..length)) / FLIPS.min(length);
                let at = at.min(length - 1);
                let counts = flip(&copied.join(file.strip_prefix(&data).unwrap()), at);
                flips += usize::from(counts);
                let answers = answers(engine, &copied);
                found += usize::from(answers.is_none());
                if let Some((shown, says_so)) = answers {
                    let file = file.display();
                    let wrong: Vec<_> = shown.difference(&whole).collect();
                    assert!(wrong.is_empty(), "{engine}: byte {at} of {file}: {wrong:?}");
                    assert!(shown == whole || says_so, "{engine}: byte {at} of {file}: a document is silently missing");
                }
                fs::remove_dir_all(&copied).unwrap();
            }
        }
        println!("{engine}: {flips} flips, {found} found");
        assert!(flips > 20 && found > 5, "{engine}: {flips} flips, {found} found");
    }
}
