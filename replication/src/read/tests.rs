//! Views: what a reader shows while a batch is in flight, and how much a page reads.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use super::{Page, Query, Reader, View};
use crate::change::Change;
use crate::ids::ReplicaId;
use crate::key::{Bucket, Collection, DocumentId, DocumentKey, DocumentName, TenantId};
use crate::log::Reason;
use crate::memory::MemoryStorage;
use crate::replica::{Replica, ReplicaConfig, Write};
use crate::storage::{ScanVisitor, Storage, StorageError, WriteBatch, document_key};
use crate::time::{DAY_MS, Monotonic, Now, Wall};
use crate::value::Value;

const T0: u64 = 1_800_000_000_000 / DAY_MS * DAY_MS;
const NOW: Now = Now { mono: Monotonic(Duration::ZERO), wall: Wall(T0 + 40 * DAY_MS) };
const DAY: Duration = Duration::from_hours(24);
const VISITS: Collection = Collection(2);
const TENANT: TenantId = TenantId([1; 16]);

/// A store of one replica whose batches become durable only when a test says so.
struct Node {
    replica: Replica<MemoryStorage>,
    storage: MemoryStorage,
}

impl Node {
    fn new() -> Node {
        let storage = MemoryStorage::default();
        let config = ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), [].into());
        let replica = Replica::open(config, storage.clone(), Box::new(|| ReplicaId(1)), NOW).unwrap();
        Node { replica, storage }
    }

    fn reader(&self) -> Reader<MemoryStorage> {
        Reader::new(
            self.storage.clone(),
            ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), [].into()).max_retention,
        )
    }

    fn view(&self) -> View<'_> {
        View::durable(NOW.wall, self.replica.durable())
    }

    fn write(&mut self, key: DocumentKey, change: Change) {
        self.replica.handle_write(NOW, Write::Change { key, change }).unwrap();
    }

    fn erase(&mut self, name: DocumentName) {
        self.replica.handle_write(NOW, Write::Erase { name, lasting: false, reason: Reason::Subject }).unwrap();
    }

    /// Applies the written batch, which does not become durable: the disk hangs.
    fn apply(&mut self) -> crate::replica::BatchId {
        self.replica.poll_batch().unwrap().unwrap()
    }

    /// Makes the batch durable: the disk goes on.
    fn settle(&mut self) {
        self.replica.settle_batches(NOW).unwrap();
    }
}

fn name(days_ago: u64, number: u8) -> DocumentName {
    let arrival = Wall(NOW.wall.0 - days_ago * DAY_MS + u64::from(number));
    DocumentName { collection: VISITS, tenant: TENANT, id: DocumentId::arriving(arrival, [number; 10]) }
}

