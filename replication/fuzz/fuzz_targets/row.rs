//! Rows from storage: reading never panics, and what is accepted survives being written and read again.
//!
//! # Not here
//! Merging the changes of a damaged row: Automerge 0.12 panics on some changes whose checksum is wrong, and rows
//! from our own disk are not checked again. See the README of this folder.
#![no_main]

use libfuzzer_sys::fuzz_target;
use replication::{Collection, DocumentId, DocumentName, Row, TenantId, Wall};

fuzz_target!(|bytes: &[u8]| {
    let name = DocumentName { collection: Collection(2), tenant: TenantId([1; 16]), id: DocumentId([2; 16]) };
    let key = name.expiring(Wall(1_800_000_000_000));
    let Ok(row) = Row::decode(&key, bytes.to_vec()) else { return };
    let known = (row.hashes(), row.dots(), row.is_empty());
    assert!(known.0.iter().all(|hash| row.contains(*hash)));
    let encoded = row.encode(&key).expect("what was decoded can be encoded");
    let again = Row::decode(&key, encoded).expect("what was encoded can be decoded");
    assert_eq!((again.hashes(), again.dots(), again.is_empty()), known);
});
