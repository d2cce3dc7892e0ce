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

/// The hash covers the chunk from its type byte on (Automerge binary format, "Chunk").
pub(crate) fn chunk_hash(bytes: &[u8]) -> ChangeHash {
    ChangeHash(Sha256::digest(bytes.get(HEAD - 1..).unwrap_or_default()).into())
}

/// Offset of the actor id in a change chunk (Automerge binary format, "Change"), if it has one of 16 bytes.
pub(crate) fn actor_offset(bytes: &[u8]) -> Option<usize> {
    let mut at = HEAD;
    leb128(bytes, &mut at)?;
    let deps = usize::try_from(leb128(bytes, &mut at)?).ok()?;
    at = at.checked_add(deps.checked_mul(32)?)?;
    let len = leb128(bytes, &mut at)?;
    (len == ACTOR_LEN as u64 && bytes.len() >= at + ACTOR_LEN).then_some(at)
}

pub(crate) fn leb128(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..63).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
