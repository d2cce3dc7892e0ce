//! Which changes are well-formed, against an independent model.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use automerge::Automerge;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::{MOST_STEPS, well_formed};
use crate::change::{Change, FieldOp, OpRef};
use crate::chunk::{ACTOR_LEN, ChangeHash};
use crate::document::Document;
use crate::ids::{Dot, ReplicaId};
use crate::key::{Collection, DocumentId, DocumentKey, DocumentName, TenantId};
use crate::row::Row;
use crate::time::Wall;
use crate::value::Value;

fn key() -> DocumentKey {
    let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id: DocumentId([2; 16]) };
    name.expiring(Wall(1_800_000_000_000))
}

fn parsed(change: &Change) -> automerge::Change {
    automerge::Change::try_from(change.bytes()).unwrap()
}

fn put<'a>(field: &'a str, value: &'a Value, replaces: Vec<OpRef>) -> FieldOp<'a> {
    FieldOp { field, value: Some(value), replaces }
}

fn op(change: &Change, counter: u64) -> OpRef {
    OpRef { counter, actor: parsed(change).actor_id().to_bytes().to_vec() }
}

/// A change of two fields; its operations are 1 (`a`) and 2 (`b`).
fn creation() -> Change {
    Change::create(&key(), &[("a", Value::Int(1)), ("b", Value::Int(2))])
}

/// Changes that break one rule each, on top of [`creation`].
fn hostile() -> Vec<(&'static str, Change)> {
    let (root, value) = (creation(), Value::Int(9));
    let nobody = OpRef { counter: 1, actor: vec![7; ACTOR_LEN] };
    let on_root = |start, ops| Change::build(&key(), &[root.hash()], start, ops);
    let sibling = on_root(3, vec![put("a", &value, vec![op(&root, 1)])]);
    let deletion = on_root(3, vec![FieldOp { field: "a", value: None, replaces: vec![op(&root, 1)] }]);
    let after_deletion = Change::build(&key(), &[deletion.hash()], 4, vec![put("a", &value, vec![op(&deletion, 3)])]);
    let on_sibling = on_root(4, vec![put("a", &value, vec![op(&sibling, 3)])]);
    vec![
        ("replaces an operation that does not exist", on_root(3, vec![put("a", &value, vec![nobody])])),
        ("replaces an operation that its author has not", on_root(3, vec![put("a", &value, vec![op(&root, 7)])])),
        ("replaces another field", on_root(3, vec![put("a", &value, vec![op(&root, 2)])])),
        ("replaces a deletion", after_deletion),
        ("replaces what it does not depend on", on_sibling),
        ("starts too early", on_root(2, vec![put("c", &value, vec![])])),
        ("starts too late", on_root(4, vec![put("c", &value, vec![])])),
        ("starts beyond what is counted", on_root(1 << 31, vec![put("c", &value, vec![])])),
        ("deletes nothing", on_root(3, vec![FieldOp { field: "c", value: None, replaces: vec![] }])),
        ("puts a field twice", on_root(3, vec![put("c", &value, vec![]), put("c", &value, vec![])])),
        ("creates and replaces", Change::build(&key(), &[], 1, vec![put("a", &value, vec![op(&root, 1)])])),
        ("creates late", Change::build(&key(), &[], 2, vec![put("a", &value, vec![])])),
    ]
}

#[test]
fn hostile_changes_and_their_dependents_are_not_shown() {
    let (root, value) = (creation(), Value::Int(1));
    let expected = Document::of_changes(std::slice::from_ref(&root)).unwrap();
    for (what, change) in hostile() {
        let end = parsed(&change).max_op() + 1;
        let after = Change::build(&key(), &[change.hash()], end, vec![put("d", &value, vec![])]);
        // The siblings that two of them refer to.
        let with = hostile_context(&root);
        let mut set = vec![change.clone(), after, root.clone()];
        set.extend(with.iter().cloned());
        let shown = Document::of_changes(&set).unwrap();
        let context: Vec<Change> = std::iter::once(root.clone()).chain(with).collect();
        assert_eq!(shown, Document::of_changes(&context).unwrap(), "{what}");
        let alone = Document::of_changes(&[root.clone(), change.clone()]).unwrap();
        assert_eq!(alone, expected, "{what}");
        assert!(Document::of_changes(&[change]).unwrap().is_empty(), "{what}");
    }
}

fn hostile_context(root: &Change) -> Vec<Change> {
    let (nine, on_root) = (Value::Int(9), |ops| Change::build(&key(), &[root.hash()], 3, ops));
    vec![
        on_root(vec![put("a", &nine, vec![op(root, 1)])]),
        on_root(vec![FieldOp { field: "a", value: None, replaces: vec![op(root, 1)] }]),
    ]
}

