//! The owner's console: `/console`.
//!
//! | file | concern |
//! | --- | --- |
//! | `access.rs` | the cookie that an owner's key is exchanged for, and requests that other sites made a browser send |
//! | `door.rs` | logging in and out, registering a venue |
//! | `overview.rs` | how many guests are here now, and today's arrivals |
//! | `window.rs` | which visits a list is about: a local day, hours, an area |
//! | `list.rs` | the guest list: the count and the reason, then the rows |
//! | `completeness.rs`, `look.rs` | what a list may lack, and what came since the last look |
//! | `contacts.rs` | the visits that overlap one visit |
//! | `rows.rs` | how a row of the list looks |
//! | `settings.rs` | the venue's name, areas, retention |
//! | `posters.rs` | posters of the venue and of its areas |
//! | `slips.rs` | typing in paper slips |
//!
//! # Invariants
//! - An owner reads persons only in the answer to a form that states a reason.
//! - No key and no person is part of an address.

mod access;
mod completeness;
mod contacts;
mod door;
mod list;
mod look;
mod overview;
mod posters;
mod rows;
mod settings;
mod slips;
#[cfg(test)]
mod tests;
mod window;

pub(in super::super) use contacts::contacts;
pub(in super::super) use door::{enter, leave, register, registration, speak};
pub(in super::super) use list::{ask, export, list};
pub(in super::super) use overview::show as overview;
pub(in super::super) use posters::poster;
pub(in super::super) use settings::{change, close, settings};
pub(in super::super) use slips::{slip, take};