fn key(days_ago: u64, number: u8) -> DocumentKey {
    let name = name(days_ago, number);
    name.expiring(name.id.arrival().plus(DAY * 14))
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn created(key: &DocumentKey) -> Change {
    Change::create(key, &[("n", text("first"))])
}

fn query(limit: usize) -> Query {
    let first = |ms: u64| DocumentId::first_of(Wall(ms));
    Query { collection: VISITS, tenant: TENANT, from: first(T0), to: first(NOW.wall.0 + DAY_MS), limit }
}

fn ids(page: &Page) -> Vec<DocumentId> {
    page.rows.keys().copied().collect()
}

#[test]
fn while_the_disk_hangs_a_reader_shows_what_is_durable() {
    let mut node = Node::new();
    let (old, new) = (key(1, 1), key(1, 2));
    node.write(old, created(&old));
    node.settle();
    let row = node.reader().row(&old, node.view()).unwrap().unwrap();
    let correction = row.document().unwrap().amend(&old, &[("n", Some(text("second")))]).unwrap();
    node.write(old, correction);
    node.write(new, created(&new));
    let batch = node.apply();

    let reader = node.reader();
    let value = |row: Option<crate::Row>| row.map(|row| row.document().unwrap().get("n").cloned().unwrap());
    assert_eq!(value(reader.row(&old, node.view()).unwrap()), Some(text("first")));
    assert_eq!(value(reader.row(&new, node.view()).unwrap()), None);
    assert_eq!(reader.rows(&new.name, false, node.view()).unwrap().len(), 0);
    let page = reader.scan(&query(9), node.view()).unwrap();
    assert_eq!((ids(&page), page.last), (vec![old.name.id], Some(new.name.id)), "looked at, not shown");
    // The applied batch is in storage all the while.
    assert_eq!(value(reader.row(&new, View::applied(NOW.wall)).unwrap()), Some(text("first")));

    node.storage.sync().unwrap();
    node.replica.handle_durable(NOW, batch).unwrap();
    assert_eq!(value(reader.row(&old, node.view()).unwrap()), Some(text("second")));
    assert_eq!(ids(&reader.scan(&query(9), node.view()).unwrap()), [old.name.id, new.name.id]);
}

/// A creation is dated by its first log entry, which later corrections, compaction and a batch in flight do not move. The
/// last change is dated by the last entry.
#[test]
fn a_document_is_dated_by_its_first_and_its_last_log_entry() {
    let mut node = Node::new();
    let key = key(1, 1);
    let created_at = |node: &Node, view: View<'_>| {
        let row = node.reader().row(&key, view).unwrap()?;
        node.reader().created_at(&key, &row, view).unwrap()
    };
    node.write(key, created(&key));
    let batch = node.apply();
    assert_eq!(created_at(&node, node.view()), None);
    assert_eq!(created_at(&node, View::applied(NOW.wall)), Some(NOW.wall));
    node.storage.sync().unwrap();
    node.replica.handle_durable(NOW, batch).unwrap();
    assert_eq!(created_at(&node, node.view()), Some(NOW.wall));

    let later = |minutes: u64| {
        let by = Duration::from_mins(minutes);
        Now { mono: Monotonic(NOW.mono.0 + by), wall: NOW.wall.plus(by) }
    };
    for minutes in 1..40 {
        let row = node.reader().row(&key, node.view()).unwrap().unwrap();
        let value = text(&format!("correction {minutes}"));
        let change = row.document().unwrap().amend(&key, &[("n", Some(value))]).unwrap();
        node.replica.handle_write(later(minutes), Write::Change { key, change }).unwrap();
        node.replica.settle_batches(later(minutes)).unwrap();
        assert_eq!(created_at(&node, node.view()), Some(NOW.wall), "after {minutes} minutes");
        let row = node.reader().row(&key, node.view()).unwrap().unwrap();
        let changed = node.reader().changed_at(&key, &row, node.view()).unwrap();
        assert_eq!(changed, Some(later(minutes).wall), "after {minutes} minutes");
    }
}

#[test]
fn a_tombstone_counts_once_it_is_durable() {
    let mut node = Node::new();
    let key = key(1, 1);
    node.write(key, created(&key));
    node.settle();
    node.erase(key.name);
    let batch = node.apply();
    let reader = node.reader();
    assert!(reader.row(&key, node.view()).unwrap().is_some());
    assert!(!reader.is_erased(&key.name, false, node.view()).unwrap());
    assert_eq!(reader.scan(&query(9), node.view()).unwrap().rows.len(), 1);
    assert!(reader.row(&key, View::applied(NOW.wall)).unwrap().is_none());

    node.storage.sync().unwrap();
    node.replica.handle_durable(NOW, batch).unwrap();
    // The row is still there, because only the next batch removes it.
    assert!(node.storage.get(key.bucket(), &document_key(&key)).unwrap().is_some());
    assert!(reader.row(&key, node.view()).unwrap().is_none());
    assert!(reader.rows(&key.name, false, node.view()).unwrap().is_empty());
    assert!(reader.is_erased(&key.name, false, node.view()).unwrap());
    let page = reader.scan(&query(9), node.view()).unwrap();
    assert_eq!((page.rows.len(), page.last), (0, Some(key.name.id)), "a page of erased visits is not the end");
}

#[test]
fn pages_of_any_size_join_to_the_whole() {
    let mut node = Node::new();
    let mut all = Vec::new();
    // Retentions differ, so the visits of one day lie in several buckets.
    for days_ago in 1..9 {
        for number in 1..12 {
            let name = name(days_ago, number);
            let key = name.expiring(name.id.arrival().plus(DAY * if number % 3 == 0 { 20 } else { 14 }));
            node.write(key, created(&key));
            all.push(name.id);
        }
    }
    node.settle();
    all.sort_unstable();
    let reader = node.reader();
    for limit in [1, 2, 7, 10, 88, 1_000] {
        let mut query = query(limit);
        let mut found = Vec::new();
        loop {
            let page = reader.scan(&query, node.view()).unwrap();
            assert!(page.rows.len() <= limit && page.unreadable.is_empty());
            found.extend(ids(&page));
            let Some(last) = page.last else { break };
            query.from = DocumentId((u128::from_be_bytes(last.0) + 1).to_be_bytes());
        }
        assert_eq!(found, all, "{limit}");
    }
}

