//! A rolling hash of each log, which shows a fork.
//!
//! Two processes that write under one id (a machine that was cloned with its memory, a failover without fencing) issue
//! the same dots for different entries. Neither process can notice that alone. The hash of a log up to `n` is a
//! function of all its entries, so two forks differ in it from the first entry on that differs. An origin sends the
//! hash with its own frames; a receiver that knows the hash at the frame's beginning or end compares. In its greeting a
//! receiver sends the hash back, so that a forked process learns of the fork and takes a new id.
//!
//! Dots and HLC readings are hashed, not payloads: an entry that is erased later keeps both. The hash finds accidents;
//! it does not protect against a peer that lies.

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

use crate::ids::{Dot, ReplicaId};
use crate::time::Hlc;

/// The rolling hash of a log up to one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Head {
    /// The seq of the last entry that the hash covers.
    pub seq: u64,
    /// Of the dots and HLC readings of all entries up to it.
    pub hash: u32,
}

/// The rolling hashes that this replica knows.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    own: Option<u32>,
    theirs: BTreeMap<ReplicaId, Head>,
}

impl Heads {
    /// `own` is that of the own log up to its end; `None` if the store does not know it.
    pub(crate) fn new(own: Option<u32>) -> Heads {
        Heads { own, theirs: BTreeMap::new() }
    }

    /// A new id begins: its log is empty.
    pub(crate) fn restart(&mut self) -> Heads {
        Heads { own: Some(0), theirs: std::mem::take(&mut self.theirs) }
    }

    pub(crate) fn own(&self) -> Option<u32> {
        self.own
    }

    /// An own entry was issued.
    pub(crate) fn issue(&mut self, dot: Dot, hlc: Hlc) -> Option<u32> {
        let mut hasher = SipHasher13::new();
        hasher.write_u32(self.own?);
        hasher.write_u64(dot.seq);
        hasher.write_u64(hlc.0);
        // The lower half: 32 bits miss one fork in four thousand million.
        self.own = Some(hasher.finish() as u32);
        self.own
    }

    /// The latest known hash of a peer's log.
    pub(crate) fn of(&self, origin: ReplicaId) -> Option<Head> {
        self.theirs.get(&origin).copied()
    }

    /// Compares the hashes that an origin sends of its log at two places with the one that we know. `false` if they
    /// differ.
    pub(crate) fn agree(&mut self, origin: ReplicaId, heads: [Head; 2]) -> bool {
        if let Some(known) = self.theirs.get(&origin)
            && heads.iter().any(|head| head.seq == known.seq && head.hash != known.hash)
        {
            return false;
        }
        let later = self.theirs.get(&origin).is_none_or(|known| known.seq <= heads[1].seq);
        if later {
            self.theirs.insert(origin, heads[1]);
        }
        true
    }

    pub(crate) fn forget(&mut self, origin: ReplicaId) {
        self.theirs.remove(&origin);
    }
}
