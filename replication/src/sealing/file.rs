//! The formats of key files.
//!
//! A tree has a header, then one slot for each node that it ever had:
//!
//! | bytes | header |
//! | --- | --- |
//! | 16 | `meridian keys 1\n` |
//! | 16 | salt of the leaves' paths |
//! | 32 | zeros |
//!
//! | bytes | slot |
//! | --- | --- |
//! | 8 | path, big-endian |
//! | 1 | depth |
//! | 16 | node |
//! | 7 | SipHash-2-4 of the bytes before, under the salt |
//!
//! A slot whose node is punctured is all zeros. Slots are aligned to their length, so that none crosses a sector.
//!
//! The secret of an hour:
//!
//! | bytes | |
//! | --- | --- |
//! | 16 | `meridian hour 1\n` |
//! | 4 | generation, which every value names that is sealed with this secret |
//! | 16 | secret |
//! | 8 | SipHash-2-4 of the bytes before, under the key zero |

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use siphasher::sip::SipHasher24;

use super::generator::Node;
use super::tree::{self, Kept, Place};

const MAGIC: [u8; 16] = *b"meridian keys 1\n";
const HEADER: usize = 64;
/// Bytes of a slot.
pub(super) const SLOT: usize = 32;

const HOUR_MAGIC: [u8; 16] = *b"meridian hour 1\n";

/// Tells the secret of an hour from an earlier one of the same hour.
pub(super) type Generation = [u8; 4];

/// The secret of an hour.
#[derive(Debug)]
pub(super) struct SecretFile {
    pub(super) generation: Generation,
    pub(super) secret: Node,
}

impl SecretFile {
    /// Reads a file; `None` if it is none.
    pub(super) fn decode(bytes: &[u8]) -> Option<SecretFile> {
        let (body, sum) = bytes.split_last_chunk::<8>()?;
        let (generation, secret) = body.strip_prefix(&HOUR_MAGIC)?.split_first_chunk()?;
        let secret = Node(secret.try_into().ok()?);
        (leaf(&[0; 16], body).to_be_bytes() == *sum).then_some(SecretFile { generation: *generation, secret })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = [&HOUR_MAGIC[..], &self.generation, &self.secret.0].concat();
        let sum = leaf(&[0; 16], &bytes).to_be_bytes();
        bytes.extend_from_slice(&sum);
        bytes
    }
}

/// A tree.
#[derive(Debug, Default)]
pub(super) struct TreeFile {
    pub(super) salt: [u8; 16],
    /// Nodes whose subtrees do not overlap.
    pub(super) cover: BTreeMap<Place, Kept>,
    /// The number of slots, a torn one included.
    pub(super) slots: u32,
    /// The number of slots that are overwritten, at least one for each leaf that was punctured.
    pub(super) overwritten: u32,
    /// Slots of nodes below another one of the cover: an erasure was cut short.
    pub(super) below: Vec<u32>,
    /// Slots that do not read.
    pub(super) torn: Vec<u32>,
}

impl TreeFile {
    /// Reads a file; `None` if its header is not one.
    pub(super) fn decode(bytes: &[u8]) -> Option<TreeFile> {
        let (header, slots) = bytes.split_at_checked(HEADER)?;
        let rest = header.strip_prefix(&MAGIC)?;
        let mut file = TreeFile { salt: rest[..16].try_into().ok()?, ..TreeFile::default() };
        let mut nodes = BTreeMap::new();
        for slot in slots.chunks(SLOT) {
            let number = file.slots;
            file.slots += 1;
            if slot.iter().all(|byte| *byte == 0) {
                file.overwritten += 1;
                continue;
            }
            match decode_slot(slot, &file.salt) {
                Some((place, node)) => {
                    // After a crash one node may be written twice.
                    let twice = nodes.insert(place, Kept { node, slot: number });
                    file.below.extend(twice.map(|kept: Kept| kept.slot));
                }
                None => file.torn.push(number),
            }
        }
        // In order of places a node comes before all that lie below it.
        let mut above: Option<Place> = None;
        for (place, kept) in nodes {
            if above.is_some_and(|above| above.covers(place.path())) {
                file.below.push(kept.slot);
            } else {
                above = Some(place);
                file.cover.insert(place, kept);
            }
        }
        Some(file)
    }

    /// Whether nodes are lost. A puncture uncovers one leaf and overwrites at least one slot, so a file without a fault
    /// has no more uncovered leaves than overwritten slots.
    pub(super) fn is_damaged(&self) -> bool {
        tree::uncovered(&self.cover) > u128::from(self.overwritten)
    }

    /// A new file with the root alone.
    pub(super) fn encode_new(salt: [u8; 16], root: &Node) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + SLOT);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&salt);
        bytes.resize(HEADER, 0);
        encode_slot(Place::ROOT, root, &salt, &mut bytes);
        bytes
    }
}

/// Where a slot begins.
pub(super) fn offset(slot: u32) -> u64 {
    HEADER as u64 + u64::from(slot) * SLOT as u64
}

