//! The pseudorandom generator of the [`tree`](super::tree): from a node down to its children.
//!
//! A node is 16 bytes. Its children are `P0(n) xor n` and `P1(n) xor n`, where `P0` and `P1` are AES-128 under two fixed,
//! public keys.
//!
//! A cipher that is asked for one block prepares its round keys for wide registers each time, which takes longer than the
//! block. So a whole way down runs inside of both ciphers ([`BlockCipherEncClosure`]): a third of the time per leaf.

use std::fmt;
use std::ops::Range;

use aes::Aes128;
use aes::cipher::consts::U16;
use aes::cipher::{
    Array, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt as _, BlockSizeUser, KeyInit as _,
};
use zeroize::Zeroize;

/// Levels below the root.
pub(super) const DEPTH: u8 = 64;

/// 16 secret bytes: a node of the tree, or a leaf, which is a key. Overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Node(pub(super) [u8; 16]);

impl Drop for Node {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Shows nothing of the secret.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Node(..)")
    }
}

/// The two public permutations.
pub(super) struct Generator {
    left: Aes128,
    right: Aes128,
}

impl Generator {
    pub(super) fn new() -> Generator {
        let cipher = |key: &[u8; 16]| Aes128::new(&Array::from(*key));
        Generator { left: cipher(b"meridian child 0"), right: cipher(b"meridian child 1") }
    }

    /// Puts in the place of a node at the first of these depths the one below it on the way to `leaf` at the end of them.
    pub(super) fn descend(&self, node: &mut Node, leaf: u64, depths: Range<u8>) {
        self.walk(Walk { node, leaf, depths, siblings: None });
    }

    /// As [`descend`](Self::descend), and the nodes beside the way, from the top down.
    pub(super) fn siblings(&self, node: &mut Node, leaf: u64, depths: Range<u8>) -> Vec<Node> {
        // Of its full size from the beginning, otherwise secrets would stay behind where it was before.
        let mut siblings = Vec::with_capacity(depths.len());
        self.walk(Walk { node, leaf, depths, siblings: Some(&mut siblings) });
        siblings
    }

    fn walk(&self, walk: Walk<'_>) {
        self.left.encrypt_with_backend(InLeft { right: &self.right, walk });
    }
}

/// The bit by which the path to `leaf` leaves a node at `depth`.
fn branch(leaf: u64, depth: u8) -> usize {
    usize::from(leaf >> (DEPTH - 1 - depth) & 1 == 1)
}

/// A way down.
struct Walk<'a> {
    node: &'a mut Node,
    leaf: u64,
    depths: Range<u8>,
    siblings: Option<&'a mut Vec<Node>>,
}

/// Goes on inside of the other cipher.
struct InLeft<'a> {
    right: &'a Aes128,
    walk: Walk<'a>,
}

impl BlockSizeUser for InLeft<'_> {
    type BlockSize = U16;
}

impl BlockCipherEncClosure for InLeft<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(self, left: &B) {
        self.right.encrypt_with_backend(InBoth { left, walk: self.walk });
    }
}

struct InBoth<'a, L> {
    left: &'a L,
    walk: Walk<'a>,
}

impl<L> BlockSizeUser for InBoth<'_, L> {
    type BlockSize = U16;
}

impl<L: BlockCipherEncBackend<BlockSize = U16>> BlockCipherEncClosure for InBoth<'_, L> {
    #[inline(always)]
    fn call<R: BlockCipherEncBackend<BlockSize = U16>>(self, right: &R) {
        let Walk { node, leaf, depths, mut siblings } = self.walk;
        for depth in depths {
            let child = |bit: usize| {
                let mut block = Array::from(node.0);
                match bit {
                    0 => self.left.encrypt_block((&mut block).into()),
                    _ => right.encrypt_block((&mut block).into()),
                }
                let mixed = u128::from_ne_bytes(block.into()) ^ u128::from_ne_bytes(node.0);
                mixed.to_ne_bytes()
            };
            let bit = branch(leaf, depth);
            if let Some(siblings) = &mut siblings {
                siblings.push(Node(child(1 - bit)));
            }
            node.0 = child(bit);
        }
    }
}
