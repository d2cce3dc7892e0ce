//! The edge from outside: real listeners, raw sockets on both sides, every byte that reaches a node recorded.
//!
//! No fixed ports and no sleeps as synchronisation: tests wait for conditions, each with a deadline that fails the
//! test.

// The helpers below are test code as well, though clippy can't see it.
#![allow(clippy::unwrap_used)]

mod support;

mod cache;
mod conformance;
mod failover;
mod hedging;
mod http2;
mod limits;
mod outliers;
mod overload;
mod resting;
mod routing;
mod smuggling;
mod streaming;
mod tls;
mod waiting;