/// Why the check is needed: before there was one, documents were built like this.
#[test]
fn automerge_itself_panics_on_a_change_that_replaces_an_unknown_operation() {
    let (_, change) = hostile().swap_remove(0);
    let both = [creation(), change].map(|change| parsed(&change));
    let merged = catch_unwind(AssertUnwindSafe(|| Automerge::new().apply_changes(both)));
    assert!(merged.is_err(), "should this ever fail, Automerge has learnt to check `pred` itself");
}

#[test]
fn changes_that_are_malformed_by_themselves_are_refused_on_arrival() {
    let by_itself = [
        "starts beyond what is counted",
        "deletes nothing",
        "puts a field twice",
        "creates and replaces",
        "creates late",
        "replaces an operation that its author has not",
    ];
    for (what, change) in hostile() {
        let foreign = Change::from_foreign(&key(), change.bytes().to_vec());
        let restored = Change::restore(&key(), change.clone().blanked());
        assert_eq!(foreign.is_err(), by_itself.contains(&what), "{what}");
        assert_eq!(restored.is_err(), by_itself.contains(&what), "{what}");
    }
}

#[test]
fn only_the_canonical_encoding_is_accepted() {
    let text = |len| Value::Text("x".repeat(len));
    let long = Change::create(&key(), &[("a", text(3_000)), ("b", text(3_000))]);
    assert_eq!(Change::from_foreign(&key(), long.bytes().to_vec()).unwrap(), long);
    // The same change, deflated: Automerge reads both, as two changes of one actor.
    let deflated = parsed(&long).bytes().into_owned();
    assert_ne!(deflated, long.bytes());
    assert!(automerge::Change::try_from(&deflated[..]).is_ok());
    assert!(Change::from_foreign(&key(), deflated).is_err());
}

#[test]
fn rows_with_hostile_changes_keep_them_loose() {
    let mut row = Row::default();
    let mut seq = 0;
    let mut add = |row: &mut Row, change: &Change| {
        seq += 1;
        row.add(Dot { origin: ReplicaId(1), seq }, change.clone());
    };
    add(&mut row, &creation());
    let before = row.document().unwrap();
    for (_, change) in hostile() {
        add(&mut row, &change);
    }
    assert_eq!(row.document().unwrap(), before);
    row.compact().unwrap();
    assert_eq!(row.document().unwrap(), before);
    assert_eq!(row.hashes().len(), hostile().len() + 1);
    let found = row.find_all(&row.dots()).unwrap();
    assert_eq!(found.len(), row.dots().len(), "each is still sent to peers, so that replicas do not differ");
}

/// A field, whether it is put, and the replaced operations: the change and its operation.
type AnyOp = (u8, bool, Vec<(u8, u8)>);

/// Replaces each byte of a change by every other value and corrects the checksum: reading it never panics, whatever
/// actors and counts it claims. Automerge's `decode` panics on an actor that is not in its list.
#[test]
fn no_altered_byte_makes_reading_a_change_panic() {
    let document = Document::of_changes(&[creation()]).unwrap();
    let change = document.amend(&key(), &[("a", None), ("b", Some(Value::Bytes(vec![1, 2])))]).unwrap();
    let mut automerge_panics = 0;
    for at in 9..change.bytes().len() {
        for byte in 0..=u8::MAX {
            let mut bytes = change.bytes().to_vec();
            bytes[at] = byte;
            let head = Sha256::digest(&bytes[8..]);
            bytes[4..8].copy_from_slice(&head[..4]);
            let _ = Change::from_foreign(&key(), bytes.clone());
            let _ = Change::restore(&key(), bytes.clone());
            if let Ok(parsed) = automerge::Change::try_from(&bytes[..]) {
                let decoded = catch_unwind(AssertUnwindSafe(|| parsed.decode()));
                automerge_panics += usize::from(decoded.is_err());
            }
        }
    }
    assert_ne!(automerge_panics, 0, "should this ever fail, Automerge has learnt to check actors itself");
}

/// A few bytes claim 2^40 operations, over which Automerge would loop.
#[test]
fn a_change_that_claims_many_operations_is_refused_before_it_is_decoded() {
    let change = Change::create(&key(), &[("a", Value::Int(1))]);
    let bytes = change.bytes();
    assert!(super::columns::are_bounded(bytes));
    // The column of actions: a run of one put. It becomes a longer run.
    let at = bytes.windows(2).position(|pair| pair == [66, 2]).unwrap();
    let data = bytes.windows(2).rposition(|pair| pair == [0x7f, 1] || pair == [1, 1]).unwrap();
    let claiming = |run: &[u8]| {
        let mut claims = bytes.to_vec();
        claims.splice(data..data + 2, run.iter().copied().chain([1]));
        let longer = u8::try_from(run.len() - 1).unwrap();
        claims[at + 1] += longer;
        claims[9] += longer;
        claims
    };
    assert!(super::columns::are_bounded(&claiming(&[0xff, 0x07])), "1,023 operations");
    let claims = claiming(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x20]);
    assert!(!super::columns::are_bounded(&claims), "2^40 operations");
    assert!(Change::restore(&key(), claims).is_err());
}

