//! The deterministic simulator: the shipped replica in a world of virtual clocks, disks, links and citizens.
//!
//! [`run::run`] takes a [`scenario::Scenario`] and a seed. [`plan::draw`] first draws from the seed what the scenario
//! leaves to chance. Then the `world` runs the plan, one event after another, and compares what the replicas do with
//! what is true. [`sweep`] runs many seeds, [`shrink`] cuts a failing plan down, [`report`] draws.
//!
//! # Architecture invariants
//! - This crate reads no clock, draws only from `seed::stream`, and does not depend on the order of a hash map. So a
//!   scenario and a seed determine everything.
//! - The replica is the one that production runs. Only its environment is replaced: time, disk and links.

#[cfg(test)]
mod canary;
pub mod coverage;
pub mod figures;
pub mod history;
pub mod index;
pub mod invariant;
pub mod maelstrom;
mod meter;
mod model;
pub mod plan;
pub mod regions;
pub mod reply;
pub mod report;
pub mod run;
pub mod scenario;
mod seed;
pub mod shrink;
pub mod sweep;
pub mod trace;
mod world;
