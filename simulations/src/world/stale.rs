//! What a thief of a machine's disk can read.
//!
//! The disk keeps the first sealed value of every document, as stale pages and backups do. All values of a document are
//! sealed under one key, so one value is enough. A value that was found to be unreadable is not looked at again, because
//! keys that were destroyed do not come back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use replication::memory::MemoryStorage;
use replication::{
    Bucket, BucketBatch, DocumentKey, DocumentName, KeyName, MemoryKeys, Reader, Sealed, Storage as _, View, Wall,
    WriteBatch,
};

/// The first stored value of every document's row, by its key in the engine.
#[derive(Clone, Default)]
pub(crate) struct StalePages(Arc<Mutex<BTreeMap<DocumentKey, Vec<u8>>>>);

impl StalePages {
    /// Keeps the rows of a batch.
    pub(super) fn keep(&self, batch: &WriteBatch) {
        let mut pages = self.0.lock();
        for (key, value) in batch.buckets.iter().flat_map(|(_, bucket)| &bucket.writes) {
            if let (Some(value), Some(document)) = (value, key.strip_prefix(b"d").and_then(DocumentKey::decode)) {
                pages.entry(document).or_insert_with(|| value.clone());
            }
        }
    }

    /// The documents of this name (of all if there is none) for which `is_gone` holds and that a thief of these pages and
    /// of the keys can read.
    pub(crate) fn readable(
        &self,
        keys: &MemoryKeys,
        name: Option<&DocumentName>,
        is_gone: impl Fn(&DocumentKey) -> bool,
    ) -> Vec<DocumentKey> {
        let mut pages = self.0.lock();
        let rows = match name {
            Some(name) => pages.range(name.expiring(Wall(0))..=name.expiring(Wall::NEVER)),
            None => pages.range(..),
        };
        let mut gone = Vec::new();
        let mut writes: BTreeMap<Bucket, BucketBatch> = BTreeMap::new();
        for (key, value) in rows.filter(|(key, _)| is_gone(key)) {
            gone.push(*key);
            let row = ([b"d", &key.encode()[..]].concat(), Some(value.clone()));
            writes.entry(key.bucket()).or_default().writes.push(row);
        }
        if gone.is_empty() {
            return gone;
        }
        let engine = MemoryStorage::default();
        let names = gone
            .iter()
            .flat_map(|key| [Some(KeyName::tree(&key.name, key.bucket() == Bucket::Lasting)), KeyName::secret(key)]);
        let names: BTreeSet<KeyName> = names.flatten().collect();
        let keys = keys.copied(|name| names.contains(name));
        let stolen = engine.apply(&WriteBatch { buckets: writes.into_iter().collect() });
        let Ok(thief) = stolen.and_then(|()| Sealed::open(engine, keys, Box::new(|| [0; 16]), Duration::MAX)) else {
            // The key files must say that the hour of each document is over.
            return gone;
        };
        let reader = Reader::new(thief, Duration::MAX);
        gone.retain(|key| {
            let read = reader.row(key, View::applied(Wall(0))).is_ok_and(|row| row.is_some());
            if !read {
                pages.remove(key);
            }
            read
        });
        gone
    }
}
