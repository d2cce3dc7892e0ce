//! DNS and HTTP edge: where is the client, which region is healthy, who takes the request.
//!
//! Data flows one way. [`location`] says where an address is and [`policy`] in which order regions suit it; both are
//! settled at start, in the table of [`location::Places`]. [`health`] turns probes, other routers' verdicts and
//! operators' words into the state of each region. Both meet in a [`View`](view::View): immutable, rebuilt when
//! something changes, swapped whole. [`dns`] and [`edge`] answer from the latest view and from nothing else, so both
//! send the same address to the same region, and neither waits for the control plane.
//!
//! # Architecture invariants
//! - `location`, `policy`, `health` and `view` do no I/O and read no clock: `now` is an argument.
//! - Nothing here knows of visits, venues' contents or storage: nodes are reached over HTTP alone.
//! - A client's address is in no log and no metric.

pub mod admin;
pub mod config;
pub mod control;
pub mod dns;
pub mod edge;
pub mod explain;
pub mod fleet;
pub mod health;
pub mod location;
pub mod metrics;
pub mod policy;
pub mod run;
pub mod signals;
pub mod tls;
pub mod view;
