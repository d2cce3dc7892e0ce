//! Visits: one check-in of one to twelve persons.

pub(crate) mod body;
mod code;
pub(crate) mod document;
mod editions;
pub(crate) mod fields;
pub(crate) mod id;
mod patch;
pub(crate) mod persons;
pub(crate) mod persons_patch;
mod receipt;
mod repeat;

pub use body::{CheckAt, CheckedVisit, EARLIEST_ARRIVAL, VisitBody};
pub use code::{ReceiptCode, ReceiptColour};
pub use document::Visit;
pub use id::{Secret, VISITS, VisitId};
pub use patch::VisitPatch;
pub use receipt::Receipt;
