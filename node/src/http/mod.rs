//! The public API and the admin listener: HTTP on one side, the driver's handle and the registry on the other.
//!
//! | file | concern |
//! | --- | --- |
//! | `listen.rs` | sockets: limits, time limits, the graceful end |
//! | `public.rs`, `admin.rs` | from a request to its handler, for each listener |
//! | `route.rs`, `query.rs`, `body.rs`, `auth.rs` | what a request asks, with what right |
//! | `problem.rs`, `reply.rs` | how an answer looks |
//! | `session.rs`, `durability.rs` | what a client may rely on across regions |
//! | `app.rs`, `packs.rs` | what all handlers share |
//! | `venues/`, `visits/`, `guests/`, `changes.rs`, `cluster.rs`, `orders.rs`, `probes.rs` | the handlers |
//!
//! # Invariants
//! - No answer tells of what a crash may undo: a read shows what the durable vector covers, and waits for no disk.
//! - No error and no log line repeats what a client sent; logs name routes by template, never with ids.
//! - Another tenant's data answers like data that does not exist.
//! - What the handlers accept is what `openapi.json` says: a test compares both lists of routes.
//!
//! # Not here
//! Rules of the registry: `crate::registry`. How documents are kept: this module has never heard of an engine.

pub mod admin;
mod app;
mod auth;
mod body;
mod changes;
mod cluster;
mod durability;
mod guests;
mod listen;
mod operator;
mod orders;
mod packs;
mod probes;
mod problem;
pub mod public;
mod query;
mod reply;
mod route;
mod session;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod venues;
mod visits;

pub use app::App;
pub use packs::{Packs, PacksError};
