//! Decides which regions are fit for clients. Probes give a verdict on each node, routers agree on each region,
//! operators give orders, and the result is the state and admission of each region.
//!
//! | file | concern |
//! | --- | --- |
//! | [`track`] | probes of one node, with hysteresis |
//! | [`quorum`] | the verdicts of several routers on one region |
//! | [`orders`] | operators' orders: drained, under maintenance |
//! | [`state`] | the combination: ramp, passive signals, time to the next possible change |
//!
//! # Invariants
//! - No clock and no I/O: the caller passes `now`, the time since the router's start, and `wall`, Unix time.
//! - Passive signals lower a region's admission but never take it out.

pub mod orders;
pub mod quorum;
pub mod state;
pub mod track;

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use quorum::{Ballot, Decision};
pub(crate) use state::HealthMemory;
pub use state::{Fitness, Health};
pub use track::Track;

/// The judgement on a node or a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Too little was seen for a verdict.
    #[default]
    Unknown,
    /// Healthy.
    Up,
    /// Not healthy.
    Down,
}

/// When a verdict changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HealthRules {
    /// Time between probes of a node.
    pub interval: Duration,
    /// How long a probe may take.
    pub timeout: Duration,
    /// Number of failures that make an up node down.
    pub down_after: u32,
    /// Number of successes in a row that forgive all failures of an up node.
    pub ok_after: u32,
    /// Number of successes in a row that make a down node up; more after flaps.
    pub up_after: u32,
    /// Shortest time that a node stays down.
    pub hold_down: Duration,
    /// How long a flap is remembered.
    pub flap_memory: Duration,
    /// The longest time that flaps can hold a node down once it answers again.
    pub hold_cap: Duration,
    /// How long a region takes to get its whole share back.
    pub ramp: Duration,
}

impl Default for HealthRules {
    fn default() -> HealthRules {
        HealthRules {
            interval: Duration::from_secs(1),
            timeout: Duration::from_millis(900),
            down_after: 3,
            ok_after: 3,
            up_after: 5,
            hold_down: Duration::from_secs(20),
            flap_memory: Duration::from_mins(10),
            hold_cap: Duration::from_mins(5),
            ramp: Duration::from_secs(30),
        }
    }
}
