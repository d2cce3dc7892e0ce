//! The part of a row that a version vector covers.

#![allow(clippy::unwrap_used)]

use super::super::{COMPACT_AT, Row};
use crate::change::Change;
use crate::ids::{Dot, ReplicaId};
use crate::key::{Collection, DocumentId, DocumentKey, DocumentName, TenantId};
use crate::time::Wall;
use crate::value::Value;
use crate::version::VersionVector;

fn key() -> DocumentKey {
    DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id: DocumentId([2; 16]) }.expiring(Wall::NEVER)
}

fn dot(origin: u64, seq: u64) -> Dot {
    Dot { origin: ReplicaId(origin), seq }
}

fn known(pairs: &[(u64, u64)]) -> VersionVector {
    pairs.iter().map(|(origin, seq)| (ReplicaId(*origin), *seq)).collect()
}

fn int(value: i64) -> Value {
    Value::Int(value)
}

/// A creation at 1/1 and corrections at 1/2 and on, each built on the one before; the value is the seq.
fn corrected(times: u64) -> Row {
    let mut row = Row::default();
    row.add(dot(1, 1), Change::create(&key(), &[("n", int(1))]));
    for seq in 2..2 + times {
        let change = row.document().unwrap().amend(&key(), &[("n", Some(int(i64::try_from(seq).unwrap())))]).unwrap();
        row.add(dot(1, seq), change);
        if row.wants_compaction() {
            row.compact().unwrap();
        }
    }
    row
}

#[test]
fn a_row_shows_what_the_vector_covers_and_no_more() {
    let row = corrected(2);
    for covered in 0..4 {
        let shown = row.clone().within(&known(&[(1, covered)])).unwrap();
        assert_eq!(shown.hashes().len() as u64, covered);
        assert_eq!(shown.is_empty(), covered == 0);
        let value = shown.document().unwrap().get("n").and_then(Value::as_int);
        assert_eq!(value, (covered > 0).then(|| i64::try_from(covered).unwrap()));
    }
    assert!(row.within(&known(&[(2, 9)])).unwrap().is_empty());
}

#[test]
fn one_dot_of_a_change_is_enough() {
    let mut row = Row::default();
    let change = Change::create(&key(), &[("n", int(1))]);
    row.add(dot(1, 7), change.clone());
    row.add(dot(2, 3), change);
    assert!(!row.clone().within(&known(&[(2, 3)])).unwrap().is_empty());
    assert!(row.clone().within(&known(&[(1, 6), (2, 2)])).unwrap().is_empty());
    assert_eq!(row.needs(&known(&[(2, 5)])), known(&[(2, 3)]), "the dot that is known");
    assert_eq!(row.needs(&known(&[])), known(&[(1, 7)]), "some dot");
}

#[test]
fn a_row_needs_one_dot_of_each_change() {
    assert_eq!(corrected(2).needs(&known(&[(1, 3)])), known(&[(1, 3)]));
    let mut row = corrected(0);
    let change = row.document().unwrap().amend(&key(), &[("n", Some(int(9)))]).unwrap();
    row.add(dot(5, 4), change);
    assert_eq!(row.needs(&known(&[(1, 1), (5, 4)])), known(&[(1, 1), (5, 4)]));
    let compacted = corrected(COMPACT_AT as u64);
    assert_eq!(compacted.needs(&known(&[])), known(&[(1, COMPACT_AT as u64 + 1)]));
}

#[test]
fn a_chunk_is_taken_apart_only_if_it_holds_an_uncovered_change() {
    let all = COMPACT_AT as u64;
    let row = corrected(all - 1);
    assert!(row.chunk.is_some() && row.loose.is_empty(), "compacted");
    let whole = row.clone().within(&known(&[(1, all)])).unwrap();
    assert!(whole.chunk.is_some() && whole.loose.is_empty());
    let part = row.within(&known(&[(1, all - 1)])).unwrap();
    assert!(part.chunk.is_none());
    assert_eq!(part.hashes().len() as u64, all - 1);
    assert_eq!(part.document().unwrap().get("n"), Some(&int(i64::try_from(all - 1).unwrap())));
    // A row that was taken apart is stored in the usual form.
    let again = Row::decode(&part.clone().encode().unwrap()).unwrap();
    assert_eq!(again.hashes(), part.hashes());
}
