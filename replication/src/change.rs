//! Content-addressed Automerge changes, built and read without a document.
//!
//! Every change is its own actor: the actor id is the first 16 bytes of a SHA-256 over the document key, the
//! dependencies, the time and the operations, and its seq is 1. Changes of equal content have the same hash and merge
//! to one. Two different changes never share an actor (I11), so no lock is needed anywhere.
//!
//! # Invariants
//! - [`Change::from_foreign`] accepts only a chunk whose checksum matches and whose actor is derived from its content,
//!   because `automerge::Change::from_bytes` itself accepts flipped bits.
//! - It accepts only the encoding that [`Change::build`] writes. Another encoding of the same content would be a second
//!   change of the same actor.
//! - A document is flat: every operation puts or deletes a scalar under the root ([`crate::form`]).

use std::num::NonZeroU64;

use automerge::legacy::{Key, ObjectId, Op, OpId, OpType, SortedVec};
use automerge::{ActorId, ExpandedChange, ScalarValue};
use sha2::{Digest, Sha256};

use crate::chunk::{ACTOR_LEN, ChangeError, ChangeHash, HEAD, actor_offset, chunk_hash, leb128};
use crate::form::{parse, shape};
use crate::key::DocumentKey;
use crate::value::Value;

/// Id of one operation: Lamport counter and actor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpRef {
    pub(crate) counter: u64,
    pub(crate) actor: Vec<u8>,
}

impl OpRef {
    /// The Lamport counter. Of two concurrent operations the one with the higher counter wins, then the one with the
    /// higher change.
    #[must_use]
    pub fn counter(&self) -> u64 {
        self.counter
    }

    /// The actor, which no other change has. Two operations belong to the same change exactly if this is equal.
    #[must_use]
    pub fn change(&self) -> &[u8] {
        &self.actor
    }
}

/// What an operation does to a field: the new value or none, and the operations that it replaces.
pub(crate) struct FieldOp<'a> {
    pub(crate) field: &'a str,
    pub(crate) value: Option<&'a Value>,
    pub(crate) replaces: Vec<OpRef>,
}

/// One encoded Automerge change and its hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    pub(crate) bytes: Vec<u8>,
    pub(crate) hash: ChangeHash,
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Change({:?}, {} bytes)", self.hash, self.bytes.len())
    }
}

impl Change {
    /// Creates a document: every field put once, in the given order.
    #[must_use]
    pub fn create(key: &DocumentKey, fields: &[(&str, Value)]) -> Change {
        let ops = fields.iter().map(|(field, value)| FieldOp { field, value: Some(value), replaces: Vec::new() });
        Change::build(key, &[], 1, ops.collect())
    }

    pub(crate) fn build(key: &DocumentKey, deps: &[ChangeHash], start_op: u64, ops: Vec<FieldOp<'_>>) -> Change {
        let operations: Vec<Op> = ops
            .into_iter()
            .map(|op| Op {
                action: op.value.map_or(OpType::Delete, |value| OpType::Put(value.to_scalar())),
                obj: ObjectId::Root,
                key: Key::Map(op.field.into()),
                pred: op
                    .replaces
                    .iter()
                    .map(|p| OpId(p.counter, ActorId::from(p.actor.as_slice())))
                    .collect::<SortedVec<OpId>>(),
                insert: false,
            })
            .collect();
        let mut deps: Vec<_> = deps.iter().map(|hash| automerge::ChangeHash(hash.0)).collect();
        deps.sort_unstable();
        let mut expanded = ExpandedChange {
            operations,
            actor_id: ActorId::from([0u8; ACTOR_LEN]),
            hash: None,
            seq: 1,
            start_op: NonZeroU64::new(start_op).unwrap_or(NonZeroU64::MIN),
            // Automerge's default. The time of a request is a field of the document, so that a repeat is the same
            // change.
            time: 0,
            message: None,
            deps,
            extra_bytes: Vec::new(),
            author: None,
        };
        expanded.actor_id = ActorId::from(content_actor(key, &expanded));
        let change = automerge::Change::from(expanded);
        Change { hash: ChangeHash(change.hash().0), bytes: change.raw_bytes().to_vec() }
    }

    /// A change that we stored ourselves. It is not parsed again, but its checksum must match.
    ///
    /// # Errors
    /// [`ChangeError::Checksum`] if the bytes are damaged.
    pub(crate) fn from_stored(bytes: Vec<u8>) -> Result<Change, ChangeError> {
        let hash = chunk_hash(&bytes);
        if bytes.get(4..8) == Some(&hash.0[..4]) { Ok(Change { hash, bytes }) } else { Err(ChangeError::Checksum) }
    }

