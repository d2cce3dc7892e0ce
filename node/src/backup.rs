//! Backups of a running node, and putting them back.
//!
//! | file | concern |
//! | --- | --- |
//! | `format.rs` | what is in a backup: a head, pairs of the store, an end with a checksum |
//! | `lock.rs` | encryption to operators' keys (age), compression |
//! | `make.rs` | reads a snapshot of the store and hands the backup out piece by piece |
//! | `restore.rs` | puts a backup into an empty folder |
//!
//! # Invariants
//! - What is not encrypted never leaves the memory of the node that makes a backup, nor of the one that puts it back.
//! - A backup that is not whole is refused, and nothing of it is left.
//!
//! # Not here
//! The rules by which a store that was put back goes on: [`replication::Restoring`]. Where backups are kept: the
//! commands `meridian backup` and `meridian restore`. Their keys: `backup_key.rs`.

mod format;
mod lock;
mod make;
mod restore;

#[cfg(test)]
mod tests;

pub use format::{FormatError, Head};
pub use make::{Backups, Piece, Place};
pub use restore::{RestoreError, Restored, Target, UNFINISHED, restore};