/// An honest change finds the operations that it replaces, however old they are. Without a limit a row would cost the
/// square of its length.
#[test]
fn replaced_operations_are_looked_for_as_far_back_as_a_row_is_long() {
    let (root, value) = (creation(), Value::Int(1));
    let mut made = vec![root.clone()];
    for counter in 3..5_000 {
        let deps = [made[made.len() - 1].hash()];
        made.push(Change::build(&key(), &deps, counter, vec![put("c", &value, vec![])]));
    }
    for (ancestors, good) in [(1, true), (MOST_STEPS - 1, true), (MOST_STEPS, true), (MOST_STEPS + 1, false)] {
        let mut set = made[..ancestors].to_vec();
        let end = parsed(&set[ancestors - 1]).max_op() + 1;
        let deps = [set[ancestors - 1].hash()];
        set.push(Change::build(&key(), &deps, end, vec![put("a", &value, vec![op(&root, 1)])]));
        let parsed: Vec<_> = set.iter().map(parsed).collect();
        assert_eq!(well_formed(&parsed, 0).pop(), Some(good), "{ancestors} ancestors");
    }
}

/// How to make a change out of those made before.
#[derive(Clone, Debug)]
enum Draft {
    /// As a client makes it: from the document that some of them show.
    Honest { of: u64, field: u8, value: Option<i64> },
    /// Anything that has a shape.
    Any { deps: Vec<u8>, start: i8, ops: Vec<AnyOp> },
    /// A creation.
    Root { fields: u8, value: i64 },
}

fn draft() -> impl Strategy<Value = Draft> {
    let pred = (any::<u8>(), 0..4u8);
    let op = (0..3u8, any::<bool>(), prop::collection::vec(pred, 0..3));
    prop_oneof![
        6 => (any::<u64>(), 0..3u8, prop::option::of(0..5i64))
            .prop_map(|(of, field, value)| Draft::Honest { of, field, value }),
        3 => (prop::collection::vec(any::<u8>(), 0..3), -1..2i8, prop::collection::vec(op, 0..3))
            .prop_map(|(deps, start, ops)| Draft::Any { deps, start, ops }),
        1 => (1..3u8, 0..5i64).prop_map(|(fields, value)| Draft::Root { fields, value }),
    ]
}

const FIELDS: [&str; 3] = ["a", "b", "c"];

fn make(drafts: &[Draft]) -> Vec<Change> {
    let mut made = vec![creation()];
    for draft in drafts {
        let change = match draft {
            Draft::Root { fields, value } => {
                let fields = FIELDS.iter().take(usize::from(*fields));
                Some(Change::create(&key(), &fields.map(|field| (*field, Value::Int(*value))).collect::<Vec<_>>()))
            }
            Draft::Honest { of, field, value } => {
                let seen = made.iter().enumerate().filter(|(at, _)| of >> (at % 64) & 1 == 1).map(|(_, c)| c.clone());
                let document = Document::of_changes(&seen.collect::<Vec<_>>()).unwrap();
                let update = (FIELDS[usize::from(*field)], value.map(Value::Int));
                if document.is_empty() { None } else { document.amend(&key(), &[update]) }
            }
            Draft::Any { deps, start, ops } => {
                let pick = |at: u8| &made[usize::from(at) % made.len()];
                let deps: BTreeSet<ChangeHash> = deps.iter().map(|at| pick(*at).hash()).collect();
                let ends = made.iter().filter(|c| deps.contains(&c.hash())).map(|c| parsed(c).max_op());
                let start_op = ends.max().unwrap_or(0).saturating_add_signed(1 + i64::from(*start)).max(1);
                let value = Value::Int(i64::from(*start));
                let ops = ops.iter().map(|(field, puts, preds)| {
                    let preds: BTreeSet<OpRef> = preds
                        .iter()
                        .map(|(at, nth)| op(pick(*at), parsed(pick(*at)).start_op().get() + u64::from(*nth)))
                        .collect();
                    let value = puts.then_some(&value);
                    FieldOp { field: FIELDS[usize::from(*field)], value, replaces: preds.into_iter().collect() }
                });
                Some(Change::build(&key(), &deps.into_iter().collect::<Vec<_>>(), start_op, ops.collect()))
            }
        };
        made.extend(change.filter(|change| !made.contains(change)));
    }
    made
}

