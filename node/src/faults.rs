//! Faults that an operator makes on this node for a drill (`[faults] enabled`; off unless it is set).
//!
//! | file | concern |
//! | --- | --- |
//! | this file | which faults are active, and their end |
//! | `disk.rs` | the store with a slow, hanging or full disk |
//! | `clock.rs` | the wall clock as the node sees it |
//! | `frames.rs` | frames of a link that are cut, late or lost |
//! | `clients.rs` | connections of clients that are refused or hang |
//!
//! # Invariants
//! - Every fault ends by itself, by the monotonic clock, whatever became of the operator who ordered it.
//! - Nothing is disturbed while the list of faults is empty, and without `[faults] enabled` it stays empty.
//! - A fault is loud: a log line when it begins and when it ends, a metric, and a line in the node's status.
//!
//! # Not here
//! The words and bounds of a fault: [`api::faults`]. Who may order one: the admin listener.

mod clients;
mod clock;
mod disk;
mod frames;

use std::sync::Arc;
use std::time::Duration;

use api::Moment;
use api::faults::{Act, ActiveFault, Direction, NewFault};
use parking_lot::Mutex;
use replication::{Monotonic, NodeName};
use service::listen::Gate;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::metrics::Metrics;

pub use clock::SteppedClock;
pub use disk::DisturbedDisk;
pub use frames::{FrameFate, disturb};

/// Most faults at one time.
const MOST: usize = 32;

/// The faults of one node. Clones share them.
#[derive(Clone)]
pub struct Faults(Arc<Shared>);

struct Shared {
    is_enabled: bool,
    /// The machine's clocks, which no fault changes.
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// The faults that are active. Readers on hot paths look here, so the list is replaced and never changed.
    active: watch::Sender<Arc<[Running]>>,
    /// The next number; `None` once the node stops. Its lock makes changes of the list follow one another.
    next: Mutex<Option<u64>>,
    gate: watch::Sender<Gate>,
}

/// A fault and its end.
#[derive(Clone)]
struct Running {
    ends: Monotonic,
    shown: ActiveFault,
}

/// Why a fault does not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBegun {
    /// There are as many faults as there may be.
    #[error("{MOST} faults are active; end one first")]
    TooMany,
    /// The node is stopping, and nothing would end it.
    #[error("the node is stopping")]
    Stopping,
}

impl Faults {
    /// No fault yet.
    #[must_use]
    pub fn new(is_enabled: bool, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Faults {
        let (active, gate) = (watch::Sender::new(Arc::default()), watch::Sender::new(Gate::Open));
        Faults(Arc::new(Shared { is_enabled, clock, metrics, active, next: Mutex::new(Some(1)), gate }))
    }

    /// Whether faults may be made on this node.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.0.is_enabled
    }

    /// Begins a fault that was checked.
    ///
    /// # Errors
    /// [`NotBegun`].
    pub fn begin(&self, new: NewFault) -> Result<ActiveFault, NotBegun> {
        let mut next = self.0.next.lock();
        let id = next.ok_or(NotBegun::Stopping)?;
        let now = self.0.clock.now();
        let mut all = self.running();
        if all.len() >= MOST {
            return Err(NotBegun::TooMany);
        }
        let until = now.wall.plus(new.lasts);
        let NewFault { act, lasts, by, reason } = new;
        let shown = ActiveFault { id, act, since: Moment(now.wall), until: Moment(until), by, reason };
        *next = Some(id + 1);
        tracing::warn!(
            id = shown.id, fault = %shown.act, until = %shown.until,
            "a fault begins, because an operator ordered it: this node is disturbed until it ends"
        );
        all.push(Running { ends: Monotonic(now.mono.0 + lasts), shown: shown.clone() });
        self.replace(all);
        Ok(shown)
    }

    /// Ends a fault, or all of them. Returns how many it ended.
    pub fn end(&self, id: Option<u64>) -> usize {
        let _alone = self.0.next.lock();
        let (ended, kept): (Vec<_>, Vec<_>) =
            self.running().into_iter().partition(|fault| id.is_none_or(|id| fault.shown.id == id));
        self.told(&ended, "an operator ended it");
        self.replace(kept);
        ended.len()
    }

