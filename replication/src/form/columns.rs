//! Bounds of an encoded change, before Automerge decodes it.
//!
//! Columns are run-length encoded. A few bytes can claim 2^60 operations, over which Automerge 0.12 loops, and an actor
//! index beyond the list of actors makes it panic. Both are refused here. Only lengths of runs, numbers of replaced
//! operations and actor indices are decoded (Automerge binary format, "Change" and "Columns").

use crate::chunk::column::{
    ACTION, INSERT, KEY_TEXT, REPLACED_ACTORS, REPLACED_COUNTERS, REPLACED_COUNTS, VALUE_LENGTHS, VALUES,
};
use crate::chunk::{CHANGE, HEAD, Rest};

/// Most operations of one change.
pub(super) const MAX_OPERATIONS: u64 = 1_024;
/// Most operations that the operations of one change replace.
const MAX_REPLACED: u64 = 16_384;

/// Whether decoding these bytes takes time and memory in proportion to their length, and every actor index is valid.
pub(super) fn are_bounded(bytes: &[u8]) -> bool {
    check(bytes).is_some()
}

fn check(bytes: &[u8]) -> Option<()> {
    if bytes.get(HEAD - 1) != Some(&CHANGE) {
        return None;
    }
    let mut rest = Rest::new(bytes.get(HEAD..)?);
    let len = rest.number()?;
    if len != rest.left() as u64 {
        return None;
    }
    let deps = rest.number()?;
    rest.skip(deps.checked_mul(32)?)?;
    let actor = rest.number()?;
    rest.skip(actor)?;
    for _seq_start_time in 0..3 {
        rest.number()?;
    }
    let message = rest.number()?;
    rest.skip(message)?;
    let others = rest.number()?;
    for _ in 0..others {
        let len = rest.number()?;
        rest.skip(len)?;
    }
    let mut columns = Vec::new();
    for _ in 0..rest.number()? {
        columns.push((rest.number()?, rest.number()?));
    }
    for (column, len) in columns {
        let values = rest.take(len)?;
        match column {
            KEY_TEXT => runs(values, Item::Text, MAX_OPERATIONS, |_, _| Some(()))?,
            ACTION | VALUE_LENGTHS => runs(values, Item::Number, MAX_OPERATIONS, |_, _| Some(()))?,
            INSERT => booleans(values)?,
            VALUES => {}
            REPLACED_COUNTS => {
                let mut replaced = 0u64;
                runs(values, Item::Number, MAX_OPERATIONS, |count, number| {
                    replaced = replaced.checked_add(count.checked_mul(number)?)?;
                    (replaced <= MAX_REPLACED).then_some(())
                })?;
            }
            REPLACED_ACTORS => {
                runs(values, Item::Number, MAX_REPLACED, |_, actor| (actor <= others).then_some(()))?;
            }
            REPLACED_COUNTERS => runs(values, Item::Signed, MAX_REPLACED, |_, _| Some(()))?,
            _ => return None,
        }
    }
    Some(())
}

/// What the values of a column are.
#[derive(Clone, Copy)]
enum Item {
    Number,
    Signed,
    Text,
}

/// Walks the runs of a column of at most `most` values. `each` gets the length of each run and its number.
fn runs(values: &[u8], item: Item, most: u64, mut each: impl FnMut(u64, u64) -> Option<()>) -> Option<()> {
    let mut rest = Rest::new(values);
    let mut left = most;
    while !rest.is_empty() {
        let run = rest.signed()?;
        let (times, literals) = match run {
            0 => (rest.number()?, 0),
            1.. => (run.unsigned_abs(), 1),
            _ => (1, run.unsigned_abs()),
        };
        left = left.checked_sub(times.checked_mul(literals.max(1))?)?;
        for _ in 0..literals {
            let number = match item {
                Item::Number => rest.number()?,
                Item::Signed => rest.signed()?.unsigned_abs(),
                Item::Text => {
                    let len = rest.number()?;
                    rest.skip(len)?;
                    0
                }
            };
            each(times, number)?;
        }
    }
    Some(())
}

/// Lengths of runs of `false` and `true` in turn.
fn booleans(values: &[u8]) -> Option<()> {
    let mut rest = Rest::new(values);
    let mut left = MAX_OPERATIONS;
    while !rest.is_empty() {
        left = left.checked_sub(rest.number()?)?;
    }
    Some(())
}
