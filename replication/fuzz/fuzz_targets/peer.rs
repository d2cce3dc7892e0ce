//! What a peer that lies can send: any content, addressed as `Change` addresses it, so that the door has to look at what
//! the change says and cannot turn it away for its checksum or its actor.

use automerge::legacy::{Key, OpType};
use automerge::{ActorId, ExpandedChange, ScalarValue};
use replication::DocumentKey;
use sha2::{Digest, Sha256};

/// The change with this content in Automerge's encoding, under the actor that the content gives.
pub fn encoded(key: &DocumentKey, mut content: ExpandedChange) -> Vec<u8> {
    content.actor_id = ActorId::from(&actor(key, &content)[..]);
    content.hash = None;
    automerge::Change::from(content).raw_bytes().to_vec()
}

/// As `content_actor` of `replication/src/change.rs`.
fn actor(key: &DocumentKey, change: &ExpandedChange) -> [u8; 16] {
    let mut hasher = Sha256::new();
    let mut sized = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    sized(b"meridian change 1");
    sized(&key.encode());
    sized(&(change.deps.len() as u64).to_be_bytes());
    change.deps.iter().for_each(|dep| sized(&dep.0));
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
    hasher.finalize()[..16].try_into().expect("16 bytes")
}
