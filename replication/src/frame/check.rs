//! What replicas say to each other to compare their rows and to repair damaged ones.
//!
//! Each is a question or its answer. A lost one is asked again, because both sides can repeat their work. The algorithm:
//! `replica/scrub.rs` and `replica/repair.rs`.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::FrameError;
use crate::change::Change;
use crate::chunk::{ChangeError, ChangeHash};
use crate::ids::Dot;
use crate::key::{Bucket, DocumentKey, DocumentName};
use crate::log::{Body, Delta};
use crate::time::{Hlc, Wall};
use crate::version::VersionVector;

/// Most rows of one comparison.
pub(crate) const MOST_ROWS: usize = 512;
/// Most rows that are asked for at once.
pub(crate) const MOST_WANTED: usize = 64;
/// Most changes that one question or answer names.
const MOST_CHANGES: usize = 1 << 16;

/// SHA-256, cut to 128 bits.
pub(crate) type Digest = [u8; 16];

/// A question or an answer about rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// Asks whether the peer holds the same rows.
    Compare(Compare),
    /// The answer.
    Compared(Compared),
    /// Asks for the changes of rows.
    Want(Want),
    /// The answer.
    Repair(Repair),
}

/// Rows of one bucket in key order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slice {
    pub(crate) bucket: Bucket,
    /// The slice begins behind this key; at the first row if there is none.
    pub(crate) after: Option<DocumentKey>,
    /// The last key of the slice; all rows that are left if there is none.
    pub(crate) through: Option<DocumentKey>,
}

/// Which rows and changes are compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope {
    /// Changes that this covers: both sides know them.
    pub(crate) covered: VersionVector,
    /// Documents that expire later than this.
    pub(crate) alive_after: Wall,
}

/// Asks whether the peer holds the same rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    pub(crate) slice: Slice,
    pub(crate) scope: Scope,
    /// Of the rows that the asking replica holds.
    pub(crate) digest: Digest,
}

/// What the peer holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// The slice that was asked for, or its first part.
    pub(crate) slice: Slice,
    /// Its rows with their digests; `None` if the digests of the slice are equal.
    pub(crate) rows: Option<Vec<(DocumentKey, Digest)>>,
}

/// Asks for the changes of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// Each row with the changes of it that need not be sent.
    pub(crate) rows: Vec<(DocumentKey, Vec<ChangeHash>)>,
}

/// The changes of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// The rows of which everything is sent that the peer has and the asking replica does not.
    pub(crate) whole: Vec<DocumentKey>,
    pub(crate) entries: Vec<Copied>,
}

/// A log entry with its change, copied from a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Copied {
    pub(crate) dot: Dot,
    hlc: Hlc,
    pub(crate) key: DocumentKey,
    /// Without its actor id, which follows from the content.
    #[serde(with = "serde_bytes")]
    blanked: Vec<u8>,
}

impl Check {
    /// The documents of which changes are sent.
    pub fn sends_changes_of(&self) -> impl Iterator<Item = DocumentName> {
        let entries = if let Check::Repair(repair) = self { repair.entries.as_slice() } else { &[] };
        entries.iter().map(|copied| copied.key.name)
    }

    /// Reads a payload.
    pub(super) fn checked(self) -> Result<Check, FrameError> {
        let fits = match &self {
            Check::Compare(_) => true,
            Check::Compared(compared) => compared.rows.as_ref().is_none_or(|rows| rows.len() <= MOST_ROWS),
            Check::Want(want) => {
                let named: usize = want.rows.iter().map(|(_, have)| have.len()).sum();
                want.rows.len() <= MOST_WANTED && named <= MOST_CHANGES
            }
            Check::Repair(repair) => repair.whole.len() <= MOST_WANTED && repair.entries.len() <= MOST_CHANGES,
        };
        if fits { Ok(self) } else { Err(FrameError::Entries) }
    }
}

impl Slice {
    /// Whether a row lies in the slice.
    pub(crate) fn contains(&self, key: &DocumentKey) -> bool {
        key.bucket() == self.bucket
            && self.after.is_none_or(|after| *key > after)
            && self.through.is_none_or(|through| *key <= through)
    }
}

impl Copied {
    /// Copies a change.
    pub(crate) fn of(dot: Dot, hlc: Hlc, key: DocumentKey, change: Change) -> Copied {
        Copied { dot, hlc, key, blanked: change.blanked() }
    }

    /// Bytes of the change.
    pub(crate) fn bytes(&self) -> usize {
        self.blanked.len()
    }

    /// The entry, after the change was checked as every change from outside.
    pub(crate) fn delta(self) -> Result<Delta, ChangeError> {
        let Copied { dot, hlc, key, blanked } = self;
        Ok(Delta { dot, hlc, key, body: Body::Change(Change::restore(&key, blanked)?) })
    }
}

/// The digest of a row: of its key and of the hashes of its changes in order.
pub(crate) fn row_digest(key: &DocumentKey, hashes: impl Iterator<Item = ChangeHash>) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(key.encode());
    hashes.for_each(|hash| hasher.update(hash.0));
    cut(hasher)
}

/// The digest of a slice: of the digests of its rows in key order.
pub(crate) fn slice_digest(rows: &[(DocumentKey, Digest)]) -> Digest {
    let mut hasher = Sha256::new();
    rows.iter().for_each(|(_, digest)| hasher.update(digest));
    cut(hasher)
}

fn cut(hasher: Sha256) -> Digest {
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize()[..16]);
    digest
}