    /// The faults that are active.
    #[must_use]
    pub fn shown(&self) -> Vec<ActiveFault> {
        self.0.active.borrow().iter().map(|fault| fault.shown.clone()).collect()
    }

    /// Ends each fault at its time, until the node stops.
    pub async fn keep(self, mut stop: watch::Receiver<bool>) {
        let mut changes = self.0.active.subscribe();
        loop {
            let now = self.0.clock.now().mono;
            let first = changes.borrow_and_update().iter().map(|fault| fault.ends).min();
            let left = first.map(|first| first.0.saturating_sub(now.0));
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                changed = changes.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(left.unwrap_or(Duration::MAX)), if left.is_some() => self.expire(),
            }
        }
        *self.0.next.lock() = None;
        self.end(None);
    }

    fn expire(&self) {
        let _alone = self.0.next.lock();
        let now = self.0.clock.now().mono;
        let (ended, kept): (Vec<_>, Vec<_>) = self.running().into_iter().partition(|fault| fault.ends <= now);
        self.told(&ended, "its time is over");
        self.replace(kept);
    }

    fn told(&self, ended: &[Running], why: &str) {
        for fault in ended {
            tracing::warn!(id = fault.shown.id, fault = %fault.shown.act, why, "a fault ends");
        }
    }

    fn running(&self) -> Vec<Running> {
        self.0.active.borrow().to_vec()
    }

    fn replace(&self, all: Vec<Running>) {
        self.0.metrics.faults(all.iter().map(|fault| fault.shown.act.kind()));
        let gate = all.iter().map(|fault| clients::gate(&fault.shown.act)).max().unwrap_or(Gate::Open);
        self.0.gate.send_replace(gate);
        self.0.active.send_replace(all.into());
    }

    /// What connections of clients are let do; changes when a fault begins or ends.
    #[must_use]
    pub fn gate(&self) -> watch::Receiver<Gate> {
        self.0.gate.subscribe()
    }

    /// Whether `/readyz` says that the node is not fit to serve.
    #[must_use]
    pub fn is_unready(&self) -> bool {
        self.any(|act| matches!(act, Act::Unready {}))
    }

    fn any(&self, is: impl Fn(&Act) -> bool) -> bool {
        self.0.is_enabled && self.0.active.borrow().iter().any(|fault| is(&fault.shown.act))
    }

    /// The sum of what the active faults say.
    fn sum<T: std::iter::Sum>(&self, of: impl Fn(&Act) -> Option<T>) -> T {
        if !self.0.is_enabled {
            return std::iter::empty().sum();
        }
        self.0.active.borrow().iter().filter_map(|fault| of(&fault.shown.act)).sum()
    }

    /// Whether a fault makes frames late.
    fn is_degraded(&self) -> bool {
        self.any(|act| matches!(act, Act::Degrade { .. }))
    }

    /// Changes when a fault begins or ends.
    fn changes(&self) -> watch::Receiver<Arc<[Running]>> {
        self.0.active.subscribe()
    }

    /// Whether no link to `peer` can be made.
    #[must_use]
    pub fn is_cut(&self, peer: &NodeName) -> bool {
        self.any(|act| matches!(act, Act::Partition { to, .. } if to.is_empty() || to.contains(peer)))
    }

    /// What becomes of a frame on the link to `peer`. `draw` gives a random number from 0 to 1.
    fn fate(&self, peer: &NodeName, direction: Direction, draw: impl Fn() -> f64) -> FrameFate {
        let mut late = Duration::ZERO;
        for fault in self.0.active.borrow().iter() {
            match &fault.shown.act {
                Act::Partition { to, direction: cut } if concerns(to, *cut, peer, direction) => return FrameFate::Lost,
                Act::Degrade { to, direction: worse, latency, loss } if concerns(to, *worse, peer, direction) => {
                    if *loss > 0.0 && draw() < *loss {
                        return FrameFate::Lost;
                    }
                    late += *latency;
                }
                _ => {}
            }
        }
        FrameFate::Passes(late)
    }
}

fn concerns(to: &[NodeName], disturbed: Direction, peer: &NodeName, direction: Direction) -> bool {
    (to.is_empty() || to.contains(peer)) && (disturbed == Direction::Both || disturbed == direction)
}

#[cfg(test)]
mod tests;