/// The path of a document's leaf: SipHash-2-4 of its name under the tree's salt. Guests choose ids and do not know the
/// salt, so no guest can make two documents share a leaf. Among a million documents of one hour two share one with a
/// probability of 3 in 10^8.
pub(super) fn leaf(salt: &[u8; 16], document: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_key(salt);
    hasher.write(document);
    hasher.finish()
}

/// Adds a slot to the end of `bytes`.
pub(super) fn encode_slot(place: Place, node: &Node, salt: &[u8; 16], bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.extend_from_slice(&place.path().to_be_bytes());
    bytes.push(place.depth());
    bytes.extend_from_slice(&node.0);
    let sum = checksum(salt, &bytes[start..]);
    bytes.extend_from_slice(&sum);
}

fn decode_slot(slot: &[u8], salt: &[u8; 16]) -> Option<(Place, Node)> {
    let (body, sum) = slot.split_at_checked(25)?;
    if checksum(salt, body) != sum {
        return None;
    }
    let place = Place::stored(u64::from_be_bytes(body[..8].try_into().ok()?), body[8])?;
    Some((place, Node(body[9..].try_into().ok()?)))
}

fn checksum(salt: &[u8; 16], body: &[u8]) -> [u8; 7] {
    let [_, sum @ ..] = leaf(salt, body).to_be_bytes();
    sum
}

#[cfg(test)]
mod tests {
    use super::{HEADER, SLOT, SecretFile, TreeFile, encode_slot};
    use crate::sealing::generator::Node;
    use crate::sealing::tree::{Place, Punctured, Tree};

    fn new() -> Vec<u8> {
        TreeFile::encode_new(*b"salt of one hour", &Node([7; 16]))
    }

    fn punctured(bytes: &[u8], leaf: u64) -> (TreeFile, Punctured) {
        let file = TreeFile::decode(bytes).unwrap();
        let mut punctured = Punctured::default();
        Tree::of(file.cover.clone(), file.slots).puncture(leaf, &mut punctured);
        (file, punctured)
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let mut bytes = new();
        let (file, punctured) = punctured(&bytes, 5);
        assert_eq!((file.slots, file.cover.len(), bytes.len()), (1, 1, HEADER + SLOT));
        for (place, kept) in &punctured.added {
            encode_slot(*place, &kept.node, &file.salt, &mut bytes);
        }
        // Cut short here, the root is still there and makes the siblings needless.
        let cut_short = TreeFile::decode(&bytes).unwrap();
        assert_eq!((cut_short.cover.len(), cut_short.below.len(), cut_short.slots), (1, 64, 65));
        bytes[HEADER..HEADER + SLOT].fill(0);
        let whole = TreeFile::decode(&bytes).unwrap();
        assert_eq!((whole.cover.len(), whole.below.len(), whole.torn.len(), whole.overwritten), (64, 0, 0, 1));
        for (place, kept) in &punctured.added {
            assert_eq!((&whole.cover[place].node, whole.cover[place].slot), (&kept.node, kept.slot));
        }
        assert_eq!(whole.salt, *b"salt of one hour");
    }

    #[test]
    fn every_flipped_bit_is_seen_or_harmless() {
        let mut bytes = new();
        let (file, punctured) = punctured(&bytes, 5);
        for (place, kept) in &punctured.added {
            encode_slot(*place, &kept.node, &file.salt, &mut bytes);
        }
        bytes[HEADER..HEADER + SLOT].fill(0);
        for byte in HEADER + SLOT..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[byte] ^= 0x10;
            let read = TreeFile::decode(&flipped).unwrap();
            assert_eq!((read.torn.len(), read.cover.len()), (1, 63), "byte {byte}");
            // The last slot is that of a single leaf, which looks like one more puncture, but for its torn slot.
            assert!(read.is_damaged(), "byte {byte}");
        }
        assert!((0..16).all(|byte| {
            let mut flipped = bytes.clone();
            flipped[byte] ^= 1;
            TreeFile::decode(&flipped).is_none()
        }));
        assert!((0..HEADER).all(|length| TreeFile::decode(&bytes[..length]).is_none()));
    }

    #[test]
    fn a_secret_is_read_as_it_was_written_and_every_flipped_bit_is_seen() {
        let bytes = SecretFile { generation: *b"once", secret: Node([9; 16]) }.encode();
        let read = SecretFile::decode(&bytes).unwrap();
        assert_eq!((read.generation, read.secret), (*b"once", Node([9; 16])));
        for byte in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[byte] ^= 1;
            assert!(SecretFile::decode(&flipped).is_none() && SecretFile::decode(&bytes[..byte]).is_none(), "{byte}");
        }
    }

    #[test]
    fn a_torn_end_leaves_the_slots_before_it() {
        let mut bytes = new();
        encode_slot(Place::ROOT, &Node([8; 16]), b"salt of one hour", &mut bytes);
        let read = TreeFile::decode(&bytes[..bytes.len() - 1]).unwrap();
        assert_eq!((read.torn, read.slots, read.cover[&Place::ROOT].node.clone()), (vec![1], 2, Node([7; 16])));
    }
}
