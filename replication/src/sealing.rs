//! Rows are sealed on their way to the disk, and erasure destroys the key.
//!
//! # The problem
//! No storage engine erases. sled and fjall keep removed values in stale pages, journals and tables, a disk keeps them
//! in spare blocks, and a backup keeps them for years. So a row must be unreadable without a key, and the key must go.
//!
//! # The construction
//! Keys lie in small files beside the data ([`names`]):
//! - Each hour of *arrivals* has a binary tree of 2^64 leaves ([`tree`]). A document's leaf is the one that a keyed hash of
//!   its name points to.
//! - Each hour of *expiries* has one secret.
//!
//! A document's key is its leaf, encrypted with the secret of its hour of expiry. It is derived when it is needed and
//! stored nowhere. Two things destroy it:
//! - To *erase* a name, its tree is *punctured*: the nodes that lead to its leaf give way to their siblings. The tombstone
//!   names a document without its expiry, and its id carries the arrival. So the leaf is known also for a document that
//!   was never seen here, or whose row a crash has lost while the disk still keeps it.
//! - To *expire* an hour, the file of its secret is destroyed.
//!
//! # How an erasure becomes durable
//! 1. The tombstone is durable ([`crate::Replica`]).
//! 2. One batch removes the rows and writes a record that the keys of this name are to go, in the table of erased names.
//!    [`Sealed`] takes that record for an order: from here on no reader gets a row of that name.
//! 3. [`Storage::sync`](crate::Storage::sync) forces that batch. Then it adds the siblings to the tree's file and forces
//!    them, and overwrites the nodes that led to the leaf and forces that as well. Only then does it return, and only
//!    then is the erasure acknowledged.
//!
//! A crash in between leaves the record, and [`Sealed::open`] carries it out. Everything that step 3 does can be done
//! twice.
//!
//! # How a row stays readable
//! The two files of a row are durable before the engine gets it. So no row is ever on the disk without its key. Later rows
//! of the same hours need no second fsync.
//!
//! # What it does not promise
//! - File systems that copy on write, and disks that remap blocks, may keep the old bytes of a key file.
//! - The memory of the process holds keys. A core dump, a swap file or a snapshot of the machine may keep them.
//! - Rows that a version without sealing wrote stay readable in stale pages until their day's files are removed.

mod arrivals;
mod file;
mod generator;
mod keyring;
mod keys;
mod memory;
mod names;
mod sealed;
mod tree;

pub use keys::{Destroyed, KeyFiles, RandomBytes};
pub use memory::MemoryKeys;
pub use names::KeyName;
pub use sealed::Sealed;
