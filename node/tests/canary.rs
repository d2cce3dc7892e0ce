//! Nothing readable of an erased or expired visit is left in any file, on each engine.
//!
//! Every visit holds a canary: random text that is nowhere else. The test looks for canaries in every file below the
//! node's folder, in plain, base64, hexadecimal and UTF-16, and inside zstd frames. On the bare engines the same look
//! finds them, otherwise it would prove nothing.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use memchr::memmem;
use node::metrics::Metrics;
use node::storage::{FjallStorage, SledStorage, Store, sealed};
use replication::{
    Change, Collection, DocumentId, DocumentKey, DocumentName, Monotonic, Now, Outcome, Query, Reader, Reason, Replica,
    ReplicaConfig, ReplicaId, TenantId, Value, View, Wall, Write,
};

const CACHE: u64 = 8 << 20;
/// The first moment of a day.
const START: Wall = Wall(1_800_000_000_000 / 86_400_000 * 86_400_000);
const TENANT: TenantId = TenantId([1; 16]);
const VISITS: Collection = Collection(2);
const VISITORS: u8 = 60;

type Engine = (&'static str, fn(&Path) -> Store);

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new().unwrap())
}

const SEALED: [Engine; 2] = [
    ("sled", |data| Arc::new(sealed(SledStorage::open(data, CACHE).unwrap(), data, metrics()).unwrap())),
    ("fjall", |data| Arc::new(sealed(FjallStorage::open(data, CACHE).unwrap(), data, metrics()).unwrap())),
];
const BARE: [Engine; 2] = [
    ("sled", |data| Arc::new(SledStorage::open(data, CACHE).unwrap())),
    ("fjall", |data| Arc::new(FjallStorage::open(data, CACHE).unwrap())),
];

fn after(time: Duration) -> Now {
    Now { mono: Monotonic(time), wall: START.plus(time) }
}

/// Visits of three kinds: erased early, expired within hours, alive for days.
fn key(visitor: u8) -> DocumentKey {
    let life = Duration::from_hours(if visitor % 3 == 1 { 2 } else { 14 * 24 });
    let id = DocumentId::arriving(START, [visitor; 10]);
    DocumentName { collection: VISITS, tenant: TENANT, id }.expiring(START.plus(life))
}

/// Random text; the long ones are stored in parts by sled.
fn canary(visitor: u8) -> String {
    let length = if visitor % 10 < 2 { 9_000 } else { 40 };
    std::iter::repeat_with(|| char::from(rand::random_range(b'a'..=b'z'))).take(length).collect()
}

struct Node {
    store: Store,
    replica: Replica<Store>,
}

impl Node {
    fn start(open: fn(&Path) -> Store, data: &Path, now: Now) -> Node {
        let store = open(data);
        let config = ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), BTreeMap::new());
        let replica = Replica::open(config, store.clone(), Box::new(|| ReplicaId(1)), now).unwrap();
        Node { store, replica }
    }

    fn write(&mut self, now: Now, write: Write) -> Vec<Outcome> {
        self.replica.handle_write(now, write).unwrap();
        self.replica.settle_batches(now).unwrap();
        let events = std::iter::from_fn(|| self.replica.poll_event());
        let outcome =
            |event| if let replication::Event::Written { outcome, .. } = event { Some(outcome) } else { None };
        events.filter_map(outcome).collect()
    }

    /// Checks visitors in, corrects some, erases some, and lets hours pass.
    fn play(&mut self, canaries: &[String]) {
        let now = after(Duration::ZERO);
        for visitor in 0..VISITORS {
            let (key, canary) = (key(visitor), &canaries[usize::from(visitor)]);
            let change = Change::create(&key, &[("name", Value::Text(canary.clone()))]);
            assert!(matches!(self.write(now, Write::Change { key, change })[..], [Outcome::Created(_)]));
            let reader = Reader::new(self.store.clone(), Duration::from_hours(28 * 24));
            let row = reader.row(&key, View::applied(START)).unwrap().unwrap();
            if visitor % 2 == 0 {
                let table = Value::Text("Tisch 4".into());
                let change = row.document().unwrap().amend(&key, &[("table", Some(table))]).unwrap();
                self.write(now, Write::Change { key, change });
            }
        }
        for visitor in (0..VISITORS).filter(|visitor| visitor % 3 == 0) {
            let erase = Write::Erase { name: key(visitor).name, lasting: false, reason: Reason::Subject };
            assert!(matches!(self.write(now, erase)[..], [Outcome::Erased(_)]));
        }
        // The third hour is over, and its day is not.
        self.replica.handle_timeout(after(Duration::from_hours(5))).unwrap();
        self.replica.settle_batches(after(Duration::from_hours(5))).unwrap();
    }

    /// Whether the visit is shown by any door of the store.
    fn shows(&self, visitor: u8) -> bool {
        let reader = Reader::new(self.store.clone(), Duration::from_hours(28 * 24));
        let view = View::applied(Wall(0));
        let query = Query {
            collection: VISITS,
            tenant: TENANT,
            from: DocumentId::first_of(Wall(0)),
            to: DocumentId::first_of(Wall::NEVER),
            limit: 1_000,
        };
        let key = key(visitor);
        reader.rows(&key.name, false, view).unwrap().iter().any(|(found, _)| *found == key)
            || reader.row(&key, view).unwrap().is_some()
            || reader.scan(&query, view).unwrap().rows.contains_key(&key.name.id)
            || reader.all(Wall(0)).unwrap().contains_key(&key)
    }
}

