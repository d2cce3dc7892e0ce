//! The records of a history.

use std::time::Duration;

use replication::Dot;

use crate::index::{FaultIndex, NodeIndex, OperationIndex, VisitNumber};
use crate::reply::Reply;
use crate::scenario::Operation;

/// A record with its time and, for what replicas do with entries, a vector clock (Fidge and Mattern, 1988).
#[derive(Clone, Debug)]
pub struct Entry {
    /// Awake time since the start.
    pub at: Duration,
    /// What happened.
    pub record: Record,
    /// The vector clock of the replica that did it.
    pub clock: Option<Vec<u64>>,
}

/// Something that happened to a client's request, in a replica, between two replicas, or to a machine.
#[derive(Clone, Debug)]
pub enum Record {
    /// A client asks.
    Asked {
        /// Number of the operation.
        operation: OperationIndex,
        /// The request.
        asked: Operation,
    },
    /// A client sends its request to a region.
    Tried {
        /// Number of the operation.
        operation: OperationIndex,
        /// The region.
        region: NodeIndex,
    },
    /// A region answered the request, or did not.
    Answered {
        /// Number of the operation.
        operation: OperationIndex,
        /// The region.
        region: NodeIndex,
        /// The answer; `None` if the client has waited long enough for one.
        reply: Option<Reply>,
        /// Whether the client still waited for it.
        in_time: bool,
    },
    /// The request is over.
    Over {
        /// Number of the operation.
        operation: OperationIndex,
        /// The answer that counts; `None` if there is none.
        reply: Option<Reply>,
        /// What a reader was shown: visits.
        seen: Option<Vec<VisitNumber>>,
    },
    /// A replica acknowledged a write.
    Acknowledged {
        /// The replica.
        node: NodeIndex,
        /// Number of the operation.
        operation: OperationIndex,
        /// Its place in that replica's log; none for a repeat.
        dot: Option<Dot>,
    },
    /// A replica sent a frame.
    Sent {
        /// The sender.
        from: NodeIndex,
        /// The receiver.
        to: NodeIndex,
        /// Entries in it.
        dots: Vec<Dot>,
    },
    /// A frame was lost on its way, or came when its connection was gone.
    Lost {
        /// The sender.
        from: NodeIndex,
        /// The receiver.
        to: NodeIndex,
        /// Entries in it.
        dots: Vec<Dot>,
    },
    /// A replica received a frame.
    Received {
        /// The receiver.
        node: NodeIndex,
        /// The sender.
        from: NodeIndex,
        /// Entries in it.
        dots: Vec<Dot>,
    },
    /// A replica durably knows of acknowledged writes of others.
    Learned {
        /// The replica.
        node: NodeIndex,
        /// Operations and dots.
        of: Vec<(OperationIndex, Dot)>,
    },
    /// A fault began, ended, or changed.
    Fault {
        /// Its number in the plan.
        fault: FaultIndex,
        /// For people.
        label: String,
        /// What it did.
        turn: Turn,
    },
    /// The phase with faults is over: all remaining faults end.
    Healed,
    /// Something happened to a machine.
    Machine {
        /// The machine.
        node: NodeIndex,
        /// What happened to it.
        what: MachineEvent,
    },
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It begins.
    Begins,
    /// A flapping partition lets frames pass for a while.
    Opens,
    /// It cuts again.
    Cuts,
    /// It ends.
    Ends,
    /// It has no end.
    Happens,
}

/// What happens to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineEvent {
    /// Its process runs from now on.
    Starts,
    /// Its process makes everything durable for a clean stop.
    Stops,
    /// Its process is gone.
    Down,
    /// Its process stopped because of an error of the disk.
    DiskFailed,
    /// Its disk went back to an earlier state.
    RolledBack,
    /// Its replica goes on under another id, because its peers did not all confirm its log.
    Reincarnated,
}

impl Record {
    /// The region whose vector clock the record carries, if any.
    #[must_use]
    pub fn region(&self) -> Option<NodeIndex> {
        match self {
            Record::Acknowledged { node, .. } | Record::Received { node, .. } | Record::Learned { node, .. } => {
                Some(*node)
            }
            Record::Sent { from, .. } => Some(*from),
            Record::Asked { .. }
            | Record::Tried { .. }
            | Record::Answered { .. }
            | Record::Over { .. }
            | Record::Lost { .. }
            | Record::Fault { .. }
            | Record::Healed
            | Record::Machine { .. } => None,
        }
    }
}
