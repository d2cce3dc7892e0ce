//! The tables of a bucket: how keys are laid out, and scans that decode what they find.
//!
//! | tag | key | value |
//! | --- | --- | --- |
//! | `d` | `collection, tenant, id, expires_at` | a row |
//! | `l` | `origin, seq` | a log entry |
//! | `t` | `collection, tenant, id` | a tombstone |
//! | `e` | `collection, tenant, id` | empty: the keys of this name are to be destroyed ([`crate::Sealed`]) |
//! | `m` | `0`: the replica's own state; `1`, `2`: the bucket's header | |
//!
//! # Invariants
//! - Numbers in keys are big-endian, so that byte order is the order of origins, seqs and arrivals.
//! - A key or a value that does not decode ends a scan with [`StorageError::Corrupt`]. It is never skipped.

use std::ops::ControlFlow;

use super::{Storage, StorageError};
use crate::ids::{Dot, ReplicaId};
use crate::key::{Bucket, DocumentKey, DocumentName};
use crate::log::{LogEntry, Tombstone};

const DOCUMENTS: u8 = b'd';
pub(crate) const LOG: u8 = b'l';
const TOMBSTONES: u8 = b't';
const ERASED: u8 = b'e';
const META: u8 = b'm';

/// Key of the replica's own state, in [`Bucket::Lasting`].
pub(crate) const META_KEY: &[u8] = &[META, b'0'];
/// Key of a bucket's header.
pub(crate) const HEADER_KEY: &[u8] = &[META, b'2'];
/// Key of a bucket's header up to store format 3.
pub(crate) const OLD_HEADER_KEY: &[u8] = &[META, b'1'];

/// Whether a scan goes on, or why it failed.
type ScanStep = Result<ControlFlow<()>, StorageError>;

/// The keys of one scan.
#[derive(Clone, Debug)]
pub(crate) struct KeyRange {
    /// The first key.
    pub(crate) start: Vec<u8>,
    /// The first key after the range.
    pub(crate) end: Vec<u8>,
}

impl KeyRange {
    /// The keys that start with `prefix`.
    fn of_prefix(prefix: Vec<u8>) -> KeyRange {
        let mut end = prefix.clone();
        while let Some(last) = end.pop() {
            if last < u8::MAX {
                end.push(last + 1);
                break;
            }
        }
        KeyRange { start: prefix, end }
    }

    /// The rows whose names start with `prefix` (a part of [`DocumentName::encode`]).
    pub(crate) fn of_documents(prefix: &[u8]) -> KeyRange {
        KeyRange::of_prefix(tagged(DOCUMENTS, prefix))
    }

    /// The tombstones whose names start with `prefix`.
    pub(crate) fn of_tombstones(prefix: &[u8]) -> KeyRange {
        KeyRange::of_prefix(tagged(TOMBSTONES, prefix))
    }

    /// From the beginning of this range to the end of another one.
    pub(crate) fn through(self, last: KeyRange) -> KeyRange {
        KeyRange { start: self.start, end: last.end }
    }
}

/// Key of a document's row.
pub(crate) fn document_key(key: &DocumentKey) -> Vec<u8> {
    tagged(DOCUMENTS, &key.encode())
}

/// The document whose row a key names.
pub(crate) fn document_of(key: &[u8]) -> Option<DocumentKey> {
    key.strip_prefix(&[DOCUMENTS]).and_then(DocumentKey::decode)
}

/// Key of the record that the keys of a name are to be destroyed.
pub(crate) fn erased_key(name: &DocumentName) -> Vec<u8> {
    tagged(ERASED, &name.encode())
}

/// The name in such a record's key.
pub(crate) fn erased_of(key: &[u8]) -> Option<DocumentName> {
    key.strip_prefix(&[ERASED]).and_then(DocumentName::decode)
}

