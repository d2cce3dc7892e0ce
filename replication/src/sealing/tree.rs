//! A puncturable pseudorandom function: the tree of Goldreich, Goldwasser and Micali ("How to construct random
//! functions", 1986), from which leaves can be taken out for good.
//!
//! # Construction
//! A node is 16 bytes, and the [`generator`](super::generator) makes two children of it. A leaf lies 64 levels below the
//! root, at a 64-bit path. A tree is a *cover*: nodes whose subtrees do not overlap. Puncturing at a leaf replaces the node above it by the siblings along the way down, so that every
//! other leaf can still be derived (Boneh and Waters 2013; Kiayias et al. 2013; Boyle, Goldwasser and Ivan 2014).
//!
//! # Why a punctured leaf is gone
//! The map from a node to both children is a pseudorandom generator if AES with fixed keys behaves like two random
//! permutations (Guo, Katz, Wang and Yu, "Efficient and secure multiparty computation from fixed-key block ciphers",
//! 2020). By a hybrid argument along the path, each node on it can be replaced by a random string: first the root's
//! child on the path, which appears nowhere but in its own children, then that child's child, down to the leaf. After
//! the last step the leaf is independent of everything that is left, so an adversary with the whole cover tells it from
//! random bytes with probability at most 64 times the generator's. Wherever the path was derived before (memory, swap)
//! is outside of this argument.
//!
//! # Sizes
//! A puncture removes one node and adds at most 64. With `n` punctures a cover has about `n (64 - log2 n)` nodes, each of
//! which takes 24 bytes of memory.

use std::collections::BTreeMap;

use super::generator::{DEPTH, Generator, Node};

/// The place of a node: the first `depth` bits of `path`; the other bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    path: u64,
    depth: u8,
}

impl Place {
    /// The place of the root.
    pub(super) const ROOT: Place = Place { path: 0, depth: 0 };

    /// The place at `depth` on the way to a leaf.
    fn above(leaf: u64, depth: u8) -> Place {
        Place { path: leaf & mask(depth), depth }
    }

    /// A place as it was stored; `None` if there is no such place.
    pub(super) fn stored(path: u64, depth: u8) -> Option<Place> {
        (depth <= DEPTH && path & mask(depth) == path).then_some(Place { path, depth })
    }

    pub(super) fn path(self) -> u64 {
        self.path
    }

    pub(super) fn depth(self) -> u8 {
        self.depth
    }

    /// The two places below it.
    fn children(self) -> [Place; 2] {
        let depth = self.depth + 1;
        [Place { depth, ..self }, Place { path: self.path | 1 << (DEPTH - depth), depth }]
    }

    /// The number of leaves below it.
    fn leaves(self) -> u128 {
        1 << (DEPTH - self.depth)
    }

    pub(super) fn covers(self, leaf: u64) -> bool {
        leaf & mask(self.depth) == self.path
    }
}

/// The first `depth` bits.
fn mask(depth: u8) -> u64 {
    u64::MAX.checked_shl(u32::from(DEPTH - depth)).unwrap_or_default()
}

/// A node of a cover, and where it is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) node: Node,
    /// Its number in the key file. Numbers are not used twice.
    pub(super) slot: u32,
}

/// What punctures did to a cover.
#[derive(Debug, Default)]
pub(super) struct Punctured {
    /// Slots of the nodes that led to the leaves. They are not in the cover any more.
    pub(super) removed: Vec<u32>,
    /// The siblings that came in their place, in order of slots.
    pub(super) added: Vec<(Place, Kept)>,
}

/// How many leaves no node of a cover leads to.
pub(super) fn uncovered(cover: &BTreeMap<Place, Kept>) -> u128 {
    let covered: u128 = cover.keys().map(|place| place.leaves()).sum();
    Place::ROOT.leaves().saturating_sub(covered)
}

/// What is left of the leaves below one place.
#[derive(Debug)]
enum Subtree {
    /// All of them, from one node.
    Whole(Kept),
    /// None.
    Gone,
    /// More than none, and not all.
    Around(Box<Path>),
}

/// A way down, and what is left beside it. A cover has one for each puncture, because a search tree of all its nodes takes
/// more than twice the memory and the time.
#[derive(Debug)]
struct Path {
    /// The depth at which the way begins.
    top: u8,
    /// A leaf at or below its end.
    leaf: u64,
    /// The subtrees beside it, one for each level, from the top down.
    beside: Box<[Subtree]>,
    /// The subtree at its end.
    end: Subtree,
}

impl Path {
    /// Where the way to another leaf leaves this one; `None` if it goes through the end.
    fn fork(&self, leaf: u64) -> Option<usize> {
        let common = (self.leaf ^ leaf).leading_zeros() as usize;
        let level = common.saturating_sub(usize::from(self.top));
        (level < self.beside.len()).then_some(level)
    }

