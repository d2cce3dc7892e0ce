//! Guest lists and contacts: what a venue's owner, and through the owner a health office, reads.
//!
//! | file | concern |
//! | --- | --- |
//! | `list.rs` | `/guests`: the request and the beginning of the answer |
//! | `pages.rs` | reading a window page by page, off the runtime's threads |
//! | `listing.rs` | rows as JSON, NDJSON or CSV, streamed |
//! | `xlsx.rs`, `workbook.rs` | rows as XLSX: the answer, and the file |
//! | `cursor.rs` | where the next page begins |
//! | `accept.rs` | which format the client wants |
//! | `contacts.rs` | `/contacts` |
//!
//! # Invariants
//! - A list is streamed: at most one page is in memory, however long the list is and however slowly the client reads.
//!   A workbook is a temporary file without a name.
//! - Completeness is taken before the first row is read, so it never promises a row that was not looked for. The cursor
//!   carries it, so later pages show that of the first page.
//! - A row that does not decode is left out and counted, and the answer says so; the rest of the list is still sent.

mod accept;
mod contacts;
mod cursor;
mod list;
mod listing;
mod pages;
#[cfg(test)]
mod tests;
mod workbook;
mod xlsx;

use std::collections::BTreeMap;

use replication::{RegionId, Status, Wall};

use api::Moment;

pub(super) use accept::Format;
pub(super) use contacts::{ContactList, contacts, find_contacts};
pub(super) use list::{Export, export, list};
pub(super) use pages::{Item, Pages};

/// For each region the moment through which the list holds everything that was acknowledged there.
type Completeness = BTreeMap<RegionId, Wall>;

/// For each region the moment through which a later read shows everything that was acknowledged there. It is the epoch
/// if this node cannot tell, because it never heard the region or has itself forgotten early.
pub(super) fn completeness(status: &Status) -> BTreeMap<RegionId, Moment> {
    shown(&status.complete_through)
}

fn shown(completeness: &Completeness) -> BTreeMap<RegionId, Moment> {
    completeness.iter().map(|(region, through)| (region.clone(), Moment(*through))).collect()
}
