//! The terms of the registry: venues, visits, guest lists, policy packs. Pure functions of their arguments.
//!
//! | module | concern |
//! | --- | --- |
//! | `venue` | a venue's id and owner key, its document, the body that an owner sends |
//! | `visit` | a visit's id and secret, its document, its persons, the bodies that a guest sends |
//! | `person`, `text` | the fields of a person, and the text that they may hold |
//! | `policy` | what a rule-maker asks of guests and venues |
//! | `guests` | guest lists: their rows, the tables of a list, contacts |
//! | `invalid`, `body` | what is wrong with a body, and how a body is read |
//!
//! # Architecture invariants
//! - No clock, randomness, storage, socket or HTTP: `now`, ids and secrets are arguments. The manifest of this crate
//!   names no crate that has them.
//! - Text is kept exactly as typed (NFC, outer white space trimmed) or refused; it is never "sanitised".
//! - No error message repeats a value that a guest typed.
//! - The names of a document's fields are written once per document type: `venue/document.rs` and `visit/fields.rs`.
//!
//! # Not here
//! Which clients may call: `node::http`. Where documents lie and how they travel: `replication`, `node::storage`.

mod body;
mod conflicts;
#[cfg(test)]
mod data_set;
mod guests;
mod invalid;
mod person;
mod policy;
mod text;
mod venue;
mod visit;

pub use conflicts::Conflicts;
pub use guests::csv as guest_csv;
pub use guests::excel_csv as guest_excel_csv;
pub use guests::{
    Cell, Certainty, Column, ContactRow, ContactSearch, GuestRow, GuestTable, LATE, LocalTime, TableWords, Window,
};
pub use invalid::{Code, FieldError, Invalid};
pub use person::{Person, PersonField};
pub use policy::{Household, LONGEST_RETENTION, PackError, PolicyPack, VisitField};
pub use venue::{
    CheckedVenue, CreatedVenue, NewVenue, OwnerKey, Upkeep, VENUES, Venue, VenueId, VenuePatch, VenueProfile, VenueSeen,
};
pub use visit::{
    CheckAt, CheckedVisit, EARLIEST_ARRIVAL, Receipt, ReceiptCode, ReceiptColour, Secret, VISITS, Visit, VisitBody,
    VisitId, VisitPatch,
};

/// Implements serde by `Display` and `FromStr`, so that an id looks the same in JSON, in a URL and in a log.
macro_rules! serde_as_text {
    ($name:ty) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_text;
