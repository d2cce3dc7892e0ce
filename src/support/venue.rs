//! Creates a venue through the public API.

use api::client::{Base, Call, CallError};
use hyper::Method;
use registry::{CreatedVenue, NewVenue};

/// Creates a venue at a node or a router.
pub(crate) async fn create(base: &Base, venue: &NewVenue) -> anyhow::Result<CreatedVenue> {
    let made: Result<CreatedVenue, CallError> =
        Call::new(Method::POST, "/v1/venues").json(venue)?.send(base).await?.json();
    Ok(made?)
}
