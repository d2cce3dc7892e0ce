//! Shared parts of the tests of whole deployments: nodes as processes, links that can be cut, a small HTTP client.
//!
//! # Invariants
//! - A test ends only processes that it started, and they end with the test, however it ends.
//! - No test sleeps for a fixed time: it asks for a condition again and again until a deadline.
//! - Every deployment listens on its own address, so that no other test and no outgoing connection uses its ports.

pub(crate) mod client;
pub(crate) mod clients;
pub(crate) mod deployment;
pub(crate) mod dns;
pub(crate) mod fake;
pub(crate) mod guest;
pub(crate) mod load;
pub(crate) mod net;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod recorder;
pub(crate) mod router;
pub(crate) mod shim;
pub(crate) mod small_disk;
pub(crate) mod traffic;
pub(crate) mod up;
pub(crate) mod venues;
pub(crate) mod wait;

pub(crate) use client::{Answer, Call};
pub(crate) use deployment::{Deployment, Node};
pub(crate) use guest::{Venue, Visit};
pub(crate) use shim::shim;
pub(crate) use up::Up;
pub(crate) use wait::{holds, within};

/// The binary under test.
pub(crate) const MERIDIAN: &str = env!("CARGO_BIN_EXE_meridian");

/// Checks that a text which must not be found stands nowhere by chance: a few digits alone are also in times, ports and
/// counts.
#[track_caller]
pub(crate) fn told_by_no_chance(secret: &str) {
    let digits = secret.bytes().all(|byte| byte.is_ascii_digit());
    assert!(secret.len() >= if digits { 7 } else { 4 }, "{secret} is also found by chance");
}
