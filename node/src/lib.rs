//! One Meridian region server: storage engines, the driver around the replica, peer links, the HTTP API.
//!
//! # Architecture invariants
//! - `http` knows nothing of the engines; `storage` is the only place that names them.
//! - `driver` is the one loop that sees both the replica and the I/O.

mod audit;
pub mod backup;
pub mod backup_key;
mod ballast;
pub mod clock;
pub mod config;
mod drills;
pub mod driver;
pub mod faults;
pub mod http;
mod lasting;
mod members;
mod membership;
pub mod metrics;
pub mod orders;
pub mod peer;
mod poster;
mod run;
mod space;
pub mod storage;

pub use run::{RunError, run, run_with_clock};
