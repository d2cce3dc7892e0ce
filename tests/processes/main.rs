//! Meridian as people run it: real processes, real sockets, real files.
//!
//! | file | concern |
//! | --- | --- |
//! | `walk.rs` | the walk of the README, and visits that end at their second |
//! | `failures.rs` | regions that are killed, frozen, cut off, or lose their disk |
//! | `faults.rs` | faults that an operator makes for a drill |
//! | `drills.rs` | `meridian drill`: modes, refusals, guard rails, exit codes |
//! | `operators.rs` | tokens, roles and the audit trail |
//! | `router.rs` | the nearest region by DNS and by HTTP, operators' orders |
//! | `router_changes.rs` | regions and nodes that come and go while a router runs |
//! | `running.rs` | nodes with a fast or a wrong clock, peers by host name |
//! | `data_set.rs` | what guests typed comes back byte for byte |
//! | `hostile.rs` | hostile bytes from clients and from peers |
//! | `browser.rs` | the pages in a real browser |
//! | `simulate.rs` | the command `meridian simulate` |
//! | `common.rs` | deployments, proxies and clients for these tests |
//!
//! They are one program because most of them wait for other processes: here their waits overlap.

#![allow(clippy::unwrap_used)]

mod browser;
mod common;
mod data_set;
mod drills;
mod failures;
mod faults;
mod hostile;
mod membership;
mod operators;
mod private;
mod release;
mod router;
mod router_changes;
mod running;
mod simulate;
mod walk;
