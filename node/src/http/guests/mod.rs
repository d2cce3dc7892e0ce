//! Guest lists and contacts: what a venue's owner, and through the owner a health office, reads.
//!
//! | file | concern |
//! | --- | --- |
//! | `list.rs` | `/guests`: what is asked and how the answer begins |
//! | `pages.rs` | reading a window page by page, off the runtime's threads |
//! | `listing.rs` | rows as JSON, NDJSON or CSV, streamed |
//! | `cursor.rs` | where the next page begins |
//! | `accept.rs` | which format the client wants |
//! | `contacts.rs` | `/contacts` |
//!
//! # Invariants
//! - A list is streamed: at most one page of it is in memory, however long it is and however slowly it is read.
//! - Completeness is taken before the first row is read, so it never promises a row that was not looked for. A cursor
//!   carries it, so later pages answer that of the first.
//! - A row that does not read is left out, counted, and said in the answer; it never takes the list with it.

mod accept;
mod contacts;
mod cursor;
mod list;
mod listing;
mod pages;

use std::collections::BTreeMap;

use replication::replica::Status;
use replication::{RegionId, Wall};

use crate::registry::instant;

pub(super) use contacts::contacts;
pub(super) use list::list;

/// For each region the moment through which everything acknowledged there is in a list.
type Completeness = BTreeMap<RegionId, Wall>;

/// For each region the moment through which everything acknowledged there is in what is read after now; the epoch
/// if this node cannot say, for it never heard the region or has itself forgotten early.
pub(super) fn completeness(status: &Status) -> BTreeMap<String, String> {
    shown(&status.complete_through)
}

fn shown(completeness: &Completeness) -> BTreeMap<String, String> {
    completeness.iter().map(|(region, through)| (region.to_string(), instant::show(*through))).collect()
}
