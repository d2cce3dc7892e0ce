//! One attempt of a client at a region, and what a region keeps of it until it answers.

use std::time::Duration;

use replication::{ChangeHash, VersionVector};

use crate::index::{AttemptNumber, NodeIndex, OperationIndex, VisitNumber};

/// One attempt of a client: a request, sent to one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Where it was sent.
    pub(super) node: NodeIndex,
    pub(super) operation: OperationIndex,
    pub(super) number: AttemptNumber,
}

/// The operation that a ticket of the replica stands for.
#[derive(Clone, Debug)]
pub(crate) struct PendingOperation {
    pub(super) attempt: Attempt,
    pub(super) visit: VisitNumber,
    /// The venue, if the write is about its document and not about a visit.
    pub(super) venue: Option<u32>,
    /// `None` for an erasure.
    pub(super) hash: Option<ChangeHash>,
    /// The entries that a replica must know to show the change.
    pub(super) needs: VersionVector,
}

/// A read that waits for the entries that its session has seen.
#[derive(Clone, Debug)]
pub(crate) struct WaitingRead {
    pub(super) attempt: Attempt,
    pub(super) until: Duration,
}
