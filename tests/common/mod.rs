//! Shared parts of the tests of whole deployments: nodes as processes, links that can be cut, a small HTTP client.
//!
//! # Invariants
//! - A test ends only processes that it started, and they end with the test, however it ends.
//! - No test sleeps for a fixed time: it asks for a condition again and again until a deadline.
//! - Every deployment listens on its own address, so that no other test and no outgoing connection uses its ports.

// Each test crate uses another part of this module.
#![allow(dead_code, unused_imports)]

pub mod client;
pub mod deployment;
pub mod guest;
pub mod load;
pub mod net;
pub mod process;
pub mod proxy;
pub mod venues;
pub mod wait;

pub use client::{Answer, Call};
pub use deployment::{Deployment, Node};
pub use guest::{Venue, Visit};
pub use wait::{holds, within};

/// The binary under test.
pub const MERIDIAN: &str = env!("CARGO_BIN_EXE_meridian");