/// How a text may be written in a file.
fn forms(canary: &str) -> Vec<Vec<u8>> {
    // Long texts may be cut in parts, so a piece must be enough.
    let piece = &canary.as_bytes()[..canary.len().min(30)];
    let mut forms = vec![piece.to_vec()];
    // In base64 it may begin at each of three places in a group; the groups in the middle are the same.
    for skipped in 0..3 {
        let whole = &piece[skipped..skipped + (piece.len() - skipped) / 3 * 3];
        forms.push(data_encoding::BASE64_NOPAD.encode(whole).into_bytes());
    }
    forms.push(data_encoding::HEXLOWER.encode(piece).into_bytes());
    forms.push(data_encoding::HEXUPPER.encode(piece).into_bytes());
    forms.push(piece.iter().flat_map(|byte| [*byte, 0]).collect());
    forms.push(piece.iter().flat_map(|byte| [0, *byte]).collect());
    forms
}

/// A file's bytes, and what unfolds from each zstd frame in it.
fn contents(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).unwrap();
    let mut all = Vec::new();
    for start in memmem::find_iter(&bytes, &[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut unfolded = Vec::new();
        if let Ok(decoder) = zstd::Decoder::new(&bytes[start..]) {
            // What follows the frame is none.
            let _ = decoder.single_frame().take(1 << 24).read_to_end(&mut unfolded);
        }
        all.push(unfolded);
    }
    all.push(bytes);
    all
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The visitors whose canaries are in any file.
fn found(data: &Path, canaries: &[String]) -> Vec<u8> {
    let pieces: Vec<Vec<u8>> = files(data).iter().flat_map(|file| contents(file)).collect();
    assert!(pieces.iter().map(Vec::len).sum::<usize>() > 10_000, "the files were read");
    let is_there = |visitor: &u8| {
        forms(&canaries[usize::from(*visitor)]).iter().any(|form| {
            let finder = memmem::Finder::new(form);
            pieces.iter().any(|piece| finder.find(piece).is_some())
        })
    };
    (0..VISITORS).filter(is_there).collect()
}

#[test]
fn no_file_shows_a_visit_and_no_door_one_that_is_erased_or_expired() {
    for (engine, open) in SEALED {
        let folder = tempfile::tempdir().unwrap();
        let canaries: Vec<String> = (0..VISITORS).map(canary).collect();
        let mut node = Node::start(open, folder.path(), after(Duration::ZERO));
        node.play(&canaries);
        for again in [false, true] {
            if again {
                drop(node);
                node = Node::start(open, folder.path(), after(Duration::from_hours(5)));
            }
            assert_eq!(found(folder.path(), &canaries), Vec::<u8>::new(), "{engine}");
            let shown: Vec<u8> = (0..VISITORS).filter(|visitor| node.shows(*visitor)).collect();
            let alive: Vec<u8> = (0..VISITORS).filter(|visitor| visitor % 3 == 2).collect();
            assert_eq!(shown, alive, "{engine}: what is alive can be read");
        }
        let log = std::fs::read_to_string(folder.path().join("keys/destroyed.jsonl")).unwrap();
        assert_eq!(log.lines().filter(|line| line.contains("documents")).count(), usize::from(VISITORS) / 3, "{log}");
        assert_eq!(log.lines().filter(|line| line.contains("expiries")).count(), 1, "{log}");
    }
}

#[test]
fn the_same_look_finds_them_where_nothing_is_sealed() {
    for (engine, open) in BARE {
        let folder = tempfile::tempdir().unwrap();
        let canaries: Vec<String> = (0..VISITORS).map(canary).collect();
        let mut node = Node::start(open, folder.path(), after(Duration::ZERO));
        node.play(&canaries);
        let found = found(folder.path(), &canaries);
        let erased = found.iter().filter(|visitor| *visitor % 3 == 0).count();
        assert!(erased > 0 && found.len() > usize::from(VISITORS) / 3, "{engine}: {found:?}");
    }
}
