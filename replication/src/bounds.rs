//! How large a row may be.
//!
//! A row is written whole at each change and sent whole to a new region, so [`Bounds`] limit it. A local write beyond
//! them is refused, and nothing is lost. An entry of a peer is different: it was acknowledged there, and replicas that
//! refuse different entries differ for good. Regions that each keep within the bounds may together exceed them. So
//! entries of peers are refused only at [`Bounds::FOREIGN_FACTOR`] times the bounds, which fewer honest regions than
//! that cannot reach.

use crate::key::DocumentKey;
use crate::time::Wall;

/// How large a row may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most changes.
    pub changes: usize,
    /// Most bytes of changes, compacted as they are.
    pub bytes: usize,
}

impl Bounds {
    /// How many times larger a row may become by entries of peers than by local writes.
    pub const FOREIGN_FACTOR: usize = 16;
    /// The bounds of a document that expires: a visit has a handful of corrections.
    pub const EXPIRING: Bounds = Bounds { changes: 128, bytes: 64 << 10 };
    /// The bounds of a document that lasts, whose history never goes.
    pub const LASTING: Bounds = Bounds { changes: 4_096, bytes: 512 << 10 };

    /// The bounds of this document for local writes.
    #[must_use]
    pub fn local(key: &DocumentKey) -> Bounds {
        if key.expires_at == Wall::NEVER { Bounds::LASTING } else { Bounds::EXPIRING }
    }

    /// The bounds of this document for entries of peers.
    #[must_use]
    pub fn foreign(key: &DocumentKey) -> Bounds {
        let Bounds { changes, bytes } = Bounds::local(key);
        Bounds { changes: changes * Bounds::FOREIGN_FACTOR, bytes: bytes * Bounds::FOREIGN_FACTOR }
    }
}
