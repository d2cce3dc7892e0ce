//! A multi-region store of CRDT documents that expire, and its replication, without any I/O.
//!
//! [`Replica`] is one incarnation of a node's store. A driver feeds it writes, frames and the time, and carries
//! out what it asks for: make a batch durable, send a frame. The node runs it over real sockets and disks, tests and
//! the simulator run the very same code over a network and disks of their own. `ALGORITHM.md` of this crate has the
//! rules and the argument why they are safe.
//!
//! # Architecture invariant
//! This crate reads no clock, opens no socket or file, starts no thread, draws no random number, and does not know what
//! a visit is.

mod bounds;
pub mod change;
mod chunk;
pub mod claim;
pub mod document;
pub mod drive;
mod encode;
mod form;
pub mod frame;
mod head;
pub mod ids;
pub mod key;
pub mod log;
pub mod memory;
pub mod read;
mod recent;
pub mod replica;
pub mod row;
pub mod seal;
pub mod session;
pub mod storage;
pub mod time;
pub mod trust;
mod value;
pub mod version;

pub use bounds::Bounds;
pub use change::{Change, OpRef};
pub use chunk::{ChangeError, ChangeHash};
pub use claim::Claim;
pub use document::Document;
pub use drive::{Action, Turn};
pub use frame::{Frame, FrameError};
pub use head::Head;
pub use ids::{Dot, LinkId, NodeName, RegionId, ReplicaId};
pub use key::{Bucket, Collection, DocumentId, DocumentKey, DocumentName, TenantId};
pub use log::{Delta, Reason, Tombstone};
pub use read::{Reader, View};
pub use replica::{BatchId, Event, LinkError, Outcome, Replica, ReplicaConfig, Ticket, Transmit, Write, WriteError};
pub use row::Row;
pub use session::SessionToken;
pub use storage::{Storage, StorageError, WriteBatch};
pub use time::{Hlc, Monotonic, Now, Wall};
pub use trust::ClockStatementRefused;
pub use value::Value;
pub use version::VersionVector;

/// The example of the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
