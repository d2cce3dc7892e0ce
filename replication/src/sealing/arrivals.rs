//! The tree of one hour of arrivals, or of the documents that do not expire, and what its key file lacks.

use super::KeyName;
use super::file::{self, TreeFile};
use super::generator::Node;
use super::tree::{Kept, Punctured, Tree};
use crate::key::DocumentName;
use crate::storage::StorageError;

/// Why a document has no leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoLeaf {
    /// It was punctured.
    Destroyed,
    /// The key file is damaged, so the leaf may be lost instead.
    Lost,
}

/// What one key file lacks.
pub(super) struct Unwritten {
    pub(super) name: KeyName,
    /// Slots to write, and where.
    pub(super) slots: Vec<u8>,
    pub(super) at: u64,
    /// Where slots are to be overwritten after that, one for each document that is erased.
    pub(super) overwrite: Vec<u64>,
}

pub(super) struct Arrivals {
    salt: [u8; 16],
    tree: Tree,
    /// Nodes are lost, so a leaf without a node above it may be lost as well.
    damaged: bool,
    /// What is not in the key file yet.
    unwritten: Punctured,
    /// Punctured names of which the engine had a record at the start.
    recorded: u128,
}

impl Arrivals {
    /// The tree in a key file, and the offsets of slots that an erasure which was cut short has left.
    pub(super) fn of(file: TreeFile) -> (Arrivals, Vec<u64>) {
        let damaged = file.is_damaged();
        let left = file.below.iter().chain(file.torn.iter().filter(|_| !damaged));
        let left = left.map(|slot| file::offset(*slot)).collect();
        let tree = Tree::of(file.cover, file.slots);
        (Arrivals { salt: file.salt, tree, damaged, unwritten: Punctured::default(), recorded: 0 }, left)
    }

    fn path(&self, name: &DocumentName) -> u64 {
        file::leaf(&self.salt, &name.encode())
    }

    /// The leaf of a name.
    pub(super) fn leaf(&self, name: &DocumentName) -> Result<Node, NoLeaf> {
        self.tree.leaf(self.path(name)).ok_or(if self.damaged { NoLeaf::Lost } else { NoLeaf::Destroyed })
    }

    /// Whether nodes are lost.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Whether the leaf of a name was punctured.
    pub(super) fn is_destroyed(&self, name: &DocumentName) -> bool {
        !self.damaged && !self.tree.has(self.path(name))
    }

    /// Destroys the leaf of a name.
    pub(super) fn puncture(&mut self, name: &DocumentName) {
        self.tree.puncture(self.path(name), &mut self.unwritten);
    }

    /// The same for a record that the engine had at a start. If the leaf is still there, `has_row` says whether a row is
    /// there as well: then the removal of rows was cut short, and the replica repeats it.
    ///
    /// # Errors
    /// Those of `has_row`.
    pub(super) fn puncture_recorded(
        &mut self,
        name: &DocumentName,
        has_row: impl FnOnce() -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        if self.tree.has(self.path(name)) {
            if has_row()? {
                return Ok(());
            }
            self.puncture(name);
        }
        self.recorded += 1;
        Ok(())
    }

    /// Whether names were punctured of which the engine had no record at the start, so it went back in time.
    pub(super) fn is_ahead_of_the_engine(&self) -> bool {
        !self.damaged && self.tree.punctured() > self.recorded
    }

    /// What the key file lacks since the last call; `None` if nothing.
    pub(super) fn unwritten(&mut self, name: KeyName) -> Option<Unwritten> {
        let Punctured { removed, added } = std::mem::take(&mut self.unwritten);
        if removed.is_empty() {
            return None;
        }
        let mut slots = Vec::with_capacity(added.len() * file::SLOT);
        for (place, Kept { node, .. }) in &added {
            file::encode_slot(*place, node, &self.salt, &mut slots);
        }
        let at = added.first().map_or(0, |(_, kept)| file::offset(kept.slot));
        Some(Unwritten { name, slots, at, overwrite: removed.into_iter().map(file::offset).collect() })
    }
}
