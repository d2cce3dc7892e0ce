//! The venues of the data set, `tests/data/venues.json`.

use serde::Deserialize;
use serde_json::Value;

/// One venue.
#[derive(Deserialize)]
pub(crate) struct VenueLine {
    /// The label by which check-ins name it.
    pub label: String,
    /// The policy pack under which it is made.
    pub policy: String,
    /// The body that makes it.
    pub venue: Value,
}

/// All venues.
pub(crate) fn lines() -> Vec<VenueLine> {
    serde_json::from_str(include_str!("../../data/venues.json")).unwrap()
}
