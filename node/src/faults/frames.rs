//! Frames of a link while a fault is active: lost as in a partition, or late.
//!
//! # Invariants
//! - Frames that pass keep their order.
//! - A stage holds at most [`HELD`] frames back; a sender that is faster has to wait.
//! - Without a fault a frame passes at once, and no timer is set.

use std::collections::VecDeque;
use std::time::Duration;

use api::faults::Direction;
use replication::NodeName;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Faults;

/// Most frames that are held back at one time on one link.
const HELD: usize = 1_024;

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameFate {
    /// It passes, so much later.
    Passes(Duration),
    /// It never arrives.
    Lost,
}

/// From 0 to 1. Without random bytes every frame passes.
fn draw() -> f64 {
    getrandom::u32().map_or(1.0, |drawn| f64::from(drawn) / f64::from(u32::MAX))
}

/// Passes frames of one link and direction on as the faults let them, until the sender is gone and all are passed on, or
/// the receiver is gone.
pub async fn disturb<T>(
    faults: Faults,
    peer: NodeName,
    direction: Direction,
    mut from: mpsc::Receiver<T>,
    to: mpsc::Sender<T>,
) {
    let mut ended = faults.changes();
    let mut held: VecDeque<(Instant, T)> = VecDeque::new();
    let mut open = true;
    while open || !held.is_empty() {
        // What is due goes at once. What a fault held back goes as soon as the fault is over.
        let now = Instant::now();
        let free = !faults.is_degraded();
        if held.front().is_some_and(|(due, _)| free || *due <= now) {
            let Some((_, frame)) = held.pop_front() else { continue };
            if to.send(frame).await.is_err() {
                return;
            }
            continue;
        }
        let due = held.front().map(|(due, _)| *due);
        tokio::select! {
            frame = from.recv(), if open && held.len() < HELD => match frame {
                None => open = false,
                Some(frame) => match faults.fate(&peer, direction, draw) {
                    FrameFate::Lost => {}
                    FrameFate::Passes(late) if late.is_zero() && held.is_empty() => {
                        if to.send(frame).await.is_err() {
                            return;
                        }
                    }
                    // A frame does not overtake one that a longer delay holds back.
                    FrameFate::Passes(late) => {
                        let last = held.back().map_or(now, |(due, _)| *due);
                        held.push_back(((Instant::now() + late).max(last), frame));
                    }
                },
            },
            () = sleep_until(due.unwrap_or(now)), if due.is_some() => {}
            changed = ended.changed(), if due.is_some() => if changed.is_err() { return },
        }
    }
}