    /// Reads a change from outside and checks its checksum, its shape, its encoding and that its content gives its
    /// actor.
    ///
    /// # Errors
    /// Any [`ChangeError`] except those of rows.
    pub fn from_foreign(key: &DocumentKey, bytes: Vec<u8>) -> Result<Change, ChangeError> {
        let parsed = parse(&bytes)?;
        let hash = parsed.hash();
        if bytes.get(4..8) != Some(&hash.0[..4]) {
            return Err(ChangeError::Checksum);
        }
        // Only what passes the shape check reaches `content_actor`.
        let expanded = shape(&parsed)?;
        if expanded.actor_id.to_bytes() != content_actor(key, &expanded) {
            return Err(ChangeError::Actor);
        }
        canonical(expanded, bytes)
    }

    /// The chunk with its actor id blanked. The actor follows from the content, so these 16 incompressible bytes need
    /// not be sent. [`Change::restore`] puts it back.
    #[must_use]
    pub(crate) fn blanked(mut self) -> Vec<u8> {
        if let Some(at) = actor_offset(&self.bytes) {
            self.bytes[at..at + ACTOR_LEN].fill(0);
        }
        self.bytes
    }

    /// Rebuilds a change from what [`Change::blanked`] gave. The checksum, which was sent, proves the result.
    ///
    /// # Errors
    /// As [`Change::from_foreign`].
    pub(crate) fn restore(key: &DocumentKey, mut bytes: Vec<u8>) -> Result<Change, ChangeError> {
        let at = actor_offset(&bytes).ok_or(ChangeError::Operations)?;
        let parsed = parse(&bytes)?;
        let mut expanded = shape(&parsed)?;
        let actor = content_actor(key, &expanded);
        bytes[at..at + ACTOR_LEN].copy_from_slice(&actor);
        let hash = chunk_hash(&bytes);
        if bytes[4..8] != hash.0[..4] {
            return Err(ChangeError::Checksum);
        }
        expanded.actor_id = ActorId::from(actor);
        canonical(expanded, bytes)
    }

    /// Whether it depends on no other change: it creates its document.
    pub(crate) fn is_root(&self) -> bool {
        let mut at = HEAD;
        leb128(&self.bytes, &mut at);
        leb128(&self.bytes, &mut at) == Some(0)
    }

    /// The change's identity.
    #[must_use]
    pub fn hash(&self) -> ChangeHash {
        self.hash
    }

    /// The encoded chunk.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The change with this content, if `bytes` is how we encode it.
fn canonical(content: ExpandedChange, bytes: Vec<u8>) -> Result<Change, ChangeError> {
    let encoded = automerge::Change::from(content);
    if encoded.raw_bytes() == bytes {
        Ok(Change { hash: ChangeHash(encoded.hash().0), bytes })
    } else {
        Err(ChangeError::Encoding)
    }
}

/// First 16 bytes of SHA-256 over key, dependencies, start, time and operations, each length-prefixed.
fn content_actor(key: &DocumentKey, change: &ExpandedChange) -> [u8; ACTOR_LEN] {
    let mut hasher = Sha256::new();
    let mut sized = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    sized(b"meridian change 1");
    sized(&key.encode());
    sized(&(change.deps.len() as u64).to_be_bytes());
    for dep in &change.deps {
        sized(&dep.0);
    }
    sized(&change.start_op.get().to_be_bytes());
    sized(&change.time.to_be_bytes());
    for op in &change.operations {
        if let Key::Map(field) = &op.key {
            sized(field.as_bytes());
        }
        match &op.action {
            OpType::Put(ScalarValue::Str(text)) => {
                sized(b"text");
                sized(text.as_bytes());
            }
            OpType::Put(ScalarValue::Int(int)) => {
                sized(b"int");
                sized(&int.to_be_bytes());
            }
            OpType::Put(ScalarValue::Bytes(bytes)) => {
                sized(b"bytes");
                sized(bytes);
            }
            _ => sized(b"delete"),
        }
        sized(&(op.pred.len() as u64).to_be_bytes());
        for pred in op.pred.iter() {
            sized(&pred.0.to_be_bytes());
            sized(pred.1.to_bytes());
        }
    }
    let mut actor = [0u8; ACTOR_LEN];
    actor.copy_from_slice(&hasher.finalize()[..ACTOR_LEN]);
    actor
}
