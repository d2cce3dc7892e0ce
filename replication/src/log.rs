//! Log entries: what each origin did, in its own order.
//!
//! The log holds references, not payloads: a document's bytes exist once, in its row, so erasing the row erases them.
//! It is sparse: a gap means that nothing is left to know of that entry.

use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::ids::Dot;
use crate::key::{DocumentKey, DocumentName};
use crate::time::{Hlc, Wall};

/// Why a document was erased before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// Its subject asked for it.
    Subject,
    /// Its owner asked for it.
    Owner,
}

/// Says that a name is erased. It is kept until no document of this name could be alive anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The latest expiry that any document of this id can have: arrival + `max_retention`.
    pub until: Wall,
    /// Who asked for the erasure.
    pub reason: Reason,
    /// The log entry that erased the name.
    pub dot: Dot,
}

/// One stored log entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// When the origin wrote it.
    pub hlc: Hlc,
    /// What it points to.
    pub what: Reference,
}

impl LogEntry {
    /// Reads a stored entry; `None` if the bytes do not decode.
    #[must_use]
    pub fn decode(stored: &[u8]) -> Option<LogEntry> {
        postcard::from_bytes(stored).ok()
    }

    /// Whether two stores hold the same entry at one dot. A change in one store and its `Erased` entry in the other
    /// count as the same.
    #[must_use]
    pub fn is_same(&self, other: &LogEntry) -> bool {
        let same = match (self.what, other.what) {
            (Reference::Erased(one, ..), Reference::Erased(two, ..)) => one == two,
            (Reference::Erased(name, ..), Reference::Change(key))
            | (Reference::Change(key), Reference::Erased(name, ..)) => key.name == name,
            (one, two) => one == two,
        };
        same && self.hlc == other.hlc
    }
}

/// What a log entry points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reference {
    /// The change with this entry's dot in the row of `key`.
    Change(DocumentKey),
    /// The tombstone of `name`.
    Tombstone(DocumentName, Wall, Reason),
    /// A change of `name` was here until it was erased.
    Erased(DocumentName, Wall, Reason),
}

/// One log entry on the wire: dot, HLC time, key, expiry, and a change or a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Place in the origin's log.
    pub dot: Dot,
    /// When the origin wrote it.
    pub hlc: Hlc,
    /// Document and expiry. For a tombstone or an erased change the expiry is the tombstone's `until`.
    pub key: DocumentKey,
    /// What happened.
    pub body: Body,
}

/// What a delta carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A change of the document.
    Change(Change),
    /// This entry erases the document.
    Tombstone(Reason),
    /// This entry was a change of a document that another entry, perhaps of another log, has since erased.
    Erased(Reason),
}
