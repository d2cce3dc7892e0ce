//! The answer of a region, as its client takes it. An answer other than the requested one may still be right: a visit
//! that was erased must be gone.

use std::collections::BTreeSet;

use replication::{ChangeHash, Dot, VersionVector};
use strum::EnumDiscriminants;

use crate::index::VisitNumber;

/// The answer of a region, with what the client is shown.
#[derive(Clone, Debug, EnumDiscriminants)]
#[strum_discriminants(
    name(Reply),
    vis(pub),
    doc = "An answer without its content. A request that no region answers has none.",
    derive(PartialOrd, Ord),
    allow(missing_docs)
)]
pub(crate) enum Answer {
    /// A write is durable.
    Done { dot: Option<Dot>, needs: VersionVector },
    /// The visits that a reader was shown, and the vector that the region knew.
    Shown { seen: Vec<(VisitNumber, BTreeSet<ChangeHash>)>, vector: VersionVector },
    /// The visit is erased or expired. For such a visit this is the right answer.
    Gone,
    /// The region does not know the visit (yet).
    Unknown,
    /// The session has seen more than the region has.
    Stale,
    /// The document has as many changes or bytes as it may have. The write was not taken.
    Full,
    /// The region has another check-in under the id. The write was not taken.
    Conflict,
    /// The region runs and does not serve, because its clock is in doubt or it waits for its peers.
    Unfit,
    /// No process listens there, or it has just stopped because of its disk.
    Refused,
}

impl Answer {
    /// The answer without its content.
    pub(crate) fn reply(&self) -> Reply {
        self.into()
    }
}

impl Reply {
    /// The answer in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Reply::Done => "done",
            Reply::Shown => "shown",
            Reply::Gone => "gone",
            Reply::Unknown => "unknown there",
            Reply::Stale => "stale",
            Reply::Full => "full: it takes no more changes",
            Reply::Conflict => "in conflict: another check-in has the id",
            Reply::Unfit => "not fit to serve",
            Reply::Refused => "refused",
        }
    }
}