    /// The depth of the subtree at a fork, or of the one at the end.
    fn depth(&self, fork: Option<usize>) -> u8 {
        // A way has at most `DEPTH` levels.
        self.top + fork.map_or(self.beside.len(), |level| level + 1) as u8
    }
}

impl Subtree {
    /// What these nodes cover below `top`. They are in order of places and do not overlap.
    fn of(nodes: &[(Place, Kept)], top: Place) -> Subtree {
        match nodes {
            [] => return Subtree::Gone,
            [(place, kept)] if *place == top => return Subtree::Whole(kept.clone()),
            _ => {}
        }
        let (mut at, mut below, mut beside) = (top, nodes, Vec::new());
        // Down to where nothing or one whole subtree is left, on the side that is not whole.
        while below.first().is_some_and(|(place, _)| *place != at) {
            let children = at.children();
            let (left, right) = below.split_at(below.partition_point(|(place, _)| place.path < children[1].path));
            let is_whole = matches!(left, [(place, _)] if *place == children[0]);
            let ((other, place), next) = if is_whole {
                ((left, children[0]), (right, children[1]))
            } else {
                ((right, children[1]), (left, children[0]))
            };
            beside.push(Subtree::of(other, place));
            (below, at) = next;
        }
        let end = Subtree::of(below, at);
        Subtree::Around(Box::new(Path { top: top.depth, leaf: at.path, beside: beside.into(), end }))
    }
}

/// The nodes from which every leaf that was not punctured can be derived.
pub(super) struct Tree {
    generator: Generator,
    root: Subtree,
    next_slot: u32,
    punctured: u128,
}

impl Tree {
    /// The tree below these nodes, whose subtrees do not overlap. The next node gets `next_slot`.
    pub(super) fn of(cover: BTreeMap<Place, Kept>, next_slot: u32) -> Tree {
        let punctured = uncovered(&cover);
        let nodes: Vec<(Place, Kept)> = cover.into_iter().collect();
        Tree { generator: Generator::new(), root: Subtree::of(&nodes, Place::ROOT), next_slot, punctured }
    }

    /// The leaf at this path; `None` if it was punctured.
    pub(super) fn leaf(&self, leaf: u64) -> Option<Node> {
        let (top, kept) = self.above(leaf)?;
        let mut node = kept.node.clone();
        self.generator.descend(&mut node, leaf, top..DEPTH);
        Some(node)
    }

    /// Whether the leaf can still be derived.
    pub(super) fn has(&self, leaf: u64) -> bool {
        self.above(leaf).is_some()
    }

    /// How many leaves were punctured.
    pub(super) fn punctured(&self) -> u128 {
        self.punctured
    }

    /// Takes a leaf out, and notes what that did. A second time does nothing.
    pub(super) fn puncture(&mut self, leaf: u64, punctured: &mut Punctured) {
        let (mut at, mut top) = (&mut self.root, 0);
        while let Subtree::Around(path) = at {
            let fork = path.fork(leaf);
            top = path.depth(fork);
            at = fork.map_or(&mut path.end, |level| &mut path.beside[level]);
        }
        let Subtree::Whole(Kept { mut node, slot }) = std::mem::replace(at, Subtree::Gone) else { return };
        punctured.removed.push(slot);
        let mut beside = Vec::with_capacity(usize::from(DEPTH - top));
        for (depth, sibling) in (top..).zip(self.generator.siblings(&mut node, leaf, top..DEPTH)) {
            let sibling = Kept { node: sibling, slot: self.next_slot };
            self.next_slot += 1;
            punctured.added.push((Place::above(leaf ^ 1 << (DEPTH - 1 - depth), depth + 1), sibling.clone()));
            beside.push(Subtree::Whole(sibling));
        }
        if top < DEPTH {
            *at = Subtree::Around(Box::new(Path { top, leaf, beside: beside.into(), end: Subtree::Gone }));
        }
        self.punctured += 1;
        debug_assert!(!self.has(leaf), "a punctured leaf can still be derived");
    }

