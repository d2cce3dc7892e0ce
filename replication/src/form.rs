//! Which changes of a document are well-formed: only those reach Automerge.
//!
//! A peer can send a change that replaces an operation which does not exist, or whose operation numbers are wrong.
//! Automerge 0.12 panics on some of them, and shows nonsense for others. When a change arrives
//! ([`Change::restore`](crate::Change)), [`shape`] checks what can be seen in it alone. The rest depends on the
//! change's ancestors, which may come later, so [`well_formed`] decides it whenever a document is built.
//!
//! # What is well-formed
//! 1. [`shape`]: scalars put or deleted under the root, each field at most once, a deletion replaces something.
//! 2. A change without dependencies starts at operation 1 and replaces nothing.
//! 3. Any other starts right after the last operation of its ancestors, which are its dependencies and theirs.
//! 4. Each operation that it replaces belongs to one of its ancestors and put a value into the same field. It is looked
//!    for [`MOST_STEPS`] changes back and no further, otherwise a peer that lies could make a row cost the square of
//!    its length. An honest replica writes no change with so many ancestors, because the row would be full.
//! 5. All changes that it depends on are there and well-formed.
//!
//! # Invariants
//! - The answer for a change depends on its ancestors alone: neither on the order of arrival nor on what else is in the
//!   set. Replicas with equal sets of changes therefore show equal documents, and a change once shown stays shown.
//! - The exception is content in two encodings, which would be two changes of one actor. Only the canonical encoding is
//!   accepted on arrival. If a row still holds two, the compacted one counts, otherwise the one with the lower hash.

use std::collections::{BTreeMap, BTreeSet};

use automerge::legacy::{Key, ObjectId, OpType};
use automerge::{ActorId, ExpandedChange};

use crate::bounds::Bounds;
use crate::chunk::{ACTOR_LEN, ChangeError, ChangeHash};
use crate::value::Value;

mod columns;

/// Operation counters stay below this: Automerge counts in 32 bits and panics beyond.
const MAX_COUNTER: u64 = 1 << 31;
/// Most ancestors among which the operations that one change replaces are looked for.
const MOST_STEPS: usize = Bounds::LASTING.changes;

/// The parts of a change that are needed to judge its form.
pub(crate) struct Facts {
    deps: Vec<ChangeHash>,
    start: u64,
    actor: ActorId,
    ops: Vec<Operation>,
}

/// An operation without its value.
struct Operation {
    field: String,
    puts: bool,
    replaces: Vec<(u64, ActorId)>,
}

/// Reads a change after checking the sizes that it claims ([`columns`]).
///
/// # Errors
/// [`ChangeError::Operations`] if it claims too much, [`ChangeError::Parse`] if Automerge cannot read it.
pub(crate) fn parse(bytes: &[u8]) -> Result<automerge::Change, ChangeError> {
    if !columns::are_bounded(bytes) {
        return Err(ChangeError::Operations);
    }
    automerge::Change::try_from(bytes).map_err(ChangeError::Parse)
}

/// Decodes a change that [`parse`] has read, if it has the shape that we write.
///
/// # Errors
/// [`ChangeError::Operations`] if it has another.
pub(crate) fn shape(parsed: &automerge::Change) -> Result<ExpandedChange, ChangeError> {
    if parsed.seq() != 1
        || parsed.start_op().get() >= MAX_COUNTER
        || parsed.message().is_some()
        || !parsed.extra_bytes().is_empty()
        || !parsed.deps().is_sorted_by(|a, b| a < b)
        || (parsed.deps().is_empty() && parsed.start_op().get() != 1)
    {
        return Err(ChangeError::Operations);
    }
    let expanded = parsed.decode();
    let start = expanded.start_op.get();
    let (mut fields, mut replaced) = (BTreeSet::new(), BTreeSet::new());
    for op in &expanded.operations {
        let Key::Map(field) = &op.key else { return Err(ChangeError::Operations) };
        let scalar = match &op.action {
            OpType::Put(value) => Value::from_scalar(value).is_some(),
            OpType::Delete => !op.pred.is_empty(),
            _ => false,
        };
        if !scalar || op.obj != ObjectId::Root || op.insert || !fields.insert(field) {
            return Err(ChangeError::Operations);
        }
        for pred in op.pred.iter() {
            // Without dependencies `start` is 1, and nothing is before that.
            if pred.0 == 0 || pred.0 >= start || pred.1.to_bytes().len() != ACTOR_LEN {
                return Err(ChangeError::Operations);
            }
            replaced.insert(&pred.1);
        }
    }
    // Automerge looks up every actor that the change names, used or not.
    if parsed.other_actor_ids().iter().all(|actor| replaced.contains(actor)) {
        Ok(expanded)
    } else {
        Err(ChangeError::Operations)
    }
}

