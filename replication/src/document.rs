//! A document as readers see it: every field with all its concurrent values, the winner first.
//!
//! Concurrent values are shown, not dropped. Nothing of this type is kept in memory between requests.

use std::collections::{BTreeMap, BTreeSet};

use automerge::legacy::{Key, OpType};
use automerge::{Automerge, ExpandedChange, ObjId, ROOT, ReadDoc};

use crate::change::{Change, ChangeError, ChangeHash, FieldOp, OpRef, Value};
use crate::key::DocumentKey;

/// The visible state of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    fields: BTreeMap<String, Vec<(OpRef, Value)>>,
    heads: Vec<ChangeHash>,
    max_op: u64,
}

impl Document {
    /// Merges `changes`; those whose dependencies are missing stay invisible.
    ///
    /// One change alone is decoded (about 10 us); two or more are merged by Automerge.
    ///
    /// # Errors
    /// [`ChangeError`] if a change does not parse or the changes do not merge.
    pub fn of_changes(changes: &[Change]) -> Result<Document, ChangeError> {
        if let [only] = changes {
            let expanded = only.expanded()?;
            if expanded.deps.is_empty() {
                return Ok(Document::of_one(only.hash, &expanded));
            }
        }
        let parsed = changes
            .iter()
            .map(|change| automerge::Change::try_from(change.bytes.as_slice()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(ChangeError::Parse)?;
        let mut merged = Automerge::new();
        merged.apply_changes(parsed).map_err(ChangeError::Merge)?;
        Document::of_automerge(&merged)
    }

    fn of_one(hash: ChangeHash, change: &ExpandedChange) -> Document {
        let mut fields = BTreeMap::new();
        let actor = change.actor_id.to_bytes();
        for (counter, op) in (change.start_op.get()..).zip(&change.operations) {
            if let (Key::Map(field), OpType::Put(scalar)) = (&op.key, &op.action)
                && let Some(value) = Value::from_scalar(scalar)
            {
                fields.insert(field.to_string(), vec![(OpRef { counter, actor: actor.to_vec() }, value)]);
            }
        }
        let max_op = change.start_op.get() + change.operations.len() as u64 - 1;
        Document { fields, heads: vec![hash], max_op }
    }

    pub(crate) fn of_automerge(merged: &Automerge) -> Result<Document, ChangeError> {
        let mut fields = BTreeMap::new();
        let mut max_op = 0;
        for field in merged.keys(ROOT) {
            let mut values = Vec::new();
            for (value, id) in merged.get_all(ROOT, field.as_str()).map_err(ChangeError::Merge)? {
                let scalar = value.as_scalar().and_then(Value::from_scalar);
                if let (Some(value), ObjId::Id(counter, actor, _)) = (scalar, id) {
                    values.push((OpRef { counter, actor: actor.to_bytes().to_vec() }, value));
                }
            }
            // Automerge's winner: the higher counter, then the higher actor.
            values.sort_by(|a, b| b.0.cmp(&a.0));
            fields.insert(field, values);
        }
        for change in merged.get_changes(&[]) {
            max_op = max_op.max(change.max_op());
        }
        let heads = merged.get_heads().into_iter().map(|hash| ChangeHash(hash.0)).collect();
        Ok(Document { fields, heads, max_op })
    }

    /// The winning value of a field.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.fields.get(field)?.first().map(|(_, value)| value)
    }

    /// Every concurrent value of a field without repetition, the winner first; empty if it is not set.
    #[must_use]
    pub fn all(&self, field: &str) -> Vec<&Value> {
        let mut seen = BTreeSet::new();
        self.fields.get(field).into_iter().flatten().map(|(_, value)| value).filter(|v| seen.insert(*v)).collect()
    }

    /// Every concurrent value of a field with the operation that set it, the winner first; empty if it is not set.
    #[must_use]
    pub fn written(&self, field: &str) -> &[(OpRef, Value)] {
        self.fields.get(field).map_or(&[], Vec::as_slice)
    }

    /// Names of the fields that are set, in order.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// Hashes of the newest visible changes.
    #[must_use]
    pub fn heads(&self) -> &[ChangeHash] {
        &self.heads
    }

    /// Whether nothing is visible yet: the creating change has not arrived.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The change that sets each field of `updates` to its value, or removes it (`None`). It replaces every
    /// concurrent value, so a correction also settles a conflict. `None` if the document says all that already.
    #[must_use]
    pub fn amend(&self, key: &DocumentKey, updates: &[(&str, Option<Value>)]) -> Option<Change> {
        let ops: Vec<FieldOp<'_>> = updates
            .iter()
            .filter_map(|(field, value)| {
                let present = self.fields.get(*field).map_or(&[][..], Vec::as_slice);
                let same = match (present, value) {
                    ([(_, one)], Some(value)) => one == value,
                    ([], None) => true,
                    _ => false,
                };
                let replaces = present.iter().map(|(op, _)| op.clone()).collect();
                (!same).then_some(FieldOp { field, value: value.as_ref(), replaces })
            })
            .collect();
        (!ops.is_empty()).then(|| Change::build(key, &self.heads, self.max_op + 1, ops))
    }
}
