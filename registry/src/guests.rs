//! Guest lists: the answer to "who was here", and to "who was here at the same time".
//!
//! | file | concern |
//! | --- | --- |
//! | `list.rs` | which visits a list names, and one row |
//! | `certainty.rs` | how far a row can be relied on |
//! | `csv.rs` | the table for scripts |
//! | `table.rs`, `words.rs` | the table for offices: its columns and cells, and its words in one language |
//! | `excel_csv.rs` | that table as CSV |
//! | `contacts.rs` | the visits that overlap one visit |

mod certainty;
mod contacts;
pub mod csv;
pub mod excel_csv;
pub(crate) mod list;
mod table;
mod words;

pub use certainty::{Certainty, LATE};
pub use contacts::{ContactRow, ContactSearch};
pub use list::{GuestRow, Window};
pub use table::{Cell, Column, GuestTable, LocalTime};
pub use words::TableWords;
