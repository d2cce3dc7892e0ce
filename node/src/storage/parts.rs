//! Stores large values in parts, for an engine that must not be given a large one.
//!
//! sled 0.34 writes a message of more than a quarter of its segment (131,020 bytes) to its own file under `blobs/`,
//! which it never forces. After a power cut that file is empty, and sled ends its log there. A message is one value or
//! one whole leaf of the tree. sled splits a leaf by its number of entries alone: it holds at most 17, and 20 right
//! after a merge. With values of at most [`LARGEST`] bytes a leaf therefore stays below 90 KB.
//!
//! A larger value is stored as a [`Head`] under its own key and parts under keys that begin with [`RESERVED`], all in
//! one atomic batch. A part's key is `RESERVED | length of the key | key | digest of the value | index`.
//!
//! # Invariants
//! - Parts are named by their value's digest, so that a reader never mixes two values of one key. If a value is
//!   replaced while a reader is between its head and its parts, parts are missing and the reader begins again.
//! - A value that looks like a head is stored in parts as well, so that a stored head is always a head.
//! - Values of older stores, which are whole whatever their size, are read unchanged.

use sha2::{Digest, Sha256};

/// Bytes of the largest value, and of a part.
pub(super) const LARGEST: usize = 4_096;

/// First byte of every part's key. It sorts after the keys of all tables, and no table may use it.
pub(super) const RESERVED: u8 = 0xff;

/// The first bytes of each head. They are random, because stores from before there were parts may hold any value.
const MAGIC: [u8; 16] =
    [0xff, 0x9d, 0x1b, 0x6e, 0xc4, 0x52, 0x87, 0xfa, 0x03, 0xd8, 0x71, 0xbe, 0x2c, 0x45, 0xe0, 0x96];
const DIGEST_LEN: usize = 16;

/// The record under the key of a value that is stored in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    bytes: u64,
    digest: [u8; DIGEST_LEN],
}

impl Head {
    const LEN: usize = MAGIC.len() + 8 + DIGEST_LEN;

    /// The head of `value` if it has to be stored in parts.
    pub(super) fn of(value: &[u8]) -> Option<Head> {
        if value.len() <= LARGEST && Head::decode(value).is_none() {
            return None;
        }
        let mut digest = [0; DIGEST_LEN];
        digest.copy_from_slice(&Sha256::digest(value)[..DIGEST_LEN]);
        Some(Head { bytes: value.len() as u64, digest })
    }

    /// Reads a stored value that is a head.
    pub(super) fn decode(stored: &[u8]) -> Option<Head> {
        if stored.len() != Head::LEN {
            return None;
        }
        let (bytes, digest) = stored.strip_prefix(&MAGIC)?.split_at(8);
        Some(Head { bytes: u64::from_be_bytes(bytes.try_into().ok()?), digest: digest.try_into().ok()? })
    }

    /// The stored form.
    pub(super) fn encode(&self) -> Vec<u8> {
        [&MAGIC[..], &self.bytes.to_be_bytes(), &self.digest].concat()
    }

    /// Bytes of the whole value.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Keys of the value's parts, in order.
    pub(super) fn part_keys(&self, key: &[u8]) -> impl Iterator<Item = Vec<u8>> + use<> {
        let prefix = self.part_prefix(key);
        let count = self.bytes.div_ceil(LARGEST as u64);
        (0..count).map(move |index| [&prefix[..], &index.to_be_bytes()].concat())
    }

    /// The prefix of the keys of the value's parts.
    pub(super) fn part_prefix(&self, key: &[u8]) -> Vec<u8> {
        [&[RESERVED][..], &(key.len() as u64).to_be_bytes()[4..], key, &self.digest].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::{Head, LARGEST};

    #[test]
    fn only_large_values_and_those_that_read_like_a_head_have_one() {
        assert_eq!(Head::of(&[7; LARGEST]), None);
        let head = Head::of(&[7; LARGEST + 1]).expect("larger");
        assert_eq!(Head::decode(&head.encode()), Some(head));
        assert_eq!(Head::decode(&[&head.encode()[..], &[0]].concat()), None);
        assert!(Head::of(&head.encode()).is_some(), "otherwise it would be read as the head of another value");
    }

    #[test]
    fn parts_are_named_by_key_and_content() {
        let (one, other) = (Head::of(&[1; 3 * LARGEST]).expect("large"), Head::of(&[2; 3 * LARGEST]).expect("large"));
        let keys: Vec<_> = one.part_keys(b"k").collect();
        assert_eq!(keys.len(), 3);
        assert!(keys.is_sorted() && keys.iter().all(|key| key.starts_with(&one.part_prefix(b"k"))));
        assert_ne!(one.part_prefix(b"k"), other.part_prefix(b"k"));
        // The key's length keeps `k` + digest apart from a longer key.
        assert!(!one.part_prefix(b"kk").starts_with(&one.part_prefix(b"k")[..6]));
    }
}
