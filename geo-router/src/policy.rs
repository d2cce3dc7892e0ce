//! Policies: which regions suit a place, and which share of its clients each region takes now.
//!
//! A [`Policy`] answers two questions. `order` is asked once for each fleet, for every kind of place, without health.
//! `assign` is asked whenever health, load or demand changed, for all classes of places at once, because a region's
//! capacity is shared by all of them. A policy that names regions does so for one fleet; `carried` makes the same policy
//! for another fleet.
//!
//! # Invariants
//! - Only a region that is offered gets a share. The shares of a class and its shed part add up to 1.
//! - Without capacity limits nothing is shed.
//! - No clock and no randomness: the same input gives the same assignment in every router.

mod assignment;
mod failover;
mod latency;
mod nearest;
mod spill;
mod weighted;

#[cfg(test)]
mod battery;

pub use assignment::Assignment;
pub use failover::Failover;
pub use latency::{Latency, LatencyRow};
pub use nearest::Nearest;
pub use spill::Spill;
pub use weighted::Weighted;

use std::sync::Arc;

use crate::fleet::{Fleet, RegionIndex};
use crate::location::{Located, Place};

/// The input of a policy at one moment.
#[derive(Clone, Copy, Debug)]
pub struct PolicyInput<'a> {
    /// The regions.
    pub fleet: &'a Fleet,
    /// The part of its share that each region may take: 0 if it is out, 1 if it is healthy, between them while it
    /// ramps.
    pub admission: &'a [f64],
    /// The classes of places.
    pub places: &'a [Place],
    /// Requests per second of each class.
    pub demand: &'a [f64],
}

/// A way to choose regions.
pub trait Policy: Send + Sync + std::fmt::Debug {
    /// Every region once, the most suitable first.
    fn order(&self, fleet: &Fleet, located: &Located) -> Vec<RegionIndex>;

    /// The share of each class that goes to each region.
    fn assign(&self, moment: &PolicyInput<'_>) -> Assignment;

    /// The same policy, made for the fleet `from`, for the fleet `to`.
    fn carried(&self, from: &Fleet, to: &Fleet) -> Arc<dyn Policy>;
}
