//! What every server process of Meridian has, a node as well as a router.
//!
//! | module | concern |
//! | --- | --- |
//! | [`listen`] | accepts connections, serves HTTP on them, ends gracefully |
//! | [`places`] | how many connections there may be, and of one client |
//! | [`limit`] | how much one client may ask for |
//! | [`ended`] | counts connections that a listener refuses or closes, by reason |
//! | [`unread`] | answers whose clients do not read them |
//! | [`client`] | which client is behind a connection |
//! | [`head`] | heads of requests with exactly one meaning |
//! | [`router`] | from a path and a method to a handler |
//! | [`problem`] | a problem as an HTTP answer |
//! | [`config`] | loads a configuration file; has the checks that all configurations share |
//! | [`certificates`] | certificates from files, read again when they are renewed |
//! | [`expiry`] | when certificates end, as a metric |
//! | [`process_metrics`] | metrics of every process: its build, its processor time and memory |
//! | [`access_log`], [`request_id`] | one line for each request in a file, and what names the request there |
//! | `browsers` | what keeps pages of other sites away from an admin listener |
//! | [`operators`] | who may use an admin listener |
//! | [`resolve`] | addresses of a host name |
//! | [`private`] | files that no other user may read |
//! | [`pid_file`] | the file with the process's id |
//! | [`unreadable`] | problems for heads that are not HTTP |
//! | [`signing`] | keys for what a process hands out and gets back |
//! | [`authority`] | a private certificate authority for the nodes of a deployment |
//!
//! # Architecture invariant
//! Nothing here knows what a node or a router is for.

pub mod access_log;
pub mod authority;
mod browsers;
pub mod certificates;
pub mod client;
pub mod config;
pub mod ended;
pub mod expiry;
pub mod head;
pub mod limit;
pub mod listen;
pub mod operators;
pub mod pid_file;
pub mod places;
pub mod private;
pub mod problem;
pub mod process_metrics;
pub mod request_id;
pub mod resolve;
pub mod router;
pub mod signing;
pub mod unread;
pub mod unreadable;
