//! What every server process of Meridian has, a node as well as a router.
//!
//! | module | concern |
//! | --- | --- |
//! | [`listen`] | accepts connections, serves HTTP on them, ends gracefully |
//! | [`problem`] | a problem as an HTTP answer |
//! | [`config`] | loads a configuration file, and checks that every configuration needs |
//! | [`certificates`] | certificates from files, read again when they are renewed |
//! | [`authority`] | a private certificate authority for the nodes of a deployment |
//!
//! # Architecture invariant
//! Nothing here knows what a node or a router is for.

pub mod authority;
pub mod certificates;
pub mod config;
pub mod listen;
pub mod problem;
