//! The lock of a drill in the cluster document.
//!
//! The lock is one field. Locks that were taken in two places at once are concurrent values, and a reader gets all of
//! them: the drills see each other and give way. The field's name is no name of a region, so that orders skip it.
//!
//! # Invariants
//! - Pure: the caller reads and writes the document.

use api::Moment;
use api::drills::{DrillLock, NewDrillLock};
use replication::{Document, Value, Wall};

/// The field of the cluster document.
pub(crate) const FIELD: &str = "/drill";

/// The locks that have not lapsed at `now`, in the order of their ids.
pub(crate) fn read(document: &Document, now: Wall) -> Vec<DrillLock> {
    let values = document.all(FIELD).into_iter().filter_map(Value::as_text);
    // The empty text is a lock that was released.
    let mut locks: Vec<DrillLock> = values.filter_map(|text| serde_json::from_str(text).ok()).collect();
    locks.retain(|lock| lock.until.0 > now);
    locks.sort_by(|one, other| one.id.cmp(&other.id));
    locks
}

/// The lock of a drill that begins at `now`, unless another one holds. The drill that has the lock renews it so.
pub(crate) fn take(new: NewDrillLock, known: &[DrillLock], now: Wall) -> Result<DrillLock, DrillLock> {
    if let Some(other) = known.iter().find(|lock| lock.id != new.id) {
        return Err(other.clone());
    }
    let since = known.first().map_or(Moment(now), |own| own.since);
    let until = Moment(Wall(now.0.saturating_add(replication::millis(new.lasts))));
    Ok(DrillLock { id: new.id, name: new.name, by: new.by, since, until })
}

/// The value of the field for a lock.
pub(crate) fn value(lock: &DrillLock) -> Value {
    // The JSON holds only text, so this cannot fail.
    Value::Text(serde_json::to_string(lock).unwrap_or_default())
}

/// The value of the field after the lock `id` was released: a lock that another drill took at the same time stays.
pub(crate) fn released(id: &str, known: &[DrillLock]) -> Value {
    known.iter().find(|lock| lock.id != id).map_or(Value::Text(String::new()), value)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use api::drills::{DrillLock, NewDrillLock};
    use replication::{Change, Document, Wall};

    use super::{FIELD, read, released, take, value};
    use crate::orders;

    const NOW: Wall = Wall(1_780_000_000_000);
    const MINUTE: u64 = 60_000;

    fn new(id: &str) -> NewDrillLock {
        NewDrillLock { id: id.into(), name: "loss".into(), by: "mk".into(), lasts: Duration::from_secs(60) }
    }

    fn lock(id: &str) -> DrillLock {
        take(new(id), &[], NOW).unwrap()
    }

    #[test]
    fn a_lock_keeps_others_out_until_it_is_released_or_lapses() {
        let key = orders::key();
        let mut document = Document::of_changes(&[Change::create(&key, &[(FIELD, value(&lock("a")))])]).unwrap();
        assert_eq!(read(&document, NOW), [lock("a")]);
        assert_eq!(take(new("b"), &read(&document, NOW), NOW), Err(lock("a")));
        // Its own drill renews it.
        let later = Wall(NOW.0 + MINUTE / 2);
        let renewed = take(new("a"), &read(&document, later), later).unwrap();
        assert!(renewed.since == lock("a").since && renewed.until > lock("a").until);
        assert!(read(&document, Wall(NOW.0 + MINUTE)).is_empty(), "it lapses by itself");
        let change = document.amend(&key, &[(FIELD, Some(released("a", &read(&document, NOW))))]).unwrap();
        document = Document::of_changes(&[Change::create(&key, &[(FIELD, value(&lock("a")))]), change]).unwrap();
        assert!(read(&document, NOW).is_empty());
        assert!(orders::read(&document).is_empty(), "a lock is no order");
    }

    #[test]
    fn locks_that_were_taken_at_once_are_both_seen_and_released_one_by_one() {
        let key = orders::key();
        let at_once = ["a", "b"].map(|id| Change::create(&key, &[(FIELD, value(&lock(id)))]));
        let document = Document::of_changes(&at_once).unwrap();
        let both = read(&document, NOW);
        assert_eq!(both, [lock("a"), lock("b")]);
        assert_eq!(released("a", &both), value(&lock("b")));
    }
}