impl Facts {
    /// `None` if the change does not have our shape.
    pub(crate) fn of(parsed: &automerge::Change) -> Option<Facts> {
        let expanded = shape(parsed).ok()?;
        let ops = expanded.operations.iter().filter_map(|op| match &op.key {
            Key::Map(field) => Some(Operation {
                field: field.to_string(),
                puts: matches!(op.action, OpType::Put(_)),
                replaces: op.pred.iter().map(|pred| (pred.0, pred.1.clone())).collect(),
            }),
            Key::Seq(_) => None,
        });
        Some(Facts {
            deps: expanded.deps.iter().map(|hash| ChangeHash(hash.0)).collect(),
            start: expanded.start_op.get(),
            ops: ops.collect(),
            actor: expanded.actor_id.clone(),
        })
    }

    /// The counter after the last operation.
    fn end(&self) -> u64 {
        self.start + self.ops.len() as u64
    }

    fn op(&self, counter: u64) -> Option<&Operation> {
        self.ops.get(usize::try_from(counter.checked_sub(self.start)?).ok()?)
    }
}

/// For each change of a set, whether it and all its ancestors are well-formed. The first `held` changes are known to
/// be.
pub(crate) fn well_formed(changes: &[automerge::Change], held: usize) -> Vec<bool> {
    let facts: Vec<Option<Facts>> = changes.iter().map(Facts::of).collect();
    let mut by_hash = BTreeMap::new();
    for (at, change) in changes.iter().enumerate() {
        by_hash.insert(ChangeHash(change.hash().0), at);
    }
    let mut by_actor = BTreeMap::new();
    for at in (0..held).chain(by_hash.values().copied()) {
        if let Some(facts) = &facts[at] {
            by_actor.entry(&facts.actor).or_insert(at);
        }
    }
    let deps = facts.iter().map(|facts| {
        let deps = facts.iter().flat_map(|facts| &facts.deps);
        deps.filter_map(|dep| by_hash.get(dep).copied()).collect()
    });
    let set = Set { facts: &facts, deps: deps.collect(), by_actor: &by_actor };
    let mut dependents: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let mut missing = vec![0usize; changes.len()];
    let mut ready = Vec::new();
    for at in by_hash.values().copied() {
        let Some(of) = &facts[at] else { continue };
        missing[at] = of.deps.len();
        for dep in &set.deps[at] {
            dependents.entry(*dep).or_default().push(at);
        }
        if of.deps.is_empty() {
            ready.push(at);
        }
    }
    let mut good = vec![false; changes.len()];
    let mut visited = vec![usize::MAX; changes.len()];
    while let Some(at) = ready.pop() {
        good[at] = at < held || set.fits(at, &mut visited);
        if !good[at] {
            continue;
        }
        for next in dependents.get(&at).into_iter().flatten().copied() {
            missing[next] -= 1;
            if missing[next] == 0 {
                ready.push(next);
            }
        }
    }
    // The same change twice is one change.
    changes.iter().map(|change| good[by_hash[&ChangeHash(change.hash().0)]]).collect()
}

struct Set<'a> {
    facts: &'a [Option<Facts>],
    /// The dependencies of each change that are in the set.
    deps: Vec<Vec<usize>>,
    by_actor: &'a BTreeMap<&'a ActorId, usize>,
}

impl Set<'_> {
    /// Whether a change is well-formed, given that its dependencies are there and well-formed.
    fn fits(&self, at: usize, visited: &mut [usize]) -> bool {
        let Some(change) = &self.facts[at] else { return false };
        if self.by_actor.get(&change.actor) != Some(&at) {
            return false;
        }
        // The operations of a well-formed change come after those of all its ancestors, so the direct ones tell where
        // this one starts.
        let ends = self.deps[at].iter().filter_map(|dep| self.facts[*dep].as_ref().map(Facts::end));
        if !change.deps.is_empty() && ends.max() != Some(change.start) {
            return false;
        }
        let mut replaced = BTreeSet::new();
        for op in &change.ops {
            for (counter, actor) in &op.replaces {
                let Some(by) = self.by_actor.get(actor) else { return false };
                let target = self.facts[*by].as_ref().and_then(|facts| facts.op(*counter));
                if !target.is_some_and(|target| target.puts && target.field == op.field) {
                    return false;
                }
                replaced.insert(*by);
            }
        }
        self.are_ancestors(replaced, at, visited)
    }

    /// Whether all of `wanted` are ancestors of the change at `at`.
    fn are_ancestors(&self, mut wanted: BTreeSet<usize>, at: usize, visited: &mut [usize]) -> bool {
        let start = |at: usize| self.facts[at].as_ref().map_or(0, |facts| facts.start);
        let Some(lowest) = wanted.iter().map(|at| start(*at)).min() else { return true };
        let (mut stack, mut steps) = (self.deps[at].clone(), 0);
        while let Some(next) = stack.pop() {
            if std::mem::replace(&mut visited[next], at) == at {
                continue;
            }
            wanted.remove(&next);
            if wanted.is_empty() {
                return true;
            }
            steps += 1;
            if steps == MOST_STEPS {
                return false;
            }
            // Counters fall on the way back, so a change that starts earlier does not lead to a wanted one.
            stack.extend(self.deps[next].iter().copied().filter(|dep| start(*dep) >= lowest));
        }
        false
    }
}

#[cfg(test)]
mod tests;
