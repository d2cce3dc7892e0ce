//! The types of everything that Meridian's processes exchange, with each other and with clients, declared once.
//!
//! A node writes these types and a router, a command or a test reads them, or the other way round. A field that is
//! renamed here is renamed on both sides, and the compiler finds every place that used it.
//!
//! | module | concern |
//! | --- | --- |
//! | [`headers`] | names of the header fields that are Meridian's own |
//! | [`wait`] | `?wait=` and `?durability=` |
//! | [`problem`] | kinds of problems and their JSON (RFC 9457) |
//! | [`cluster`], [`orders`] | regions and nodes as one node sees them; operators' orders on regions |
//! | [`members`] | nodes that are added, moved or removed while the deployment runs |
//! | [`operators`] | roles of operators, and the audit trail |
//! | [`venues`] | invitations to make a venue, and its removal by an operator |
//! | [`faults`], [`drills`] | faults that an operator makes on a node; the lock of a drill |
//! | [`status`] | what a node and a router tell an operator |
//! | [`pages`] | which forms of pages may be sent twice |
//! | [`routes`] | path templates, by which logs name a request |
//! | [`explanation`] | why an address is sent where it is |
//! | [`duration`], [`Moment`], [`Position`], [`HostPort`] | lengths of time, moments, places and addresses as text |
//! | [`client`] | the HTTP client that asks for all of these |
//!
//! # Architecture invariants
//! - No rule of the product is here: what a value means is decided by the process that writes it.
//! - While a deployment is renewed, its processes are of two versions. What is read from an answer therefore ignores
//!   fields that it does not know, and a field that is added has a default.
//! - Only [`client`] does I/O.
//! - The names of regions and nodes are the core's types, so that the name in a frame and the name in an answer cannot
//!   differ. This is why `api` stands on `replication`.

pub mod client;
pub mod cluster;
pub mod drills;
pub mod duration;
pub mod explanation;
pub mod faults;
pub mod headers;
mod host_port;
pub mod members;
mod moment;
mod named;
pub mod operators;
pub mod orders;
pub mod pages;
mod position;
pub mod problem;
pub mod routes;
pub mod status;
pub mod venues;
pub mod wait;

pub use host_port::{BadHostPort, HostPort};
pub use moment::Moment;
pub use position::{BadPosition, Position};
pub use replication::{NodeName, RegionId};