/// Calls `take` with every name of a bucket whose keys are to be destroyed, or are.
///
/// # Errors
/// [`StorageError`] if the engine fails or a record is corrupt.
pub(crate) fn scan_erased(
    storage: &impl Storage,
    bucket: Bucket,
    take: &mut dyn FnMut(DocumentName),
) -> Result<(), StorageError> {
    scan_table(storage, bucket, &KeyRange::of_prefix(vec![ERASED]), &mut |key, _| {
        take(erased_of(key).ok_or(StorageError::Corrupt { what: "erased key", bucket })?);
        Ok(ControlFlow::Continue(()))
    })
}

/// Key of a log entry.
#[must_use]
pub fn log_key(dot: Dot) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    key.push(LOG);
    key.extend_from_slice(&dot.origin.0.to_be_bytes());
    key.extend_from_slice(&dot.seq.to_be_bytes());
    key
}

/// Reads what [`log_key`] wrote.
fn read_log_key(key: &[u8]) -> Option<Dot> {
    let (origin, seq) = key.strip_prefix(&[LOG])?.split_at_checked(8)?;
    let origin = ReplicaId(u64::from_be_bytes(origin.try_into().ok()?));
    Some(Dot { origin, seq: u64::from_be_bytes(seq.try_into().ok()?) })
}

/// Whether a key is that of a log entry.
pub(crate) fn is_log_key(key: &[u8]) -> bool {
    read_log_key(key).is_some()
}

/// The name in a tombstone's key.
pub(crate) fn tombstone_of(key: &[u8]) -> Option<DocumentName> {
    key.strip_prefix(&[TOMBSTONES]).and_then(DocumentName::decode)
}

pub(crate) fn tombstone_key(name: &DocumentName) -> Vec<u8> {
    tagged(TOMBSTONES, &name.encode())
}

