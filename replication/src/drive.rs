//! One turn of a driver: all that a replica wants to have done, in the order that every driver keeps.
//!
//! # The problem
//! Each `poll_*` may be called at any time, and a driver that calls them in another order is correct, but slower or
//! later than it need be: a heartbeat that runs after the batch waits for the next one. The node, the simulator and the
//! tests must not differ in this, otherwise tests prove nothing about the node.
//!
//! # The order
//! 1. Timers run first, because a heartbeat adds to the batch and to the frames.
//! 2. The batch goes to the disk before frames are encoded, because the disk can work meanwhile.
//! 3. Frames are sent before events are reported. An event may close a link, and the link's last frames come first.
//! 4. Events are reported: answers to clients, and what readers and operators want to know.
//! 5. After the turn [`Replica::poll_timeout`] says when the next one is due. It is read last, because each step may
//!    change it.
//!
//! # Invariants
//! - A turn goes forward only. An input that the driver feeds meanwhile is seen by the steps that follow.
//! - A turn offers each batch once, so a driver that lets a batch wait does not stop the turn.
//!
//! # Not here
//! Inputs, the disk and the network. The driver feeds inputs with `handle_*` before the turn.

use crate::replica::{BatchId, Event, Replica, Transmit};
use crate::storage::{Storage, StorageError};
use crate::time::Now;

/// What the driver does next.
#[derive(Clone, Debug)]
pub enum Action {
    /// The timers have run; `due` if one was due. Always the first action. Inputs that wait for the next batch are
    /// handed in now.
    Timers {
        /// Whether a timer was due.
        due: bool,
    },
    /// Apply the gathered batch with [`Replica::poll_batch`], make it durable and report it with
    /// [`Replica::handle_durable`], at once or later; or leave it, so that it gathers more until the next turn.
    Batch(BatchId),
    /// Send a frame.
    Send(Transmit),
    /// Hear what happened.
    Report(Event),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Timers,
    Batch { offered: Option<BatchId> },
    Frames,
    Events,
}

/// How far one turn has come.
#[derive(Debug)]
pub struct Turn {
    now: Now,
    step: Step,
}

impl Turn {
    /// A turn that begins.
    #[must_use]
    pub fn new(now: Now) -> Turn {
        Turn { now, step: Step::Timers }
    }

    /// Leaves the remaining frames to the next turn.
    pub fn end_sending(&mut self) {
        if matches!(self.step, Step::Frames) {
            self.step = Step::Events;
        }
    }
}

impl<S: Storage> Replica<S> {
    /// The next action of a turn; `None` when the turn is over.
    ///
    /// ```
    /// # fn turn<S: replication::Storage>(replica: &mut replication::Replica<S>, now: replication::Now)
    /// # -> Result<replication::Monotonic, replication::StorageError> {
    /// use replication::{Action, Turn};
    ///
    /// let mut turn = Turn::new(now);
    /// while let Some(action) = replica.drive(&mut turn)? {
    ///     match action {
    ///         Action::Timers { .. } => {} // here the node hands in the writes that wait
    ///         Action::Batch(_) => replica.settle_batches(now)?, // the node leaves slow ones to another thread
    ///         Action::Send(transmit) => println!("{} bytes for {:?}", transmit.frame.len(), transmit.link),
    ///         Action::Report(event) => println!("{event:?}"),
    ///     }
    /// }
    /// Ok(replica.poll_timeout())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StorageError`] if the engine fails or a row is corrupt. The replica must not be used again.
    pub fn drive(&mut self, turn: &mut Turn) -> Result<Option<Action>, StorageError> {
        loop {
            match turn.step {
                Step::Timers => {
                    turn.step = Step::Batch { offered: None };
                    let due = turn.now.mono >= self.poll_timeout();
                    if due {
                        self.handle_timeout(turn.now)?;
                    }
                    return Ok(Some(Action::Timers { due }));
                }
                Step::Batch { offered } => {
                    let next = self.next_batch().filter(|next| offered.is_none_or(|offered| offered < *next));
                    if let Some(batch) = next {
                        turn.step = Step::Batch { offered: next };
                        return Ok(Some(Action::Batch(batch)));
                    }
                    turn.step = Step::Frames;
                }
                Step::Frames => {
                    if let Some(transmit) = self.poll_transmit(turn.now)? {
                        return Ok(Some(Action::Send(transmit)));
                    }
                    turn.step = Step::Events;
                }
                Step::Events => return Ok(self.poll_event().map(Action::Report)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Action, Turn};
    use crate::ids::ReplicaId;
    use crate::key::{Collection, DocumentId, DocumentName, TenantId};
    use crate::memory::MemoryStorage;
    use crate::replica::{Event, Replica, ReplicaConfig, Write};
    use crate::time::{Now, Wall};
    use crate::{Change, Value};

    const NOW: Now = Now { mono: crate::time::Monotonic(std::time::Duration::ZERO), wall: Wall(1_800_000_000_000) };

    fn replica_with_a_write() -> Replica<MemoryStorage> {
        let config = ReplicaConfig::new("a".parse().unwrap(), "a".parse().unwrap(), BTreeMap::new());
        let mut replica = Replica::open(config, MemoryStorage::default(), Box::new(|| ReplicaId(1)), NOW).unwrap();
        let id = DocumentId([1; 16]);
        let key = DocumentName { collection: Collection(1), tenant: TenantId([1; 16]), id }.expiring(Wall::NEVER);
        let change = Change::create(&key, &[("n", Value::Int(1))]);
        replica.handle_write(NOW, Write::Change { key, change }).unwrap();
        replica
    }

    #[test]
    fn a_turn_runs_timers_then_the_batch_then_reports_what_is_durable() {
        let mut replica = replica_with_a_write();
        let mut turn = Turn::new(NOW);
        let mut seen = Vec::new();
        while let Some(action) = replica.drive(&mut turn).unwrap() {
            match action {
                Action::Timers { due } => seen.push(if due { "timers" } else { "no timer" }),
                Action::Batch(_) => {
                    seen.push("batch");
                    replica.settle_batches(NOW).unwrap();
                }
                Action::Send(_) => seen.push("frame"),
                Action::Report(Event::Written { .. }) => seen.push("written"),
                Action::Report(_) => {}
            }
        }
        assert_eq!(seen, ["timers", "batch", "written"]);
        assert!(replica.poll_timeout() > NOW.mono, "the timers that ran are not due again");
    }

    #[test]
    fn a_batch_that_the_driver_leaves_is_offered_once_a_turn() {
        let mut replica = replica_with_a_write();
        for _ in 0..2 {
            let mut turn = Turn::new(NOW);
            let actions = std::iter::from_fn(|| replica.drive(&mut turn).unwrap());
            assert_eq!(actions.filter(|action| matches!(action, Action::Batch(_))).count(), 1);
        }
    }
}
