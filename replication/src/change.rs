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

use crate::chunk::{ACTOR_LEN, ChangeError, ChangeHash, HEAD, Rest, actor_offset, chunk_hash};
use crate::creation::{self, Scalar};
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
        let ops = || fields.iter().map(|(field, value)| FieldOp { field, value: Some(value), replaces: Vec::new() });
        if fields.is_empty() {
            return Change::build(key, &[], 1, Vec::new());
        }
        let fields: Vec<(&str, Scalar<'_>)> = fields.iter().map(|(field, value)| (*field, value.into())).collect();
        let (bytes, hash) = creation::encode(creation_actor(key, &fields), &fields);
        debug_assert_eq!(
            bytes,
            Change::build(key, &[], 1, ops().collect()).bytes,
            "Automerge encodes a creation otherwise"
        );
        Change { bytes, hash }
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
    pub(crate) fn restore(key: &DocumentKey, bytes: Vec<u8>) -> Result<Change, ChangeError> {
        let at = actor_offset(&bytes).ok_or(ChangeError::Operations)?;
        if let Some(fields) = creation::decode(&bytes) {
            let (encoded, hash) = creation::encode(creation_actor(key, &fields), &fields);
            // The actor that was sent says nothing, so both sides of it are compared.
            if encoded[..at] == bytes[..at] && encoded[at + ACTOR_LEN..] == bytes[at + ACTOR_LEN..] {
                let change = Change { bytes: encoded, hash };
                debug_assert_eq!(Change::restore_any(key, at, bytes).ok().as_ref(), Some(&change));
                return Ok(change);
            }
        }
        Change::restore_any(key, at, bytes)
    }

    /// The same for a change of any form, whose actor lies at `at`.
    pub(crate) fn restore_any(key: &DocumentKey, at: usize, mut bytes: Vec<u8>) -> Result<Change, ChangeError> {
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
        let mut rest = Rest::new(self.bytes.get(HEAD..).unwrap_or_default());
        rest.number();
        rest.number() == Some(0)
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

/// The actor of a change with this content.
pub(crate) fn content_actor(key: &DocumentKey, change: &ExpandedChange) -> [u8; ACTOR_LEN] {
    let deps = change.deps.iter().map(|dep| &dep.0[..]);
    let mut content = Content::new(key, deps, change.start_op.get(), change.time);
    for op in &change.operations {
        let field = if let Key::Map(field) = &op.key { Some(field.as_str()) } else { None };
        let value = match &op.action {
            OpType::Put(ScalarValue::Str(text)) => Some(Scalar::Text(text)),
            OpType::Put(ScalarValue::Int(int)) => Some(Scalar::Int(*int)),
            OpType::Put(ScalarValue::Bytes(bytes)) => Some(Scalar::Bytes(bytes)),
            _ => None,
        };
        content.operation(field, value, op.pred.iter().map(|pred| (pred.0, pred.1.to_bytes())));
    }
    content.actor()
}

/// The actor of a change that creates a document with these fields.
fn creation_actor(key: &DocumentKey, fields: &[(&str, Scalar<'_>)]) -> [u8; ACTOR_LEN] {
    let mut content = Content::new(key, std::iter::empty(), 1, 0);
    for (field, value) in fields {
        content.operation(Some(field), Some(*value), std::iter::empty());
    }
    content.actor()
}

/// What the actor of a change is derived from: key, dependencies, start, time and operations, each with its length.
struct Content(Vec<u8>);

impl Content {
    fn new<'a>(key: &DocumentKey, deps: impl ExactSizeIterator<Item = &'a [u8]>, start_op: u64, time: i64) -> Content {
        let mut content = Content(Vec::with_capacity(1024));
        content.add(b"meridian change 1");
        content.add(&key.encode());
        content.add(&(deps.len() as u64).to_be_bytes());
        deps.for_each(|dep| content.add(dep));
        content.add(&start_op.to_be_bytes());
        content.add(&time.to_be_bytes());
        content
    }

    fn add(&mut self, part: &[u8]) {
        self.0.extend_from_slice(&(part.len() as u64).to_be_bytes());
        self.0.extend_from_slice(part);
    }

    /// Adds an operation on a field that puts a value, or deletes it, and replaces others.
    fn operation<'a>(
        &mut self,
        field: Option<&str>,
        value: Option<Scalar<'_>>,
        replaces: impl ExactSizeIterator<Item = (u64, &'a [u8])>,
    ) {
        if let Some(field) = field {
            self.add(field.as_bytes());
        }
        match value {
            Some(Scalar::Text(text)) => {
                self.add(b"text");
                self.add(text.as_bytes());
            }
            Some(Scalar::Int(int)) => {
                self.add(b"int");
                self.add(&int.to_be_bytes());
            }
            Some(Scalar::Bytes(bytes)) => {
                self.add(b"bytes");
                self.add(bytes);
            }
            None => self.add(b"delete"),
        }
        self.add(&(replaces.len() as u64).to_be_bytes());
        for (counter, actor) in replaces {
            self.add(&counter.to_be_bytes());
            self.add(actor);
        }
    }

    /// The first bytes of its SHA-256.
    fn actor(self) -> [u8; ACTOR_LEN] {
        let mut actor = [0u8; ACTOR_LEN];
        actor.copy_from_slice(&Sha256::digest(&self.0)[..ACTOR_LEN]);
        actor
    }
}