#[test]
fn an_undecodable_row_is_counted_and_hides_no_other() {
    let mut node = Node::new();
    let (good, bad) = (key(1, 1), key(1, 2));
    for key in [good, bad] {
        node.write(key, created(&key));
    }
    node.settle();
    let mut batch = WriteBatch::default();
    batch.buckets.push((
        bad.bucket(),
        crate::storage::BucketBatch { writes: vec![(document_key(&bad), Some(b"damaged".to_vec()))] },
    ));
    node.storage.apply(&batch).unwrap();
    let page = node.reader().scan(&query(9), node.view()).unwrap();
    assert_eq!((ids(&page), page.unreadable, page.last), (vec![good.name.id], vec![bad.name.id], Some(bad.name.id)));
    assert!(matches!(node.reader().row(&bad, node.view()), Err(StorageError::Corrupt { .. })));
}

/// Counts the pairs of all scans.
struct Counting<'a>(&'a MemoryStorage, Cell<usize>);

impl Storage for Counting<'_> {
    fn get(&self, bucket: Bucket, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.0.get(bucket, key)
    }
    fn scan(
        &self,
        bucket: Bucket,
        start: &[u8],
        end: &[u8],
        visitor: &mut ScanVisitor<'_>,
    ) -> Result<(), StorageError> {
        self.0.scan(bucket, start, end, &mut |key, value| {
            self.1.set(self.1.get() + 1);
            visitor(key, value)
        })
    }
    fn apply(&self, _: &WriteBatch) -> Result<(), StorageError> {
        unreachable!("a reader writes nothing")
    }
    fn sync(&self) -> Result<(), StorageError> {
        unreachable!("a reader writes nothing")
    }
    fn drop_bucket(&self, _: Bucket) -> Result<(), StorageError> {
        unreachable!("a reader writes nothing")
    }
    fn expire(&self, _: Wall) -> Result<(), StorageError> {
        unreachable!("a reader writes nothing")
    }
    fn buckets(&self) -> BTreeSet<Bucket> {
        self.0.buckets()
    }
}

/// A page of a long window reads about one page, not a page of each day.
#[test]
fn a_page_reads_about_a_page() {
    let mut node = Node::new();
    for days_ago in 1..14 {
        for number in 1..=200 {
            let key = key(days_ago, number);
            node.write(key, created(&key));
        }
    }
    node.settle();
    let storage = Counting(&node.storage, Cell::new(0));
    let reader = Reader::new(storage, node.reader().max_retention);
    let page = reader.scan(&query(100), node.view()).unwrap();
    assert_eq!(page.rows.len(), 100);
    let looked = reader.storage.1.get();
    assert!(looked < 300, "{looked} of 2,600");
}

/// Lasting documents of one collection, over all tenants, in pages; erased ones and those that are not durable are left
/// out, and a page reads no more than its names.
#[test]
fn lasting_documents_are_read_in_pages() {
    let mut node = Node::new();
    let lasting = |collection: u8, tenant: u8| {
        let id = DocumentId([tenant; 16]);
        DocumentName { collection: Collection(collection), tenant: TenantId([tenant; 16]), id }.expiring(Wall::NEVER)
    };
    for tenant in 1..=9 {
        for collection in [1, 3] {
            let key = lasting(collection, tenant);
            node.write(key, created(&key));
        }
    }
    node.replica
        .handle_write(NOW, Write::Erase { name: lasting(1, 4).name, lasting: true, reason: Reason::Owner })
        .unwrap();
    node.settle();
    let late = lasting(1, 10);
    node.write(late, created(&late));
    node.apply();
    let read = |limit: usize| {
        let (mut tenants, mut after) = (Vec::new(), None);
        loop {
            let storage = Counting(&node.storage, Cell::new(0));
            let reader = Reader::new(storage, node.reader().max_retention);
            let page = reader.lasting(Collection(1), after.as_ref(), limit, node.view()).unwrap();
            assert!(reader.storage.1.get() <= limit + 1);
            tenants.extend(page.rows.iter().map(|(key, _)| key.name.tenant.0[0]));
            after = page.last;
            if after.is_none() {
                return tenants;
            }
        }
    };
    for limit in 1..=12 {
        assert_eq!(read(limit), [1, 2, 3, 5, 6, 7, 8, 9], "{limit}");
    }
}
