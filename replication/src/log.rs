//! Log entries: what each origin did, in its own order.
//!
//! The log holds references, not payloads: a document's bytes exist once, in its row, so erasing the row erases
//! them. It is sparse: a gap means "nothing left to know".

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

/// "This id is gone for good", until no document of this id can be alive anyway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// The latest expiry that any document of this id can have: arrival + `max_retention`.
    pub until: Wall,
    /// Who asked.
    pub reason: Reason,
    /// The entry that erased.
    pub dot: Dot,
}

/// One stored log entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogEntry {
    pub(crate) hlc: Hlc,
    pub(crate) what: Reference,
}

/// What a log entry points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reference {
    /// The change with this entry's dot in the row of `key`.
    Change(DocumentKey),
    /// The tombstone of `name`.
    Tombstone(DocumentName, Wall, Reason),
}

/// One log entry on the wire: dot, HLC time, key, expiry, and a change or a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// Place in the origin's log.
    pub dot: Dot,
    /// When the origin wrote it.
    pub hlc: Hlc,
    /// Document and expiry; for a tombstone the expiry is its `until`.
    pub key: DocumentKey,
    /// What happened.
    pub body: Body,
}

/// What a delta carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A change of the document.
    Change(Change),
    /// The document is erased.
    Tombstone(Reason),
}
