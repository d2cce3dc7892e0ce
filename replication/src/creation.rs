//! The encoding of a change that creates a document: it puts each field once, and nothing comes before it.
//!
//! Nearly all changes of visits are of this form. Automerge's codec is made for every change; for this form it takes
//! several times as long, because it builds an operation for each field and looks columns up that are empty here. So
//! creations are written and read here, and everything else goes through Automerge (Automerge binary format, "Change" and
//! "Columns").
//!
//! # Invariants
//! - [`encode`] writes the very bytes that Automerge writes.
//! - What [`decode`] reads is only a claim until [`encode`] has written the same bytes again. Of every other change
//!   Automerge says what is wrong with it.

use std::collections::BTreeSet;

use crate::chunk::column::{ACTION, INSERT, KEY_TEXT, REPLACED_COUNTS, VALUE_LENGTHS, VALUES};
use crate::chunk::{ACTOR_LEN, CHANGE, ChangeHash, HEAD, Rest, chunk_hash};
use crate::value::Value;

const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
/// Most fields that are read here.
const MAX_FIELDS: usize = 64;
/// No dependency; then the actor's length.
const BEFORE_ACTOR: [u8; 2] = [0, ACTOR_LEN as u8];
/// Seq 1, first operation 1, time 0, no message, no other actors.
const AFTER_ACTOR: [u8; 5] = [1, 1, 0, 0, 0];
/// The action of an operation that puts a value.
const PUT: u64 = 1;
const INT: u64 = 4;
const TEXT: u64 = 6;
const BYTES: u64 = 7;

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scalar<'a> {
    Text(&'a str),
    Int(i64),
    Bytes(&'a [u8]),
}

impl<'a> From<&'a Value> for Scalar<'a> {
    fn from(value: &'a Value) -> Scalar<'a> {
        match value {
            Value::Text(text) => Scalar::Text(text),
            Value::Int(int) => Scalar::Int(*int),
            Value::Bytes(bytes) => Scalar::Bytes(bytes),
        }
    }
}

/// The chunk of a change that puts these fields, at least one, and its hash.
pub(crate) fn encode(actor: [u8; ACTOR_LEN], fields: &[(&str, Scalar<'_>)]) -> (Vec<u8>, ChangeHash) {
    let (mut lengths, mut values) = (Vec::with_capacity(fields.len()), Vec::new());
    for (_, value) in fields {
        let before = values.len();
        let kind = match value {
            Scalar::Text(text) => {
                values.extend_from_slice(text.as_bytes());
                TEXT
            }
            Scalar::Int(int) => {
                put_signed(&mut values, *int);
                INT
            }
            Scalar::Bytes(bytes) => {
                values.extend_from_slice(bytes);
                BYTES
            }
        };
        lengths.push(((values.len() - before) as u64) << 4 | kind);
    }
    let count = fields.len();
    let columns = [
        (
            KEY_TEXT,
            runs(
                fields,
                |one, other| one.0 == other.0,
                |(field, _), out| {
                    put(out, field.len() as u64);
                    out.extend_from_slice(field.as_bytes());
                },
            ),
        ),
        (INSERT, number(count as u64)),
        (ACTION, repeated(count, PUT)),
        (VALUE_LENGTHS, runs(&lengths, |one, other| one == other, |length, out| put(out, *length))),
        (VALUES, values),
        (REPLACED_COUNTS, repeated(count, 0)),
    ];
    let columns = || columns.iter().filter(|(_, data)| !data.is_empty());
    let mut body = Vec::with_capacity(64 + columns().map(|(_, data)| data.len()).sum::<usize>());
    body.extend_from_slice(&BEFORE_ACTOR);
    body.extend_from_slice(&actor);
    body.extend_from_slice(&AFTER_ACTOR);
    put(&mut body, columns().count() as u64);
    for (column, data) in columns() {
        put(&mut body, *column);
        put(&mut body, data.len() as u64);
    }
    columns().for_each(|(_, data)| body.extend_from_slice(data));
    let mut chunk = Vec::with_capacity(HEAD + 2 + body.len());
    chunk.extend_from_slice(&MAGIC);
    chunk.extend_from_slice(&[0; 4]);
    chunk.push(CHANGE);
    put(&mut chunk, body.len() as u64);
    chunk.extend_from_slice(&body);
    let hash = chunk_hash(&chunk);
    chunk[4..8].copy_from_slice(&hash.0[..4]);
    (chunk, hash)
}

/// The fields that a change puts, if it seems to be a creation. Actor and checksum are not looked at.
pub(crate) fn decode(chunk: &[u8]) -> Option<Vec<(&str, Scalar<'_>)>> {
    let mut rest = Rest::new(chunk.get(HEAD..)?);
    if rest.number()? != rest.left() as u64 || rest.take(BEFORE_ACTOR.len() as u64)? != BEFORE_ACTOR {
        return None;
    }
    rest.take(ACTOR_LEN as u64)?;
    if rest.take(AFTER_ACTOR.len() as u64)? != AFTER_ACTOR {
        return None;
    }
    let (mut keys, mut lengths, mut values) = (None, None, &[][..]);
    let mut columns = [(0, 0); 6];
    let columns = columns.get_mut(..usize::try_from(rest.number()?).ok()?)?;
    for column in &mut *columns {
        *column = (rest.number()?, rest.number()?);
    }
    for (column, length) in columns {
        let data = rest.take(*length)?;
        match *column {
            KEY_TEXT => keys = Some(data),
            VALUE_LENGTHS => lengths = Some(data),
            VALUES => values = data,
            // They follow from the number of fields.
            INSERT | ACTION | REPLACED_COUNTS => {}
            _ => return None,
        }
    }
    let names = items(keys?, |rest| {
        let length = rest.number()?;
        str::from_utf8(rest.take(length)?).ok()
    })?;
    let lengths = items(lengths?, Rest::number)?;
    let mut values = Rest::new(values);
    let mut seen = BTreeSet::new();
    let mut fields = Vec::with_capacity(names.len());
    if names.len() != lengths.len() {
        return None;
    }
    for (name, length) in names.into_iter().zip(lengths) {
        let data = values.take(length >> 4)?;
        let value = match length & 0xf {
            TEXT => Scalar::Text(str::from_utf8(data).ok()?),
            INT => Scalar::Int(signed(data)?),
            BYTES => Scalar::Bytes(data),
            _ => return None,
        };
        if !seen.insert(name) {
            return None;
        }
        fields.push((name, value));
    }
    Some(fields)
}

/// A column of run-length encoded items: `count, item` for equal ones in a row, `-count, items` for others.
fn runs<T>(items: &[T], same: impl Fn(&T, &T) -> bool, write: impl Fn(&T, &mut Vec<u8>)) -> Vec<u8> {
    let (mut out, mut at) = (Vec::new(), 0);
    let run = |at: usize| items[at..].iter().take_while(|item| same(item, &items[at])).count();
    while at < items.len() {
        let equal = run(at);
        if equal > 1 {
            put_signed(&mut out, equal.cast_signed() as i64);
            write(&items[at], &mut out);
            at += equal;
        } else {
            let others = (at..items.len()).take_while(|next| run(*next) == 1).count();
            put_signed(&mut out, -(others.cast_signed() as i64));
            items[at..at + others].iter().for_each(|item| write(item, &mut out));
            at += others;
        }
    }
    out
}

/// The same for one number `count` times.
fn repeated(count: usize, item: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(4);
    put_signed(&mut out, if count == 1 { -1 } else { count.cast_signed() as i64 });
    put(&mut out, item);
    out
}

fn number(number: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(2);
    put(&mut out, number);
    out
}

/// Adds unsigned LEB128. Writing to memory cannot fail.
fn put(out: &mut Vec<u8>, number: u64) {
    let _ = leb128::write::unsigned(out, number);
}

/// Adds signed LEB128.
fn put_signed(out: &mut Vec<u8>, number: i64) {
    let _ = leb128::write::signed(out, number);
}

/// The items of a run-length encoded column, at most [`MAX_FIELDS`].
fn items<'a, T: Copy>(column: &'a [u8], read: impl Fn(&mut Rest<'a>) -> Option<T>) -> Option<Vec<T>> {
    let mut rest = Rest::new(column);
    let mut items = Vec::new();
    while !rest.is_empty() {
        let run = rest.signed()?;
        let count = usize::try_from(run.unsigned_abs()).ok().filter(|count| items.len() + count <= MAX_FIELDS)?;
        match run {
            0 => return None,
            1.. => items.resize(items.len() + count, read(&mut rest)?),
            _ => {
                for _ in 0..count {
                    items.push(read(&mut rest)?);
                }
            }
        }
    }
    Some(items)
}

/// The number that these bytes are, and nothing else.
fn signed(bytes: &[u8]) -> Option<i64> {
    let mut rest = Rest::new(bytes);
    rest.signed().filter(|_| rest.is_empty())
}

#[cfg(test)]
mod tests;
