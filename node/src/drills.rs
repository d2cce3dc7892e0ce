//! The lock of a drill: a replicated document of its own, which expires when the lock lapses and is erased when the drill
//! ends.
//!
//! Locks that were taken in two places at once are two documents, and a reader gets both: the drills see each other and
//! give way. A field of the cluster document would not do, because the history of a document that lasts never goes.
//!
//! # Invariants
//! - Pure: the caller reads and writes the documents.

use api::Moment;
use api::drills::{DrillLock, LASTS, NewDrillLock};
use replication::{Collection, Document, DocumentId, DocumentKey, DocumentName, TenantId, Value, Wall};

/// The collection of the locks, which belong to no tenant.
pub(crate) const LOCKS: Collection = Collection(5);

/// The tenant of the locks.
pub(crate) const NO_TENANT: TenantId = TenantId([0; 16]);

/// More locks than this were never taken at once.
pub(crate) const MOST: usize = 64;

const FIELD: &str = "lock";

/// The ids that a lock can have that holds at `now`, from the first to the first after the last.
pub(crate) fn ids(now: Wall) -> (DocumentId, DocumentId) {
    // The clock of the node that took it may be ahead.
    const AHEAD_MS: u64 = 5 * 60_000;
    let earliest = Wall(now.0.saturating_sub(replication::millis(*LASTS.end()) + AHEAD_MS));
    (DocumentId::first_of(earliest), DocumentId::first_of(Wall(now.0.saturating_add(AHEAD_MS))))
}

/// The lock that a document holds.
pub(crate) fn read(document: &Document) -> Option<DrillLock> {
    document.all(FIELD).into_iter().filter_map(Value::as_text).find_map(|text| serde_json::from_str(text).ok())
}

/// The lock of a drill that begins at `now`, unless another one holds.
pub(crate) fn take(new: NewDrillLock, known: &[DrillLock], now: Wall) -> Result<DrillLock, DrillLock> {
    match known.first() {
        Some(other) => Err(other.clone()),
        None => {
            let until = Moment(Wall(now.0.saturating_add(replication::millis(new.lasts))));
            Ok(DrillLock { id: new.id, name: new.name, by: new.by, since: Moment(now), until })
        }
    }
}

/// The key of the document that holds a lock; `rest` tells it from others of that millisecond.
pub(crate) fn key(lock: &DrillLock, rest: [u8; 10]) -> DocumentKey {
    let id = DocumentId::arriving(lock.since.0, rest);
    DocumentName { collection: LOCKS, tenant: NO_TENANT, id }.expiring(lock.until.0)
}

/// The fields of that document.
pub(crate) fn fields(lock: &DrillLock) -> [(&'static str, Value); 1] {
    // The JSON holds only text, so this cannot fail.
    [(FIELD, Value::Text(serde_json::to_string(lock).unwrap_or_default()))]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use api::drills::NewDrillLock;
    use replication::{Change, Document, Wall};

    use super::{fields, ids, key, read, take};

    const NOW: Wall = Wall(1_780_000_000_000);

    fn new(id: &str) -> NewDrillLock {
        NewDrillLock { id: id.into(), name: "loss".into(), by: "mk".into(), lasts: Duration::from_secs(60) }
    }

    #[test]
    fn a_lock_keeps_others_out_and_lapses_with_its_document() {
        let lock = take(new("a"), &[], NOW).unwrap();
        assert_eq!(take(new("b"), std::slice::from_ref(&lock), NOW), Err(lock.clone()));
        let key = key(&lock, [7; 10]);
        assert_eq!(key.expires_at, lock.until.0);
        let document = Document::of_changes(&[Change::create(&key, &fields(&lock))]).unwrap();
        assert_eq!(read(&document), Some(lock));
        let (from, to) = ids(Wall(NOW.0 + 59_999));
        assert!((from..to).contains(&key.name.id), "it is looked for while it holds");
    }
}
