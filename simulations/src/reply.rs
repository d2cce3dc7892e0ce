//! What a region answers, as its client takes it. Not every answer is what was asked for, and not every answer that is
//! something else is wrong: a visit that was erased must be gone.

/// An answer. A request that nobody answers has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reply {
    /// A write is durable.
    Done,
    /// A reader is shown what is there.
    Shown,
    /// Erased or expired: for such a visit the right answer.
    Gone,
    /// The region does not know the visit (yet).
    Unknown,
    /// The session has seen more than the region has.
    Stale,
    /// The document has as many changes or bytes as it may have: nothing was taken.
    Full,
    /// The region runs and does not serve: its clock is in doubt, or it waits for its peers.
    Unfit,
    /// Nobody listens there, or the process has just died of its disk.
    Refused,
}

impl Reply {
    /// For people.
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
