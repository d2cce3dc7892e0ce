//! The terms of the registry: venues, visits, guest lists, policy packs. Pure functions of their arguments.
//!
//! # Invariants
//! - No clock, randomness, storage, socket or HTTP: `now`, ids and secrets are arguments.
//! - Text is kept exactly as typed (NFC, outer white space trimmed) or refused; it is never "sanitised".
//! - No error message repeats a value that a guest typed.
//! - The names of a document's fields are written once per document type: [`venue`] and [`visit_fields`].
//!
//! # Not here
//! Which clients may call: `http`. Where documents lie and how they travel: `replication`, `storage`.

use replication::Collection;

mod body;
pub mod contacts;
#[cfg(test)]
mod data_set;
pub mod duration;
pub mod guest_csv;
pub mod guest_list;
pub mod instant;
pub mod invalid;
pub mod person;
mod persons;
pub mod persons_patch;
pub mod policy;
pub mod text;
pub mod venue;
pub mod venue_body;
pub mod venue_id;
pub mod visit;
pub mod visit_body;
pub mod visit_fields;
pub mod visit_id;
pub mod visit_patch;

pub use contacts::{ContactRow, ContactSearch};
pub use guest_list::{GuestRow, Window};
pub use invalid::{Code, FieldError, Invalid};
pub use person::{Person, PersonField};
pub use policy::PolicyPack;
pub use venue::{Venue, VenueProfile};
pub use venue_body::{CheckedVenue, NewVenue, VenuePatch};
pub use venue_id::{OwnerKey, VenueId};
pub use visit::Visit;
pub use visit_body::{CheckAt, CheckedVisit, VisitBody};
pub use visit_id::{Secret, VisitId};
pub use visit_patch::VisitPatch;

/// The collection of venues: tenant and id are both the venue id; they last.
pub const VENUES: Collection = Collection(1);

/// The collection of visits: the tenant is the venue id, the id is the visit id; they expire.
pub const VISITS: Collection = Collection(2);

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
