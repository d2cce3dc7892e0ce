//! Frames of a link while a fault is active: lost as in a partition, or late.
//!
//! # Invariants
//! - Frames that pass keep their order.
//! - A stage holds at most [`HELD`] frames back; a sender that is faster has to wait.

use std::collections::VecDeque;
use std::time::Duration;

use api::faults::Direction;
use replication::NodeName;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Faults;

/// Most frames that are held back at one time on one link.
const HELD: usize = 4_096;

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

/// Passes frames of one link and direction on as the faults let them, until either end is gone.
pub async fn disturb<T>(
    faults: Faults,
    peer: NodeName,
    direction: Direction,
    mut from: mpsc::Receiver<T>,
    to: mpsc::Sender<T>,
) {
    let mut held: VecDeque<(Instant, T)> = VecDeque::new();
    loop {
        let due = held.front().map(|(due, _)| *due);
        tokio::select! {
            frame = from.recv(), if held.len() < HELD => {
                let Some(frame) = frame else { break };
                if let FrameFate::Passes(late) = faults.fate(&peer, direction, draw) {
                    // A frame does not overtake one that a longer delay holds back.
                    let due = (Instant::now() + late).max(held.back().map_or_else(Instant::now, |(due, _)| *due));
                    held.push_back((due, frame));
                }
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let Some((_, frame)) = held.pop_front() else { continue };
                if to.send(frame).await.is_err() {
                    break;
                }
            }
        }
    }
}
