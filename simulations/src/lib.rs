//! The deterministic simulator: the shipped replica in a world of virtual clocks, disks, links and citizens.
//!
//! [`run::run`] takes a [`scenario::Scenario`] and a seed. [`plan::draw`] first settles by the seed what the scenario
//! leaves to chance; then [`world::World`] lets it happen, one event after another, and [`check`] compares what the
//! replicas do with what is true. [`sweep`] runs many seeds, [`shrink`] cuts a failing plan down, [`report`] draws.
//!
//! # Architecture invariants
//! - Nothing here reads a clock, draws from anywhere but [`seed::stream`], or depends on the order of a hash map: a
//!   scenario and a seed say everything.
//! - The replica is the one that production runs. Nothing of it is replaced, only what it asks for: time, a disk, links.

#[cfg(test)]
mod canary;
pub mod check;
pub mod history;
pub mod maelstrom;
pub mod measure;
mod meter;
mod model;
pub mod plan;
pub mod regions;
pub mod reply;
pub mod report;
pub mod run;
pub mod scenario;
pub mod seed;
pub mod shrink;
pub mod sweep;
pub mod trace;
pub mod world;
