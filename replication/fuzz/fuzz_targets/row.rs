//! Rows: reading a stored one never panics, what is accepted survives being written and read again, and no set of
//! changes that passes the door makes merging panic, whatever they claim of each other.
//!
//! # Not here
//! Merging the changes of a damaged row: Automerge 0.12 panics on some changes whose checksum is wrong, and rows
//! from our own disk are not checked again. See the README of this folder.
#![no_main]

mod peer;

use std::num::NonZeroU64;

use automerge::ExpandedChange;
use automerge::legacy::OpId;
use libfuzzer_sys::fuzz_target;
use replication::{
    Change, ChangeError, Collection, Document, DocumentId, DocumentKey, DocumentName, Dot, ReplicaId, Row, TenantId,
    Value, Wall,
};
use sha2::{Digest, Sha256};

const FIELDS: [&str; 3] = ["a", "b", "c"];
/// Bytes of input for each change of [`received`].
const STEP: usize = 10;

fuzz_target!(|bytes: &[u8]| {
    let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id: DocumentId([2; 16]) };
    let key = name.expiring(Wall(1_800_000_000_000));
    stored(bytes);
    received(&key, bytes);
});

fn stored(bytes: &[u8]) {
    let Ok(row) = Row::decode(bytes) else { return };
    let known = (row.hashes(), row.dots(), row.is_empty());
    assert!(known.0.iter().all(|hash| row.contains(*hash)));
    let encoded = row.encode().expect("what was decoded can be encoded");
    let again = Row::decode(&encoded).expect("what was encoded can be decoded");
    assert_eq!((again.hashes(), again.dots(), again.is_empty()), known);
}

/// Each step makes a correction of what some of the earlier changes show, tampers with it, and tries the door. What
/// passes goes into a row, which is compacted now and then. Row and document must agree, in any order.
fn received(key: &DocumentKey, bytes: &[u8]) {
    let mut made = vec![Change::create(key, &[("a", Value::Int(1)), ("b", Value::Int(2))])];
    let mut row = Row::default();
    row.add(Dot { origin: ReplicaId(1), seq: 1 }, made[0].clone());
    for step in bytes.chunks_exact(STEP).take(48) {
        let subset = usize::from(step[0]) | usize::from(step[1]) << 8;
        let seen = made.iter().enumerate().filter(|(at, _)| subset >> (at % 16) & 1 == 1).map(|(_, c)| c.clone());
        let document = Document::of_changes(&seen.collect::<Vec<_>>()).expect("what passed the door merges");
        let update = (step[3] < 200).then(|| Value::Int(i64::from(step[3])));
        let Some(honest) = document.amend(key, &[(FIELDS[usize::from(step[2]) % 3], update)]) else { continue };
        let Some(content) = tampered(key, honest.bytes(), &step[4..9], &made) else { continue };
        let Ok(change) = Change::from_foreign(key, peer::encoded(key, content)) else { continue };
        row.add(Dot { origin: ReplicaId(1), seq: made.len() as u64 + 1 }, change.clone());
        made.push(change);
        if step[9] % 4 == 0 {
            row.compact().expect("what passed the door merges");
        }
    }
    let document = Document::of_changes(&made).expect("what passed the door merges");
    assert_eq!(row.document().expect("what passed the door merges"), document);
    made.reverse();
    assert_eq!(Document::of_changes(&made).expect("in any order"), document);
    let found = row.find_all(&row.dots()).expect("the chunk loads");
    assert_eq!(found.len(), row.dots().len());
}

/// A change's content with something replaced: a byte, its start, a dependency, or what it replaces.
fn tampered(key: &DocumentKey, bytes: &[u8], how: &[u8], made: &[Change]) -> Option<ExpandedChange> {
    let parse = |bytes: &[u8]| automerge::Change::try_from(bytes).ok().map(|change| change.decode());
    let mut content = parse(bytes)?;
    let other = parse(made[usize::from(how[1]) % made.len()].bytes())?;
    match how[0] % 6 {
        0 => {
            let mut bytes = bytes.to_vec();
            let at = 9 + usize::from(how[1]) % (bytes.len() - 9);
            bytes[at] = how[2];
            let checksum = Sha256::digest(&bytes[8..]);
            bytes[4..8].copy_from_slice(&checksum[..4]);
            // Automerge's `decode` panics on some of those that the door turns away for their operations.
            return match Change::from_foreign(key, bytes.clone()) {
                Ok(_) | Err(ChangeError::Actor | ChangeError::Encoding) => parse(&bytes),
                Err(_) => None,
            };
        }
        1 => content.start_op = NonZeroU64::new(u64::from(how[2]) << (how[3] % 40))?,
        2 => {
            content.deps = other.hash.into_iter().collect();
            content.start_op = NonZeroU64::new(other.start_op.get() + other.operations.len() as u64)?;
        }
        3 => content.deps.clear(),
        4 => {
            let replaced = OpId(other.start_op.get() + u64::from(how[2] % 3), other.actor_id);
            content.operations.first_mut()?.pred = std::iter::once(replaced).collect();
        }
        _ => {}
    }
    Some(content)
}
