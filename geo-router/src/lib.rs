//! DNS and HTTP edge: locates the client, knows which regions are healthy, and chooses the region for each request.
//!
//! Data flows one way. [`location`] says where an address is, and [`policy`] in which order the regions of a
//! [`Fleet`](fleet::Fleet) suit it; both are in the table of [`location::Places`]. [`health`] turns probes, other routers'
//! verdicts and operators' orders into the state of each region. Both meet in a [`View`](view::View), which is immutable,
//! rebuilt when something changes, and swapped whole. [`dns`] and [`edge`] answer only from the latest view, so both send
//! the same address to the same region, and neither waits for the control plane.
//!
//! [`control`] builds the views. It takes up another fleet (operators added, moved or removed nodes, or the configuration
//! file was read again) as a whole: everything that has indices of regions or nodes is replaced with the view.
//!
//! # Architecture invariants
//! - `location`, `policy`, `health` and `view` do no I/O and read no clock: `now` is an argument.
//! - Nothing here knows visits, the contents of venues, or storage: the router reaches nodes only over HTTP.
//! - A client's address is in no log and no metric.

pub mod admin;
pub mod config;
pub mod connector;
pub mod control;
pub mod dns;
pub mod edge;
pub mod endpoint;
pub mod explain;
pub mod fleet;
pub mod health;
pub mod location;
pub mod metrics;
pub mod policy;
mod rendezvous;
mod replace;
pub mod run;
pub mod signals;
mod sockets;
mod succession;
pub mod view;