/// The entries that a bucket has of `origin`'s log in `(after, through]`, in log order, at most `most` of them.
///
/// # Errors
/// [`StorageError`] if the engine fails or an entry is corrupt.
pub(crate) fn scan_log(
    storage: &impl Storage,
    bucket: Bucket,
    origin: ReplicaId,
    (after, through): (u64, u64),
    most: usize,
) -> Result<Vec<(u64, LogEntry)>, StorageError> {
    let start = log_key(Dot { origin, seq: after.saturating_add(1) });
    let range = KeyRange { start, end: log_key(Dot { origin, seq: through.saturating_add(1) }) };
    let mut found = Vec::new();
    scan_entries(storage, bucket, &range, &mut |dot, entry| {
        found.push((dot.seq, entry));
        if found.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(found)
}

/// Every log entry of a bucket, of all origins.
///
/// # Errors
/// [`StorageError`] if the engine fails or an entry is corrupt.
pub fn scan_logs(
    storage: &impl Storage,
    bucket: Bucket,
    take: &mut dyn FnMut(Dot, LogEntry),
) -> Result<(), StorageError> {
    scan_entries(storage, bucket, &KeyRange::of_prefix(vec![LOG]), &mut |dot, entry| {
        take(dot, entry);
        ControlFlow::Continue(())
    })
}

/// Calls `take` with the log entries of a bucket, of all origins, behind the one at `after` until it breaks.
///
/// # Errors
/// [`StorageError`] if the engine fails or an entry is corrupt.
pub(crate) fn scan_log_from(
    storage: &impl Storage,
    bucket: Bucket,
    after: Option<Dot>,
    take: &mut dyn FnMut(Dot, LogEntry) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    let mut range = KeyRange::of_prefix(vec![LOG]);
    if let Some(Dot { origin, seq }) = after {
        range.start = log_key(Dot { origin, seq: seq.saturating_add(1) });
    }
    scan_entries(storage, bucket, &range, take)
}

/// Whether any bucket has an entry of `origin`'s log with seq `first` or a later one.
///
/// # Errors
/// [`StorageError`] if the engine fails.
pub fn has_log_entries(storage: &impl Storage, origin: ReplicaId, first: u64) -> Result<bool, StorageError> {
    let (start, end) = (log_key(Dot { origin, seq: first }), log_key(Dot { origin, seq: u64::MAX }));
    for bucket in storage.buckets() {
        let mut found = false;
        storage.scan(bucket, &start, &end, &mut |_, _| {
            found = true;
            ControlFlow::Break(())
        })?;
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Calls `take` with the key and the stored bytes of every row in `range` until it breaks or fails.
///
/// # Errors
/// [`StorageError`] if the engine fails, a key is corrupt, or `take` fails.
pub(crate) fn scan_documents(
    storage: &impl Storage,
    bucket: Bucket,
    range: &KeyRange,
    take: &mut dyn FnMut(DocumentKey, &[u8]) -> ScanStep,
) -> Result<(), StorageError> {
    scan_table(storage, bucket, range, &mut |key, stored| {
        take(document_of(key).ok_or(StorageError::Corrupt { what: "row", bucket })?, stored)
    })
}

/// A pair of a bucket, as far as its key tells what it is.
pub(crate) enum Entry<'a> {
    /// A stored row.
    Row(&'a [u8]),
    /// A stored log entry.
    Log(Dot, &'a [u8]),
    /// A tombstone, and whether it decodes.
    Tombstone(bool),
    /// The key is none of ours.
    Unknown,
}

/// Calls `take` with every row, log entry and tombstone of a bucket, damaged or not, until it breaks.
///
/// # Errors
/// [`StorageError`] if the engine fails.
pub(crate) fn scan_everything(
    storage: &impl Storage,
    bucket: Bucket,
    take: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    storage.scan(bucket, &[], &[u8::MAX], &mut |key, stored| {
        let entry = match key.first() {
            Some(&DOCUMENTS) => document_of(key).map(|_| Entry::Row(stored)),
            Some(&LOG) => read_log_key(key).map(|dot| Entry::Log(dot, stored)),
            Some(&TOMBSTONES) => DocumentName::decode(&key[1..])
                .map(|_| Entry::Tombstone(postcard::from_bytes::<Tombstone>(stored).is_ok())),
            Some(&ERASED) if erased_of(key).is_some() => return ControlFlow::Continue(()),
            Some(&META) => return ControlFlow::Continue(()),
            _ => None,
        };
        take(entry.unwrap_or(Entry::Unknown))
    })
}

/// Calls `take` with every tombstone in `range`.
///
/// # Errors
/// [`StorageError`] if the engine fails or a tombstone is corrupt.
pub(crate) fn scan_tombstones(
    storage: &impl Storage,
    bucket: Bucket,
    range: &KeyRange,
    take: &mut dyn FnMut(DocumentName, Tombstone),
) -> Result<(), StorageError> {
    scan_table(storage, bucket, range, &mut |key, stored| {
        let name = tombstone_of(key).ok_or(StorageError::Corrupt { what: "tombstone", bucket })?;
        take(name, StorageError::decode(stored, "tombstone", bucket)?);
        Ok(ControlFlow::Continue(()))
    })
}

fn scan_entries(
    storage: &impl Storage,
    bucket: Bucket,
    range: &KeyRange,
    take: &mut dyn FnMut(Dot, LogEntry) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    scan_table(storage, bucket, range, &mut |key, stored| {
        let corrupt = StorageError::Corrupt { what: "log entry", bucket };
        let (dot, entry) = read_log_key(key).zip(LogEntry::decode(stored)).ok_or(corrupt)?;
        Ok(take(dot, entry))
    })
}

/// A scan whose visitor may fail, which [`Storage::scan`] has no place for.
fn scan_table(
    storage: &impl Storage,
    bucket: Bucket,
    range: &KeyRange,
    visitor: &mut dyn FnMut(&[u8], &[u8]) -> ScanStep,
) -> Result<(), StorageError> {
    let mut failed = None;
    storage.scan(bucket, &range.start, &range.end, &mut |key, stored| {
        visitor(key, stored).unwrap_or_else(|error| {
            failed = Some(error);
            ControlFlow::Break(())
        })
    })?;
    failed.map_or(Ok(()), Err)
}

fn tagged(tag: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(tag);
    key.extend_from_slice(rest);
    key
}
