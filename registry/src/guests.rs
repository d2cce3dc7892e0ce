//! Guest lists: the answer to "who was here", and to "who was here at the same time".

mod contacts;
pub mod csv;
pub(crate) mod list;

pub use contacts::{ContactRow, ContactSearch};
pub use list::{GuestRow, Window};