    /// The node of the cover on the way to a leaf, and its depth.
    fn above(&self, leaf: u64) -> Option<(u8, &Kept)> {
        let (mut at, mut top) = (&self.root, 0);
        while let Subtree::Around(path) = at {
            let fork = path.fork(leaf);
            top = path.depth(fork);
            at = fork.map_or(&path.end, |level| &path.beside[level]);
        }
        match at {
            Subtree::Whole(kept) => Some((top, kept)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::{Kept, Node, Place, Punctured, Subtree, Tree};

    fn whole() -> Tree {
        let root = Kept { node: Node(*b"sixteen bytes ok"), slot: 0 };
        Tree::of(BTreeMap::from([(Place::ROOT, root)]), 1)
    }

    fn cover(tree: &Tree) -> BTreeMap<Place, Kept> {
        fn gather(subtree: &Subtree, place: Place, cover: &mut BTreeMap<Place, Kept>) {
            match subtree {
                Subtree::Gone => {}
                Subtree::Whole(kept) => assert!(cover.insert(place, kept.clone()).is_none()),
                Subtree::Around(path) => {
                    let mut at = place;
                    for beside in &path.beside {
                        let [left, right] = at.children();
                        let (next, other) = if right.covers(path.leaf) { (right, left) } else { (left, right) };
                        gather(beside, other, cover);
                        at = next;
                    }
                    gather(&path.end, at, cover);
                }
            }
        }
        let mut found = BTreeMap::new();
        gather(&tree.root, Place::ROOT, &mut found);
        found
    }

    fn hex(node: Option<Node>) -> Option<String> {
        node.map(|node| node.0.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Computed apart with another implementation of AES: `openssl enc -aes-128-ecb` along the path.
    #[test]
    fn vectors() {
        let tree = whole();
        let vectors = VECTORS.iter().map(|(leaf, key)| (*leaf, (*key).to_owned()));
        let derived = VECTORS.iter().map(|(leaf, _)| (*leaf, hex(tree.leaf(*leaf)).unwrap()));
        assert_eq!(derived.collect::<Vec<_>>(), vectors.collect::<Vec<_>>());
    }

    const VECTORS: [(u64, &str); 3] = [
        (0, "f84a496224dc4414ddecd43e86457a05"),
        (u64::MAX, "8484d436a4cc20300f302b1c07f8a09f"),
        (0x0123_4567_89ab_cdef, "1fb6a5339f4dc38102d374867f556f9b"),
    ];

    #[test]
    fn a_tree_that_loses_all_its_leaves_below_a_node_is_empty_there() {
        let mut tree = whole();
        for leaf in 0..8 {
            tree.puncture(leaf, &mut Punctured::default());
        }
        assert!((0..8).all(|leaf| !tree.has(leaf)) && tree.has(8));
        assert_eq!(cover(&tree).len(), 61, "one sibling on each level above the eight leaves");
    }

    /// A damaged file lacks any of its nodes.
    #[test]
    fn of_a_tree_that_lacks_nodes_the_others_cover_what_they_did() {
        let mut tree = whole();
        for leaf in [5, 5 << 40, u64::MAX] {
            tree.puncture(leaf, &mut Punctured::default());
        }
        let all = cover(&tree);
        for lost in all.keys() {
            let mut left = all.clone();
            left.remove(lost);
            let read = Tree::of(left.clone(), tree.next_slot);
            for place in all.keys() {
                let leaf = place.path();
                let expected = if place == lost { None } else { hex(tree.leaf(leaf)) };
                assert_eq!(hex(read.leaf(leaf)), expected, "{place:?} without {lost:?}");
            }
            assert_eq!(cover(&read).keys().collect::<Vec<_>>(), left.keys().collect::<Vec<_>>());
        }
        // Nor does a file that no puncture could leave confuse it.
        let halves = Place::ROOT.children().map(|half| (half, Kept { node: Node([1; 16]), slot: 0 }));
        let read = Tree::of(halves.into(), 1);
        assert!(read.has(0) && read.has(u64::MAX) && cover(&read).len() == 2);
    }

    proptest! {
        /// Leaves are drawn from few, near to each other and far apart, so that punctures meet.
        #[test]
        fn punctured_leaves_are_gone_and_every_other_one_is_as_before(
            punctured in prop::collection::vec(prop_oneof![0..32_u64, any::<u64>()], 0..20),
            others in prop::collection::vec(prop_oneof![0..40_u64, any::<u64>()], 0..40),
        ) {
            let (before, mut tree) = (whole(), whole());
            for leaf in &punctured {
                let first = !tree.has(*leaf);
                let mut punctured = Punctured::default();
                tree.puncture(*leaf, &mut punctured);
                prop_assert_eq!(first, punctured.removed.is_empty());
                prop_assert!(punctured.added.len() <= 64);
            }
            let gone: BTreeSet<u64> = punctured.iter().copied().collect();
            prop_assert_eq!(tree.punctured(), gone.len() as u128);
            // A tree that was read from its file is the same.
            let cover = cover(&tree);
            let read = Tree::of(cover.clone(), tree.next_slot);
            prop_assert_eq!(read.punctured(), gone.len() as u128);
            for leaf in gone.iter().chain(&others) {
                let expected = if gone.contains(leaf) { None } else { hex(before.leaf(*leaf)) };
                prop_assert_eq!(&hex(tree.leaf(*leaf)), &expected);
                prop_assert_eq!(&hex(read.leaf(*leaf)), &expected);
            }
            // No node that is left lies above a punctured leaf, and no two overlap.
            for place in cover.keys() {
                prop_assert!(gone.iter().all(|leaf| !place.covers(*leaf)));
                prop_assert_eq!(cover.keys().filter(|other| other.covers(place.path)).count(), 1);
            }
        }
    }
}
