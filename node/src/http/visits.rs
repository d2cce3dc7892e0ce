//! Visits: check-in, and the requests of a guest who has the receipt.
//!
//! | file | concern |
//! | --- | --- |
//! | `check_in.rs` | `POST` and `PUT` |
//! | `own.rs` | `GET`, `PATCH` and `DELETE` |
//!
//! # Invariants
//! - A guest with the secret needs nothing else. A client without it learns nothing, not even whether the id exists.

mod check_in;
mod own;

pub(super) use check_in::{CheckInError, check_in, post, put};
pub(super) use own::{Corrected, apply_correction, apply_erasure, correct, erase, rules, show};
