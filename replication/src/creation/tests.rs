//! The codec of creations against Automerge's.

use proptest::prelude::*;

use super::{MAX_FIELDS, Scalar, decode, encode};
use crate::change::{Change, FieldOp};
use crate::chunk::{ACTOR_LEN, actor_offset, chunk_hash};
use crate::form::{parse, shape};
use crate::key::{Collection, DocumentId, DocumentKey, DocumentName, TenantId};
use crate::time::Wall;
use crate::value::Value;

type Field = (String, Value);

fn key() -> DocumentKey {
    let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id: DocumentId([2; 16]) };
    name.expiring(Wall(1_800_000_000_000))
}

fn automerge(fields: &[Field]) -> Change {
    let ops = fields.iter().map(|(field, value)| FieldOp { field, value: Some(value), replaces: Vec::new() });
    Change::build(&key(), &[], 1, ops.collect())
}

fn actor(change: &Change) -> [u8; ACTOR_LEN] {
    let at = actor_offset(change.bytes()).unwrap();
    change.bytes()[at..at + ACTOR_LEN].try_into().unwrap()
}

/// Values whose lengths and kinds are often equal, so that runs of every kind occur.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop_oneof![Just(String::new()), "[a-c]{2}", "\\PC{0,200}"].prop_map(Value::Text),
        prop_oneof![-2..3_i64, Just(i64::MIN), Just(i64::MAX), any::<i64>()].prop_map(Value::Int),
        prop_oneof![Just(vec![7; 16]), prop::collection::vec(any::<u8>(), 0..300)].prop_map(Value::Bytes),
    ]
}

fn fields(most: usize) -> impl Strategy<Value = Vec<Field>> {
    prop::collection::vec((prop_oneof!["[a-d]?", "\\PC{0,9}"], value()), 1..most)
}

/// The checksum of a chunk with the actor that follows from its content, if it has our shape.
fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let fixed = actor_offset(&bytes).and_then(|at| {
        let expanded = shape(&parse(&bytes).ok()?).ok()?;
        let mut whole = bytes.clone();
        whole[at..at + ACTOR_LEN].copy_from_slice(&crate::change::content_actor(&key(), &expanded));
        Some(chunk_hash(&whole))
    });
    if let (Some(hash), Some(sum)) = (fixed, bytes.get_mut(4..8)) {
        sum.copy_from_slice(&hash.0[..4]);
    }
    bytes
}

/// Both ways of reading a change give the same.
fn same_as_automerge(bytes: &[u8]) -> Result<bool, TestCaseError> {
    let Some(at) = actor_offset(bytes) else { return Ok(false) };
    let (ours, any) = (Change::restore(&key(), bytes.to_vec()), Change::restore_any(&key(), at, bytes.to_vec()));
    prop_assert_eq!(ours.as_ref().ok(), any.as_ref().ok());
    Ok(ours.is_ok())
}

proptest! {
    #[test]
    fn the_bytes_are_those_of_automerge(fields in fields(2 * MAX_FIELDS)) {
        let change = automerge(&fields);
        let scalars: Vec<(&str, Scalar<'_>)> = fields.iter().map(|(field, value)| (field.as_str(), value.into())).collect();
        let (bytes, hash) = encode(actor(&change), &scalars);
        prop_assert_eq!(&bytes, change.bytes());
        prop_assert_eq!(hash, change.hash());
        let mut names: Vec<&str> = fields.iter().map(|(field, _)| field.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() == fields.len() && fields.len() <= MAX_FIELDS {
            // Numbers of more than nine bytes are left to Automerge.
            let long = fields.iter().any(|(_, value)| value.as_int().is_some_and(|int| int.unsigned_abs() >= 1 << 61));
            prop_assert!(long || decode(&bytes) == Some(scalars));
            prop_assert!(same_as_automerge(&change.blanked())?);
        }
    }

    #[test]
    fn hostile_bytes_are_judged_as_automerge_judges_them(
        fields in fields(12),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut bytes = automerge(&fields).blanked();
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        same_as_automerge(&bytes)?;
        same_as_automerge(&with_checksum(bytes))?;
    }
}

/// Encodings of one content that are not the one that we write: runs cut in two, a literal run of equal items.
#[test]
fn other_encodings_of_a_creation_are_refused() {
    let fields: Vec<Field> = ["a", "b", "c", "d"].map(|field| (field.to_owned(), Value::Int(1))).into();
    let whole = automerge(&fields).blanked();
    assert!(same_as_automerge(&whole).unwrap());
    // The column of the lengths is one run of four: `4, 20`.
    let at = whole.windows(2).rposition(|pair| pair == [4, 1 << 4 | 4]).unwrap();
    for other in [vec![2, 20, 2, 20], vec![0x7f, 20, 3, 20], vec![0x7c, 20, 20, 20, 20], vec![1, 20, 3, 20]] {
        let mut bytes = whole.clone();
        let longer = u8::try_from(other.len() - 2).unwrap();
        bytes.splice(at..at + 2, other.iter().copied());
        // The lengths of the body and of the column.
        bytes[9] += longer;
        let column = bytes.windows(2).position(|pair| pair == [86, 2]).unwrap();
        bytes[column + 1] += longer;
        let bytes = with_checksum(bytes);
        assert!(!same_as_automerge(&bytes).unwrap(), "{other:?}");
        assert!(parse(&bytes).is_ok_and(|parsed| shape(&parsed).is_ok()), "{other:?} is no encoding at all");
        assert!(decode(&bytes).is_some_and(|fields| fields.len() == 4), "{other:?}");
    }
}
