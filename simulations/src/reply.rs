//! The answer of a region, as its client takes it. An answer other than the requested one may still be right: a visit
//! that was erased must be gone.

/// An answer. A request that no region answers has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    /// A write is durable.
    Done,
    /// A reader is shown the visits that are there.
    Shown,
    /// The visit is erased or expired. For such a visit this is the right answer.
    Gone,
    /// The region does not know the visit (yet).
    Unknown,
    /// The session has seen more than the region has.
    Stale,
    /// The document has as many changes or bytes as it may have. The write was not taken.
    Full,
    /// The region runs and does not serve, because its clock is in doubt or it waits for its peers.
    Unfit,
    /// No process listens there, or it has just stopped because of its disk.
    Refused,
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
            Reply::Unfit => "not fit to serve",
            Reply::Refused => "refused",
        }
    }
}
