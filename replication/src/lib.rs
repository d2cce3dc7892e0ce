//! A multi-region store of CRDT documents that expire, and its replication, without any I/O.
//!
//! [`Replica`] is one incarnation of a node's store. A driver feeds it writes, frames and the time, and carries
//! out what it asks for: make a batch durable, send a frame. The node runs it over real sockets and disks, tests and
//! the simulator run the very same code over a network and disks of their own. `ALGORITHM.md` of this crate has the
//! rules and the argument why they are safe.
//!
//! Every type has one path, at the root. [`memory`] is the engine of tests and simulations.
//!
//! # Architecture invariant
//! This crate reads no clock, opens no socket or file, starts no thread, draws no random number, and does not know what
//! a visit is.

mod bounds;
mod change;
mod chunk;
mod claim;
mod creation;
mod document;
mod drive;
mod encode;
mod form;
mod frame;
mod head;
mod ids;
mod key;
mod log;
pub mod memory;
mod protocol;
mod read;
mod recent;
mod replica;
mod row;
mod sealing;
mod session;
mod storage;
mod time;
mod trust;
mod value;
mod verify;
mod version;

pub use bounds::Bounds;
pub use change::{Change, OpRef};
pub use chunk::{ChangeError, ChangeHash};
pub use claim::{Claim, Completeness};
pub use document::Document;
pub use drive::{Action, Turn};
pub use frame::{
    Check, Compare, Compared, Deltas, Frame, FrameError, FrameKind, Hello, MAX_FRAME, Progress, Repair, Want,
};
pub use head::Head;
pub use ids::{BadName, Dot, LinkId, NodeName, RegionId, ReplicaId};
pub use key::{Bucket, Collection, DocumentId, DocumentKey, DocumentName, TenantId};
pub use log::{Body, Delta, LogEntry, Reason, Reference, Tombstone};
pub use protocol::Protocol;
pub use read::{LastingPage, Page, Query, Reader, View};
pub use replica::{
    BatchId, Event, LinkError, Mint, Outcome, PeerStatus, Replica, ReplicaConfig, Restored, Restoring, STORE_FORMAT,
    Status, Ticket, Transmit, Write, WriteError, missing_buckets,
};
pub use row::Row;
pub use sealing::{Destroyed, KeyFiles, KeyName, MemoryKeys, RandomBytes, Sealed};
pub use session::{BadToken, SessionToken};
pub use storage::{BucketBatch, ScanVisitor, Storage, StorageError, WriteBatch, has_log_entries, log_key, scan_logs};
pub use time::{Hlc, Monotonic, Now, Wall, millis};
pub use trust::{ClockStatementRefused, Doubt, TrustedReading};
pub use value::Value;
pub use verify::{Verified, verify};
pub use version::VersionVector;

/// The example of the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
