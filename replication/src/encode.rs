//! Encoding with postcard into memory.

use serde::Serialize;

/// A value's bytes.
///
/// Encoding into memory cannot fail, because none of our types has a sequence of unknown length or refuses to be
/// encoded. If it did, the empty bytes would be refused by their reader: as a corrupt value, frame or token.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    let encoded = postcard::to_stdvec(value);
    debug_assert!(encoded.is_ok(), "a value of ours cannot be encoded: {:?}", encoded.err());
    encoded.unwrap_or_default()
}
