//! The parts of an encoded Automerge change that are read without decoding it, its hash, and what can be wrong with it.

use sha2::{Digest as _, Sha256};

/// SHA-256 of an Automerge change chunk: its identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct ChangeHash(pub [u8; 32]);

impl std::fmt::Debug for ChangeHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for byte in &self.0[..4] {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// Why bytes are not a valid change of one of our documents.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// Automerge cannot read the chunk.
    #[error("not an Automerge change")]
    Parse(#[source] automerge::LoadChangeError),
    /// The chunk's checksum is not that of its bytes.
    #[error("the checksum of a change does not match its bytes")]
    Checksum,
    /// The change is not addressed by its content.
    #[error("a change's actor is not derived from its content")]
    Actor,
    /// The change does something other than put or delete scalars under the root.
    #[error("a change has operations other than puts and deletes of scalars under the root")]
    Operations,
    /// The change is not encoded as we encode it.
    #[error("a change is not in its canonical encoding")]
    Encoding,
    /// A row of stored changes does not load.
    #[error("stored changes do not merge")]
    Merge(#[source] automerge::AutomergeError),
    /// A stored row is not in the form that we write.
    #[error("undecodable row")]
    Row,
}

/// A chunk's head: magic 4, checksum 4, type 1. Then come LEB128 length, LEB128 dependency count, the
/// dependencies, the actor's length, the actor.
pub(crate) const HEAD: usize = 9;
pub(crate) const ACTOR_LEN: usize = 16;
/// The type of a chunk that holds one change, not deflated.
pub(crate) const CHANGE: u8 = 1;

/// Specifications of the columns of a change that we write. Changes with others are refused.
pub(crate) mod column {
    pub(crate) const KEY_TEXT: u64 = 21;
    pub(crate) const INSERT: u64 = 52;
    pub(crate) const ACTION: u64 = 66;
    pub(crate) const VALUE_LENGTHS: u64 = 86;
    pub(crate) const VALUES: u64 = 87;
    pub(crate) const REPLACED_COUNTS: u64 = 112;
    pub(crate) const REPLACED_ACTORS: u64 = 113;
    pub(crate) const REPLACED_COUNTERS: u64 = 115;
}

/// The hash covers the chunk from its type byte on (Automerge binary format, "Chunk").
pub(crate) fn chunk_hash(bytes: &[u8]) -> ChangeHash {
    ChangeHash(Sha256::digest(bytes.get(HEAD - 1..).unwrap_or_default()).into())
}

/// Offset of the actor id in a change chunk (Automerge binary format, "Change"), if it has one of 16 bytes.
pub(crate) fn actor_offset(bytes: &[u8]) -> Option<usize> {
    let mut rest = Rest::new(bytes.get(HEAD..)?);
    rest.number()?;
    let deps = rest.number()?;
    rest.skip(deps.checked_mul(32)?)?;
    let len = rest.number()?;
    (len == ACTOR_LEN as u64 && rest.left() >= ACTOR_LEN).then(|| bytes.len() - rest.left())
}

/// The bytes of a chunk that are not read yet.
#[derive(Clone, Copy)]
pub(crate) struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Rest<'a> {
        Rest(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// Reads unsigned LEB128, of at most nine bytes. Signed numbers of the same length are skipped as well.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Reads signed LEB128.
    pub(crate) fn signed(&mut self) -> Option<i64> {
        let (mut value, mut shift) = (0i64, 0);
        loop {
            let byte = self.byte()?;
            value |= i64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(if byte & 0x40 == 0 { value } else { value | -1 << shift });
            }
            if shift >= 63 {
                return None;
            }
        }
    }

    pub(crate) fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn skip(&mut self, len: u64) -> Option<()> {
        self.take(len).map(|_| ())
    }
}