/// The rules of this module word by word, with whole sets of ancestors.
fn model(changes: &[Change]) -> Vec<bool> {
    let by_hash: BTreeMap<ChangeHash, automerge::Change> = changes.iter().map(|c| (c.hash(), parsed(c))).collect();
    let mut ancestors: BTreeMap<ChangeHash, BTreeSet<ChangeHash>> = BTreeMap::new();
    let hash = |dep: &automerge::ChangeHash| ChangeHash(dep.0);
    loop {
        let known = ancestors.len();
        for (at, change) in &by_hash {
            if ancestors.contains_key(at) || !change.deps().iter().all(|dep| ancestors.contains_key(&hash(dep))) {
                continue;
            }
            let direct = change.deps().iter().map(hash);
            let all: BTreeSet<_> = direct.flat_map(|dep| ancestors[&dep].iter().copied().chain([dep])).collect();
            let max = all.iter().map(|dep| by_hash[dep].max_op()).max().unwrap_or(0);
            let expanded = change.decode();
            let replaced_is_there = expanded.operations.iter().all(|op| {
                op.pred.iter().all(|pred| {
                    let by = all.iter().map(|dep| &by_hash[dep]).find(|by| *by.actor_id() == pred.1);
                    let nth = by.and_then(|by| pred.0.checked_sub(by.start_op().get()));
                    let target = by.zip(nth).and_then(|(by, nth)| by.decode().operations.get(nth as usize).cloned());
                    target.is_some_and(|target| {
                        target.key == op.key && matches!(target.action, automerge::legacy::OpType::Put(_))
                    })
                })
            });
            let fields: BTreeSet<_> = expanded.operations.iter().map(|op| format!("{:?}", op.key)).collect();
            let deletes = |op: &automerge::legacy::Op| op.action == automerge::legacy::OpType::Delete;
            let deletes_something = expanded.operations.iter().all(|op| !deletes(op) || !op.pred.is_empty());
            let once = fields.len() == expanded.operations.len();
            if change.start_op().get() == max + 1 && replaced_is_there && deletes_something && once {
                ancestors.insert(*at, all);
            }
        }
        if ancestors.len() == known {
            return changes.iter().map(|change| ancestors.contains_key(&change.hash())).collect();
        }
    }
}

fn shuffled(changes: &[Change], order: u64) -> Vec<Change> {
    let mut order = order | 1;
    let mut keyed: Vec<_> = changes
        .iter()
        .map(|change| {
            order = order.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (order >> 33, change.clone())
        })
        .collect();
    keyed.sort_by_key(|(place, _)| *place);
    keyed.into_iter().map(|(_, change)| change).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Random and hostile changes: the rules as written, no panic, and the same document whatever the order of arrival
    /// and whenever a row is compacted.
    #[test]
    fn a_document_is_a_function_of_its_set_of_changes(
        drafts in prop::collection::vec(draft(), 0..24),
        order in any::<u64>(),
        compactions in any::<u64>(),
        lost in any::<u64>(),
    ) {
        let made: Vec<Change> = make(&drafts);
        // Some have not arrived.
        let arrived: Vec<Change> =
            made.into_iter().enumerate().filter(|(at, _)| lost >> (at % 64) & 3 != 3).map(|(_, c)| c).collect();
        let parsed: Vec<_> = arrived.iter().map(parsed).collect();
        prop_assert_eq!(well_formed(&parsed, 0), model(&arrived));
        let document = Document::of_changes(&arrived).unwrap();
        prop_assert_eq!(&Document::of_changes(&shuffled(&arrived, order)).unwrap(), &document);
        let mut row = Row::default();
        for (seq, change) in (1..).zip(shuffled(&arrived, order)) {
            row.add(Dot { origin: ReplicaId(1), seq }, change);
            if compactions >> (seq % 64) & 1 == 1 {
                row.compact().unwrap();
                row = Row::decode(&row.encode().unwrap()).unwrap();
            }
        }
        prop_assert_eq!(&row.document().unwrap(), &document);
        prop_assert_eq!(row.hashes(), arrived.iter().map(Change::hash).collect::<BTreeSet<_>>());
        let found = row.find_all(&row.dots()).unwrap();
        prop_assert_eq!(found.into_values().map(|c| c.hash()).collect::<BTreeSet<_>>(), row.hashes());
        row.compact().unwrap();
        prop_assert_eq!(&row.document().unwrap(), &document);
    }
}
