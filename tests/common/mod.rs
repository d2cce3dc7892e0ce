//! What the tests of whole deployments share: nodes as processes, links that can be cut, a small HTTP client.
//!
//! # Invariants
//! - Only processes that a test started are ended, and they end with the test, however it ends.
//! - Nothing is slept through: what is waited for is asked for again and again until a deadline.
//! - Every deployment listens on an address of its own, so that no other test and no outgoing connection has its port.

// Each test crate uses another part of this.
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
