//! What a history is made of.

use std::time::Duration;

use replication::Dot;

use crate::reply::Reply;
use crate::scenario::Operation;

/// A record with its time and, for what replicas do with entries, a vector clock (Fidge and Mattern, 1988).
#[derive(Clone, Debug)]
pub struct Entry {
    /// Awake time since the start.
    pub at: Duration,
    /// What.
    pub record: Record,
    /// The clock of the replica that did it.
    pub clock: Option<Vec<u64>>,
}

/// Something that happened: to a client's request, in a replica, between two, or to a machine.
#[derive(Clone, Debug)]
pub enum Record {
    /// A client asks.
    Asked {
        /// Number of the operation.
        operation: usize,
        /// What.
        asked: Operation,
    },
    /// It sends its request to a region.
    Tried {
        /// Number of the operation.
        operation: usize,
        /// To which.
        region: usize,
    },
    /// What became of that.
    Answered {
        /// Number of the operation.
        operation: usize,
        /// By which.
        region: usize,
        /// The answer; `None` if the client has waited long enough for one.
        reply: Option<Reply>,
        /// The client still waits for it.
        in_time: bool,
    },
    /// The request is over.
    Over {
        /// Number of the operation.
        operation: usize,
        /// The answer that counts; `None` if there is none.
        reply: Option<Reply>,
        /// What a reader was shown: visits.
        seen: Option<Vec<u32>>,
    },
    /// A replica acknowledged a write.
    Acknowledged {
        /// Where.
        node: usize,
        /// Number of the operation.
        operation: usize,
        /// Its place in that replica's log; none for a repeat.
        dot: Option<Dot>,
    },
    /// A replica sent a frame.
    Sent {
        /// From.
        from: usize,
        /// To.
        to: usize,
        /// Entries in it.
        dots: Vec<Dot>,
    },
    /// A frame was lost on its way, or came when its connection was gone.
    Lost {
        /// From.
        from: usize,
        /// To.
        to: usize,
        /// Entries in it.
        dots: Vec<Dot>,
    },
    /// A replica received a frame.
    Received {
        /// By.
        at: usize,
        /// From.
        from: usize,
        /// Entries in it.
        dots: Vec<Dot>,
    },
    /// A replica durably knows of acknowledged writes of others.
    Learned {
        /// Which.
        node: usize,
        /// Operations and dots.
        of: Vec<(usize, Dot)>,
    },
    /// A fault turned.
    Fault {
        /// Its number in the plan.
        fault: usize,
        /// For people.
        label: String,
        /// How.
        turn: Turn,
    },
    /// The phase with faults is over: whatever fault is left ends.
    Healed,
    /// Something happened to a machine.
    Machine {
        /// To which.
        node: usize,
        /// What.
        what: Machine,
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
pub enum Machine {
    /// Its process runs from now on.
    Starts,
    /// Its process makes everything durable, to stop in peace.
    Stops,
    /// Its process is gone.
    Down,
    /// Its process gave up for an error of the disk.
    DiskFailed,
    /// Its disk is as it was some time before.
    RolledBack,
    /// Its replica goes on under another id: not all peers vouched for its log.
    Reincarnated,
}

impl Record {
    /// The region whose clock says when it happened, if one does.
    #[must_use]
    pub fn region(&self) -> Option<usize> {
        match self {
            Record::Acknowledged { node, .. } | Record::Learned { node, .. } => Some(*node),
            Record::Sent { from, .. } => Some(*from),
            Record::Received { at, .. } => Some(*at),
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
