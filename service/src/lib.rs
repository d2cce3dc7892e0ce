//! What every server process of Meridian has, a node as well as a router.
//!
//! | module | concern |
//! | --- | --- |
//! | [`listen`] | accepts connections, serves HTTP on them, ends gracefully |
//! | [`head`] | heads of requests with exactly one meaning |
//! | [`router`] | from a path and a method to a handler |
//! | [`problem`] | a problem as an HTTP answer |
//! | [`config`] | loads a configuration file; has the checks that all configurations share |
//! | [`certificates`] | certificates from files, read again when they are renewed |
//! | `browsers` | what keeps pages of other sites away from an admin listener |
//! | [`operators`] | who may use an admin listener |
//! | [`private`] | files that no other user may read |
//! | [`pid_file`] | the file with the process's id |
//! | [`signing`] | keys for what a process hands out and gets back |
//! | [`authority`] | a private certificate authority for the nodes of a deployment |
//!
//! # Architecture invariant
//! Nothing here knows what a node or a router is for.

pub mod authority;
mod browsers;
pub mod certificates;
pub mod config;
pub mod head;
pub mod listen;
pub mod operators;
pub mod pid_file;
pub mod private;
pub mod problem;
pub mod router;
pub mod signing;
