//! The public API and the admin listener: HTTP on one side, the driver's handle and the registry on the other.
//!
//! | file | concern |
//! | --- | --- |
//! | `public.rs`, `admin.rs` | the two listeners: each has one table of resources, methods and handlers |
//! | `call.rs` | the request that a handler gets |
//! | `query.rs`, `body.rs`, `auth.rs` | what a request asks for, and its rights |
//! | `problem.rs`, `reply.rs` | how an answer looks |
//! | `store.rs` | visits as they lie in the store |
//! | `session.rs`, `durability.rs` | what a client may rely on across regions |
//! | `app.rs`, `packs.rs` | what all handlers share |
//! | `pages/` | HTML for guests and owners |
//! | `venues/`, `visits/`, `guests/`, `changes.rs`, `cluster.rs`, `orders.rs`, `drills.rs`, `faults.rs`, `audit.rs`, `probes.rs` | the handlers |
//!
//! # Invariants
//! - No answer shows what a crash may undo: a read shows what the durable vector covers, and waits for no disk.
//! - No error and no log line repeats what a client sent. Logs name routes by template and never with ids.
//! - Data of another tenant gets the same answer as data that does not exist.
//! - The handlers accept what `openapi.json` says: a test compares it with the table.
//!
//! # Not here
//! The rules of the registry: `registry`. How documents are stored: this module uses no engine.

pub mod admin;
mod app;
mod audit;
mod auth;
mod body;
mod call;
mod changes;
mod cluster;
mod drills;
mod durability;
mod faults;
mod guests;
mod lasting;
mod members;
mod operator;
mod orders;
mod packs;
mod pages;
mod probes;
mod problem;
pub mod public;
mod query;
mod reply;
mod session;
mod store;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod venues;
mod visits;

pub use app::App;
pub(crate) use app::Loaded;
pub use packs::{Packs, PacksError};
pub use pages::ConsoleKeys;
