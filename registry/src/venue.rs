//! Venues: a place that keeps a guest list.

pub(crate) mod body;
pub(crate) mod document;
pub(crate) mod id;
pub(crate) mod retention;
mod upkeep;

pub use body::{CheckedVenue, CreatedVenue, NewVenue, VenuePatch};
pub use document::{Venue, VenueProfile};
pub use id::{OwnerKey, VENUES, VenueId};
pub use upkeep::{Upkeep, VenueSeen};
