//! Rows: bounds, compaction, the stored form.

#![allow(clippy::unwrap_used)]

mod view;

use super::{COMPACT_AT, Row};
use crate::bounds::Bounds;
use crate::change::Change;
use crate::document::Document;
use crate::ids::{Dot, ReplicaId};
use crate::key::{Collection, DocumentId, DocumentKey, DocumentName, TenantId};
use crate::time::Wall;
use crate::value::Value;

fn key(expires_at: Wall) -> DocumentKey {
    let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id: DocumentId([2; 16]) };
    name.expiring(expires_at)
}

fn dot(seq: u64) -> Dot {
    Dot { origin: ReplicaId(1), seq }
}

/// A creation and `count` corrections, each of the one before.
fn history(key: &DocumentKey, count: i64) -> Vec<Change> {
    let mut changes = vec![Change::create(key, &[("n", Value::Text("Anna".to_owned())), ("p", Value::Int(0))])];
    let mut document = Document::of_changes(&changes).unwrap();
    let mut row = Row::default();
    row.add(dot(1), changes[0].clone());
    for number in 1..=count {
        let change = document.amend(key, &[("p", Some(Value::Int(number)))]).unwrap();
        row.add(dot(number.unsigned_abs() + 1), change.clone());
        changes.push(change);
        row.compact().unwrap();
        document = row.document().unwrap();
    }
    changes
}

#[test]
fn adding_builds_no_document_and_compaction_keeps_all() {
    let key = key(Wall::NEVER);
    let changes = history(&key, 40);
    let mut row = Row::default();
    for (seq, change) in (1..).zip(&changes) {
        row.add(dot(seq), change.clone());
        assert!(row.chunk.is_none());
        assert_eq!(row.wants_compaction(), row.loose.len() >= COMPACT_AT);
    }
    let (document, hashes) = (row.document().unwrap(), row.hashes());
    row.compact().unwrap();
    assert!(row.loose.is_empty() && !row.wants_compaction());
    assert_eq!((row.document().unwrap(), row.hashes()), (document, hashes));
    let found = row.find_all(&[dot(1), dot(7), dot(41), dot(99)]).unwrap();
    let expected = [(dot(1), changes[0].clone()), (dot(7), changes[6].clone()), (dot(41), changes[40].clone())];
    assert_eq!(found, expected.into_iter().collect());
    assert_eq!(row.find(dot(7)).unwrap(), Some(changes[6].clone()));
    assert_eq!(row.find(dot(99)).unwrap(), None);
}

/// While a dependency is missing, a row is not compacted again at each change, not even after a restart.
#[test]
fn changes_that_could_not_be_compacted_wait_until_as_many_are_new() {
    let key = key(Wall::NEVER);
    let changes = history(&key, 60);
    let mut row = Row::default();
    for (seq, change) in (1..).zip(&changes).skip(1).take(COMPACT_AT) {
        row.add(dot(seq), change.clone());
    }
    assert!(row.wants_compaction());
    row.compact().unwrap();
    assert_eq!(row.loose.len(), COMPACT_AT, "the creation is missing");
    assert!(!row.wants_compaction());
    let mut row = Row::decode(&row.encode().unwrap()).unwrap();
    for (seq, change) in (1..).zip(&changes).skip(1 + COMPACT_AT).take(COMPACT_AT) {
        assert!(!row.wants_compaction());
        row.add(dot(seq), change.clone());
    }
    assert!(row.wants_compaction());
    row.add(dot(1), changes[0].clone());
    row.compact().unwrap();
    assert!(row.loose.is_empty() && row.left == 0);
    let shown = row.document().unwrap();
    assert_eq!(shown.get("p"), Some(&Value::Int(2 * i64::try_from(COMPACT_AT).unwrap())));
}

#[test]
fn a_row_of_an_older_version_reads() {
    let key = key(Wall::NEVER);
    let mut row = Row::default();
    for (seq, change) in (1..).zip(history(&key, 3)) {
        row.add(dot(seq), change);
    }
    let encoded = row.clone().encode().unwrap();
    row.left = 2;
    assert_eq!(row.encode().unwrap(), [&encoded[..], &[2]].concat(), "older versions end without it");
    assert_eq!(Row::decode(&encoded).unwrap().left, 0);
}

/// The first byte of a sealed row lies outside of its seal. One flipped bit of it is 0, as of a row without a seal, and the
/// name of the generation that follows is 0 for lasting documents.
#[test]
fn other_bytes_are_not_taken_for_an_empty_row() {
    for bytes in [&[0, 0][..], &[0, 0, 0], &[0, 0, 0, 0, 7, 7], &[0; 40], &[]] {
        assert!(Row::decode(bytes).is_err(), "{bytes:?}");
        assert!(Row::decode_partial(&[&[super::PARTIAL], bytes].concat()).is_err(), "{bytes:?}");
    }
    let mut row = Row::default();
    row.add(dot(1), history(&key(Wall::NEVER), 1).remove(0));
    let mut encoded = row.encode().unwrap();
    encoded.extend([1, 1]);
    assert!(Row::decode(&encoded).is_err(), "bytes behind the row");
}

#[test]
fn a_row_has_room_up_to_its_bounds() {
    let key = key(Wall(1_800_000_000_000));
    assert_eq!(Bounds::local(&key), Bounds::EXPIRING);
    assert_eq!(Bounds::foreign(&key).changes, Bounds::FOREIGN_FACTOR * Bounds::EXPIRING.changes);
    let bounds = Bounds { changes: 3, bytes: 4_000 };
    let change = |value: &str| Change::create(&key, &[("n", Value::Text(value.to_owned()))]);
    let mut row = Row::default();
    assert!(row.has_room(&change("a"), bounds) && !row.has_room(&change(&"a".repeat(4_000)), bounds));
    row.add(dot(1), change(&"a".repeat(2_000)));
    assert!(row.has_room(&change(&"b".repeat(1_700)), bounds) && !row.has_room(&change(&"b".repeat(2_000)), bounds));
    row.compact().unwrap();
    row.add(dot(2), change("b"));
    row.add(dot(3), change("c"));
    assert!(!row.has_room(&change("d"), bounds));
    assert!(row.has_room(&change("c"), bounds), "what is there needs no room");
}
