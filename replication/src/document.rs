//! A document as readers see it: every field with all its concurrent values, the winner first.
//!
//! Concurrent values are shown, not dropped. No document is kept in memory between requests.
//!
//! # Invariants
//! - A document is a function of its set of changes. Changes that are not well-formed ([`crate::form`]), and all that
//!   depend on them, are left out.

use std::collections::{BTreeMap, BTreeSet};

use automerge::legacy::{Key, OpType};
use automerge::{Automerge, ExpandedChange, ObjId, ROOT, ReadDoc};

use crate::change::{Change, FieldOp, OpRef};
use crate::chunk::{ChangeError, ChangeHash};
use crate::form;
use crate::key::DocumentKey;
use crate::value::Value;

/// The visible state of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    fields: BTreeMap<String, Vec<(OpRef, Value)>>,
    /// Actors of the changes without dependencies.
    creators: BTreeSet<Vec<u8>>,
    /// Values that those changes put and later changes replaced.
    replaced: BTreeMap<String, Vec<(OpRef, Value)>>,
    heads: Vec<ChangeHash>,
    max_op: u64,
}

impl Document {
    /// Merges `changes`. Changes whose dependencies are missing, or that are not well-formed, stay invisible.
    ///
    /// One change alone is decoded (about 10 us); two or more are merged by Automerge.
    ///
    /// # Errors
    /// [`ChangeError`] if a change does not parse or the changes do not merge.
    pub fn of_changes(changes: &[Change]) -> Result<Document, ChangeError> {
        let mut parsed = changes.iter().map(|change| form::parse(&change.bytes)).collect::<Result<Vec<_>, _>>()?;
        if let [only] = &parsed[..] {
            return Ok(match form::shape(only) {
                Ok(root) if root.deps.is_empty() => Document::of_one(ChangeHash(only.hash().0), &root),
                _ => Document::default(),
            });
        }
        let mut good = form::well_formed(&parsed, 0).into_iter();
        parsed.retain(|_| good.next() == Some(true));
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
        let creators = BTreeSet::from([actor.to_vec()]);
        Document { fields, creators, replaced: BTreeMap::new(), heads: vec![hash], max_op }
    }

    pub(crate) fn of_automerge(merged: &Automerge) -> Result<Document, ChangeError> {
        let mut fields: BTreeMap<String, Vec<(OpRef, Value)>> = BTreeMap::new();
        let (mut creators, mut replaced) = (BTreeSet::new(), BTreeMap::<String, Vec<(OpRef, Value)>>::new());
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
            if change.deps().is_empty() {
                let creation = Document::of_one(ChangeHash(change.hash().0), &change.decode());
                for (field, put) in creation.fields {
                    let shown = fields.get(&field).map_or(&[][..], Vec::as_slice);
                    let gone = put.into_iter().filter(|(op, _)| !shown.iter().any(|(other, _)| other == op));
                    replaced.entry(field).or_default().extend(gone);
                }
                creators.extend(creation.creators);
            }
        }
        replaced.retain(|_, values| !values.is_empty());
        replaced.values_mut().for_each(|values| values.sort_by(|a, b| b.0.cmp(&a.0)));
        let heads = merged.get_heads().into_iter().map(|hash| ChangeHash(hash.0)).collect();
        Ok(Document { fields, creators, replaced, heads, max_op })
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

    /// The values that the creating changes put into a field, whether or not they were replaced since. There are
    /// several only if the document was created concurrently. For fields that only the creation may set.
    #[must_use]
    pub fn created(&self, field: &str) -> Vec<&Value> {
        let shown = self.fields.get(field).into_iter().flatten().filter(|(op, _)| self.creators.contains(&op.actor));
        let mut values: Vec<_> = shown.chain(self.replaced.get(field).into_iter().flatten()).collect();
        values.sort_by(|a, b| b.0.cmp(&a.0));
        values.into_iter().map(|(_, value)| value).collect()
    }

    /// Every concurrent value of a field with the operation that set it, the winner first; empty if it is not set.
    #[must_use]
    pub fn written(&self, field: &str) -> &[(OpRef, Value)] {
        self.fields.get(field).map_or(&[], Vec::as_slice)
    }

    /// Whether a field has only the values that the creating changes put, and never had another one.
    #[must_use]
    pub fn is_as_created(&self, field: &str) -> bool {
        let mut shown = self.fields.get(field).into_iter().flatten();
        shown.all(|(op, _)| self.creators.contains(&op.actor)) && !self.replaced.contains_key(field)
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

    /// The change that sets each field of `updates` to its value, or removes it (`None`). It replaces every concurrent
    /// value, so a correction also settles a conflict. `None` if every field has its value already.
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
