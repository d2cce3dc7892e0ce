//! The edge from outside: real listeners, raw sockets on both sides, every byte that reaches a node recorded.
//!
//! No fixed ports, no sleeps as synchronisation: waits are for conditions, each with a deadline that fails the test.

// The helpers below are tests as well, though clippy can't see it.
#![allow(clippy::unwrap_used)]

mod support;

mod cache;
mod conformance;
mod failover;
mod http2;
mod limits;
mod routing;
mod smuggling;
mod streaming;
mod tls;
