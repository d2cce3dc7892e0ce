//! The public API and the admin listener: HTTP on one side, the driver's handle and the registry on the other.
//!
//! | file | concern |
//! | --- | --- |
//! | `public.rs`, `admin.rs` | the two listeners: each has one table of resources, methods and handlers |
//! | `call.rs` | the request that a handler gets |
//! | `query.rs`, `body.rs`, `auth.rs` | what a request asks for, and its rights |
//! | `preconditions.rs`, `cors.rs` | on which state a write is performed; which pages of other origins may call |
//! | `problem.rs`, `reply.rs` | how an answer looks |
//! | `store.rs` | visits as they lie in the store |
//! | `session.rs`, `durability.rs` | what a client may rely on across regions |
//! | `app.rs`, `packs.rs` | what all handlers share |
//! | `console_keys.rs` | keys that sign cookies and invitations |
//! | `invitations.rs` | which clients may make a venue |
//! | `long_lists.rs` | which lists are read at one time |
//! | `strangers.rs` | limits of what clients without a credential make the node keep |
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
mod backup;
mod body;
mod call;
mod changes;
mod cluster;
mod console_keys;
mod cors;
mod drills;
mod durability;
mod faults;
mod guests;
mod invitations;
mod lasting;
mod long_lists;
mod members;
mod operator;
mod orders;
mod packs;
mod pages;
mod preconditions;
mod probes;
mod problem;
pub mod public;
mod query;
mod reply;
mod session;
mod store;
mod strangers;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod upkeep;
mod venues;
mod visits;

pub use app::App;
pub(crate) use app::Loaded;
pub use console_keys::ConsoleKeys;
pub use packs::{Packs, PacksError};
